"""Composition: which later heads read what which earlier heads write, from the weights alone.

For every head of an earlier layer (W_OV = W_V W_O) and every head of a later one (W_QK = W_Q W_K^T):

    K    ||W_OV W_K W_Q^T|| / (||W_OV|| ||W_QK||)    what the reader looks for (an induction head's keys: the previous token)
    Q    ||W_OV W_Q W_K^T|| / (||W_OV|| ||W_QK||)    what the reader looks with
    V    ||W_OV W_V' W_O'|| / (||W_OV|| ||W_OV'||)   what the reader carries on

1. matrices of any family by `models.circuits`: gain and centring of norms folded in, grouped queries with their key-value head,
   norms on the sum in between (post-norm) passed;
2. scores of all pairs from low-rank factors (`ops.composition`);
3. chance: a random rotation of the residual between the two heads; the probability of the strongest pair is corrected for
   the number of pairs looked at (Sidak).

Control: the strongest pair with randomised weights. A head whose matrix is below 2 % of the largest is left out. Only the
direct path through the residual is seen: no feed-forward parts, no rotation of positions (distance 0), no scale of norms.

Cost: d + 1 tokens of one forward, twice (randomised weights). Reference: Elhage et al. 2021, "Three kinds of composition".
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from exegete.core.errors import ModelError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.composition import KINDS, Composition
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import twin_of
from exegete.models.circuits import LayerCircuits, carried, circuits, turns
from exegete.models.lab import Lab
from exegete.ops.composition import beyond, by_chance, composition, evenness, reader, root, writer

_LEAST = 0.02  # of the largest matrix of its kind


@register
class CompositionStudy(Study):
    """Which heads read what earlier heads write (Q-, K- and V-composition), against random rotations between them."""

    id: ClassVar[str] = "composition"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H10",)
    verb: ClassVar[str] = "heads"
    asks: ClassVar[Any] = "nothing"
    finds: ClassVar[type] = Composition
    home: ClassVar[str] = "terrarium/repeats"
    reference: ClassVar[Reference] = Reference(
        authors="Elhage et al.", year=2021, title="A Mathematical Framework for Transformer Circuits",
        where="transformer-circuits.pub/2021/framework", equation="composition scores",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("weights", "sites")
    passes: ClassVar[str] = "d + 1 tokens of one forward, twice"
    n_top: int = Field(20, ge=1, description="pairs that are listed")
    seed: int = Field(0, description="seed of the randomised weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Composition:
        """Over all pairs of heads of the main stack."""
        found = _pairs(lab)
        control, skipped = None, ""
        other, why = twin_of(lab, self.seed)
        if other is None:
            skipped = f"randomised weights: {why}"
        else:
            twin = _pairs(other)
            control = float(twin.score[twin.best])
        kind, w, r = found.best
        score = Score(
            name=f"{KINDS[kind].upper()}-composition of {found.heads[w]} and {found.heads[r]}",
            value=float(found.score[found.best]),
            chance=float(found.score[found.best] - found.excess[found.best]),
            control=control,
            control_name="the strongest pair with randomised weights" if control is not None else "",
            percentile=100 * found.surely,
            n=found.n,
            skipped=skipped,
        )
        return Composition(
            title="Which heads read which?",
            lede=_lede(found, score),
            score=found.score.astype(np.float32),
            excess=found.excess.astype(np.float32),
            heads=found.heads,
            layers=found.layers,
            top=found.top(self.n_top),
            distance_zero=turns(lab.model.map),
            trust=Trust(scores=(score,)),
        )


def _pairs(lab: Lab) -> "_Pairs":
    """Every pair of heads of two layers. Raises `ModelError` for a model of one layer."""
    weights, bound = circuits(lab), lab.model.map
    if len(weights) < 2:
        raise ModelError(
            f"You asked for the composition of heads in {lab.model.name}.",
            "It has one layer, and heads compose across layers.",
            "Use a model of two layers or more, or weight_tables.",
        )
    found = _Pairs.of(weights)
    roots = [root(w.read("v")) for w in weights]
    for second in range(1, len(weights)):
        readers = [_reader(weights[second], kind) for kind in KINDS]
        reading = [evenness(r).cpu().numpy() for r in readers]
        for first in range(second):
            writes = roots[first] @ carried(bound, weights[first].o, first, second).double()
            writing = evenness(writes).cpu().numpy()
            for i, reads in enumerate(readers):
                score = composition(writes.float(), reads.float()).double().cpu().numpy()
                found.put((i, first, second), score, writing, reading[i])
    return found


@dataclass
class _Pairs:
    """Scores, excesses over chance and probabilities by chance [kind, writer, reader]; `size` [head] of what heads write;
    whether a head writes [head] or reads [kind, head] at all; `d` the width of the residual.
    """

    score: np.ndarray
    excess: np.ndarray
    beyond: np.ndarray
    size: np.ndarray
    writes: np.ndarray
    reads: np.ndarray
    heads: tuple[str, ...]
    layers: np.ndarray
    d: int

    @classmethod
    def of(cls, weights: tuple[LayerCircuits, ...]) -> "_Pairs":
        """Before any pair is scored."""
        heads = weights[0].n_heads
        n = len(weights) * heads
        size = np.concatenate([_size(writer(w.read("v"), w.o)) for w in weights])
        reads = np.array([np.concatenate([_size(_reader(w, kind)) for w in weights]) for kind in KINDS])
        return cls(
            *(np.full((len(KINDS), n, n), np.nan) for _ in range(3)),
            size=size,
            writes=size >= _LEAST * size.max(),
            reads=reads >= _LEAST * reads.max(1, keepdims=True),
            heads=tuple(f"{i}.h{h}" for i in range(len(weights)) for h in range(heads)),
            layers=np.repeat(np.arange(len(weights)), heads),
            d=weights[0].o.shape[-1],
        )

    def put(
        self, place: tuple[int, int, int], score: np.ndarray, writing: np.ndarray, reading: np.ndarray
    ) -> None:  # fmt: skip
        """Note scores [writer, reader] of (kind, earlier layer, later layer), of heads of such `evenness`."""
        kind, heads = place[0], len(score)
        rows, columns = (slice(i * heads, (i + 1) * heads) for i in place[1:])
        kept = self.writes[rows][:, None] & self.reads[kind, columns]
        chance = by_chance(writing, reading, self.d)
        self.score[kind, rows, columns] = np.where(kept, score, np.nan)
        self.excess[kind, rows, columns] = np.where(kept, score - chance, np.nan)
        self.beyond[kind, rows, columns] = np.where(kept, beyond(score, writing, reading, self.d), np.nan)

    @property
    def n(self) -> int:
        """Pairs that were scored, of all kinds."""
        return int(np.isfinite(self.score).sum())

    @property
    def surely(self) -> float:
        """Probability that none of as many random pairs is as improbable as the best one (Sidak)."""
        return float(np.exp(self.n * np.log1p(-min(self.beyond[self.best], 1 - 1e-15))))

    @property
    def best(self) -> tuple[int, int, int]:
        """Kind, writer and reader of the largest excess."""
        i, w, r = np.unravel_index(np.nanargmax(self.excess), self.excess.shape)
        return int(i), int(w), int(r)

    def top(self, n: int) -> tuple[tuple[str, str, str, float, float, float, float, float], ...]:
        """The pairs of largest excess, as rows of the table."""
        order = np.argsort(np.where(np.isfinite(self.excess), -self.excess, np.inf), axis=None, kind="stable")
        rows = [
            np.unravel_index(i, self.excess.shape) for i in order[: min(n, np.isfinite(self.excess).sum())]
        ]
        whole = self.size.max()
        return tuple(
            (
                KINDS[i].upper(), self.heads[w], self.heads[r], float(self.score[i, w, r]),
                float(self.score[i, w, r] - self.excess[i, w, r]), float(self.excess[i, w, r]),
                100 * float(1 - self.beyond[i, w, r]), float(self.size[w] / whole),
            )
            for i, w, r in rows
        )  # fmt: skip


def _reader(layer: LayerCircuits, kind: str) -> Tensor:
    """Heads of a layer as readers [head, d, r] of one kind."""
    if kind == "v":
        return reader(layer.read("v"), layer.o.mT)
    q, k = layer.read("q"), layer.read("k")
    return reader(k, q) if kind == "k" else reader(q, k)


def _size(factors: Tensor) -> np.ndarray:
    return factors.flatten(1).norm(dim=1).cpu().numpy()


def _lede(found: _Pairs, score: Score) -> str:
    kind, w, r = found.best
    stands = "stands out" if score.beats_chance and score.beats_control is not False else "does NOT stand out"
    against = "" if score.control is None else f", the strongest with randomised weights {score.control:.2f}"
    return (
        f"{found.heads[r]} reads what {found.heads[w]} writes most ({KINDS[kind].upper()}-composition {score.value:.2f}, by chance "
        f"{score.chance:.2f}{against}): this {stands} among {score.n:,} pairs."
    )
