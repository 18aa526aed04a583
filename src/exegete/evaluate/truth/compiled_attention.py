"""One head that looks at a known word, and either what it takes there is the answer, or it is worth nothing.

"d b N3 a f c" is eleven letters and one mark, and a letter at the end. The only head looks at the mark from the last place.

    used    the head copies the mark's own letter to the output: the answer is where attention is
    idle    the head copies the mark aside, and the last letter says what it stands for by itself: attention is as sharp, and
            nothing depends on it

Both models read the same texts. References: Jain & Wallace 2019 (arXiv:1902.10186); Wiegreffe & Pinter 2019 (arXiv:1908.04626).
"""

from dataclasses import dataclass
from random import Random

from exegete.evaluate.truth.blueprint import Blueprint
from exegete.models.model import Model

LETTERS = tuple("abcdefgh")
MARKS = tuple(f"N{i}" for i in range(4))
ANSWERS = ("north", "south", "east", "west")
LENGTH = 6
SHARP = 7.0  # of the head's score: no token but the mark gets a thousandth of its attention


@dataclass(frozen=True)
class Attending:
    """The model; `used` says whether its answer is where its attention is."""

    model: Model
    used: bool

    def texts(self, n: int, seed: int = 0) -> tuple[str, ...]:
        """`n` texts of letters with one mark, which is not the last word."""
        random = Random(f"attending-{seed}")
        return tuple(self._text(random) for _ in range(n))

    def _text(self, random: Random) -> str:
        words = random.sample(LETTERS, LENGTH - 1)
        words.insert(random.randrange(LENGTH - 1), random.choice(MARKS))
        return " ".join(words)


def mark(text: str) -> int:
    """The place of the mark among the words."""
    return next(i for i, w in enumerate(text.split()) if w in MARKS)


def make(used: bool, seed: int = 0) -> Attending:
    """The model of one layer and one head; `seed` deals what noise there is."""
    b = Blueprint(
        (*LETTERS, *MARKS, *ANSWERS), n_positions=LENGTH + 2, spaces={}, layers=1, heads=1, seed=seed
    )
    marks, out = b.axes("token", MARKS), b.axes("out", ANSWERS)
    b.favour(0, 0, marks.sum(0), SHARP)
    b.move(0, 0, marks, 1.5 * out if used else b.axes("junk")[: len(MARKS)])
    if not used:
        for i, letter in enumerate(LETTERS):
            b.embed[b.vocabulary.index(letter)] += 1.5 * out[i % len(ANSWERS)]
    return Attending(b.build(f"attention is {'used' if used else 'idle'} {seed}"), used)
