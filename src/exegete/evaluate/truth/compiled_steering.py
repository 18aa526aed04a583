"""A head that reads whatever is looked at: "a c f b e ?" calls for each of the letters alike, until attention is turned to one.

    the reader   "?" looks at all letters alike, and copies what it sees to the output
    the rest     distractors

Turning the reader's attention to one letter makes the model say it; turning that of any other head does nothing. Which head is
the reader is dealt anew for every seed. Reference: Zhang et al. 2023 (arXiv:2311.02262).
"""

from dataclasses import dataclass
from random import Random

from exegete.core.material import Fact
from exegete.evaluate.truth.blueprint import Blueprint
from exegete.models.model import Model

LETTERS = tuple("abcdefghij")
HEADS, LENGTH = 4, 5


@dataclass(frozen=True)
class Reader:
    """The model and its reader (layer, head)."""

    model: Model
    at: tuple[int, int]

    def facts(self, n: int, seed: int = 0) -> tuple[Fact, ...]:
        """`n` texts with the letter that is to be heeded as their subject and answer."""
        random, found = Random(f"steering-{seed}"), []
        for _ in range(n):
            letters = random.sample(LETTERS, LENGTH)
            one = random.choice(letters)
            found.append(Fact(prompt=f"{' '.join(letters)} ?", subject=one, answer=one))
        return tuple(found)


def make(seed: int = 0) -> Reader:
    """The model whose reader is dealt by `seed`."""
    random = Random(f"steering {seed}")
    at = (random.randrange(2), random.randrange(HEADS))
    b = Blueprint((*LETTERS, "?"), n_positions=8, spaces={}, seed=seed)
    letters = b.axes("token", LETTERS)
    b.match(*at, b.axes("token", ["?"]), letters.sum(0)[None], 9.0)
    b.move(*at, letters, 2 * b.axes("out", LETTERS))
    return Reader(b.build(f"steering {seed}"), at)
