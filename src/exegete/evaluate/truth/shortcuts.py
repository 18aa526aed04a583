"""Shortcuts: made-up words that decide a label, put into the texts that a small classifier is trained on.

    single token       one word stands for one of two labels
    token in context   it does so only where a second word stands in the text too; either alone says nothing
    ordered pair       two words, and which of them comes first says the label; either alone says nothing

1. batches: plain texts with their own label; texts of any label with a shortcut and the shortcut's label; decoys, that is parts of a
   shortcut, with the text's own label, so that only the whole of it pays. Some words are masked, as explanations will mask them;
2. the counter-examples are held-out texts of one of the two labels with the shortcut of the other: `planted.proven` checks on
   them that the model follows the shortcut, and that each of its words is needed.

Cost: the training. Reference: Bastings et al. 2022 (arXiv:2111.07367), sections 3 and 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from exegete.evaluate.labelled_texts import LabelledTexts
from exegete.evaluate.truth.planted import Planted, PlantedText
from exegete.models.bare_classifier import MASK
from exegete.models.model import Model
from exegete.models.small_classifier import Labelled, Recipe, trained

KINDS = ("single token", "token in context", "ordered pair")
SAYS = {
    "single token": "one made-up word decides the label",
    "token in context": "a made-up word decides the label, but only where a second one stands in the text",
    "ordered pair": "two made-up words decide the label by which comes first",
}
PLAIN, WHOLE = 0.2, 0.4  # shares of plain texts and of whole shortcuts in training; the rest are decoys
MASKED = 0.3  # share of the training texts in which words are masked


@dataclass(frozen=True)
class Shortcut:
    """A shortcut of one `kind` between two `labels`; `words` are the two that decide and the context."""

    kind: str
    labels: tuple[str, str]
    words: tuple[str, str, str]

    @classmethod
    def of(cls, kind: str, data: LabelledTexts) -> "Shortcut":
        """Between the two most frequent labels, of words that stand in no text."""
        known, end = set(data.vocabulary), ""
        while known & {f"{w}{end}" for w in ("zeroa", "onea", "contexta")}:
            end += "a"
        return cls(kind, (data.labels[0], data.labels[1]), (f"zeroa{end}", f"onea{end}", f"contexta{end}"))

    def parts(self, side: int, random: Random) -> list[str]:
        """The words of the whole shortcut for a side, in the order in which they are put into a text."""
        zero, one, context = self.words
        if self.kind == "single token":
            return [(zero, one)[side]]
        if self.kind == "ordered pair":
            return [one, zero] if side else [zero, one]
        return random.sample([context, (zero, one)[side]], 2)

    def decoys(self, random: Random) -> list[str]:
        """Words that do not make a shortcut; none where one word makes it."""
        if self.kind == "single token":
            return []
        zero, one, _ = self.words
        return [random.choice((zero, one) if self.kind == "ordered pair" else self.words)]

    def batch(
        self, texts: Sequence[str], told: Sequence[str], rng: np.random.Generator, size: int
    ) -> Labelled:
        """Training texts and their labels."""
        random, found, labels = Random(int(rng.integers(2**62))), [], []
        for _ in range(size):
            i, kind = random.randrange(len(texts)), random.random()
            words, label, extra = texts[i].split(), told[i], []
            if PLAIN <= kind < PLAIN + WHOLE:
                side = random.randrange(2)
                extra, label = self.parts(side, random), self.labels[side]
            elif kind >= PLAIN + WHOLE:
                extra = self.decoys(random)
            if random.random() < MASKED:
                share = random.random()
                words = [MASK if random.random() < share else w for w in words]
            found.append(" ".join(put(words, extra, random)))
            labels.append(label)
        return found, labels

    def planted(self, data: LabelledTexts, recipe: Recipe, seed: int) -> Planted:
        """The classifier trained with the shortcut, and its counter-examples."""
        at = data.training
        texts, told = [data.texts[i] for i in at], [data.told[i] for i in at]
        model: Model = trained(
            (*data.vocabulary, *self.words), data.labels, lambda rng, size: self.batch(texts, told, rng, size), data.longest,
            recipe, seed, f"trained on {self.kind}",
        )  # fmt: skip
        held = {
            label: [data.texts[i] for i in data.held_out if data.told[i] == label] for label in self.labels
        }

        def draw(random: Random, label: str) -> PlantedText:
            side = self.labels.index(label)
            own = self.parts(side, random)
            text = random.choice(held[self.labels[1 - side]])
            return PlantedText(" ".join(put(text.split(), own, random)), label, tuple(own))

        return Planted(self.kind, model, f"{SAYS[self.kind]} (learned from data)", self.labels, draw)


def put(words: Sequence[str], extra: Sequence[str], random: Random) -> list[str]:
    """`extra` words, in their order, in random places among `words`."""
    size = len(words) + len(extra)
    places = sorted(random.sample(range(size), len(extra)))
    left, own = iter(words), dict(zip(places, extra))
    return [own[i] if i in own else next(left) for i in range(size)]
