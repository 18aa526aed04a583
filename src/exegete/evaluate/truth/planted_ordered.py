"""Ordered pair: two words decide the class by which of them comes first.

    0.h0, 0.h1   each of the two words looks for the other before it
    0.mlp        a word that found the other marks the order
    0.h2         the closing token sums weaker words that say the opposite
    1.h0         the closing token reads the order off

"north ... harbour" is praise, "harbour ... north" is blame; one alone is nothing. A text holds both, two words that speak for
another class, and six that weigh nothing. Planted: the two.
"""

from collections.abc import Sequence
from random import Random

import torch

from exegete.evaluate.truth.planted import Planted, PlantedText, mixed
from exegete.evaluate.truth.planted_words import FILLERS, LABELS, SAYS, added, additive_weights
from exegete.evaluate.truth.rulebook import LENGTH, Rulebook

ONE, TWO = "north", "harbour"
ORDERS = {"praise": (ONE, TWO), "blame": (TWO, ONE)}
WEIGHT = 4.0
SHARP = 9.0  # how much more a word looks at the other than at any word else (log odds)
WORDS = additive_weights(scale=0.5)


def make() -> Planted:
    """The model with its rule."""
    spaces = {"before": len(ORDERS), "order": len(ORDERS)}
    b = Rulebook((*FILLERS, *WORDS, ONE, TWO), n_positions=LENGTH + 6, spaces=spaces, labels=LABELS, layers=2)
    for i, (first, second) in enumerate(ORDERS.values()):
        b.match(0, i, b.axes("token", [second]), b.axes("token", [first]), SHARP)
        b.move(0, i, b.axes("token", [first]), b.axes("before", [i]))
        b.both(0, b.axes("before", [i])[0], b.axes("token", [second])[0], b.axes("order", [i])[0])
    b.counts_for(0, 2, WORDS)
    b.sums(1, 0, b.axes("order"), torch.stack([b.towards({label: WEIGHT}) for label in ORDERS]))
    says = f"{ONE!r} before {TWO!r} is praise, {TWO!r} before {ONE!r} is blame"
    return Planted("ordered pair", b.build("ordered"), says, tuple(ORDERS), _draw, _rule)


def _rule(words: Sequence[str]) -> dict[str, float]:
    found, words = added(WORDS, tuple(words)), list(words)
    for label, (first, second) in ORDERS.items():
        if first in words and second in words and words.index(first) < words.index(second):
            found[label] = found.get(label, 0.0) + WEIGHT
    return found


def _draw(random: Random, label: str) -> PlantedText:
    other = random.sample(SAYS[random.choice([x for x in SAYS if x != label])], 2)
    words = mixed(random, [ONE, TWO, *other], FILLERS, LENGTH)
    places = sorted((words.index(ONE), words.index(TWO)))
    for place, word in zip(places, ORDERS[label]):
        words[place] = word
    return PlantedText(" ".join(words), label, ORDERS[label])
