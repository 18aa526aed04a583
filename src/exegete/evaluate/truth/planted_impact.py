"""Known heads: a masked model in which each word reads one other word, its head, and nothing else of the sentence.

    0.h0   the word at each place reads what stands at the place of its head

The tree is one of places, whatever the words, so that a masked word still reads its head: masking that one changes it, masking any other
does not change it at all. A word can only read what stands before it: the trees grow from the first word.

Cost: no pass. Reference: Wu et al. 2020 (perturbed masking), whose impact matrix is here known in every entry.
"""

from functools import cache
from random import Random

from exegete.core.material import Parsed
from exegete.evaluate.truth.planted_trees import WORDS
from exegete.evaluate.truth.quiet import Quiet
from exegete.models.model import Model

N_PLACES = 7


@cache
def heads_of(seed: int) -> tuple[int, ...]:
    """The head of every place (-1: the root, which is the first), without crossing arcs and with few neighbours joined."""
    random = Random(f"places-{seed}")
    while True:
        heads = [-1]
        for i in range(1, N_PLACES):
            above = [
                i - 1
            ]  # a word may hang on the one before or on any that is above that one: no arcs cross
            while heads[above[-1]] >= 0:
                above.append(heads[above[-1]])
            heads.append(random.choice(above))
        if sum(h == i - 1 for i, h in enumerate(heads)) <= 3:
            return tuple(heads)


@cache
def reader(seed: int) -> Model:
    """The model."""
    b = Quiet(WORDS, n_positions=N_PLACES + 4, spaces={"seen": len(WORDS)}, layers=1, heads=2, task="masked")
    places = range(1, N_PLACES)
    b.looks(
        0,
        0,
        b.axes("position", [i + 1 for i in places]),
        b.axes("position", [heads_of(seed)[i] + 1 for i in places]),
    )
    b.move(0, 0, b.axes("token", WORDS), b.axes("seen"))
    return b.build(f"known heads {seed}")


def read_sentences(n: int, seed: int) -> list[Parsed]:
    """Sentences of different words with the tree of their places."""
    random = Random(f"read-{seed}")
    heads = heads_of(seed)
    relations = tuple("root" if h < 0 else "dep" for h in heads)
    return [
        Parsed(words=tuple(random.sample(WORDS, N_PLACES)), heads=heads, relations=relations)
        for _ in range(n)
    ]
