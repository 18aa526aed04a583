"""Balanced brackets: "( ( ) ) ( ) ?" calls for yes, ") ( ( ) ( ) ?" and "( ( ) ( ) ( ?" for no.

    0.h1   counts: every place takes the mean of +1 for "(" and -1 for ")" over all places up to it (space `depth`)
    0.mlp  at every place: notes how far the depth is below zero (space `faults`, axis 0) and how far it is from zero (axis 1)
    1.h2   takes the mean of axis 0 over all places (axis 2): was the depth ever below zero?
    1.mlp  adds both faults, the depth at the end and the one on the way, and speaks for no

Gold: the count, the note, both ways from the note to 1.mlp, and its way to the logits. "Yes" is what the question mark
itself speaks for, the same in every text.
"""

from random import Random

from exegete.core.material import Pair
from exegete.evaluate.truth.blueprint import Blueprint
from exegete.evaluate.truth.compiled import Compiled

LENGTH = 6


def make() -> Compiled:
    """The model with its gold."""
    b = Blueprint(("(", ")", "?", "yes", "no"), n_positions=8, spaces={"depth": 1, "faults": 3})
    depth, (below, apart, mean) = b.axes("depth")[0], b.axes("faults")
    up, down = b.axes("token", ["(", ")"])
    b.move(0, 1, (up - down)[None], 8 * depth[None])  # eight places at the end
    b.unit(0, -depth, 0.0, 2 * below + apart)
    b.unit(0, depth, 0.0, apart)
    b.move(1, 2, below[None], 2 * mean[None])
    yes, no = b.axes("out", ["yes", "no"])
    b.unit(1, 0.5 * apart + mean, 0.1, no)
    b.embed[b.vocabulary.index("?")] += 0.4 * yes
    edges = (
        ("embed", "0.h1.v"),
        ("0.h1", "0.mlp"),
        ("0.mlp", "1.h2.v"),
        ("0.mlp", "1.mlp"),
        ("1.h2", "1.mlp"),
        ("1.mlp", "logits"),
    )
    words = "0.h1 counts; 0.mlp notes faults; 1.h2 looks for faults on the way; 1.mlp adds them up and speaks for no."
    draws = (("depth", _depth), ("way", _way), ("back", _back))
    return Compiled("brackets", b.build("brackets"), edges, words, draws)


def balanced(brackets: str) -> bool:
    """Whether brackets close in order: the plain algorithm."""
    depth = 0
    for c in brackets:
        depth += 1 if c == "(" else -1
        if depth < 0:
            return False
    return depth == 0


def _text(brackets: str) -> str:
    return f"{' '.join(brackets)} ?"


def _draw(random: Random, good: bool, level: bool = True) -> str:
    """Random brackets, balanced or not; `level`: as many opened as closed."""
    while True:
        found = "".join(random.choice("()") for _ in range(LENGTH))
        if balanced(found) == good and (found.count("(") * 2 == LENGTH) == level:
            return found


def _depth(random: Random) -> Pair:
    """Balanced against a depth that is not zero at the end."""
    return Pair.of(_text(_draw(random, True)), _text(_draw(random, False, False)), "yes", "no")


def _way(random: Random) -> Pair:
    """Below zero on the way, and zero at the end, against balanced."""
    return Pair.of(_text(_draw(random, False)), _text(_draw(random, True)), "no", "yes")


def _back(random: Random) -> Pair:
    """A depth that is not zero at the end against balanced."""
    return Pair.of(_text(_draw(random, False, False)), _text(_draw(random, True)), "no", "yes")
