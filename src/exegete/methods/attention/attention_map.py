"""Attention maps: the pattern of every head on one text, in pictures and in numbers.

1. run the text once; of each layer only what is asked for is kept, as it is made: six numbers a head (`ops.patterns`), and
   the patterns of the chosen heads;
2. where all chosen patterns would be more than `most_numbers` numbers, those are kept whose attention the numbers tell least
   about (the largest share on tokens that are neither first, special, own nor previous), and it is said how many are not;
3. where they are few, q and k of the kept heads too, and the factor between q . k and the score, for the neuron view.

A display: it ranks nothing and says nothing about what the output depends on (see `attention_debate` for that).

Cost: 1 forward (and one to choose the target of an encoder-decoder). Memory: one layer's patterns beside what is kept.
Reference: Vig 2019, "A Multiscale Visualization of Attention in the Transformer Model", sec. 3.
"""

import heapq
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from exegete.core.errors import UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.attention import AttentionMaps, HeadMaps
from exegete.core.target import Target
from exegete.methods.attention.look import Attention, Look, attentions, by_head, first_row, look
from exegete.methods.contracts.study import Study
from exegete.models.capture import Trace
from exegete.models.lab import Lab
from exegete.ops.patterns import summary

MOST_NEURONS = 400_000  # numbers of q and k that are kept for the neuron view


@register
class AttentionMap(Study):
    """Where every head looks in one text: patterns by layer and head, what each head does in numbers, q and k."""

    id: ClassVar[str] = "attention_map"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("B1", "B2", "B3")
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    most: ClassVar[int | None] = 1
    finds: ClassVar[type] = AttentionMaps
    shows: ClassVar[bool] = True
    reference: ClassVar[Reference] = Reference(
        authors="Vig", year=2019, title="A Multiscale Visualization of Attention in the Transformer Model",
        where="arXiv:1906.05714", equation="sec. 3",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = "1 forward"
    layers: tuple[int, ...] = Field((), description="layers to show, from 0; none for all")
    heads: tuple[int, ...] = Field((), description="heads to show, from 0; none for all")
    threshold: float = Field(0.0, ge=0, lt=1, description="weights below this are not drawn at first")
    from_sentence: int = Field(0, ge=0, description="only queries in this sentence, from 1; 0 for all")
    to_sentence: int = Field(0, ge=0, description="only keys in this sentence, from 1; 0 for all")
    most_numbers: int = Field(4_000_000, ge=1, description="most numbers of patterns that are kept")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> AttentionMaps:
        """The maps of one text."""
        seen = look(lab, items[0], target)
        found = attentions(lab)
        self._check(lab, seen, found)
        rooms = self._room(seen, found)
        few = [a for a in found if self._neurons(lab, a, seen) <= MOST_NEURONS]
        keepers = [_Keeper(self, a, seen, rooms[a.name], a in few) for a in found]
        reduce = {site: fn for k in keepers for site, fn in k.reducers().items()}
        wanted = [s for a in few for kind in ("q", "k") for s in self._chosen(a, kind)]
        t = lab.run(seen.inputs, read=wanted, reduce=reduce, rows=first_row(seen))
        maps = [_with_neurons(k, t) if k.whole else k.maps() for k in keepers]
        return AttentionMaps(
            title="Where does every head look?",
            lede=_words(maps),
            maps=tuple(maps),
            threshold=self.threshold,
            context=(("text", " ".join(seen.reads[found[0].keys].pieces)),),
        )

    def takes(self, layer: int, head: int) -> bool:
        """Whether a head is to be shown."""
        return (not self.layers or layer in self.layers) and (not self.heads or head in self.heads)

    def _room(self, seen: Look, found: tuple[Attention, ...]) -> dict[str, int]:
        """Most heads of each attention, by name; each gets an equal share of the numbers."""
        sizes = {a.name: len(seen.reads[a.queries].pieces) * len(seen.reads[a.keys].pieces) for a in found}
        return {name: max(1, self.most_numbers // len(found) // max(n, 1)) for name, n in sizes.items()}

    def _chosen(self, a: Attention, kind: str) -> list[Any]:
        return [s for s in a.kin(kind) if not self.layers or s.layer in self.layers]

    def _neurons(self, lab: Lab, a: Attention, seen: Look) -> int:
        """Numbers of q and k that the chosen heads have; too many where one of their places cannot be seen."""
        if not all(lab.model.map.has(s) for kind in ("q", "k", "scores") for s in self._chosen(a, kind)):
            return MOST_NEURONS + 1
        tower = lab.model.map.tower(a.queries)
        heads = len(self._chosen(a, "q")) * (len(set(self.heads)) or tower.n_heads)
        return heads * tower.d_head * sum(len(seen.reads[s].pieces) for s in (a.queries, a.keys))

    def _check(self, lab: Lab, seen: Look, found: tuple[Attention, ...]) -> None:
        """Refuse layers, heads and sentences that are not there."""
        most_layers = max((len(lab.model.map.tower(a.queries).layers) for a in found), default=0)
        most_heads = max((lab.model.map.tower(a.queries).n_heads for a in found), default=0)
        parts = 1 + max((max(r.parts, default=0) for r in seen.reads.values()), default=0)
        for name, given, most in (
            ("layer", self.layers, most_layers), ("head", self.heads, most_heads),
            ("sentence", [s - 1 for s in (self.from_sentence, self.to_sentence) if s], parts),
        ):  # fmt: skip
            wrong = [x for x in given if not 0 <= x < most]
            if wrong:
                first = 1 if name == "sentence" else 0
                raise UsageError(
                    f"You asked for the {name} {wrong[0] + first} of the attention of {lab.model.name}.",
                    f"There {'are' if most > 1 else 'is'} {most}, counted from {first}.",
                    "Choose among these, or leave it out.",
                )


@dataclass
class _Keeper:
    """Takes the patterns of one attention as they are made, and keeps the numbers of all heads and the patterns of some."""

    study: AttentionMap
    attention: Attention
    seen: Look
    room: int
    whole: bool
    visible: dict[int, np.ndarray] = field(default_factory=dict)
    numbers: dict[int, np.ndarray] = field(default_factory=dict)
    kept: list[tuple[float, int, int, np.ndarray]] = field(default_factory=list)
    offered: int = 0

    def reducers(self) -> dict[Any, Any]:
        """What is done with scores and pattern of each layer, by site; scores come first."""
        both = zip(self.attention.kin("scores"), self.attention.sites)
        return {s: fn for scores, pattern in both for s, fn in self._of(scores, pattern).items()}

    def _of(self, scores: Any, pattern: Any) -> dict[Any, Any]:
        layer = pattern.layer
        return {
            scores: lambda x: self._see(layer, x),
            pattern: lambda x: self._take(layer, by_head(x)),
        }

    def _see(self, layer: int, scores: Tensor) -> np.ndarray | None:
        self.visible[layer] = (scores[0] > -np.inf).sum(-1).cpu().numpy()
        return by_head(scores) if self.whole else None

    def _take(self, layer: int, pattern: np.ndarray) -> None:
        a = self.attention
        found = summary(pattern, self.visible[layer], self.seen.reads[a.keys].special, not a.cross)
        self.numbers[layer] = found.rows()
        for head in range(len(pattern)):
            if self.study.takes(layer, head):
                self._keep(float(found.content[head]), layer, head, self._cut(pattern[head]))

    def _keep(self, content: float, layer: int, head: int, pattern: np.ndarray) -> None:
        self.offered += 1
        entry = (content, -layer, -head, pattern)  # places are unique: patterns are never compared
        if len(self.kept) < self.room:
            heapq.heappush(self.kept, entry)
        else:
            heapq.heappushpop(self.kept, entry)

    def _cut(self, pattern: np.ndarray) -> np.ndarray:
        rows, columns = self.places()
        return pattern[np.ix_(rows, columns)].copy()

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Queries and keys that are shown."""
        a, s = self.attention, self.study
        queries, keys = self.seen.reads[a.queries].parts, self.seen.reads[a.keys].parts
        return _in_sentence(queries, s.from_sentence), _in_sentence(keys, s.to_sentence)

    def maps(self) -> HeadMaps:
        """What was kept, in the order of layers and heads."""
        a = self.attention
        kept = sorted(self.kept, key=lambda e: (-e[1], -e[2]))
        rows, columns = self.places()
        queries, keys = self.seen.reads[a.queries], self.seen.reads[a.keys]
        all_heads = [(layer, head) for layer, found in self.numbers.items() for head in range(len(found))]
        return HeadMaps(
            name=a.name,
            patterns=np.stack([e[3] for e in kept])
            if kept
            else np.zeros((0, len(rows), len(columns)), np.float32),
            layers=tuple(-e[1] for e in kept),
            heads=tuple(-e[2] for e in kept),
            queries=tuple(queries.pieces[i] for i in rows),
            keys=tuple(keys.pieces[i] for i in columns),
            query_parts=tuple(queries.parts[i] for i in rows),
            key_parts=tuple(keys.parts[i] for i in columns),
            all_layers=tuple(layer for layer, _ in all_heads),
            all_heads=tuple(head for _, head in all_heads),
            numbers=np.concatenate(list(self.numbers.values())),
            left_out=self.offered - len(kept),
        )


def _in_sentence(parts: tuple[int, ...], sentence: int) -> np.ndarray:
    """Places of the tokens in a sentence (from 1; 0 for all), of all where the stack's text is one sentence."""
    if sentence == 0 or len(set(parts) - {-1}) < 2:
        return np.arange(len(parts))
    return np.flatnonzero(np.array(parts) == sentence - 1)


def _with_neurons(keeper: _Keeper, t: Trace) -> HeadMaps:
    """The maps with q and k of each head, and the factor between q . k and the score."""
    found, a = keeper.maps(), keeper.attention
    rows, columns = keeper.places()
    at = {s.layer: i for i, s in enumerate(a.sites)}
    qs, ks, scales = [], [], []
    for layer, head in zip(found.layers, found.heads):
        kinds = (a.kin(kind)[at[layer]] for kind in ("q", "k", "scores"))
        q, k, scores = (t[s] if s.kind.endswith("scores") else by_head(t[s]) for s in kinds)
        k = k[head * len(k) // len(q)]  # grouped queries share keys
        q = q[head]
        scales.append(_scale(q @ k.T, scores[head]))
        qs.append(q[rows])
        ks.append(k[columns])
    if not qs:
        return found
    same = np.allclose(scales, scales[0], rtol=1e-3)
    scale = float(scales[0]) if same else float("nan")
    return found.model_copy(update={"q": np.stack(qs), "k": np.stack(ks), "scale": scale})


def _scale(products: np.ndarray, scores: np.ndarray) -> float:
    """The factor from q . k to the score; NaN where there is none, for the model adds or caps something."""
    seen = np.isfinite(scores)
    x, y = products[seen].astype(np.float64), scores[seen].astype(np.float64)
    factor = float(x @ y / max(float(x @ x), 1e-30))
    return (
        factor
        if np.abs(y - factor * x).max(initial=0) <= 1e-4 * max(1.0, np.abs(y).max(initial=0))
        else float("nan")
    )


def _words(maps: list[HeadMaps]) -> str:
    """How many heads mostly look at the first or special tokens, at themselves or the token before, at other tokens."""
    numbers = np.concatenate([m.numbers for m in maps])
    rest, near, content = numbers[:, 3:5].max(-1), np.nansum(numbers[:, 5:7], -1), numbers[:, 7]
    most = np.argmax(np.stack([rest, near, content]), 0)
    counts = [int((most == i).sum()) for i in range(3)]
    return (
        f"Of {len(numbers)} heads, {counts[0]} look mostly at the first or at special tokens, {counts[1]} at the token itself "
        f"or the one before, {counts[2]} at other tokens."
    )
