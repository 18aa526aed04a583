"""Attribution patching: the effect of every patch at once, estimated with gradients, and held to exact patches.

1. the places, pairs and shares are those of activation patching;
2. each effect is estimated as difference times gradient (`patch_gradients`): the tangent at the patched run, or the mean
   gradient over `n_steps` runs on the way to the other text;
3. a random sample of places, among those that are estimated to move anything, is patched exactly, in `n_checked` pairs at
   most; the score is the correlation of estimate and exact share of these pairs over the sample. Chance is 0, what an
   estimate of other places gets; the control is the length of the change at each place, which is what an estimate without
   its gradient knows.

Cost a pair: 2 forwards and n_steps forwards with backward; a checked pair 2 forwards and about half a pass for each sampled
place.
References: Nanda 2023, "Attribution Patching"; Kramar et al. 2024 (arXiv:2403.00745), sec. 2; Hanna et al. 2024
(arXiv:2403.17806), sec. 3.
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
from exegete.core.results.patching import PatchEstimate, PatchGrid
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import Unfit, with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.patch_cells import (
    Direction,
    Moved,
    Places,
    guest_values,
    host_run,
    sides,
)
from exegete.methods.mechanisms.patch_gradients import Estimate, estimate_pair
from exegete.methods.mechanisms.patch_pairs import Both, Corruption, read_both
from exegete.methods.mechanisms.patch_set import TIED, Pairs, places_of, read_all
from exegete.methods.mechanisms.patch_verdict import context_of, gathered, grid_of, notes_of, share_of
from exegete.models.cells import run_cells
from exegete.models.lab import Lab
from exegete.ops.patching import correlation, correlation_interval, shares


class EstimatedPair(Value):
    """One pair: the target on both runs, and the estimates by token and, where columns are tokens, by role: which of both is looked
    at depends on the lengths of all pairs. Or the letter that says why it cannot be patched.
    """

    clean: float = 0.0
    corrupt: float = 0.0
    tokens: Estimate = Estimate()
    roles: Estimate = Estimate()
    unfit: Unfit | None = None

    def of(self, roles: bool) -> Estimate:
        """The estimates, by role where there are roles."""
        if not roles:
            return self.tokens
        moved, length = self.tokens.moved | self.roles.moved, self.tokens.length | self.roles.length
        return Estimate(moved=moved, length=length)


@register
class AttributionPatching(Divided):
    """Which states carry the answer, estimated for all places by one backward and compared with exact patches."""

    id: ClassVar[str] = "attribution_patching"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H18",)
    verb: ClassVar[str] = "patch"
    asks: ClassVar[Any] = "pairs"
    finds: ClassVar[type] = PatchEstimate
    part: ClassVar[type[Value]] = EstimatedPair
    reference: ClassVar[Reference] = Reference(
        authors="Kramar et al.", year=2024, where="arXiv:2403.00745", equation="eq. 3",
        title="AtP*: An Efficient and Scalable Method for Localizing LLM Behaviour to Components",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "gradients")
    passes: ClassVar[str] = (
        "2 forwards and n_steps forwards with backward a pair; 2 and about n_exact / 2 a site for a checked one"
    )
    sites: tuple[str, ...] = Field(
        ("resid_pre", "z"), min_length=1, description="what is patched: kinds of places inside a layer"
    )
    head: int | None = Field(
        None,
        ge=0,
        description="one head of sites that have heads, token by token; none: every head, all tokens",
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
    n_steps: int = Field(
        1, ge=1, description="gradients averaged on the way to the other text; 1: the tangent alone"
    )
    n_exact: int = Field(40, ge=3, description="places of each site that are patched exactly, at most")
    n_checked: int = Field(
        24, ge=1, description="pairs in which they are patched exactly, at most, evenly spread over all"
    )
    seed: int = Field(0, description="seed of noise, resampling and the sample of places")

    @property
    def whole(self) -> str:
        """Noise is scaled by the embeddings of all pairs, and resampled texts are those of other pairs."""
        return TIED.get(self.corruption, "")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> PatchEstimate:
        """Over pairs."""
        pairs = self._pairs(lab, items, target)
        self._places(lab, pairs.several)  # refused before any gradient
        parts = []
        with lab.working(len(pairs.several), "estimating pairs") as step:
            for both in pairs.several:
                parts.append(self._estimated(lab, both))
                step()
        return self._found(lab, pairs, parts)

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[EstimatedPair]:
        """The estimates of every pair."""
        parts = []
        with lab.working(len(items), "estimating pairs") as step:
            for item in items:
                parts.append(self._part(lab, item, target))
                step()
        return parts

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[EstimatedPair], target: Target, n_failed: int = 0
    ) -> PatchEstimate:  # fmt: skip
        """Over pairs; and the exact patches that some of them are held to."""
        found = self._found(lab, self._pairs(lab, items, target), [p for p in parts if p.unfit is None])
        return with_failed(found, n_failed)

    def _pairs(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Pairs:
        return read_all(lab, items, self.corruption, target, self.noise, self.n_samples)

    def _places(self, lab: Lab, several: Sequence[Both]) -> Places:
        return places_of(lab, several, self.direction, self.sites, self.head, self.positions)

    def _part(self, lab: Lab, item: Pair, target: Target) -> EstimatedPair:
        try:
            both = read_both(lab, (item,), 0, self.corruption, target)
        except ExegeteError as letter:
            return EstimatedPair(unfit=Unfit.of(letter))
        return self._estimated(lab, both)

    def _estimated(self, lab: Lab, both: Both) -> EstimatedPair:
        """One pair, by token and, where columns are tokens, by role too: of the same gradients."""
        places = self._places(lab, (both,))
        by_token = tuple(k for k in places.kinds if not places.by_head(k))
        ways = [
            places,
            *([replace(places, kinds=by_token, roles=True)] if by_token and not self.positions else []),
        ]
        (clean, corrupt), found = estimate_pair(lab, ways, both, self.direction, self.n_steps)
        roles = found[1] if len(found) > 1 else Estimate()
        return EstimatedPair(clean=clean, corrupt=corrupt, tokens=found[0], roles=roles)

    def _found(self, lab: Lab, pairs: Pairs, parts: Sequence[EstimatedPair]) -> PatchEstimate:
        """What is found of pairs and their estimates."""
        places = self._places(lab, pairs.several)
        told = [p.of(places.roles) for p in parts]
        done = gathered(
            [Moved(p.clean, p.corrupt, t.moved, ()) for p, t in zip(parts, told)], places.kinds, ()
        )
        grids = tuple(grid_of(places, k, pairs.several, self.direction, done, lab.seed) for k in places.kinds)
        n = len(parts)
        some = np.unique(np.linspace(0, n - 1, min(n, self.n_checked)).round().astype(int))
        span, moved = done.span[some], {k: done.moved[k][some] for k in places.kinds}
        length = {k: np.mean([told[i].length[k] for i in some], 0) for k in places.kinds}
        sample = {k: _sampled(lab, k, moved[k], self.n_exact) for k in places.kinds}
        exact, checks = _exact(lab, places, [pairs.several[i] for i in some], self.direction, sample)
        given = {k: shares(moved[k][:, at], span) for k, at in sample.items()}
        truth = {k: shares(exact[k], span) for k in places.kinds}
        scores = tuple(_score(lab, pairs, k, given[k], truth[k], length[k][sample[k]]) for k in places.kinds)
        few = f"Exact patches were made of {len(some)} of the {n} pairs, evenly spread."
        return PatchEstimate(
            title="Which states carry the answer, by estimate?",
            lede=share_of(pairs) + " ".join(_told(g, s) for g, s in zip(grids, scores)),
            context=context_of(pairs, self.direction, self.corruption),
            direction=self.direction, corruption=self.corruption, n_steps=self.n_steps, grids=grids,
            clean=done.clean, corrupt=done.corrupt,
            places=tuple(_place(g, int(c)) for g, k in zip(grids, places.kinds) for c in sample[k]),
            estimated=np.concatenate(list(given.values())), exact=np.concatenate(list(truth.values())),
            checks=checks,
            trust=Trust(scores=scores, seed=lab.seed, notes=(*notes_of(pairs), *([few] if len(some) < n else []))),
        )  # fmt: skip


def _sampled(lab: Lab, kind: str, moved: np.ndarray, most: int) -> np.ndarray:
    """Random cells among those that are estimated to move anything (all others are the same in both runs)."""
    alive = np.flatnonzero(np.abs(moved).max(0) > 0)
    return np.sort(lab.rng("exact", kind).permutation(alive)[:most])


def _exact(
    lab: Lab, places: Places, several: Sequence[Both], direction: Direction, sample: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], tuple[Check, ...]]:
    """What the sampled cells really move [pair, cell] for each kind."""
    found: dict[str, list[np.ndarray]] = {k: [] for k in places.kinds}
    checks: dict[str, Check] = {}
    for both in several:
        host, guest = sides(both, direction)
        base = host_run(lab, host, guest)
        sources, _ = guest_values(lab, places.sites, host, guest)
        here = float(base.values.double().mean())
        for kind, at in sample.items():
            cells = places.cells(kind, both, host)
            values = run_cells(base, [cells[i] for i in at], sources).mean(1) - here
            found[kind].append(-values if direction == "noising" else values)
        for c in base.checks:
            checks[c.name] = c if c.name not in checks or not c.passed else checks[c.name]
    return {k: np.stack(v) for k, v in found.items()}, tuple(checks.values())


def _score(
    lab: Lab, pairs: Pairs, kind: str, given: np.ndarray, truth: np.ndarray, length: np.ndarray
) -> Score:
    name = f"correlation with exact patches of {kind}"
    r, control = correlation(given, truth), correlation(length, truth)
    if not np.isfinite(r):
        few = "too few places move anything to correlate"
        return Score(name=name, value=float("nan"), n=0, n_failed=max(1, len(given)), skipped=few)
    return Score(
        name=name,
        value=r,
        chance=0.0,
        control=control if np.isfinite(control) else 0.0,
        control_name="the length of the change, without its gradient",
        interval=correlation_interval(given, truth, lab.seed),
        n=len(given),
        n_failed=len(pairs.failed),
    )


def _place(grid: PatchGrid, cell: int) -> str:
    row, column = divmod(cell, len(grid.columns))
    return f"{row}.{grid.site} {grid.columns[column]}"


def _told(grid: PatchGrid, score: Score) -> str:
    i, j = grid.best
    tail = "" if score.beats_control else "; the length of the change alone says as much"
    bad = " The estimate is not to be trusted here." if not score.beats_chance else ""
    return (
        f"By estimate {grid.site} of layer {i} at {grid.columns[j]!r} moves most ({grid.effect[i, j]:.0%}); estimates and exact "
        f"patches of {grid.site} correlate at {score.value:.2f}{tail}.{bad}"
    )
