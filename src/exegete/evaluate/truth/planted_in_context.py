"""Token in context: a word decides the class, but only where another word stands somewhere in the text.

    0.h0    the closing token marks which of the words it saw, and sums weaker words that say the opposite
    0.mlp   where the word and its context were seen, the class of the word gets the weight

"mill" makes a text praise and "forge" makes it blame, where "sunday" is in the text too; alone, they are nothing. A text
holds one of them, the context, two words that speak for another class, and six that weigh nothing. Planted: word and context.
"""

from collections.abc import Sequence
from random import Random

from exegete.evaluate.truth.planted import Planted, PlantedText, mixed
from exegete.evaluate.truth.planted_words import FILLERS, LABELS, SAYS, added, additive_weights
from exegete.evaluate.truth.rulebook import LENGTH, Rulebook

NAMES = {"praise": "mill", "blame": "forge", "doubt": "quarry"}
CONTEXT = "sunday"
WEIGHT = 4.0
WORDS = additive_weights(scale=0.5)


def make() -> Planted:
    """The model with its rule."""
    marked = [CONTEXT, *NAMES.values()]
    b = Rulebook(
        (*FILLERS, *WORDS, *marked), n_positions=LENGTH + 6, spaces={"seen": len(marked)}, labels=LABELS, layers=1
    )  # fmt: skip
    b.counts_for(0, 0, WORDS)
    b.sums(0, 1, b.axes("token", marked), b.axes("seen"))
    context, *names = b.axes("seen")
    for label, name in zip(NAMES, names):
        b.both(0, context, name, b.towards({label: WEIGHT}))
    says = f"a name decides the class, but only where {CONTEXT!r} stands in the text"
    return Planted("token in context", b.build("in_context"), says, LABELS[1:], _draw, _rule)


def _rule(words: Sequence[str]) -> dict[str, float]:
    found = added(WORDS, tuple(words))
    for label, name in NAMES.items():
        if name in words and CONTEXT in words:
            found[label] = found.get(label, 0.0) + WEIGHT
    return found


def _draw(random: Random, label: str) -> PlantedText:
    own = (NAMES[label], CONTEXT)
    other = random.sample(SAYS[random.choice([x for x in SAYS if x != label])], 2)
    return PlantedText(" ".join(mixed(random, [*own, *other], FILLERS, LENGTH)), label, own)
