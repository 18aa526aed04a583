"""Known trees: a model in which the tree of a sentence is in the geometry of its words from one layer on, and nowhere below.

    l.h0    every word reads the first word, which names one of `N_TREES` trees
    l.mlp   a unit for each tree and place adds the path of the word: one axis for each word between it and the root, itself included
            (squared distances of paths are distances in the tree, squared lengths depths), and one axis for its relation

Below l a word knows itself and its place alone. What follows the first word may be anything: the tree hangs on it in no way.

Cost: no pass. Reference: Hewitt & Manning 2019; Reif et al. 2019 (squared distances of such embeddings are exact).
"""

from collections.abc import Sequence
from functools import cache
from random import Random

from exegete.core.material import Parsed
from exegete.evaluate.truth.quiet import Quiet
from exegete.models.model import Model

N_TREES, N_WORDS, LAYERS = 24, 7, 3
NAMES = tuple(
    f"{a}{b}" for a in ("ba", "de", "fi", "go", "lu", "ma") for b in ("r", "n", "l", "s")
)  # of the trees
WORDS = (
    "house",
    "river",
    "apple",
    "stone",
    "cloud",
    "candle",
    "bottle",
    "window",
    "garden",
    "letter",
    "mirror",
    "basket",
)
RELATIONS = ("nsubj", "obj", "obl")


@cache
def forest(seed: int = 0) -> tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]:
    """Of every tree the heads of the words (-1: the root) and their relations; trees that cross no arcs, far from chains."""
    random = Random(f"forest-{seed}")
    found = []
    while len(found) < N_TREES:
        heads = [-1] * N_WORDS
        _grow(random, heads, 0, N_WORDS, -1)
        beside = sum(abs(h - i) == 1 for i, h in enumerate(heads))
        if beside <= N_WORDS // 2 and tuple(heads) not in {h for h, _ in found}:
            named = tuple("root" if h < 0 else random.choice(RELATIONS) for h in heads)
            found.append((tuple(heads), named))
    return tuple(found)


def _grow(random: Random, heads: list[int], start: int, end: int, head: int) -> None:
    """Words start ... end hang on one of them, which hangs on `head`; those on either side of it likewise."""
    if start >= end:
        return
    at = random.randrange(start, end)
    heads[at] = head
    _grow(random, heads, start, at, at)
    _grow(random, heads, at + 1, end, at)


@cache
def tree_model(layer: int, seed: int = 0) -> Model:
    """The model whose layer `layer` (1 the first) brings the trees."""
    spaces = {"tree": N_TREES, "path": N_WORDS, "relation": len(RELATIONS)}
    b = Quiet(
        (*NAMES, *WORDS),
        n_positions=N_WORDS + 3,
        spaces=spaces,
        layers=LAYERS,
        heads=2,
        n_units=N_TREES * N_WORDS,
    )
    everybody = b.axes("position", list(range(2, N_WORDS + 2))).sum(0, keepdim=True)
    b.looks(layer - 1, 0, everybody, b.axes("position", [1]))
    b.move(layer - 1, 0, b.axes("token", NAMES), b.axes("tree"))
    for tree, (heads, relations) in zip(b.axes("tree"), forest(seed)):
        for i in range(N_WORDS):
            path = b.axes("path", _path(heads, i)).sum(0)
            if heads[i] >= 0:
                path = path + b.axes("relation", [RELATIONS.index(relations[i])])[0]
            b.unit(layer - 1, tree + b.axes("position", [i + 2])[0], -1.5, 2 * path)
    return b.build(f"known trees at layer {layer}")


def _path(heads: Sequence[int], i: int) -> list[int]:
    """The word and those above it, the root left out."""
    found = []
    while heads[i] >= 0:
        found.append(i)
        i = heads[i]
    return found


def sentences(
    n: int, seed: int, shuffled: bool = False, named_by: str = "PUNCT", words: str = "NOUN", forests: int = 0
) -> list[Parsed]:
    """Sentences with their trees; shuffled: with trees of the same kind that their first words do not name.

    `named_by` and `words` are parts of speech of the first word and of the others. A first word that is punctuation takes no part.
    """
    random = Random(f"sentences-{seed}")
    found = []
    for i in range(n):
        which = i % N_TREES
        told = random.choice(WORDS), *(random.choice(WORDS) for _ in range(N_WORDS - 1))
        heads, relations = forest(forests)[random.randrange(N_TREES) if shuffled else which]
        root = heads.index(-1)
        first = root + 1 if named_by == "PUNCT" else -1
        rest = [first_of(h, first) for h in heads]
        found.append(
            Parsed(
                words=(NAMES[which], *told),
                heads=(first, *rest),
                relations=("punct" if named_by == "PUNCT" else "root", *_renamed(relations, first)),
                tags=(named_by, *(words,) * N_WORDS),
            )
        )
    return found


def first_of(head: int, first: int) -> int:
    """The head of a word when another word stands before all: the root hangs on that one where it takes part."""
    return head + 1 if head >= 0 else (-1 if first > 0 else 0)


def _renamed(relations: Sequence[str], first: int) -> tuple[str, ...]:
    return tuple("parataxis" if r == "root" and first < 0 else r for r in relations)
