"""Pairwise: two words together add what neither adds alone, beside words that add by themselves.

    0.h0    the closing token sums the weights of single words into the classes, and marks the members of pairs that it saw
    0.mlp   where both members of a pair were seen, their class gets the weight of the pair

A text holds the pair of its class (one member adds a little by itself, the other nothing), one more word of its class, two
weaker ones of another class, and five that weigh nothing. Planted: the pair and the word.
"""

from collections.abc import Sequence
from random import Random

from exegete.evaluate.truth.planted import Planted, PlantedText, mixed
from exegete.evaluate.truth.planted_words import FILLERS, LABELS, SAYS, added, additive_weights
from exegete.evaluate.truth.rulebook import LENGTH, Rulebook

PAIRS = {"praise": ("old", "wine"), "blame": ("late", "train"), "doubt": ("so", "they")}
TOGETHER = 3.0
WORDS = {
    **additive_weights(scale=0.7),
    **{one: {label: 0.8} for label, (one, _) in PAIRS.items()},
}


def make() -> Planted:
    """The model with its rule."""
    members = [w for pair in PAIRS.values() for w in pair]
    words = (*FILLERS, *dict.fromkeys([*WORDS, *members]))
    b = Rulebook(words, n_positions=LENGTH + 6, spaces={"seen": len(members)}, labels=LABELS, layers=1)
    b.counts_for(0, 0, WORDS)
    b.sums(0, 1, b.axes("token", members), b.axes("seen"))
    for i, label in enumerate(PAIRS):
        one, two = b.axes("seen", [2 * i, 2 * i + 1])
        b.both(0, one, two, b.towards({label: TOGETHER}))
    says = "words add their weights, and two words together add more than each of them alone"
    return Planted("pairwise", b.build("pairwise"), says, LABELS[1:], _draw, _rule)


def _rule(words: Sequence[str]) -> dict[str, float]:
    found = added(WORDS, tuple(words))
    for label, pair in PAIRS.items():
        if set(pair) <= set(words):
            found[label] = found.get(label, 0.0) + TOGETHER
    return found


def _draw(random: Random, label: str) -> PlantedText:
    own = [*PAIRS[label], random.choice(SAYS[label])]
    other = random.sample(SAYS[random.choice([x for x in SAYS if x != label])][2:], 2)
    return PlantedText(" ".join(mixed(random, [*own, *other], FILLERS, LENGTH)), label, tuple(own))
