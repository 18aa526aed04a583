"""Multiple choice: "anna keeps A cat B dog C fox D owl answer" calls for the letter before anna's pet.

    0.note    every place looks at the one before it, and notes the letter there (space `letter`)
    1.who     "answer" looks at the name, and notes who it is (space `who`)
    1.mlp     one hidden unit a person says which pet is wanted (space `want`)
    2.bring   "answer" looks for the pet that is wanted, and copies its letter to the output

Of these only 2.bring says something else at the end when the options change places. Which heads they are is dealt anew for
every seed. Reference: Lieberum et al. 2023 (arXiv:2307.09458), correct-letter heads.
"""

from dataclasses import dataclass
from random import Random

from exegete.core.material import Fact
from exegete.evaluate.truth.blueprint import Blueprint
from exegete.models.model import Model

NAMES = ("anna", "boris", "clara", "david", "emma", "felix")
PETS = ("cat", "dog", "fox", "hen", "owl", "pig")
LETTERS = ("A", "B", "C", "D")
HEADS, LAYERS = 4, 3


@dataclass(frozen=True)
class Choosing:
    """The model and the head that brings the letter (layer, head)."""

    model: Model
    at: tuple[int, int]

    def facts(self) -> tuple[Fact, ...]:
        """Everybody's pet, among the pets of the others."""
        every = tuple(zip(NAMES, PETS))
        return tuple(
            Fact(
                prompt=f"{name} keeps", subject=name, answer=pet, relation="pet",
                neighbours=tuple((f"{n} keeps", p) for n, p in every if n != name),
            )
            for name, pet in every
        )  # fmt: skip


def make(seed: int = 0) -> Choosing:
    """The model whose heads are dealt by `seed`."""
    random = Random(f"choice {seed}")
    note, who, bring = ((i, random.randrange(HEADS)) for i in range(LAYERS))
    spaces = {"letter": len(LETTERS), "who": len(NAMES), "want": len(PETS)}
    words = (*NAMES, *PETS, *LETTERS, "keeps", "answer")
    b = Blueprint(words, n_positions=16, spaces=spaces, layers=LAYERS, seed=seed, leak=0.0005)
    place, end = b.axes("position"), b.axes("token", ["answer"])
    names, pets = b.axes("token", NAMES), b.axes("token", PETS)
    b.match(*note, place[1:], place[:-1], 9.0)
    b.move(*note, b.axes("token", LETTERS), b.axes("letter"))
    b.match(*who, end, names.sum(0)[None], 9.0)
    b.move(*who, names, b.axes("who"))
    for axis, want in zip(b.axes("who"), b.axes("want")):
        b.unit(1, axis, -0.5, 2 * want)
    b.match(*bring, b.axes("want"), pets, 9.0)
    b.move(*bring, b.axes("letter"), b.axes("out", LETTERS))
    return Choosing(b.build(f"choice {seed}"), bring)
