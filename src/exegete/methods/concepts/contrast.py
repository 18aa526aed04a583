"""Two kinds of labelled texts as pairs: which labels, which texts go together, and parts of them that share no text.

1. the two labels are those named, else the two most frequent that are no random set; in order of their names the second is
   the concept ("1" against "0", "true" against "false", "positive" against "negative");
2. texts with the same id are a pair; others are paired at random within their group (the same city, the same author), then within
   their data set (what an id has before ":"): those of groups only within bundles of groups, which do not tie everything together;
3. pairs are dealt, whole, into parts to learn on, to choose on and to score on; pairs that share a text or a group stay together.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.errors import InputError, UnknownName
from exegete.core.material import Marked, Parsed
from exegete.methods.concepts.concept_sets import RANDOM
from exegete.ops.split import split, together

BUNDLES = 10  # of groups, among whose texts pairs are drawn: each is about a tenth of the texts
LEAST = 5  # pairs in all: three parts of at least one, and two to learn on


@dataclass(frozen=True)
class Contrast:
    """Texts of both kinds: `items`; `pairs` [pair, 2] rows of (concept, other); the data set of each pair."""

    concept: str
    against: str
    items: tuple[Marked, ...]
    pairs: np.ndarray
    sets: tuple[str, ...]

    def parts(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Rows of `pairs` to learn on, to choose on and to score on; no text, and no group of texts, stands in two parts."""
        ties = [(*self.items[a].ties, *self.items[b].ties) for a, b in self.pairs]
        return split(together(ties), rng=rng)


def contrast(
    items: Sequence[Marked | Parsed], concept: str, against: str, rng: np.random.Generator
) -> Contrast:
    """Both kinds. Raises `InputError` for too few texts or marks on stretches, `UnknownName` for a label that there is not."""
    if any(isinstance(i, Parsed) or any(m.spans for m in i.marks) for i in items):
        raise InputError(
            "You asked for the direction of a concept.", "A label stands on a stretch of a text.",
            "Label whole texts: one text and its label each.",
        )  # fmt: skip
    kept: dict[tuple[str, str], Marked] = {}
    for item in items:
        if isinstance(item, Marked):
            kept.setdefault((item.text, _name(item)), item)
    counts = Counter(name for _, name in kept)
    first, second = _labels(counts, concept, against)
    own = tuple(i for (_, name), i in kept.items() if name in (first, second))
    pairs, sets = _paired(own, first, rng)
    if len(pairs) < LEAST:
        raise InputError(
            f"You asked for the direction from {second!r} to {first!r}.",
            f"There are {counts[first]} different texts of the one and {counts[second]} of the other.",
            f"Give at least {LEAST} of each; twenty or more are better.",
        )
    return Contrast(first, second, own, np.array(pairs), tuple(sets))


def _name(item: Marked) -> str:
    label = item.labels[0]
    return f"{label:g}" if isinstance(label, float) else str(label)


def _labels(counts: Counter[str], concept: str, against: str) -> tuple[str, str]:
    for name in filter(None, (concept, against)):
        if name not in counts:
            raise UnknownName("label", name, tuple(counts))
    free = [n for n, _ in counts.most_common() if not n.lower().startswith(RANDOM)]
    if against and not concept:
        free = [n for n in free if n != against]
    if concept and not against:
        against = next((n for n in (*free, *counts) if n != concept), "")
    if not concept or not against:
        two = sorted(free[: 1 if against else 2], reverse=True)
        concept, against = (*two, against, "", "")[:2]
    if not concept or not against or concept == against:
        raise InputError(
            f"You asked for a direction between the labels {', '.join(map(repr, counts))}.",
            "A direction needs two different ones.",
            "Give texts of two labels, or name both: concept=..., against=...",
        )
    return concept, against


def _paired(items: Sequence[Marked], first: str, rng: np.random.Generator) -> tuple[list, list]:
    """(rows of (concept, other), data sets): by id where two share it, at random within a group, then a data set, for the rest."""
    by_id: dict[str, list[int]] = {}
    for row, item in enumerate(items):
        by_id.setdefault(item.id or f"\0{row}", []).append(row)
    pairs, sets, left = [], [], []
    for rows in by_id.values():
        own = [r for r in rows if _name(items[r]) == first]
        other = [r for r in rows if _name(items[r]) != first]
        if own and other:
            pairs.append((own[0], other[0]))
            sets.append(_set(items[own[0]]))
            continue
        left += rows
    names = sorted({items[r].group for r in left} - {""})
    bundle = {"": -1} | {name: int(k) % BUNDLES for name, k in zip(names, rng.permutation(len(names)))}
    grouped = [r for r in left if items[r].group]
    first_round = _drawn(grouped, lambda r: (_set(items[r]), items[r].group), items, first, rng)
    done = {r for pair in first_round for r in pair}
    left = [r for r in left if r not in done]
    second = _drawn(left, lambda r: (_set(items[r]), bundle[items[r].group]), items, first, rng)
    pairs += [*first_round, *second]
    sets += [_set(items[a]) for a, _ in (*first_round, *second)]
    return pairs, sets


def _drawn(
    rows: Sequence[int], key: Callable[[int], Hashable], items: Sequence[Marked], first: str, rng: np.random.Generator
) -> list[tuple[int, int]]:  # fmt: skip
    """Pairs of (concept, other), drawn at random among rows of the same key; what has no partner is left out."""
    rest: dict[Hashable, tuple[list[int], list[int]]] = {}
    for r in rows:
        rest.setdefault(key(r), ([], []))[0 if _name(items[r]) == first else 1].append(r)
    found: list[tuple[int, int]] = []
    for own, other in rest.values():
        n = min(len(own), len(other))
        found += zip(rng.permutation(own)[:n].tolist(), rng.permutation(other)[:n].tolist())
    return [(int(a), int(b)) for a, b in found]


def _set(item: Marked) -> str:
    return item.id.split(":", 1)[0] if ":" in item.id else ""
