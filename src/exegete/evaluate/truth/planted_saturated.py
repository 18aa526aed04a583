"""Saturated: a word decides its class, and more of it would change nothing: the slope at the text is zero.

    0.h0    the closing token counts each deciding word
    0.mlp   relu(c) - relu(c - 1/2): rises up to one half, and is flat from there on

A method that looks at the slope alone sees nothing, although without the word the answer falls: the usual counter-example to
sensitivity of gradients. Not among the models of the truth board; `axioms` asks for it.
Reference: Sundararajan et al. 2017 (arXiv:1703.01365), section 2.1.
"""

from collections.abc import Sequence
from random import Random

from exegete.evaluate.truth.planted import Planted, PlantedText, mixed
from exegete.evaluate.truth.planted_words import FILLERS, LABELS, SAYS
from exegete.evaluate.truth.rulebook import LENGTH, Rulebook

WEIGHT = 4.0
DECIDING = {label: words[0] for label, words in SAYS.items()}


def make() -> Planted:
    """The model with its rule."""
    words = tuple(DECIDING.values())
    b = Rulebook(
        (*FILLERS, *words), n_positions=LENGTH + 6, spaces={"seen": len(words)}, labels=LABELS, layers=1
    )
    b.sums(0, 0, b.axes("token", words), b.axes("seen"))
    for axis, label in zip(b.axes("seen"), DECIDING):
        b.unit(0, axis, 0.0, b.towards({label: 2 * WEIGHT}))
        b.unit(0, axis, -0.5, b.towards({label: -2 * WEIGHT}))
    says = "one word decides the class, and its effect is used up before the whole of it is there"
    return Planted("saturated", b.build("saturated"), says, LABELS[1:], _draw, _rule)


def _rule(words: Sequence[str]) -> dict[str, float]:
    return {label: WEIGHT for label, word in DECIDING.items() if word in words}


def _draw(random: Random, label: str) -> PlantedText:
    own = (DECIDING[label],)
    return PlantedText(" ".join(mixed(random, own, FILLERS, LENGTH)), label, own)
