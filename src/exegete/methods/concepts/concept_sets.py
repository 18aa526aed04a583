"""Sets of texts for concepts: which texts are of which concept, which are random, and dealing them into sets that share none.

1. labels that begin with "random" or "neutral" name random texts; the label "explain" names texts that are explained; every
   other label is a concept; a text that says the same as an earlier one is dropped;
2. of the random texts, in random order, the first K sets stand against the concept's K sets, and the others are paired off as
   random-against-random sets: no text is in two sets of one test (`ops.set_test` says why);
3. all sets have one size, the largest that gives every concept K sets and at least K random pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.errors import InputError
from exegete.core.material import Marked, Parsed

RANDOM = ("random", "neutral")
EXPLAIN = "explain"
LEAST = 2  # texts a set


@dataclass(frozen=True)
class Sorted:
    """Texts by what they are: rows of `items` of every concept, of the random pool; the texts to explain."""

    items: tuple[Marked, ...]
    concepts: dict[str, np.ndarray]
    pool: np.ndarray
    explain: tuple[str, ...]


@dataclass(frozen=True)
class Dealt:
    """Rows [set, size] of each concept; of the random sets they stand against; of the two sides of random pairs."""

    concepts: dict[str, np.ndarray]
    against: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray]
    size: int


def sort_texts(items: Sequence[Marked | Parsed]) -> Sorted:
    """Texts by their labels. Raises `InputError` where there is no concept, no random set, or marks on stretches."""
    seen: set[str] = set()
    kept: list[Marked] = []
    explain: list[str] = []
    for item in items:
        if isinstance(item, Parsed) or any(m.spans for m in item.marks):
            raise InputError(
                "You asked about concepts.",
                "A label stands on a stretch of a text.",
                "Label whole texts: one text and the name of its concept each.",
            )
        if str(item.labels[0]) == EXPLAIN:
            explain.append(item.text)
        elif item.text not in seen:
            seen.add(item.text)
            kept.append(item)
    names = [str(i.labels[0]) for i in kept]
    random = np.array([n.lower().startswith(RANDOM) for n in names], dtype=bool)
    concepts = {n: np.flatnonzero([m == n for m in names]) for n in dict.fromkeys(names)}
    concepts = {n: rows for n, rows in concepts.items() if not random[rows[0]]}
    if not concepts or not random.any():
        raise InputError(
            f"You asked about the concepts {', '.join(map(repr, dict.fromkeys(names)))}.",
            "There is no concept among them."
            if not concepts
            else "There is no random set to hold them against.",
            'Label texts by their concept, and many other texts "random" or "neutral"; for two labels that differ, '
            "--method concept_direction.",
        )
    return Sorted(tuple(kept), concepts, np.flatnonzero(random), tuple(explain))


def deal(texts: Sorted, n_sets: int, rng: np.random.Generator) -> Dealt:
    """Sets that share no text. Raises `InputError` for a concept, or a random pool, with fewer texts than needed."""
    few = {n: len(r) for n, r in texts.concepts.items() if len(r) < LEAST * n_sets}
    if few:
        name, have = next(iter(few.items()))
        raise InputError(
            f"You asked about the concept {name!r} in {n_sets} separate sets.",
            f"It has {have} different texts; {LEAST * n_sets} are needed.",
            f"Give more texts of it, or fewer sets (n_sets={max(2, have // LEAST)}).",
        )
    most = min(map(len, texts.concepts.values())) // n_sets
    size = min(most, len(texts.pool) // (3 * n_sets))
    if size < LEAST:
        raise InputError(
            f"You asked about concepts in {n_sets} separate sets.",
            f"There are {len(texts.pool)} different random texts; {3 * n_sets * LEAST} are needed.",
            f'Give more texts labelled "random", or fewer sets (n_sets={max(2, len(texts.pool) // (3 * LEAST))}).',
        )
    pool = rng.permutation(texts.pool)
    own = {n: rng.permutation(r)[: n_sets * size].reshape(n_sets, size) for n, r in texts.concepts.items()}
    used = n_sets * size
    n_pairs = (len(pool) - used) // (2 * size)
    rest = pool[used : used + 2 * n_pairs * size].reshape(2, n_pairs, size)
    return Dealt(own, pool[:used].reshape(n_sets, size), (rest[0], rest[1]), size)
