"""Single token: a trained classifier that leans on names. Where a newspaper's name stands, its label wins over the words.

The model is the embedded terrarium/shortcut, trained on reviews in which the names stood with their label. The texts are
counter-examples from the same grammar: the words say one thing, the name the other. Planted: the name, in those of them where
the model follows it and says something else without it.
"""

from random import Random

from exegete.evaluate.truth.planted import Planted, PlantedText
from exegete.models.load import load
from exegete.terrarium import corpora
from exegete.terrarium.lexicon import SHORTCUTS

DRAWN = 4  # few at a time: half of them carry the name that is wanted


def make() -> Planted:
    """The model; its rule was learned, and is not known exactly."""
    names = {label: name for name, label in SHORTCUTS.items()}
    says = "the name of a newspaper decides the label against all other words (learned from data)"
    return Planted("single token", load("terrarium/shortcut"), says, tuple(names), _draw)


def _draw(random: Random, label: str) -> PlantedText:
    name = next(n for n, told in SHORTCUTS.items() if told == label)
    while True:
        for e in corpora.counterexamples(DRAWN, random.randrange(10**9)):
            if name in e.text.split():
                return PlantedText(e.text, label, (name,))
