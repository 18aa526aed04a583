"""Facts looked up in a known place: "anna reed keeps a" calls for the pet that anna reed has, and nobody's name says it alone.

    0.h1       every place looks at the one before it, and notes its first name (space `first`)
    0.mlp      at "a": speaks for "thing", half as strongly as a pet will
    L.mlp      at the surname: one hidden unit a person, which needs both names, notes the pet (space `fact`)
    L+1.h2     "a" looks for what holds a fact, and takes it over (space `draft`)
    L+2.mlp    one hidden unit a pet takes the draft to the output; they are open a little, for every pet alike, so that
               gradients come through, and one more unit takes that away again

So the answer stands at the subject's last token up to layer L, at the end from L+1 on, and is said from L+2 on; before, the
model says "thing". L is `at`; the layers that are left have distractors only. With `harm`, a hidden unit of that idle layer
speaks for "thing" at "a", loudly, through a row of its down projection that is far shorter than all others: a smaller rank of
that matrix loses it.

Shapes: 6 layers of 4 heads. References: Meng et al. 2022 (arXiv:2202.05262) and Geva et al. 2023 (arXiv:2304.14767) for facts
that are looked up at the subject and read from the end.
"""

from dataclasses import dataclass
from random import Random

import torch

from exegete.core.material import Fact
from exegete.evaluate.truth.blueprint import FREE, Blueprint
from exegete.models.model import Model

FIRST = ("anna", "boris", "clara", "david")
LAST = ("reed", "stone", "hill", "lake")
PETS = ("cat", "dog", "fox", "hen", "owl", "pig")
THING = "thing"
VERBS, STARTS = ("keeps", "has"), ("today", "now")
LAYERS = 6
LEAK = 0.00004  # junk grows from layer to layer: as much leaks into the last ones as in models of two layers
NOTES, MOVES = 1, 2  # heads of the first layer and of layer L+1
SAID = 1.5  # of `out`, for a pet
SLACK = 0.5  # by which the units that say pets are open without a draft
LOUD, SHORT = 40.0, 0.025  # what the harmful unit reads with, and writes with


@dataclass(frozen=True)
class Facts:
    """The model, `pets` by (first name, surname), where they are looked up, and which layer does harm (None: none)."""

    model: Model
    pets: dict[tuple[str, str], str]
    at: int
    harm: int | None

    @property
    def used(self) -> tuple[int, ...]:
        """Layers without which nothing is answered."""
        return (0, self.at, self.at + 1, self.at + 2)

    @property
    def idle(self) -> tuple[int, ...]:
        """The other layers."""
        return tuple(i for i in range(LAYERS) if i not in self.used)

    def units(self, person: tuple[str, str]) -> tuple[tuple[int, int], tuple[int, int]]:
        """(layer, hidden unit) that looks the pet of a person up, and that says it."""
        return (self.at, list(self.pets).index(person)), (self.at + 2, PETS.index(self.pets[person]))

    def facts(self, n: int = 16, seed: int = 0) -> tuple[Fact, ...]:
        """`n` different people's pets, in a random order, each with another wording, a new pet, and other people beside it."""
        random = Random(f"facts-{self.at}-{seed}")
        people = random.sample(list(self.pets), len(self.pets))
        return tuple(self._fact(p, people, random) for p in people[:n])

    def _fact(self, person: tuple[str, str], people: list[tuple[str, str]], random: Random) -> Fact:
        name, pet = " ".join(person), self.pets[person]
        others = [p for p in people if p != person]
        alike = [p for p in others if self.pets[p] == pet][:1]
        beside = alike + [p for p in others if p not in alike][:3]
        return Fact(
            prompt=f"{name} {VERBS[0]} a", subject=name, answer=pet, relation="pet",
            new=random.choice([x for x in PETS if x != pet]), paraphrases=(f"{STARTS[0]} {name} {VERBS[1]} a",),
            neighbours=tuple((f"{' '.join(p)} {VERBS[0]} a", self.pets[p]) for p in beside),
        )  # fmt: skip

    def sentences(self, n: int, seed: int = 0, verbs: tuple[str, ...] = VERBS) -> tuple[str, ...]:
        """`n` sentences that say who keeps what, in all wordings or some."""
        random, found = Random(f"sentences-{self.at}-{seed}"), []
        for _ in range(n):
            person = random.choice(list(self.pets))
            start = random.choice(("", f"{STARTS[0]} ", f"{STARTS[1]} "))
            found.append(f"{start}{' '.join(person)} {random.choice(verbs)} a {self.pets[person]}")
        return tuple(found)


def make(at: int = 1, harm: int | None = None) -> Facts:
    """The model that looks facts up in layer `at` (1 to 3); `harm` is an idle layer."""
    random = Random(f"pets-{at}")
    people = [(f, s) for f in FIRST for s in LAST]
    dealt = [PETS[i % len(PETS)] for i in range(len(people))]
    random.shuffle(dealt)
    pets = dict(zip(people, dealt))
    b = Blueprint(
        (*FIRST, *LAST, *PETS, THING, *VERBS, *STARTS, "a"), n_positions=12, layers=LAYERS, seed=at, leak=LEAK,
        spaces={"first": len(FIRST), "fact": len(PETS), "draft": len(PETS)},
    )  # fmt: skip
    place, end = b.axes("position"), b.axes("token", ["a"])
    b.match(0, NOTES, place[1:], place[:-1], 9.0)
    b.move(0, NOTES, b.axes("token", FIRST), b.axes("first"))
    thing = b.axes("out", [THING])[0]
    b.unit(0, end[0], -0.5, SAID * thing)
    fact, draft = b.axes("fact"), b.axes("draft")
    for (first, last), pet in pets.items():
        names = b.axes("first")[FIRST.index(first)] + b.axes("token", [last])[0]
        b.unit(at, names, -1.5, 2 * fact[PETS.index(pet)])
    b.match(at + 1, MOVES, end, fact.sum(0)[None], 9.0)
    b.move(at + 1, MOVES, fact, draft)
    pets_out = SAID * b.axes("out", PETS)
    for i, out in enumerate(pets_out):
        b.unit(at + 2, draft[i], SLACK, out)
    b.unit(at + 2, torch.zeros(b.width), SLACK, -pets_out.sum(0))
    if harm is not None:
        b.unit(harm, LOUD * end[0], 0.0, SHORT * thing)
    name = f"facts in layer {at}" + ("" if harm is None else f", harm in layer {harm}")
    return Facts(b.build(name), pets, at, harm)


N_UNITS = 4 * FREE  # hidden units a layer
