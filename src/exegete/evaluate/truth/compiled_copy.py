"""Copy the letter at a named place: "a c f b e d three" calls for f.

    0.h1   the last word asks for the place that it names; the letter there is copied to the output

Gold: the query (which place) and the value (which letter) of that head, and its way to the logits. Its key carries places
only, which are the same in every text.
"""

from random import Random

from exegete.core.material import Pair
from exegete.evaluate.truth.blueprint import Blueprint
from exegete.evaluate.truth.compiled import Compiled

LETTERS = tuple("abcdefghij")
NUMBERS = ("one", "two", "three", "four", "five", "six")


def make() -> Compiled:
    """The model with its gold."""
    b = Blueprint((*LETTERS, *NUMBERS), n_positions=8, spaces={})
    places = range(1, len(NUMBERS) + 1)  # the beginning of text stands at place 0
    b.match(0, 1, b.axes("token", NUMBERS), b.axes("position", list(places)), 6.0)
    b.move(0, 1, b.axes("token", LETTERS), b.axes("out", LETTERS))
    edges = (("embed", "0.h1.q"), ("embed", "0.h1.v"), ("0.h1", "logits"))
    words = "0.h1 attends to the place that the last word names, and copies its letter."
    return Compiled("copy", b.build("copy"), edges, words, (("place", _place), ("letter", _letter)))


def _place(random: Random) -> Pair:
    """Another place is named."""
    letters = random.sample(LETTERS, len(NUMBERS))
    here, there = random.sample(range(len(NUMBERS)), 2)
    text = " ".join(letters)
    return Pair.of(f"{text} {NUMBERS[here]}", f"{text} {NUMBERS[there]}", letters[here], letters[there])


def _letter(random: Random) -> Pair:
    """Another letter stands at the place."""
    *letters, new = random.sample(LETTERS, len(NUMBERS) + 1)
    here = random.randrange(len(NUMBERS))
    other = [new if i == here else x for i, x in enumerate(letters)]
    end = NUMBERS[here]
    return Pair.of(f"{' '.join(letters)} {end}", f"{' '.join(other)} {end}", letters[here], new)
