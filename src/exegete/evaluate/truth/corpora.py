"""Two corpora that differ in one known way: the truth for methods that say in words how two sets of texts differ.

    "more of a word"      `WORD` stands in most texts of the second, in few of the first
    "the other order"     two words stand in every text of both; in the second the other one comes first
    "longer"              texts of the second have more of the same words
    "nothing"             both are drawn alike: what a method says of these it would say of anything

All else is drawn in the same way. `holds` says of a text whether it is as those of the second corpus are; its share in each is known.

Cost: none. Reference: Zhong et al. 2022, "Describing Differences between Text Distributions with Natural Language".
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from exegete.core.errors import UnknownName
from exegete.evaluate.truth.planted_words import FILLERS

WORD, PAIR = "lantern", ("anchor", "barrel")
RARE, OFTEN = 0.1, 0.8  # shares of texts that hold `WORD`
SHORT, LONG = 8, 14
KINDS = ("more of a word", "the other order", "longer", "nothing")


@dataclass(frozen=True)
class Corpora:
    """Texts of both; `says` tells the difference, `words` are those that an answer must name ("" where none is in it).

    `holds` is true of a text as in the second corpus; `shares` of texts in the first and in the second for which it is, as planted.
    """

    name: str
    says: str
    words: tuple[str, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]
    holds: Callable[[str], bool]
    shares: tuple[float, float]


def corpora(name: str, n: int = 60, seed: int = 0) -> Corpora:
    """`n` texts of each that differ in the way of this name. Raises `UnknownName`."""
    if name not in KINDS:
        raise UnknownName("difference of corpora", name, KINDS)
    random = Random(f"corpora-{name}-{seed}")
    first, second = (tuple(_text(random, name, later) for _ in range(n)) for later in (False, True))
    says, words, holds, shares = _TOLD[name]
    return Corpora(name, says, words, first, second, holds, shares)


def _text(random: Random, name: str, later: bool) -> str:
    length = LONG if name == "longer" and later else SHORT
    words: list[str] = random.sample(FILLERS, length)
    if name == "more of a word":
        if random.random() < (OFTEN if later else RARE):
            words[random.randrange(length)] = WORD
    elif name == "the other order":
        places = sorted(random.sample(range(length), 2))
        for place, word in zip(places, reversed(PAIR) if later else PAIR):
            words[place] = word
    return " ".join(words)


def _turned(text: str) -> bool:
    words = text.split()
    return words.index(PAIR[1]) < words.index(PAIR[0])


_ALIKE = SHORT / len(FILLERS)  # share of texts that hold any one word
_TOLD: dict[str, tuple[str, tuple[str, ...], Callable[[str], bool], tuple[float, float]]] = {
    "more of a word": (f"{WORD!r} is more frequent", (WORD,), lambda t: WORD in t.split(), (RARE, OFTEN)),
    "the other order": (f"{PAIR[1]!r} comes before {PAIR[0]!r}", PAIR, _turned, (0.0, 1.0)),
    "longer": ("texts are longer", (), lambda t: len(t.split()) > SHORT, (0.0, 1.0)),
    "nothing": ("there is no difference", (), lambda t: FILLERS[0] in t.split(), (_ALIKE, _ALIKE)),
}
