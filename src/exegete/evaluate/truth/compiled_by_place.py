"""Repetition by place, a negative control: "a b c d a b" calls for c, and no head looks for what came before.

    1.h2   every place asks for the place three before it, and copies the letter there to the output

The text is repeated after four letters, always, and so the model may count. It does what an induction head does, without
one: a text repeated after three or five letters is beyond it. Gold: the value of that head and its way to the logits; its
query and key are places, the same in every text.
"""

from random import Random

from exegete.core.material import Pair
from exegete.evaluate.truth.blueprint import Blueprint
from exegete.evaluate.truth.compiled import Compiled

LETTERS = tuple("abcdefghij")
PERIOD, LENGTH = 4, 6


def make() -> Compiled:
    """The model with its gold."""
    b = Blueprint(LETTERS, n_positions=16, spaces={})
    place, back = b.axes("position"), PERIOD - 1
    b.match(1, 2, place[back:], place[:-back], 6.0)
    b.move(1, 2, b.axes("token", LETTERS), b.axes("out", LETTERS))
    edges = (("embed", "1.h2.v"), ("1.h2", "logits"))
    words = "1.h2 copies the letter three places back, whatever it is."
    return Compiled("by_place", b.build("by_place"), edges, words, (("next", _next), ("other", _other)))


def repeated(letters: list[str], n: int) -> str:
    """A text of `n` letters that repeats `letters`."""
    return " ".join(letters[i % len(letters)] for i in range(n))


def _next(random: Random) -> Pair:
    """Another letter followed the last one."""
    letters = random.sample(LETTERS, PERIOD + 1)
    other = [*letters[:2], letters[4], letters[3]]
    return Pair.of(repeated(letters[:4], LENGTH), repeated(other, LENGTH), letters[2], letters[4])


def _other(random: Random) -> Pair:
    """Another text."""
    letters = random.sample(LETTERS, 2 * PERIOD)
    clean, corrupt = repeated(letters[:4], LENGTH), repeated(letters[4:], LENGTH)
    return Pair.of(clean, corrupt, letters[2], letters[6])
