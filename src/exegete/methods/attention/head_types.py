"""Head types: which heads look at the previous token, at the same token before, at what followed it, at a sink?

1. measure, for every head, the share of its attention that goes where each type says, on the texts and on random tokens
   said twice (`head_evidence`);
2. measure the same in `n_twins` copies of the model with shuffled weights. A model without structure has a head beyond all of
   them once in n_twins + 1 times a type, before the bars of 3;
3. a head passes for a type when it puts at least `threshold` of its attention there, and when the whole interval over texts lies
   above uniform attention and above the most that any head of the copies reaches. Of several types it gets the one furthest
   above uniform attention; "fixed distance" only where no other passes;
4. the score of a type is its best head: chosen on every other text, scored on the rest, against the best copy's best head,
   chosen and scored in the same way;
5. besides, a classifier trained on maps made by rule says which of five kinds every head's map is of (`map_classifier`).

Types say where a head looks, not what is lost without it: `head_pruning` removes heads.

Cost: 1 + n_twins forwards a text and a repeat. References: Clark et al. 2019, sec. 3; Kovaleva et al. 2019, sec. 4.1; Voita et al.
2019, sec. 5; Olsson et al. 2022, "In-context Learning and Induction Heads" (prefix matching score).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.heads import NO_TYPE, HeadTypes
from exegete.core.seed import derive
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.attention.head_evidence import (
    Evidence,
    TextEvidence,
    gathered,
    mean,
    on_repeats,
    on_text,
)
from exegete.methods.attention.head_reading import Heads, heads_of
from exegete.methods.attention.judged import mean_score
from exegete.methods.attention.map_classifier import Album
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import twin_of
from exegete.models.lab import Lab
from exegete.ops.map_kinds import KINDS
from exegete.ops.stats import bootstrap_mean


class MapPage(Value):
    """The maps of one text, described: `features` [head, feature], `causal` [head], and (whether causal, tokens) of those that were."""

    features: np.ndarray
    causal: np.ndarray
    sizes: tuple[tuple[bool, int], ...]


class TypedText(Value):
    """What one text shows in the model and in those with shuffled weights, and its maps in the model and in the last of these."""

    own: TextEvidence
    page: MapPage
    twins: tuple[TextEvidence, ...] = ()
    random_page: MapPage | None = None


@register
class HeadTypesStudy(Divided):
    """The type of every head: previous-token, duplicate-token, induction, sink, positional ..., and the kind of its map."""

    id: ClassVar[str] = "head_types"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("E19",)
    verb: ClassVar[str] = "heads"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = HeadTypes
    reference: ClassVar[Reference] = Reference(
        authors="Kovaleva et al.", year=2019, title="Revealing the Dark Secrets of BERT",
        where="arXiv:1908.08593", equation="sec. 4.1",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = "1 + n_twins forwards a text and a repeat"
    threshold: float = Field(
        0.4, ge=0, le=1, description="least share of its attention for a head to have a type"
    )
    n_repeats: int = Field(10, ge=2, description="runs of random tokens said twice")
    repeat_length: int = Field(16, ge=3, description="tokens of a saying")
    n_twins: int = Field(3, ge=1, description="models with shuffled weights to beat")
    n_maps: int = Field(120, ge=5, description="maps of each kind that the classifier is trained on")
    seed: int = Field(0, description="seed of the repeats, the maps and the shuffled weights")

    part: ClassVar[type[Value]] = TypedText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[TypedText]:
        """Each text, in the model and in those with shuffled weights."""
        own = [_seen(lab, item) for item in items]
        others = [[_seen(twin, item) for item in items] for twin, _ in self._twins(lab) if twin]
        return [
            TypedText(
                own=evidence,
                page=page,
                twins=tuple(twin[i][0] for twin in others),
                random_page=others[-1][i][1] if others else None,
            )
            for i, (evidence, page) in enumerate(own)
        ]

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[TypedText], target: Target, n_failed: int = 0
    ) -> HeadTypes:
        """The types of all heads."""
        heads = heads_of(lab)
        evidence = (gathered([p.own for p in parts]), self._repeats(lab))
        others, reason = [], ""
        for k, (twin, why) in enumerate(self._twins(lab)):
            reason = why
            if twin is not None:
                others.append((gathered([p.twins[k] for p in parts]), self._repeats(twin)))
        album = _bound(heads, [p.page for p in parts])
        random = [p.random_page for p in parts if p.random_page is not None]
        random_album = _bound(heads, random) if random else None
        judge = Judge.of(evidence, others, self.threshold)
        classifiers = album.classifiers(self.n_maps, self.seed)
        kinds, agreement = album.judged(classifiers)
        scores = (*judge.scores(heads, reason, n_failed), *(c.score for c in classifiers.values()))
        labels = judge.labels()
        return HeadTypes(
            title="What does each head look at?",
            lede=_words(heads, judge, labels),
            heads=heads.names,
            layers=heads.rows,
            places=heads.places,
            types=judge.types,
            share=judge.share,
            chance=judge.chance,
            low=judge.low,
            best_random=judge.bar,
            label=labels,
            distance=evidence[0].usual,
            kinds=KINDS,
            kind_share=kinds,
            agreement=agreement,
            random_kinds=_count(None if random_album is None else random_album.judged(classifiers)[0]),
            trust=Trust(scores=scores),
        )

    def _twins(self, lab: Lab) -> Iterator[tuple[Lab | None, str]]:
        """The models with shuffled weights, one at a time; or None, and why there is none."""
        for k in range(self.n_twins):
            twin, reason = twin_of(lab, derive(self.seed, "twin", k))
            yield twin, reason
            if twin is None:
                return

    def _repeats(self, lab: Lab) -> Evidence:
        return on_repeats(lab, heads_of(lab), self.n_repeats, self.repeat_length)


def _seen(lab: Lab, item: Any) -> tuple[TextEvidence, MapPage]:
    """One text in one model."""
    heads = heads_of(lab)
    album = Album(heads, 1)
    found = on_text(lab, heads, item, album.keep)
    sizes = tuple((causal, n) for causal, each in sorted(album.lengths.items()) for n in sorted(set(each)))
    return found, MapPage(features=album.features[0], causal=album.masks, sizes=sizes)


def _bound(heads: Heads, pages: Sequence[MapPage]) -> Album:
    """The maps of all texts."""
    album = Album(heads, len(pages))
    for i, page in enumerate(pages):
        album.features[i] = page.features
        album.masks |= page.causal
        for causal, size in page.sizes:
            album.lengths.setdefault(causal, []).append(size)
    return album


@dataclass(frozen=True)
class Judge:
    """Evidence of one model against that of its twin: `share`, `chance`, `low` [head, type] and `bar` [type]."""

    types: tuple[str, ...]
    share: np.ndarray
    chance: np.ndarray
    low: np.ndarray
    bar: np.ndarray
    threshold: float
    own: tuple[Evidence, ...]
    twins: Sequence[tuple[Evidence, ...]]

    @classmethod
    def of(
        cls, own: tuple[Evidence, ...], twins: Sequence[tuple[Evidence, ...]], threshold: float
    ) -> "Judge":
        """The judge; intervals are made only where a head could pass."""
        share = np.concatenate([mean(e.value) for e in own], -1)
        chance = np.concatenate([mean(e.chance) for e in own], -1)
        bar = np.full(share.shape[1], np.nan)
        for twin in twins:
            bar = np.fmax(bar, np.concatenate([_most(mean(e.value)) for e in twin]))
        able = (share >= threshold) & (share > np.fmax(chance, bar))
        low = share.copy()
        for head, kind in np.argwhere(able):
            which, at = (0, kind) if kind < len(own[0].types) else (1, kind - len(own[0].types))
            low[head, kind] = _low(own[which].value[:, head, at])
        return cls(sum((e.types for e in own), ()), share, chance, low, bar, threshold, own, twins)

    def labels(self) -> tuple[str, ...]:
        """The type of each head, "-" for none."""
        passed = (self.share >= self.threshold) & (self.low > np.fmax(self.chance, self.bar))
        lift = np.where(passed, (self.share - self.chance) / np.maximum(1 - self.chance, 1e-9), -np.inf)
        positional = self.types.index("fixed distance")
        alone = passed.sum(-1) > passed[:, positional]
        lift[alone, positional] = -np.inf
        best = lift.argmax(-1)
        return tuple(self.types[t] if lift[i, t] > -np.inf else NO_TYPE for i, t in enumerate(best))

    def scores(self, heads: Heads, reason: str, failed: int) -> Iterator[Score]:
        """The best head of every type that the model has a place for."""
        for i, e in enumerate(self.own):
            for t, name in enumerate(e.types):
                if np.isfinite(e.value[:, :, t]).any():
                    lost = 0 if i else failed  # repeats are no texts
                    yield _best(name, heads, e, [twin[i] for twin in self.twins], t, reason, lost)


def _most(values: np.ndarray) -> np.ndarray:
    """The largest over heads [type]."""
    filled = np.where(np.isfinite(values), values, -np.inf).max(0)
    return np.where(np.isfinite(filled), filled, np.nan)


def _low(values: np.ndarray) -> float:
    """Lower end of the interval over texts; the mean itself of a single one."""
    good = values[np.isfinite(values)]
    found = bootstrap_mean(good)
    return float(good.mean()) if found is None else found[0]


def _best(
    name: str, heads: Heads, own: Evidence, twins: Sequence[Evidence], t: int, reason: str, failed: int
) -> Score:
    """The score of one type."""
    head, held, chance = _chosen(own, t)
    others = [_chosen(twin, t)[1] for twin in twins]
    return mean_score(
        f"{name}: share of the best head, {heads.names[head]}, on held-out texts",
        held,
        chance=float(mean(chance)),
        control=max(others, key=lambda v: float(np.nan_to_num(mean(v)))) if others else None,
        control_name=f"the best head of {len(twins)} models with shuffled weights",
        failed=failed,
        skipped=reason,
    )


def _chosen(e: Evidence, t: int) -> tuple[int, np.ndarray, np.ndarray]:
    """The best head of a type on every other item; its values and their chance [item] on the rest."""
    several = len(e.value) > 1
    choose, rest = (slice(0, None, 2), slice(1, None, 2)) if several else (slice(None), slice(None))
    on = mean(e.value[choose, :, t])
    head = int(np.argmax(np.where(np.isfinite(on), on, -np.inf)))
    return head, e.value[rest, head, t], e.chance[rest, head, t]


def _count(kinds: np.ndarray | None) -> np.ndarray:
    """Heads of each kind [kind]; NaN where there is no twin."""
    if kinds is None:
        return np.full(len(KINDS), np.nan)
    judged = kinds[np.isfinite(kinds).all(-1)]
    return np.bincount(judged.argmax(-1), minlength=len(KINDS)).astype(float)


def _words(heads: Heads, judge: Judge, labels: tuple[str, ...]) -> str:
    """What was found."""
    typed = [(t, [i for i, x in enumerate(labels) if x == t]) for t in judge.types]
    found = []
    for t, members in typed:
        if members:
            k = judge.types.index(t)
            best = max(members, key=lambda i: judge.share[i, k])
            found.append(f"{len(members)} {t} (most: {heads.names[best]}, {judge.share[best, k]:.2f})")
    against = (
        "uniform attention and the best head of models with shuffled weights"
        if judge.twins
        else "uniform attention (there was no model with shuffled weights to compare with)"
    )
    if not found:
        return f"No head puts {judge.threshold:.0%} of its attention where a type says and beats {against}."
    n = sum(x != NO_TYPE for x in labels)
    return f"{n} of {len(heads)} heads have a type that beats {against}: {'; '.join(found)}."
