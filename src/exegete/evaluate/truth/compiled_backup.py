"""A head with a backup: what the first one no longer says, the second one does.

    0.A        looks at the letter in the second place, copies it to the output, and notes it (space `said`)
    0.mlp      one hidden unit a letter: a letter that is fully noted is `done`
    1.B        looks at the same letter, unless it is done, and copies it to the output

Without A, and with the mean of A over texts in its place (a little of every letter, none of them fully), B says what A said.
The twin has the same heads, but its B copies to an idle space: nothing makes up for A. References: Wang et al. 2022
(arXiv:2211.00593), backup heads; McGrath et al. 2023 (arXiv:2307.15771).
"""

from dataclasses import dataclass
from random import Random

from exegete.evaluate.truth.blueprint import BOS, Blueprint
from exegete.models.model import Model

LETTERS = tuple("abcdefghij")
HEADS, LENGTH, PLACE = 4, 5, 2


@dataclass(frozen=True)
class Backup:
    """The model, the head that speaks first and the one that steps in; `backed` says whether it is the model or its twin."""

    model: Model
    first: tuple[int, int]
    second: tuple[int, int]
    backed: bool

    def texts(self, n: int, seed: int = 0) -> tuple[str, ...]:
        """`n` texts of different letters; the letter in the second place is called for."""
        random = Random(f"backup-{seed}")
        return tuple(" ".join(random.sample(LETTERS, LENGTH)) for _ in range(n))


def make(seed: int = 0, backed: bool = True) -> Backup:
    """The model (or its twin) whose heads are dealt by `seed`."""
    random = Random(f"backup {seed}")
    first, second = (0, random.randrange(HEADS)), (1, random.randrange(HEADS))
    b = Blueprint(
        LETTERS, n_positions=8, spaces={"said": len(LETTERS), "done": 1, "idle": len(LETTERS)}, seed=seed
    )
    letters, out, done = b.axes("token", LETTERS), b.axes("out", LETTERS), b.axes("done")
    place = b.axes("position", [PLACE])[0]
    b.favour(*first, place, 9.0)
    b.move(*first, letters, out)
    b.move(*first, letters, b.axes("said"))
    for axis in b.axes("said"):
        b.unit(0, axis, -0.5, 2 * done[0])
    b.favour(*second, place, 9.0)
    b.match(*second, done, b.axes("token", [BOS]), 18.0)
    b.move(*second, letters, out if backed else b.axes("idle"))
    name = f"backup {seed}" if backed else f"no backup {seed}"
    return Backup(b.build(name), first, second, backed)
