"""Induction: "a b c d e f c" calls for d, which followed c before.

    0.h2   every place asks for the place before it, and notes its letter (space `before`)
    1.h0   the last letter asks for the place that noted it, and copies the letter there to the output

Gold: what 0.h2 reads and writes, and all three inputs of 1.h0. Queries and keys of 0.h2 are places, the same in every text.
Reference: Olsson et al. 2022, "In-context Learning and Induction Heads".
"""

from random import Random

from exegete.core.material import Pair
from exegete.evaluate.truth.blueprint import Blueprint
from exegete.evaluate.truth.compiled import Compiled

LETTERS = tuple("abcdefghij")
LENGTH = 6


def make() -> Compiled:
    """The model with its gold."""
    b = Blueprint(LETTERS, n_positions=8, spaces={"before": len(LETTERS)})
    place = b.axes("position")
    b.match(0, 2, place[1:], place[:-1], 6.0)
    b.move(0, 2, b.axes("token", LETTERS), b.axes("before"))
    b.match(1, 0, b.axes("token", LETTERS), b.axes("before"), 6.0)
    b.move(1, 0, b.axes("token", LETTERS), b.axes("out", LETTERS))
    edges = (
        ("embed", "0.h2.v"),
        ("0.h2", "1.h0.k"),
        ("embed", "1.h0.q"),
        ("embed", "1.h0.v"),
        ("1.h0", "logits"),
    )
    words = "0.h2 notes the letter before each place; 1.h0 finds the place that noted the last letter and copies what stands there."
    draws = (("last", _last), ("next", _next), ("order", _order))
    return Compiled("induction", b.build("induction"), edges, words, draws)


def _text(random: Random) -> tuple[list[str], int]:
    """Different letters, and which of them comes again."""
    return random.sample(LETTERS, LENGTH), random.randrange(LENGTH - 1)


def _last(random: Random) -> Pair:
    """Another letter comes again."""
    letters, at = _text(random)
    other = random.choice([i for i in range(LENGTH - 1) if i != at])
    text = " ".join(letters)
    return Pair.of(f"{text} {letters[at]}", f"{text} {letters[other]}", letters[at + 1], letters[other + 1])


def _next(random: Random) -> Pair:
    """Another letter followed."""
    letters, at = _text(random)
    new = random.choice([x for x in LETTERS if x not in letters])
    other = [new if i == at + 1 else x for i, x in enumerate(letters)]
    end = letters[at]
    return Pair.of(f"{' '.join(letters)} {end}", f"{' '.join(other)} {end}", letters[at + 1], new)


def _order(random: Random) -> Pair:
    """The repeated letter has changed places with another one, so that something else followed it."""
    letters, at = _text(random)
    there = random.choice([i for i in range(LENGTH - 1) if abs(i - at) > 1])
    other = list(letters)
    other[at], other[there] = letters[there], letters[at]
    end = letters[at]
    return Pair.of(
        f"{' '.join(letters)} {end}", f"{' '.join(other)} {end}", letters[at + 1], letters[there + 1]
    )
