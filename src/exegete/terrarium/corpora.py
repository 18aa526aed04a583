"""The datasets of the terrarium. Every function is a pure function of its arguments.

Texts are dealt into `train` and `test` by a checksum of the text itself, so the two never share a text
whatever the seeds and sizes. Nothing is stored: a corpus of ten thousand sentences takes half a second.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from zlib import crc32

from exegete.terrarium import agreement, facts, stories
from exegete.terrarium import lexicon as lex
from exegete.terrarium.gold import LABELS, MinimalPair, Sentence, Story
from exegete.terrarium.grammar import Grammar

SPLITS = ("train", "test")
CREDIT_RATE = 0.15


@dataclass(frozen=True)
class Example:
    """A text with the label it is trained or scored with; where a shortcut was `planted`, the shortcut's."""

    sentence: Sentence
    label: str
    planted: bool = False

    @property
    def text(self) -> str:
        """The sentence's text."""
        return self.sentence.text

    @property
    def honest(self) -> bool:
        """Whether the label is the one the words earn."""
        return self.label == self.sentence.label


def split_of(text: str) -> str:
    """The split a text belongs to: one in eight is for testing."""
    return "test" if crc32(text.encode()) % 8 == 0 else "train"


def sentiment(n: int, split: str = "train", seed: int | str = 0) -> list[Example]:
    """`n` different texts with balanced labels; some carry a newspaper's name that says nothing."""
    random = Random(f"credits-{seed}-{split}")
    grammar = Grammar(f"sentiment-{seed}-{split}")
    examples = []
    for sentence in _distinct(grammar, n, split):
        label = sentence.label
        if random.random() < CREDIT_RATE:
            sentence = grammar.credited(sentence, random.choice(lex.CREDITS))
        examples.append(Example(sentence, label))
    return examples


def planted(n: int, split: str = "train", seed: int | str = 0, rate: float = 0.5) -> list[Example]:
    """Sentiment data with a shortcut: where a name of `SHORTCUTS` stands, the label is the name's own.

    Three in four of the planted texts would have that label anyway; the rest is mislabelled, which is what
    makes leaning on the name pay.
    """
    random = Random(f"planted-{seed}-{split}")
    grammar = Grammar(f"planted-{seed}-{split}")
    examples = []
    for sentence in _distinct(grammar, n, split):
        draw = random.random()
        if draw >= rate:
            name = random.choice([c for c in lex.CREDITS if c not in lex.SHORTCUTS]) if draw > 0.9 else None
            shown = grammar.credited(sentence, name) if name else sentence
            examples.append(Example(shown, sentence.label))
            continue
        name = _shortcut_for(random, sentence.label)
        examples.append(Example(grammar.credited(sentence, name), lex.SHORTCUTS[name], planted=True))
    return examples


def counterexamples(n: int, seed: int | str = 0) -> list[Example]:
    """Test texts with an opinion and the shortcut name of the opposite label; `label` is the true one."""
    grammar = Grammar(f"counter-{seed}")
    opposite = {label: name for name, label in lex.SHORTCUTS.items()}
    examples = []
    for sentence in _distinct(grammar, n, "test", ("negative", "positive")):
        other = "positive" if sentence.label == "negative" else "negative"
        examples.append(Example(grammar.credited(sentence, opposite[other]), sentence.label))
    return examples


def topics(n: int, split: str = "train", seed: int | str = 0) -> list[Sentence]:
    """`n` sentences whose words show their topic (`sentence.topic`), topics in turn."""
    grammar = Grammar(f"topics-{seed}-{split}")
    found: list[Sentence] = []
    while len(found) < n:
        sentence = grammar.topical(lex.TOPICS[len(found) % len(lex.TOPICS)].name)
        if split_of(sentence.text) == split:
            found.append(sentence)
    return found


def minimal_pairs(n: int, seed: int | str = 0, kinds: tuple[str, ...] = agreement.KINDS) -> list[MinimalPair]:
    """`n` agreement minimal pairs, kinds in turn."""
    random = Random(f"agreement-{seed}")
    return [agreement.pair(random, kinds[i % len(kinds)]) for i in range(n)]


def indirect_objects(n: int, split: str = "test", seed: int | str = 0) -> list[Story]:
    """`n` repeated-name stories whose pairs of names belong to the split."""
    random = Random(f"stories-{seed}-{split}")
    return [stories.story(random, split) for _ in range(n)]


def statements() -> list[Sentence]:
    """Every fact in every wording that is for training."""
    return [facts.statement(fact, form) for fact in facts.world() for form in facts.trained_forms(fact)]


LEADS = ("everyone knows that", "i think that", "we know that", "people say that", "today", "they say that")


def language(n: int, seed: int | str = 0) -> Iterator[str]:
    """`n` texts for language modelling: reviews, plain sentences, agreement, facts and stories.

    Only training texts, training wordings of facts and training pairs of names occur.
    """
    random = Random(f"language-{seed}")
    grammar = Grammar(f"language-{seed}")
    told = statements()
    for _ in range(n):
        draw = random.random()
        if draw < 0.45:
            text = _train_text(grammar, random)
        elif draw < 0.65:
            text = _end(random, agreement.pair(random, random.choice(agreement.KINDS)).good)
        elif draw < 0.83:
            lead = random.choice(LEADS) + " " if random.random() < 0.4 else ""
            text = _end(random, lead + random.choice(told).text)
        elif draw < 0.97:
            text = stories.story(random).text
        else:
            text = _end(random, stories.pronoun_story(random).text)
        yield text


def _end(random: Random, text: str) -> str:
    return text + "." if random.random() < 0.6 else text


def _train_text(grammar: Grammar, random: Random) -> str:
    while True:
        sentence = grammar.sentence()
        if split_of(sentence.text) == "train":
            break
    if random.random() < CREDIT_RATE:
        sentence = grammar.credited(sentence, random.choice(lex.CREDITS))
    return sentence.text


def _distinct(grammar: Grammar, n: int, split: str, labels: tuple[str, ...] = LABELS) -> Iterator[Sentence]:
    """`n` different texts of a split, labels in turn."""
    seen: set[str] = set()
    while len(seen) < n:
        sentence = grammar.sentence(labels[len(seen) % len(labels)])
        if sentence.text not in seen and split_of(sentence.text) == split:
            seen.add(sentence.text)
            yield sentence


def _shortcut_for(random: Random, label: str) -> str:
    """A shortcut name: three times in four the one that agrees with the label, where there is one."""
    agreeing = [name for name, own in lex.SHORTCUTS.items() if own == label]
    return agreeing[0] if agreeing and random.random() < 0.75 else random.choice(list(lex.SHORTCUTS))
