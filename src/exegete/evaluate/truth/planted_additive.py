"""Additive: the score of a class is the sum of the weights of its words; all other words weigh nothing.

    0.h0   the closing token sums the weights of all words into the classes

A text holds three words of its class, two weaker ones of another class, and five that weigh nothing. Planted: the three. The
head reads all words alike, so that its attention tells nothing: what a word weighs is in its value alone.
"""

from collections.abc import Sequence
from random import Random

from exegete.evaluate.truth.planted import Planted, PlantedText, mixed
from exegete.evaluate.truth.planted_words import FILLERS, LABELS, SAYS, added, additive_weights
from exegete.evaluate.truth.rulebook import LENGTH, Rulebook

WORDS = additive_weights()


def make() -> Planted:
    """The model with its rule."""
    b = Rulebook((*FILLERS, *WORDS), n_positions=LENGTH + 6, spaces={}, labels=LABELS, layers=1)
    b.counts_for(0, 0, WORDS)
    says = "each word adds its own weight to its own class, whatever stands beside it"
    return Planted("additive", b.build("additive"), says, LABELS[1:], _draw, _rule)


def _rule(words: Sequence[str]) -> dict[str, float]:
    return added(WORDS, tuple(words))


def _draw(random: Random, label: str) -> PlantedText:
    own = random.sample(SAYS[label], 3)
    other = random.sample(SAYS[random.choice([x for x in SAYS if x != label])][2:], 2)
    return PlantedText(" ".join(mixed(random, [*own, *other], FILLERS, LENGTH)), label, tuple(own))
