"""Heads of known kinds, in one small model: where each looks is set by hand, and two of them are needed.

    layer 0    previous    looks at the place before, and notes the letter there (space `before`)
               echo        looks there too, and hands nothing on that is read
               duplicate   looks for the same letter at another place, and hands nothing on that is read
               first       looks at the beginning of the text, and hands nothing on that is read
    layer 1    induction   looks for the place that noted this letter, and copies what stands there to the output
               own         looks at its own place, and hands nothing on that is read
               two more    are distractors

Which number each head has is dealt anew for every seed. A text that is said twice is continued rightly from its second letter
on. References: Olsson et al. 2022 (arXiv:2209.11895); Clark et al. 2019, for kinds of heads.
"""

from dataclasses import dataclass
from random import Random

from exegete.evaluate.truth.blueprint import BOS, Blueprint
from exegete.models.model import Model

LETTERS = tuple("abcdefghijkl")
HEADS, LAYERS, PLACES = 4, 2, 28
WIDTH = 44  # of a head: it compares letters and places
TYPES = {
    "previous": "previous token", "echo": "previous token", "duplicate": "duplicate token", "first": "first token",
    "induction": "induction", "own": "own token",
}  # fmt: skip
NEEDED = ("previous", "induction")

Head = tuple[int, int]


@dataclass(frozen=True)
class Kinds:
    """The model, and (layer, head) of each kind."""

    model: Model
    at: dict[str, Head]

    def texts(self, n: int, length: int = 8, seed: int = 0) -> tuple[str, ...]:
        """`n` texts: different letters, said twice."""
        random, found = Random(f"kinds-{seed}"), []
        for _ in range(n):
            letters = random.sample(LETTERS, length)
            found.append(" ".join(letters * 2))
        return tuple(found)


def make(seed: int = 0) -> Kinds:
    """The model whose heads are dealt by `seed`."""
    random = Random(f"kinds of heads {seed}")
    below, above = random.sample(range(HEADS), HEADS), random.sample(range(HEADS), HEADS)
    at = {k: (0, h) for k, h in zip(("previous", "echo", "duplicate", "first"), below)}
    at |= {k: (1, h) for k, h in zip(("induction", "own"), above)}
    b = Blueprint(
        LETTERS, n_positions=PLACES, spaces={"before": len(LETTERS)}, heads=HEADS, head_width=WIDTH, seed=seed
    )
    place, letters = b.axes("position"), b.axes("token", LETTERS)
    aside = b.axes("junk")[: len(LETTERS)]
    for kind in ("previous", "echo"):
        b.match(*at[kind], place[1:], place[:-1], 9.0)
        b.move(*at[kind], letters, b.axes("before") if kind == "previous" else aside)
    b.match(*at["duplicate"], letters, letters, 9.0)
    b.match(*at["duplicate"], place, place, -18.0)  # not itself
    b.move(*at["duplicate"], letters, aside)
    b.favour(*at["first"], b.axes("token", [BOS])[0], 9.0)
    b.move(*at["first"], letters, aside)
    b.match(*at["induction"], letters, b.axes("before"), 9.0)
    b.move(*at["induction"], letters, b.axes("out", LETTERS))
    b.match(*at["own"], place, place, 9.0)
    b.move(*at["own"], letters, aside)
    return Kinds(b.build(f"kinds of heads {seed}"), at)
