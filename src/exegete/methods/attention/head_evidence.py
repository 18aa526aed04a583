"""What types a head: where its attention goes on ordinary texts, and on random tokens said twice.

On texts, the share of a query's attention on
    previous token, own token, next token   the position before, at and after the query
    first token                             the first position (an attention sink)
    separator                               other special tokens and punctuation, at another place than the query's own
    fixed distance                          share of queries whose most attended key stands at the head's usual distance; the
                                            distance is chosen on even queries and counted on odd ones
On random tokens said twice (different within a saying, so that nothing else tells where to look), for queries of the second
    duplicate token                         the same token in the first
    induction                               the token after it

Chance is uniform attention over what a query sees. Shapes: [text, head, type], NaN where a text has no such query.
Cost: 1 forward a text and a repeat. References: Clark et al. 2019, sec. 3; Voita et al. 2019, sec. 5.2; Olsson et al. 2022.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.request import Text
from exegete.core.site import Stack
from exegete.core.value import Value
from exegete.methods.attention.head_reading import Heads, Take, watch
from exegete.methods.attention.look import Read, reread, shifted
from exegete.models.encode import encode, limit
from exegete.models.lab import Lab
from exegete.ops.attended import mass, offsets

ON_TEXTS = ("previous token", "own token", "next token", "first token", "separator", "fixed distance")
ON_REPEATS = ("duplicate token", "induction")
LEAST_REPEAT = 3  # tokens of a saying


@dataclass(frozen=True)
class Evidence:
    """`value` and `chance` [item, head, type] of some `types`, an item a text or a repeat; `usual` [head] the usual distance (NaN on repeats)."""

    types: tuple[str, ...]
    value: np.ndarray
    chance: np.ndarray
    usual: np.ndarray


class TextEvidence(Value):
    """What one text shows: `value` and `chance` [head, type] (of "fixed distance" not yet), `far` [head, query] the distance of the most
    attended key, and which keys are seen: different `views` [query, key], and which of them a head has, `view` [head].
    """

    value: np.ndarray
    chance: np.ndarray
    far: np.ndarray
    views: tuple[np.ndarray, ...]
    view: np.ndarray

    def kept_distance(self, usual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Share of odd queries at the usual distance of each head, and that of uniform attention [head]."""
        value, chance = np.full((2, len(usual)), np.nan)
        for head, k in enumerate(self.view):
            seen = self.views[k]
            odd = np.arange(1, len(seen), 2)
            counted = odd[~np.isnan(self.far[head, odd])]
            if len(counted):
                value[head] = (self.far[head, counted] == usual[head]).mean()
                chance[head] = _by_chance(seen, counted, usual[head])
        return value, chance


@dataclass(frozen=True)
class Sight:
    """The patterns of one layer on one text: number of the text, stack, layer, [head, query, key] and the keys seen."""

    text: int
    stack: Stack
    layer: int
    pattern: np.ndarray
    seen: np.ndarray


def on_texts(lab: Lab, heads: Heads, items: Sequence[Text]) -> Evidence:
    """The types seen on texts."""
    return gathered([on_text(lab, heads, text) for text in items])


def on_text(lab: Lab, heads: Heads, text: Text, also: Callable[[Sight], None] | None = None) -> TextEvidence:
    """What one text shows. `also`, where given, is shown every layer, at no extra pass."""
    return _OnText(heads, lab, text, also).found()


def gathered(found: Sequence[TextEvidence]) -> Evidence:
    """The types seen on several texts: the usual distance of a head is that of all."""
    usual = _usual([f.far for f in found])
    value, chance = (np.stack([getattr(f, name) for f in found]) for name in ("value", "chance"))
    for i, f in enumerate(found):
        value[i, :, -1], chance[i, :, -1] = f.kept_distance(usual)
    return Evidence(ON_TEXTS, value, chance, usual)


class _OnText:
    """What one text shows, taken layer by layer: `value` and `chance` [head, type], `far` [head, query] distances."""

    def __init__(self, heads: Heads, lab: Lab, text: Text, also: Callable[[Sight], None] | None) -> None:
        look = reread(lab, text)
        self.heads, self.also = heads, also
        self.rules = {stack: _rules(read) for stack, read in look.reads.items()}
        longest = max(len(r.pieces) for r in look.reads.values())
        self.value, self.chance = np.full((2, len(heads), len(ON_TEXTS)), np.nan)
        self.far = np.full((len(heads), longest), np.nan)
        self.views: list[np.ndarray] = []
        self.view = np.zeros(len(heads), np.int64)
        watch(lab, heads, look.inputs, self.take)

    def take(self, stack: Stack, layer: int, pattern: np.ndarray, seen: np.ndarray) -> None:
        """One layer."""
        at, p, s = self.heads.slice(stack, layer), pattern[0], seen[0]
        for t, rule in enumerate(self.rules[stack]):
            self.value[at, t], self.chance[at, t] = mass(p, s, rule)
        self.far[at, : p.shape[1]] = offsets(p, s)
        known = next((k for k, v in enumerate(self.views) if np.array_equal(v, s[0])), len(self.views))
        if known == len(self.views):
            self.views.append(s[0].copy())
        self.view[at] = known
        if self.also is not None:
            self.also(Sight(0, stack, layer, p, s))

    def found(self) -> TextEvidence:
        """All layers."""
        views = tuple(self.views)
        return TextEvidence(value=self.value, chance=self.chance, far=self.far, views=views, view=self.view)


def on_repeats(lab: Lab, heads: Heads, n: int, length: int) -> Evidence:
    """The types seen on `n` runs of random tokens said twice; all NaN where the model cannot read so many."""
    value, chance = np.full((2, n, len(heads), len(ON_REPEATS)), np.nan)
    ids, start, length = repeated(lab, n, length)
    for part in lab.chunks(n if length >= LEAST_REPEAT else 0, ids.shape[1]):
        watch(lab, heads, *_run_of(lab, heads, ids[part], start, length, value[part], chance[part]))
    return Evidence(ON_REPEATS, value, chance, np.full(len(heads), np.nan))


def _run_of(
    lab: Lab, heads: Heads, ids: Tensor, start: int, length: int, value: np.ndarray, chance: np.ndarray
) -> tuple[dict[str, Tensor], Take]:
    """Inputs of one batch of repeats, and what fills `value` and `chance` [item, head, type] from it."""
    late = len(lab.model.map.stacks) > 1  # a decoder reads everything one place later

    def take(stack: Stack, layer: int, pattern: np.ndarray, seen: np.ndarray) -> None:
        rules = _second_saying(pattern.shape[-1], start + (late and stack == "dec"), length)
        at = heads.slice(stack, layer)
        for i in range(len(pattern)):
            for t, rule in enumerate(rules):
                value[i, at, t], chance[i, at, t] = mass(pattern[i], seen[i], rule)

    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **shifted(lab, ids)}
    return inputs, take


def repeated(lab: Lab, n: int, length: int) -> tuple[Tensor, int, int]:
    """Ids [n, tok] of random ordinary tokens said twice within the model's own special tokens; where the first saying starts,
    and the tokens of a saying (fewer than asked where the model reads no more)."""
    tokenizer = lab.model.tokenizer
    wrap = encode(lab.model, Text(text="the")).tokens
    plain = [i for i, t in enumerate(wrap) if not t.special]
    lead, tail = [t.id for t in wrap[: plain[0]]], [t.id for t in wrap[plain[-1] + 1 :]]
    usable = np.setdiff1d(np.arange(min(len(tokenizer), lab.model.vocabulary)), tokenizer.all_special_ids)
    room = (limit(lab.model) or 10**6) - len(lead) - len(tail)
    length = min(length, room // 2, len(usable))
    draw = lab.rng("repeated tokens")
    said = [draw.choice(usable, size=length, replace=False).tolist() for _ in range(n)]
    return torch.tensor([[*lead, *s, *s, *tail] for s in said], device=lab.model.device), len(lead), length


def _rules(read: Read) -> list[np.ndarray]:
    """The keys that each type points at [query, key], in the order of `ON_TEXTS` less the last."""
    n = len(read.pieces)
    first = np.zeros((n, n), bool)
    first[:, 0] = True
    marks = np.array([_separates(p) for p in read.pieces]) | read.special
    return [np.eye(n, k=k, dtype=bool) for k in (-1, 0, 1)] + [
        first,
        ~first & marks[None] & ~np.eye(n, dtype=bool),
    ]


def _separates(piece: str) -> bool:
    word = piece.strip("▁Ġ ")
    return word != "" and not any(c.isalnum() for c in word)


def _second_saying(size: int, start: int, length: int) -> list[np.ndarray]:
    """For queries of the second saying: the same token before (duplicate), and the one after that (induction)."""
    found = [np.zeros((size, size), bool) for _ in ON_REPEATS]
    for i in range(start + length, min(start + 2 * length, size)):
        found[0][i, i - length] = True
        if i < start + 2 * length - 1:
            found[1][i, i - length + 1] = True
    return found


def _usual(far: Sequence[np.ndarray]) -> np.ndarray:
    """The most frequent distance of each head [head] over even queries; NaN where none is clear."""
    even = np.concatenate([f[:, ::2] for f in far], 1)
    return np.array([_mode(row) for row in even])


def _mode(row: np.ndarray) -> float:
    values, counts = np.unique(row[np.isfinite(row)], return_counts=True)
    if not len(values):
        return float("nan")
    best = values[counts == counts.max()]
    return float(best[np.argmin(np.abs(best))])


def _by_chance(seen: np.ndarray, queries: np.ndarray, distance: float) -> float:
    """Mean share of uniform attention at a distance."""
    if np.isnan(distance):
        return float((1 / seen[queries].sum(-1)).mean())
    key = queries + int(distance)
    inside = (key >= 0) & (key < seen.shape[1])
    there = inside & seen[queries, np.clip(key, 0, seen.shape[1] - 1)]
    return float((there / seen[queries].sum(-1)).mean())


def mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is a number; NaN where nothing is."""
    good = np.isfinite(values)
    n = good.sum(0)
    return np.where(n > 0, np.where(good, values, 0.0).sum(0) / np.maximum(n, 1), np.nan)
