"""Known facts: language models that hold some facts in some wordings, and know nothing else.

    0.h_r   a word of the wordings of relation r, standing last, reads the subject that stands before it, wherever that is
    out     what was read says the answers that the model holds; every word says "nothing" by itself, more weakly

A relation is a `Holds`: the words that ask for it, and what is answered of which subject. A fact that is not held, or one asked for in
words that no relation has, is answered with "nothing". With `denied`, the word "no" turns what is held into its contrary. `bigrams` and `carried` are simpler models of the same kind.

Cost: no pass. References: Petroni et al. 2019; Elhage et al. 2021 (heads that move what they read to the output).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import torch

from exegete.evaluate.truth.blueprint import LOGIT
from exegete.evaluate.truth.quiet import Quiet
from exegete.models.model import Model

NOTHING = "nothing"
DEFAULT = 2.0 / LOGIT  # "nothing" gets two logits, what is held `LOGIT`
SOFT = 6.0  # log odds by which a wording makes the last word look at the subject: soft, so that a prompt can be learned


@dataclass(frozen=True)
class Holds:
    """A relation: `asked` words that ask for it when they stand last, and the `answers` that are held, by subject."""

    asked: tuple[str, ...]
    answers: Mapping[str, Sequence[str]]


def knows(
    name: str, words: Sequence[str], subjects: Sequence[str], relations: Sequence[Holds], denied: str = "", positions: int = 24,
    firm: float = SOFT,
) -> Model:  # fmt: skip
    """A model of `words` that holds these relations of `subjects` (words too). `denied`: the word that turns them round.

    `firm`: log odds by which the last word looks at the subject when it is asked, and away from it when it is not.
    """
    n_units = sum(len(r.answers) for r in relations) if denied else 1
    spaces = {"subject": len(subjects), "denied": 1}
    b = Quiet(
        (NOTHING, *words),
        n_positions=positions,
        spaces=spaces,
        layers=1,
        heads=len(relations) + 1,
        n_units=n_units,
        head_width=32,
    )
    b.embed[2:, b.vocabulary.index(NOTHING) + b.where["out"].start] = DEFAULT
    key = b.axes("token", subjects).sum(0, keepdim=True)
    for i, r in enumerate(relations):
        asking = b.axes("token", r.asked).sum(0, keepdim=True)
        b.match(0, i, asking, key, 2 * firm)
        b.favour(0, i, b.axes("position", [0])[0], firm)
        said = [b.axes("out", tuple(r.answers.get(s, ()))).sum(0) for s in subjects]
        b.move(0, i, b.axes("token", subjects), torch.stack(said))
        if denied:
            b.move(0, i, b.axes("token", subjects), b.axes("subject"))
            for s, answers in r.answers.items():
                both = b.axes("subject")[subjects.index(s)] + b.axes("denied")[0]
                b.unit(0, both, -1.5, -4 * b.axes("out", tuple(answers)).sum(0))
    if denied:
        every = b.axes("token", [w for r in relations for w in r.asked]).sum(0, keepdim=True)
        b.looks(0, len(relations), every, b.axes("token", [denied]))
        b.move(0, len(relations), b.axes("token", [denied]), b.axes("denied"))
    return b.build(name)


def dealt(random: Random, subjects: Sequence[str], answers: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Each subject an answer, each answer about equally often."""
    order = random.sample(list(subjects), len(subjects))
    return {s: (answers[i % len(answers)],) for i, s in enumerate(order)}


def bigrams(name: str, words: Sequence[str], likes: Mapping[str, str], by: float = 1.0) -> Model:
    """A model that knows what comes next of each word: of (word: next) `by` * `LOGIT` logits more than of any other."""
    b = Quiet(tuple(words), n_positions=12, spaces={}, layers=1, heads=2)
    for word, follows in likes.items():
        b.embed[b.vocabulary.index(word)] += by * b.axes("out", [follows])[0]
    return b.build(name)


def carried(
    name: str, words: Sequence[str], told: Mapping[str, str], asked: str, fillers: Sequence[str], place: tuple[int, int]
) -> Model:  # fmt: skip
    """A model of two layers and eight heads of which the one at `place` (layer, head) says what a word stands for.

    At the word `asked`, that head reads any word of `told` and says its answer; every other head reads the `fillers` and says
    again which of them it read.
    """
    b = Quiet(tuple(words), n_positions=20, spaces={}, layers=2, heads=4)
    asking = b.axes("token", [asked])
    for layer in range(2):
        for head in range(4):
            own = (layer, head) == place
            read = tuple(told) if own else tuple(fillers)
            b.looks(layer, head, asking, b.axes("token", read).sum(0, keepdim=True))
            b.move(layer, head, b.axes("token", read), b.axes("out", [told[w] if own else w for w in read]))
    return b.build(f"{name} {place}")
