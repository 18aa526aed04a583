"""Parsed sentences as every layer sees them: vectors of words beside gold trees, dealt into training, development and test.

1. sentences of at least three words that count are read once for all layers (punctuation does not count, but is read); a word
   is the mean of its tokens; sentences whose words cannot all be matched with tokens are left out and counted, shorter ones
   too, in a note;
2. sentences are dealt 3 : 1 : 1, those of the same words together.

Cost: one forward a sentence. Shapes: a list of arrays [word, width] a layer.
Reference: Hewitt & Manning 2019, sec. 3 (words as means of their pieces).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from exegete.core.errors import InputError
from exegete.core.figure import Arc, Arcs
from exegete.core.material import Marked, Parsed
from exegete.core.site import Site
from exegete.models.harvest import Table, harvest, words_of
from exegete.models.lab import Lab
from exegete.ops.split import split
from exegete.ops.tree_scores import GoldTrees
from exegete.ops.trees import spanning_edges

FEWEST_WORDS = 3  # words that count: with two there is one tree only
PARTS = (0.6, 0.2, 0.2)
POOL = "mean"  # a word is the mean of its tokens
WORDS_ONLY = "embeddings"  # the name of what enters the first layer: words without their sentence
Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
Read = Callable[[Sequence[Marked], Sequence[Site], str], Table]
SAME = "Fewer than three different sentences were given: the same ones were trained and judged on."


@dataclass(frozen=True)
class TreeTable:
    """Sentences that were read: trees, gold numbers, and the vectors of their words at every site."""

    trees: tuple[Parsed, ...]
    gold: GoldTrees
    values: dict[Site, list[np.ndarray]]
    n_failed: int
    n_short: int

    def parts(self, rng: np.random.Generator) -> tuple[Parts, tuple[str, ...]]:
        """Indices of training, development and test sentences; notes on what was left out, and where parts had to share words."""
        kinds = {t.words: i for i, t in enumerate(self.trees)}
        group = np.array([kinds[t.words] for t in self.trees])
        alike = len(kinds) < len(PARTS)
        train, dev, test = split(np.arange(len(self.trees)) if alike else group, PARTS, rng)
        short = f"{self.n_short} sentences with fewer than {FEWEST_WORDS} words that count were left out."
        return (train, dev, test), (*((SAME,) if alike else ()), *((short,) if self.n_short else ()))


def counting(tree: Parsed) -> np.ndarray:
    """Words that count [word]: all but punctuation, by tag, or by relation where there are no tags."""
    if tree.tags:
        return np.array([t != "PUNCT" for t in tree.tags])
    return np.array([r.split(":")[0] not in ("punct", "p") for r in tree.relations])


def layer_name(site: Site) -> str:
    """How a reader knows it."""
    return WORDS_ONLY if site.kind == "resid_pre" else f"layer {site.layer}"


def read_table(
    lab: Lab,
    items: Sequence[Parsed],
    sites: Sequence[Site],
    least: int = len(PARTS),
    read: Read | None = None,
) -> TreeTable:
    """Every sentence, read once; by `read` instead of `harvest`, where it is given. Raises `InputError` where fewer than `least` are left, or heads stand in a circle."""
    counts = [counting(t) for t in items]
    usable = [i for i, c in enumerate(counts) if c.sum() >= FEWEST_WORDS]
    if len(usable) < least:
        raise _few(len(items), f"{len(usable)} of them have {FEWEST_WORDS} words or more.")
    table = (read or partial(harvest, lab))(words_of([items[i] for i in usable]), sites, POOL)
    starts = np.searchsorted(table.item, np.arange(len(usable) + 1))
    found = [k for k, i in enumerate(usable) if starts[k + 1] - starts[k] == len(items[i].words)]
    if len(found) < least:
        raise _few(len(items), f"The words of {len(found)} of them could be matched with tokens.")
    trees = tuple(items[usable[k]] for k in found)
    return TreeTable(
        trees,
        GoldTrees.of([t.heads for t in trees], [counts[usable[k]] for k in found]),
        {s: [v[starts[k] : starts[k + 1]] for k in found] for s, v in table.values.items()},
        len(usable) - len(found),
        len(items) - len(usable),
    )


def _few(n: int, found: str) -> InputError:
    return InputError(
        f"You asked for a probe of trees of {n} parsed sentences.",
        f"{found} It takes three: to train, to choose on, and to judge.",
        "Give more sentences.",
    )


def examples(
    table: TreeTable, members: np.ndarray, distances: Sequence[np.ndarray], right: np.ndarray, total: np.ndarray, n: int = 3
) -> tuple[Arcs, ...]:  # fmt: skip
    """Sentences of readable length, the one of middling score first, then the best and the worst: gold and predicted edges."""
    sizes = np.array([len(table.trees[i].words) for i in members])
    fits = np.flatnonzero((sizes >= 6) & (sizes <= 16))
    fits = fits if len(fits) else np.arange(len(members))
    order = fits[np.argsort(right[fits] / np.maximum(total[fits], 1), kind="stable")]
    chosen = list(dict.fromkeys([order[len(order) // 2], order[-1], order[0]]))[:n]
    names = ("A middling sentence", "The best", "The worst")
    return tuple(
        _drawn(table, int(members[k]), distances[k], f"{name}: {right[k]} of {total[k]} edges found")
        for name, k in zip(names, chosen)
    )


def _drawn(table: TreeTable, i: int, distances: np.ndarray, title: str) -> Arcs:
    tree, counts = table.trees[i], table.gold.counts[i]
    gold = {(min(a, b), max(a, b)): tree.relations[b] for b, a in enumerate(tree.heads) if a >= 0}
    return Arcs(
        title=title,
        caption="Above the words the tree, below the edges predicted; punctuation takes no part.",
        words=tree.words,
        gold=tuple(
            Arc(head=int(a), word=int(b), label=gold.get((int(a), int(b)), ""))
            for a, b in table.gold.edges[i]
        ),
        predicted=tuple(Arc(head=int(a), word=int(b)) for a, b in spanning_edges(distances, counts)),
        directed=False,
        left_out=tuple(int(k) for k in np.flatnonzero(~counts)),
    )
