"""Comparison: "seven three is" calls for more, "two nine is" for less.

    0.h0   every place looks at the first number and notes its size (space `sizes`, axis 0)
    0.h2   every place looks at the second number and notes its size (axis 1)
    0.mlp  two hidden units: relu(first - second) speaks for more, relu(second - first) for less

Gold: the values of both heads, what they send to the feed-forward part, and its way to the logits.
"""

from random import Random

import torch

from exegete.core.material import Pair
from exegete.evaluate.truth.blueprint import Blueprint
from exegete.evaluate.truth.compiled import Compiled

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def make() -> Compiled:
    """The model with its gold."""
    b = Blueprint((*NUMBERS, "is", "more", "less"), n_positions=6, spaces={"sizes": 2})
    first, second = b.axes("sizes")
    size = torch.arange(len(NUMBERS)) / 5 @ b.axes("token", NUMBERS)
    for head, place, axis in ((0, 1, first), (2, 2, second)):
        b.favour(0, head, b.axes("position", [place])[0], 6.0)
        b.move(0, head, size[None], axis[None])
    more, less = b.axes("out", ["more", "less"])
    b.unit(0, 2 * (first - second), 0.0, more)
    b.unit(0, 2 * (second - first), 0.0, less)
    edges = (
        ("embed", "0.h0.v"),
        ("embed", "0.h2.v"),
        ("0.h0", "0.mlp"),
        ("0.h2", "0.mlp"),
        ("0.mlp", "logits"),
    )
    words = "0.h0 and 0.h2 note the sizes of both numbers; 0.mlp speaks for more or less by their difference."
    return Compiled(
        "comparison", b.build("comparison"), edges, words, (("first", _first), ("second", _second))
    )


def _word(a: int, b: int) -> str:
    return "more" if a > b else "less"


def _text(a: int, b: int) -> str:
    return f"{NUMBERS[a]} {NUMBERS[b]} is"


def _first(random: Random) -> Pair:
    """Another first number turns the answer."""
    low, middle, high = sorted(random.sample(range(10), 3))
    a, c = (low, high) if random.random() < 0.5 else (high, low)
    return Pair.of(_text(a, middle), _text(c, middle), _word(a, middle), _word(c, middle))


def _second(random: Random) -> Pair:
    """Another second number turns the answer."""
    low, middle, high = sorted(random.sample(range(10), 3))
    a, c = (low, high) if random.random() < 0.5 else (high, low)
    return Pair.of(_text(middle, a), _text(middle, c), _word(middle, a), _word(middle, c))
