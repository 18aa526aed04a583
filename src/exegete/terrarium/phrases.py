"""Noun phrases, verbs and small adjuncts: the bricks that clauses are made of.

A `Say` carries the random stream and the topic of one text. Every method returns a fresh `Node` with its
Universal Dependencies relation, so bricks can be hung anywhere.
"""

from collections.abc import Sequence
from random import Random

from exegete.terrarium import inflect
from exegete.terrarium import lexicon as lex
from exegete.terrarium.tree import Hint, Node

SING, PLUR = "Number=Sing", "Number=Plur"
PRONOUNS = {
    "i": "Number=Sing|Person=1", "we": "Number=Plur|Person=1", "you": "Number=Plur|Person=2",
    "he": "Number=Sing|Person=3", "she": "Number=Sing|Person=3", "it": "Number=Sing|Person=3",
    "they": "Number=Plur|Person=3", "me": "Number=Sing|Person=1", "us": "Number=Plur|Person=1",
    "him": "Number=Sing|Person=3", "her": "Number=Sing|Person=3", "them": "Number=Plur|Person=3",
    "nobody": "Number=Sing|Polarity=Neg", "nothing": "Number=Sing|Polarity=Neg", "everyone": SING,
    "that": "",
}  # fmt: skip
_PLURAL_DETERMINERS = {"this": "these", "that": "those", "a": "some"}
SPELLS = (
    "last week", "last month", "last year", "last night", "this week", "this month", "this year", "this morning",
    "this evening", "every day", "every week", "every month", "every year", "every morning", "every evening",
    "every night",
)  # fmt: skip
OFTEN = ("also", "still", "always", "just", "usually", "often", "only", "already", "sometimes")


def is_plural(subject: Node) -> bool:
    """Whether a finite verb takes its plural form after this subject (also after *you*)."""
    return PLUR in subject.feats


class Say:
    """One text's random stream and topic, and the phrases it can say."""

    def __init__(self, random: Random, topic: lex.Topic) -> None:
        self.random = random
        self.topic = topic

    def pick(self, options: Sequence[str]) -> str:
        """One of the options, uniformly."""
        return options[int(self.random.random() * len(options))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random.random() < probability

    def pronoun(self, word: str, rel: str = "nsubj") -> Node:
        """A pronoun with its number and person."""
        return Node(word, "PRON", rel, PRONOUNS[word])

    def noun(self, word: str, many: bool = False, rel: str = "nsubj", det: str | None = "the") -> Node:
        """A noun phrase of determiner and noun; the determiner follows the noun's number."""
        node = Node(inflect.plural(word) if many else word, "NOUN", rel, PLUR if many else SING)
        if det is not None:
            node.lead(self.determiner(_PLURAL_DETERMINERS.get(det, det) if many else det))
        return node

    def determiner(self, word: str) -> Node:
        """A determiner, possessive or numeral before a noun."""
        if word in lex.NUMBERS:
            return Node(word, "NUM", "nummod")
        if word == "last":
            return self.adjective(word)
        if word in ("my", "our", "your", "their", "his", "her", "its"):
            return Node(word, "PRON", "nmod:poss")
        number = {"this": SING, "that": SING, "these": PLUR, "those": PLUR}.get(word, "")
        return Node(word, "DET", "det", "Polarity=Neg" if word == "no" else number)

    def adjective(self, word: str, rel: str = "amod") -> Node:
        """An adjective."""
        return Node(word, "ADJ", rel)

    def describe(self, noun: Node, word: str) -> Node:
        """Put an adjective between a noun and its determiner; returns the adjective."""
        node = self.adjective(word)
        noun.before.append(node)
        return node

    def preposition(self, word: str, object_: Node, rel: str = "obl") -> Node:
        """A prepositional phrase: the object, headed as `rel`, with its case marker in front."""
        object_.rel = rel
        return object_.lead(Node(word, "ADP", "case"))

    def place(self, rel: str = "obl") -> Node:
        """*near the river*, *in the village*."""
        if self.chance(0.35):
            return self.preposition("in", self.noun(self.pick(lex.ROOMY)), rel)
        return self.preposition(
            self.pick(("near", "behind", "beside", "opposite")), self.noun(self.pick(lex.SITES)), rel
        )

    def when(self) -> Node:
        """*in march*, *on friday*, *yesterday*, *last week*."""
        kind = self.random.randrange(4)
        if kind == 3:
            det, spell = self.pick(SPELLS).split()
            return self.noun(spell, False, "obl:tmod", det)
        if kind == 0:
            return self.preposition("in", Node(self.pick(lex.MONTHS), "PROPN", "obl", SING))
        if kind == 1:
            return self.preposition("on", Node(self.pick(lex.DAYS), "PROPN", "obl", SING))
        return Node(self.pick(("yesterday", "today", "recently", "again")), "ADV", "advmod")

    def be(self, subject: Node, tense: str = "past", rel: str = "cop") -> Node:
        """The form of *be* that agrees with the subject."""
        first = subject.text == "i"
        if tense == "past":
            text = "were" if is_plural(subject) else "was"
        else:
            text = "am" if first else "are" if is_plural(subject) else "is"
        return Node(text, "AUX", rel, _finite(subject, tense))

    def verb(self, base: str, subject: Node, tense: str = "past", rel: str = "root") -> Node:
        """The finite form of a full verb that agrees with the subject."""
        if tense == "past":
            return Node(inflect.past(base), "VERB", rel, "Tense=Past|VerbForm=Fin")
        text = base if is_plural(subject) or subject.text == "i" else inflect.third(base)
        return Node(text, "VERB", rel, _finite(subject, tense))

    def do(self, subject: Node, tense: str = "past") -> Node:
        """*did*, *does* or *do*."""
        if tense == "past":
            return Node("did", "AUX", "aux", "Tense=Past|VerbForm=Fin")
        text = "do" if is_plural(subject) or subject.text == "i" else "does"
        return Node(text, "AUX", "aux", _finite(subject, tense))

    def infinitive(self, base: str, rel: str = "root") -> Node:
        """The bare form after an auxiliary."""
        return Node(base, "VERB", rel, "VerbForm=Inf")

    def negation(self) -> Node:
        """*not*, or *n't* written onto the auxiliary before it."""
        if self.chance(0.4):
            return Node("n't", "PART", "advmod", "Polarity=Neg", glued=True)
        return Node("not", "PART", "advmod", "Polarity=Neg")

    def adverb(self, word: str) -> Node:
        """An adverb before or after a verb or adjective."""
        return Node(word, "ADV", "advmod", "Polarity=Neg" if word in ("never", "hardly") else "")

    def degree(self, hint: Hint, probability: float = 0.3) -> list[Node]:
        """Perhaps a degree adverb for this evidence, written into the hint; the nodes to hang before it."""
        if not self.chance(probability):
            return []
        words = ("very", "really", "so") if hint.negation else tuple(lex.DEGREES)
        word = self.pick(words)
        hint.degree, hint.factor = self.adverb(word), lex.DEGREES[word]
        return [hint.degree]

    def often(self, probability: float = 0.06) -> list[Node]:
        """Perhaps an adverb that says nothing about quality: *also*, *still*, *often*."""
        return [self.adverb(self.pick(OFTEN))] if self.chance(probability) else []

    def comma(self) -> Node:
        """A comma, written onto the word before it."""
        return Node(",", "PUNCT", "punct", glued=True)


def _finite(subject: Node, tense: str) -> str:
    """The features of a finite verb whose form shows the number of its subject."""
    number = PLUR if is_plural(subject) else SING
    return f"{number}|Tense={'Past' if tense == 'past' else 'Pres'}|VerbForm=Fin"
