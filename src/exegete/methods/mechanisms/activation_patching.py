"""Activation patching: which state, at which layer and token or head, carries the answer from one text to the other?

1. run the clean and the corrupt text; the span is the target's value on the clean one less that on the corrupt one;
2. "denoising": run the corrupt text with one state from the clean run; its share is what it brings back of the span;
   "noising": run the clean text with one state from the corrupt run; its share is what it takes away;
3. do so at every place (`patch_cells`); over several pairs shares are ratios of means, with an interval over pairs;
4. judge, for each site, the strongest place (chosen on the other pairs where there are several; of residuals in the middle
   layer only, for at the two ends a residual carries everything by construction). Chance is a random place; the control
   patches the same place from an unrelated text: another pair's, or the same tokens in another order.

Cost: 2 forwards a pair, about half a pass a place, and 2 forwards a pair for the control.
References: Meng et al. 2022 (arXiv:2202.05262), sec. 2; Wang et al. 2022 (arXiv:2211.00593), sec. 3; Heimersheim and Nanda
2024 (arXiv:2404.15255); Zhang and Nanda 2024 (arXiv:2309.16042).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import ExegeteError
from exegete.core.material import Pair
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.patching import Patching
from exegete.core.target import Target
from exegete.core.trust import Check
from exegete.core.value import Value
from exegete.methods.contracts.failures import Unfit, with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.patch_cells import Direction, Moved, patch_pair
from exegete.methods.mechanisms.patch_pairs import Corruption, read_both
from exegete.methods.mechanisms.patch_set import TIED, Pairs, places_of, read_all
from exegete.methods.mechanisms.patch_verdict import found, patch_all, together
from exegete.models.lab import Lab


class PatchedPair(Value):
    """One pair: the target on both runs, and what each cell moves [cell] of each kind, by token and by role: which of both is
    looked at depends on the lengths of all pairs. Or the letter that says why it cannot be patched.
    """

    clean: float = 0.0
    corrupt: float = 0.0
    tokens: dict[str, np.ndarray] = {}
    roles: dict[str, np.ndarray] = {}
    checks: tuple[Check, ...] = ()
    unfit: Unfit | None = None

    def cells(self, roles: bool) -> dict[str, np.ndarray]:
        """What each cell moves, by role where there are roles."""
        return {**self.tokens, **self.roles} if roles else self.tokens


@register
class ActivationPatching(Divided):
    """Which states carry the answer: each is exchanged for the other text's, and the output is measured."""

    id: ClassVar[str] = "activation_patching"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H18",)
    verb: ClassVar[str] = "patch"
    asks: ClassVar[Any] = "pairs"
    finds: ClassVar[type] = Patching
    part: ClassVar[type[Value]] = PatchedPair
    reference: ClassVar[Reference] = Reference(
        authors="Zhang and Nanda", year=2024, where="arXiv:2309.16042", equation="sec. 2",
        title="Towards Best Practices of Activation Patching in Language Models: Metrics and Methods",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "4 forwards, and about (n_layers * (n_tokens + n_heads)) / 2, a pair"
    sites: tuple[str, ...] = Field(
        ("resid_pre", "z"), min_length=1, description="what is patched: kinds of places inside a layer"
    )
    head: int | None = Field(
        None,
        ge=0,
        description="patch one head of sites that have heads, token by token; none: every head, all tokens",
    )
    positions: tuple[int, ...] = Field((), description="tokens that are patched, from 0; none: all")
    direction: Direction = Field(
        "denoising", description="clean states into the corrupt run, or corrupt ones into the clean run"
    )
    corruption: Corruption = Field(
        "text",
        description="the corrupt run: the pair's corrupt text, noise on embeddings, or another pair's text",
    )
    noise: float = Field(3.0, gt=0, description="noise in standard deviations of the embeddings")
    n_samples: int = Field(5, ge=1, description="draws of noise a pair")
    seed: int = Field(0, description="seed of noise, resampling and control")

    @property
    def whole(self) -> str:
        """Noise is scaled by the embeddings of all pairs, and resampled texts are those of other pairs."""
        return TIED.get(self.corruption, "")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Patching:
        """Over pairs."""
        pairs = self._pairs(lab, items, target)
        places = places_of(lab, pairs.several, self.direction, self.sites, self.head, self.positions)
        done = patch_all(lab, places, pairs, self.direction)
        return found(lab, places, pairs, self.direction, self.corruption, done)

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[PatchedPair]:
        """Every cell of every pair."""
        parts = []
        with lab.working(len(items), "patching pairs") as step:
            for item in items:
                parts.append(self._patched(lab, item, target))
                step()
        return parts

    def merge(
        self,
        lab: Lab,
        items: tuple[Any, ...],
        parts: Sequence[PatchedPair],
        target: Target,
        n_failed: int = 0,
    ) -> Patching:
        """Over pairs; and the control of the place that each is judged by."""
        pairs = self._pairs(lab, items, target)
        places = places_of(lab, pairs.several, self.direction, self.sites, self.head, self.positions)
        fit = [p for p in parts if p.unfit is None]
        done = [Moved(p.clean, p.corrupt, p.cells(places.roles), p.checks) for p in fit]
        finding = found(lab, places, pairs, self.direction, self.corruption, together(done, places.kinds))
        return with_failed(finding, n_failed)

    def _pairs(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Pairs:
        return read_all(lab, items, self.corruption, target, self.noise, self.n_samples)

    def _patched(self, lab: Lab, item: Pair, target: Target) -> PatchedPair:
        """One pair, by token and, where columns are tokens, by role too."""
        try:
            both = read_both(lab, (item,), 0, self.corruption, target)
        except ExegeteError as letter:
            return PatchedPair(unfit=Unfit.of(letter))
        places = places_of(lab, (both,), self.direction, self.sites, self.head, self.positions)
        done, roles = patch_pair(lab, places, both, self.direction), {}
        by_token = tuple(k for k in places.kinds if not places.by_head(k))
        if by_token and not self.positions:
            by_role = replace(places, kinds=by_token, roles=True)
            roles = patch_pair(lab, by_role, both, self.direction).moved
        return PatchedPair(
            clean=done.clean, corrupt=done.corrupt, tokens=done.moved, roles=roles, checks=done.checks
        )
