"""Erasure of a concept: the smallest affine change at a layer after which no linear rule can read it; does the model then care?

1. texts of two labels are paired and dealt into parts to learn on and to score on (`contrast`);
2. LEACE (`ops.leace`) on the mean residuals of the first part makes the map; applied to every token, it does to the mean of the
   tokens what it does to the rows it was made from, exactly; at every layer, each with those before it in place, since layers
   rebuild what was taken out before them (`layer`: at one alone);
3. check: on these rows a logistic regression finds nothing (largest coefficient under 1e-4);
4. on held-out texts, at this and every later layer: can a direction learned anew still tell the two kinds apart? It is learned on one
   half of them and read on the other, both ways: on the rows that the map was made from it could find nothing, by the theorem;
5. behaviour: how far apart the answers to a text and its partner are, and how far answers to other texts drift.

Chance: nothing changes. Control: the same map made for random labels of the same texts, several draws. The finding is an edit:
save it, and `exegete apply` puts it in place.

Cost: (layers + 2) (1 + n_random) forwards a text. Shapes: residuals [text, d] a layer.
Reference: Belrose et al. 2023, "LEACE: Perfect Linear Concept Erasure in Closed Form", arXiv:2306.03819.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from sklearn.linear_model import LogisticRegression

from exegete.core.errors import UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.concept_edits import ConceptErasure
from exegete.core.results.edits import SiteEdit
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.methods.concepts.contrast import Contrast, contrast
from exegete.methods.concepts.under_edits import outputs, pooled
from exegete.methods.contracts.study import Study
from exegete.models.capture import EditMap
from exegete.models.harvest import layer_sites
from exegete.models.lab import Lab
from exegete.models.rewrite import eraser
from exegete.ops.directions import direction, midway
from exegete.ops.leace import Eraser, leace
from exegete.ops.stats import bootstrap_mean
from exegete.terrarium import material

_LEAST_COEFFICIENT = 1e-4


@dataclass(frozen=True)
class Made:
    """Erasers by site; the largest coefficient a linear rule has `left` on the rows they were made from."""

    by_site: dict[Site, Eraser]
    left: float

    @property
    def edit(self) -> EditMap:
        """As the model takes them."""
        return {s: eraser(torch.from_numpy(e.stacked)) for s, e in self.by_site.items()}

    @property
    def check(self) -> Check:
        """Whether nothing linear is left."""
        words = (
            "largest coefficient of a logistic regression on the rows that the map was made from, after it"
        )
        return Check.at_most("no linear rule is left", self.left, _LEAST_COEFFICIENT, words)


@register
class ConceptErasureStudy(Study):
    """Takes out of one layer all that a linear rule can read of a concept, and measures whether the model's answers change."""

    id: ClassVar[str] = "concept_erasure"
    family: ClassVar[str] = "concepts"
    techniques: ClassVar[tuple[str, ...]] = ("G6", "G7")
    verb: ClassVar[str] = "concept"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "concept"
    usual: ClassVar[int | None] = 1300
    finds: ClassVar[type] = ConceptErasure
    home: ClassVar[str] = "terrarium/sentiment"
    tasks: ClassVar[tuple[str, ...]] = ("causal", "sequence")
    reference: ClassVar[Reference] = Reference(
        authors="Belrose et al.", year=2023, where="arXiv:2306.03819", equation="eq. 1",
        title="LEACE: Perfect Linear Concept Erasure in Closed Form",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "(layers + 2) (1 + n_random) a text"
    concept: str = Field("", description="label that is erased; empty: of the two most frequent")
    against: str = Field("", description="label that it is erased against")
    layer: int | None = Field(
        None, ge=0, description="layer whose output is edited; none: every layer, one after the other"
    )
    n_random: int = Field(
        3, ge=1, le=100, description="draws of random labels that are erased as the control"
    )
    n_texts: int = Field(40, ge=2, le=10_000, description="other texts on which the drift is measured")
    seed: int = Field(0, description="seed of the pairs, parts and random labels")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> ConceptErasure:
        """The eraser of the two labels, and what it does."""
        found = contrast(items, self.concept, self.against, lab.rng("pairs"))
        first, *rest = found.parts(lab.rng("parts"))
        held = np.concatenate(rest)
        sites = layer_sites(lab.model)
        places = self._places(lab, sites)
        shown = sites[sites.index(places[0]) :]
        labels = np.tile([1, 0], len(first))
        draws = [labels, *(lab.rng("random labels", k).permutation(labels) for k in range(self.n_random))]
        made = [self._erasers(lab, found, first, places, drawn) for drawn in draws]
        edits = [m.edit for m in made]
        texts = [i.text for i in found.items]
        read = [pooled(lab, texts, shown, e) for e in (None, *edits)]
        told = np.array(
            [[_told(r[s], found, rest, lab) for s in shown] for r in read]
        )  # [condition, layer, text]
        apart = self._apart(lab, found, held, edits)
        neutral = [str(t.text) for t in material.texts(lab.model.task, self.n_texts, self.seed)]
        drift = outputs(lab, neutral, [None, *edits]).drift
        names = tuple("embeddings" if s.kind == "resid_pre" else f"layer {s.layer}" for s in shown)
        where = names[0] if len(places) == 1 else "every layer"
        scores = self._scores(told, apart, names[0])
        return ConceptErasure(
            title=f"Does the model need {found.concept!r} against {found.against!r}?",
            lede=_lede(scores, found, where, told, apart),
            claim=f"no linear rule tells {found.concept!r} from {found.against!r} at {where}",
            sites=tuple(SiteEdit(site=str(s), how="erase", value=e.stacked) for s, e in made[0].by_site.items()),
            concept=found.concept, against=found.against, layer=where, layers=names,
            accuracy=told[0].mean(1), after=told[1].mean(1), random=told[2:].mean((0, 2)),
            gap=np.array([apart[0].mean(), apart[1].mean(), apart[2:].mean()]),
            drift=np.array([drift[1].mean(), drift[2:].mean()]),
            trust=Trust(scores=scores, checks=(made[0].check,), seed=self.seed),
        )  # fmt: skip

    def _places(self, lab: Lab, sites: Sequence[Site]) -> tuple[Site, ...]:
        """The sites that are edited. Raises `UsageError` for a layer that there is not."""
        layers = tuple(s for s in sites if s.kind != "resid_pre")
        if self.layer is None:
            return layers
        if self.layer >= len(layers):
            raise UsageError(
                f"You asked to erase a concept at layer {self.layer} of {lab.model.name}.",
                f"It has {len(layers)} layers.",
                f"Give a layer from 0 to {len(layers) - 1}.",
            )
        return (layers[self.layer],)

    def _erasers(
        self, lab: Lab, found: Contrast, part: np.ndarray, places: tuple[Site, ...], labels: np.ndarray
    ) -> "Made":
        """One eraser a place, each made of what is there with those before it in place."""
        rows = found.pairs[part].ravel()
        texts = [found.items[i].text for i in rows]
        made = Made({}, 0.0)
        for site in places:
            values = pooled(lab, texts, [site], made.edit or None)[site]
            one = leace(values, labels, shrink=True)
            made = Made({**made.by_site, site: one}, max(made.left, _coefficient(one(values), labels)))
        return made

    def _apart(self, lab: Lab, found: Contrast, held: np.ndarray, edits: list[EditMap]) -> np.ndarray:
        """Total variation between what is said to a text and to its partner [condition, pair]."""
        pairs = found.pairs[held]
        said = outputs(lab, [found.items[i].text for i in pairs.ravel()], [None, *edits]).said
        p = np.exp(said).reshape(len(said), len(pairs), 2, -1)
        return np.abs(p[:, :, 0] - p[:, :, 1]).sum(-1) / 2

    def _scores(self, told: np.ndarray, apart: np.ndarray, layer: str) -> tuple[Score, ...]:
        lost, closer = told[0, 0] - told[1, 0], apart[0] - apart[1]
        name = "the same map for random labels"
        return (
            Score(
                name=f"accuracy of a linear rule that erasure takes away, {layer}", value=float(lost.mean()), chance=0.0,
                control=float((told[0, 0] - told[2:, 0]).mean()), control_name=name, n=len(lost),
                interval=bootstrap_mean(lost, self.seed),
            ),
            Score(
                name="distance between answers that erasure takes away", value=float(closer.mean()), chance=0.0,
                control=float((apart[0] - apart[2:]).mean()), control_name=name, n=len(closer),
                interval=bootstrap_mean(closer, self.seed),
            ),
        )  # fmt: skip


def _told(values: np.ndarray, found: Contrast, halves: Sequence[np.ndarray], lab: Lab) -> np.ndarray:
    """Which texts of either half a logistic direction learned on the other tells rightly [2 * pair]."""
    right = []
    for learn, read in (halves, halves[::-1]):
        first, second = values[found.pairs[learn, 0]], values[found.pairs[learn, 1]]
        v = direction("logistic", first, second, lab.rng("probe"))
        along = values[found.pairs[read]] @ v - midway(v, first, second)
        signed = np.stack([along[:, 0], -along[:, 1]], 1).ravel()
        right.append((signed > 1e-9) + 0.5 * (np.abs(signed) <= 1e-9))
    return np.concatenate(right)


def _coefficient(erased: np.ndarray, labels: np.ndarray) -> float:
    """Largest coefficient of a logistic regression on rows scaled to unit variance over all."""
    scale = float(np.sqrt(((erased - erased.mean(0)) ** 2).mean())) or 1.0
    fit = LogisticRegression(tol=1e-8, max_iter=2000).fit((erased - erased.mean(0)) / scale, labels)
    return float(np.abs(fit.coef_).max())


def _lede(scores: tuple[Score, ...], found: Contrast, layer: str, told: np.ndarray, apart: np.ndarray) -> str:
    lost, closer = scores
    words = (
        f"With it erased at {layer}, a linear rule tells {told[1, 0].mean():.0%} of held-out texts of {found.concept!r} and "
        f"{found.against!r} apart there rather than {told[0, 0].mean():.0%}, and {told[1, -1].mean():.0%} at the last layer. The "
        f"answers to them are {apart[1].mean():.2f} apart rather than {apart[0].mean():.2f} (random labels erased: "
        f"{apart[2:].mean():.2f})."
    )
    if not lost.beats_control:
        words += " There was no more to take away than with random labels."
    if not closer.beats_control:
        words += " The answers change no more than with random labels: the model does not need it here."
    return words
