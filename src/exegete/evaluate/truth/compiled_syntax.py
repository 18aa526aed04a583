"""Heads that follow grammar: "the old dog often sees the cat" is read by a head that finds subjects and one that finds verbs.

    0.subject    a verb looks for the subject, however many words stand between
    0.verb       an object looks for its verb
    the rest     distractors

Subjects and objects are different words, so that words alone say where to look. Which numbers the heads have is dealt anew for
every seed. Reference: Clark et al. 2019, sec. 4.2, for heads that follow a relation.
"""

from dataclasses import dataclass
from random import Random

from exegete.core.material import Parsed
from exegete.evaluate.truth.blueprint import Blueprint
from exegete.models.model import Model

SUBJECTS, OBJECTS = ("he", "she", "dog", "cow"), ("him", "her", "bone", "hay")
VERBS, ADVERBS, ADJECTIVES = ("sees", "wants", "likes"), ("often", "never", "soon"), ("old", "big", "wet")
HEADS = 4


@dataclass(frozen=True)
class Syntax:
    """The model, and (layer, head) by relation."""

    model: Model
    at: dict[str, tuple[int, int]]

    def trees(self, n: int, seed: int = 0) -> tuple[Parsed, ...]:
        """`n` sentences with up to two words between subject and verb, and between verb and object."""
        random = Random(f"syntax-{seed}")
        return tuple(_sentence(random) for _ in range(n))


def make(seed: int = 0) -> Syntax:
    """The model whose heads are dealt by `seed`."""
    random = Random(f"syntax {seed}")
    places = random.sample([(i, h) for i in range(2) for h in range(HEADS)], 2)
    at: dict[str, tuple[int, int]] = dict(zip(("nsubj", "obj"), places))
    b = Blueprint((*SUBJECTS, *OBJECTS, *VERBS, *ADVERBS, *ADJECTIVES), n_positions=12, spaces={}, seed=seed)
    classes = {
        name: b.axes("token", words).sum(0)[None]
        for name, words in (("s", SUBJECTS), ("o", OBJECTS), ("v", VERBS))
    }
    aside = b.axes("junk")[:1]
    b.match(*at["nsubj"], classes["v"], classes["s"], 9.0)
    b.move(*at["nsubj"], classes["s"], aside)
    b.match(*at["obj"], classes["o"], classes["v"], 9.0)
    b.move(*at["obj"], classes["v"], aside)
    return Syntax(b.build(f"syntax {seed}"), at)


def _sentence(random: Random) -> Parsed:
    before = random.sample(ADVERBS, random.randrange(3))
    between = random.sample(ADJECTIVES, random.randrange(3))
    words = (random.choice(SUBJECTS), *before, random.choice(VERBS), *between, random.choice(OBJECTS))
    verb, last = 1 + len(before), len(words) - 1
    heads = [verb] * len(words)
    heads[verb] = -1
    relations = ["nsubj", *["advmod"] * len(before), "root", *["amod"] * len(between), "obj"]
    for i in range(verb + 1, last):
        heads[i] = last
    return Parsed(words=words, heads=tuple(heads), relations=tuple(relations))
