"""Indirect objects: "then mary and john went . john gave to" calls for mary.

    0.h0   duplicate: a name asks for itself at another place (else for the beginning), and notes it (space `again`)
    1.h3   inhibition: every place asks for the place that noted a name, and takes the name over (space `not`)
    2.h1   mover: every place asks for names, but not for those in `not`, and copies the name to the output

Gold: all inputs of these heads that carry names. Reference: Wang et al. 2022 (arXiv:2211.00593), the three classes of heads.
"""

from random import Random

from exegete.core.material import Pair
from exegete.evaluate.truth.blueprint import BOS, Blueprint
from exegete.evaluate.truth.compiled import Compiled

NAMES = ("mary", "john", "anna", "tom", "lucy", "paul")
OTHERS = ("then", "and", "went", ".", "gave", "to")


def make() -> Compiled:
    """The model with its gold."""
    b = Blueprint(
        (*NAMES, *OTHERS), n_positions=10, spaces={"again": len(NAMES), "not": len(NAMES)}, layers=3
    )
    names, places = b.axes("token", NAMES), b.axes("position")
    b.match(0, 0, names, names, 9.0)
    b.match(0, 0, places, places, -16.0)  # not itself
    b.favour(0, 0, b.axes("token", [BOS])[0], 5.0)
    b.move(0, 0, names, b.axes("again"))
    b.favour(1, 3, b.axes("again").sum(0), 6.0)
    b.move(1, 3, b.axes("again"), b.axes("not"))
    b.favour(2, 1, names.sum(0), 5.0)
    b.match(2, 1, b.axes("not"), names, -8.0)
    b.move(2, 1, names, b.axes("out", NAMES))
    edges = (
        *(("embed", f"0.h0.{x}") for x in "qkv"),
        ("0.h0", "1.h3.k"),
        ("0.h0", "1.h3.v"),
        ("1.h3", "2.h1.q"),
        ("embed", "2.h1.k"),
        ("embed", "2.h1.v"),
        ("2.h1", "logits"),
    )
    words = "0.h0 notes a name that comes again; 1.h3 takes the note to the end; 2.h1 copies the name that is not in the note."
    draws = (("giver", _giver), ("order", _order), ("third", _third))
    return Compiled("indirect_object", b.build("indirect_object"), edges, words, draws)


def _text(first: str, second: str, giver: str) -> str:
    return f"then {first} and {second} went . {giver} gave to"


def _people(random: Random) -> tuple[str, str, str, str, str]:
    """First, second, who gives, who receives, and somebody else."""
    first, second, other = random.sample(NAMES, 3)
    giver, receiver = (first, second) if random.random() < 0.5 else (second, first)
    return first, second, giver, receiver, other


def _giver(random: Random) -> Pair:
    """The other one gives."""
    first, second, giver, receiver, _ = _people(random)
    return Pair.of(_text(first, second, giver), _text(first, second, receiver), receiver, giver)


def _order(random: Random) -> Pair:
    """The two are named in the other order: the answer stays."""
    first, second, giver, receiver, _ = _people(random)
    return Pair.of(_text(first, second, giver), _text(second, first, giver), receiver, giver)


def _third(random: Random) -> Pair:
    """Somebody else gives: no name comes again."""
    first, second, giver, receiver, other = _people(random)
    return Pair.of(_text(first, second, giver), _text(first, second, other), receiver, giver)
