"""The direction of a concept: by five methods at every layer, judged on texts that were not used to find it.

1. texts of two labels are paired (`contrast`) and dealt into parts to learn on, to choose on, to score on;
2. read at every layer; every method makes its direction (`ops.directions`) from the first part, with a threshold half way;
3. the method and layer that are best on the second part are scored on the third;
4. the same with labels shuffled in all parts, and in the model with randomised weights: both with the same choice of method and layer;
5. cosines between methods, and between two halves of the texts; where ids name several data sets, transfer between them.

The finding holds all directions: it can be saved, and `concept_steering` applies them.

Chance: one half (accuracy is balanced). Controls: see 4. Cost: one forward a text, and one through the randomised model.
Shapes: residuals [row, d] a layer, directions [method, layer, d].
References: Zou et al. 2023, arXiv:2310.01405, sec. 3.1; Marks & Tegmark 2023, arXiv:2310.06824, sec. 4-5.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.concept_direction import ConceptDirections
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.concepts.contrast import Contrast, contrast
from exegete.methods.contracts.harvested import Harvested
from exegete.models.harvest import Table, layer_sites
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.directions import WAYS, Way, direction, midway
from exegete.ops.stats import share_interval


@dataclass(frozen=True)
class Learned:
    """Directions [method, layer, d] with thresholds [method, layer], and correctness [method, layer, text] on two parts."""

    directions: np.ndarray
    threshold: np.ndarray
    chosen_on: np.ndarray
    scored_on: np.ndarray

    @property
    def best(self) -> tuple[int, int]:
        """(method, layer) with the best accuracy on the part to choose on; the first of equals."""
        told = self.chosen_on.mean(2)
        i, j = np.unravel_index(int(told.argmax()), told.shape)
        return int(i), int(j)


@register
class ConceptDirection(Harvested):
    """A direction that tells texts of a concept from others, by five methods at every layer, and how far it can be trusted."""

    id: ClassVar[str] = "concept_direction"
    family: ClassVar[str] = "concepts"
    techniques: ClassVar[tuple[str, ...]] = ("G6", "G7", "E36")
    verb: ClassVar[str] = "concept"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "concept"
    usual: ClassVar[int | None] = 1300
    finds: ClassVar[type] = ConceptDirections
    home: ClassVar[str] = "terrarium/sentiment"
    reference: ClassVar[Reference] = Reference(
        authors="Zou et al.", year=2023, where="arXiv:2310.01405", equation="sec. 3.1",
        title="Representation Engineering: A Top-Down Approach to AI Transparency",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = "1 a text, and 1 through the model with randomised weights"
    concept: str = Field(
        "", description="label that the direction points to; empty: of the two most frequent"
    )
    against: str = Field("", description="label that it points away from")
    methods: tuple[Way, ...] = Field(WAYS, min_length=1, description="which methods are compared")
    pool: Literal["mean", "last", "first"] = Field("mean", description="which tokens stand for a text")
    n_shuffles: int = Field(5, ge=1, le=1000, description="draws of shuffled labels")
    seed: int = Field(0, description="seed of the pairs, parts, shuffles and randomised weights")

    def where(self, lab: Lab) -> tuple[Site, ...]:
        """Every layer, and what enters the first."""
        return layer_sites(lab.model)

    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> ConceptDirections:
        """Directions between the two labels."""
        found = contrast(items, self.concept, self.against, lab.rng("pairs"))
        parts = found.parts(lab.rng("parts"))
        sites = self.where(lab)
        table = tables.own(found.items, sites, self.pool)
        read, there = _paired(table, found), None
        if tables.twinned:
            there = self._learn(_paired(tables.other(found.items, sites, self.pool), found), parts, lab)
        own = self._learn(read, parts, lab)
        shuffled = [
            self._learn(_turned(read, flip), parts, lab) for flip in self._flips(lab, len(found.pairs))
        ]
        i, j = own.best
        rows = own.scored_on[i]
        agreement = self._agreement(read[j], parts[0], own.directions[:, j], lab)
        names, transfer = self._transfer(read[j], found, parts, self.methods[i], lab)
        layers = tuple("embeddings" if s.kind == "resid_pre" else f"layer {s.layer}" for s in sites)
        scores = self._scores(own, there, tables.why, shuffled, layers, table.n_failed)
        learn = read[:, parts[0]]
        untrained = there.scored_on[i].mean(1) if there else np.full(len(sites), np.nan)
        gap = np.einsum("mld,lnsd->mls", own.directions, learn) / learn.shape[1]
        return ConceptDirections(
            title=f"Is there a direction for {found.concept!r} against {found.against!r}?",
            lede=self._lede(scores, layers[j], self.methods[i], names, transfer),
            concept=found.concept, against=found.against, methods=self.methods, sites=tuple(map(str, sites)), layers=layers,
            pool=self.pool, directions=own.directions, threshold=own.threshold, gap=gap[..., 0] - gap[..., 1],
            norm=np.linalg.norm(read, axis=-1).mean((1, 2)), accuracy=own.scored_on.mean(2),
            interval=np.array([share_interval(r, self.seed) or (np.nan, np.nan) for r in rows]),
            shuffled=np.mean([s.scored_on[i].mean(1) for s in shuffled], axis=0), untrained=untrained,
            chosen=(i, j), agreement=agreement, sets=names, transfer=transfer, trust=Trust(scores=scores, seed=self.seed, notes=table.notes),
        )  # fmt: skip

    def _learn(self, read: np.ndarray, parts: tuple[np.ndarray, ...], lab: Lab) -> Learned:
        """Every method at every layer from values [layer, pair, 2, d]."""
        n = len(read)
        made = np.zeros((len(self.methods), n, read.shape[-1]))
        cut = np.zeros((len(self.methods), n))
        right = [np.zeros((len(self.methods), n, 2 * len(p))) for p in parts[1:]]
        for j, values in enumerate(read):
            first, second = values[parts[0], 0], values[parts[0], 1]
            for i, way in enumerate(self.methods):
                v = direction(way, first, second, lab.rng("start", way, j))
                made[i, j], cut[i, j] = v, midway(v, first, second)
                for found, part in zip(right, parts[1:]):
                    found[i, j] = _right(values[part], v, cut[i, j])
        return Learned(made, cut, right[0], right[1])

    def _flips(self, lab: Lab, n: int) -> list[np.ndarray]:
        """Which pairs are turned, in every draw of shuffled labels: half of them."""
        half = np.arange(n) % 2 == 0
        return [lab.rng("shuffle", k).permutation(half) for k in range(self.n_shuffles)]

    def _agreement(
        self, values: np.ndarray, part: np.ndarray, directions: np.ndarray, lab: Lab
    ) -> np.ndarray:
        cosines = directions @ directions.T
        halves = np.array_split(lab.rng("halves").permutation(part), 2)
        for i, way in enumerate(self.methods):
            a, b = (direction(way, values[h, 0], values[h, 1], lab.rng("half", way)) for h in halves)
            cosines[i, i] = a @ b
        return cosines

    def _transfer(
        self, values: np.ndarray, found: Contrast, parts: tuple[np.ndarray, ...], way: Way, lab: Lab
    ) -> tuple[tuple[str, ...], np.ndarray]:
        """(data sets, accuracy [learned on, read on]); data sets with too little to learn or read are left out."""
        sets = np.array(found.sets)
        held = np.concatenate(parts[1:])
        names = [
            n
            for n in dict.fromkeys(found.sets)
            if (sets[parts[0]] == n).sum() > 1 and (sets[held] == n).any()
        ]
        table = np.zeros((len(names), len(names)))
        for a, name in enumerate(names):
            rows = values[parts[0][sets[parts[0]] == name]]
            v = direction(way, rows[:, 0], rows[:, 1], lab.rng("transfer", name))
            cut = midway(v, rows[:, 0], rows[:, 1])
            for b, other in enumerate(names):
                table[a, b] = _right(values[held[sets[held] == other]], v, cut).mean()
        return tuple(names), table

    def _scores(
        self, own: Learned, there: Learned | None, why: str, shuffled: list[Learned], layers: tuple[str, ...], failed: int
    ) -> tuple[Score, ...]:  # fmt: skip
        i, j = own.best
        told = own.scored_on[i, j]
        control = float(np.mean([s.scored_on[s.best].mean() for s in shuffled]))
        words = f"accuracy on held-out texts, {self.methods[i]}, {layers[j]}"
        common = {
            "value": float(told.mean()),
            "chance": 0.5,
            "interval": share_interval(told, self.seed),
            "n": len(told),
            "n_failed": failed,
        }
        return (
            Score(
                name=words, control=float(there.scored_on[there.best].mean()) if there else None,
                control_name="the best direction in the model with randomised weights" if there else "", skipped=why, **common,
            ),
            Score(
                name=f"{words}, against shuffled labels", control=control,
                control_name="the best direction of shuffled labels", **common,
            ),
        )  # fmt: skip

    def _lede(
        self, scores: tuple[Score, ...], layer: str, way: str, sets: tuple[str, ...], transfer: np.ndarray
    ) -> str:
        score, shuffled = scores
        twin = "" if score.control is None else f"with randomised weights {score.control:.0%}, "
        words = (
            f"At {layer}, the direction by {way} tells {score.value:.0%} of held-out texts rightly; "
            f"{twin}with shuffled labels {shuffled.control:.0%}."
        )
        if score.beats_control is False:
            words += " It does not beat the untrained model: the words alone may give it."
        if not shuffled.beats_control:
            words += " It does not beat shuffled labels: do not read it."
        if len(sets) > 1:
            away = transfer[~np.eye(len(sets), dtype=bool)]
            words += f" Read on another data set: {away.mean():.0%} on average, {away.min():.0%} at worst."
        return words


def _paired(table: Table, found: Contrast) -> np.ndarray:
    """Values [layer, pair, 2, d]; of a text longer than the context the beginning, and one without a token was refused."""
    return np.stack([np.asarray(v, dtype=np.float64)[found.pairs] for v in table.values.values()])


def _turned(read: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """Values [layer, pair, 2, d] with the labels of the pairs `flip` [pair] exchanged, in every part: learning without labels
    finds the same as ever, and only labels that mean nothing in the part to score on tell what is worth nothing.
    """
    return np.where(flip[None, :, None, None], read[:, :, ::-1], read)


def _right(values: np.ndarray, v: np.ndarray, cut: float) -> np.ndarray:
    """Which texts of pairs [pair, 2, d] are told rightly [2 * pair]: above the threshold if of the concept."""
    along = values @ v - cut
    signed = np.stack([along[:, 0], -along[:, 1]], 1).ravel()
    return (signed > 0) + 0.5 * (signed == 0)
