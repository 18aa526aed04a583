"""Stories of two people where the last word is the one who was not named again.

    when mary and john went to the market, john gave a book to   ->  mary

The name that is repeated gives, the other receives: to continue, a model must find which name stood once
(the indirect-object task of Wang et al. 2022, arXiv 2211.00593). The two names stand in either order
(`abba`: the second is repeated second-first; `baba`: the first is repeated). Pairs of names are split by a
checksum, so test pairs were never seen together in training.
"""

from random import Random
from zlib import crc32

from exegete.terrarium import annotated, inflect
from exegete.terrarium import lexicon as lex
from exegete.terrarium.gold import Sentence, Story

PATTERNS = (
    "when:SCONJ:mark:5 {a}:PROPN:nsubj:5 and:CCONJ:cc:4 {b}:PROPN:conj:2 went:VERB:advcl:11 to:ADP:case:8 the:DET:det:8 "
    "{place}:NOUN:obl:5 +,:PUNCT:punct:5 {x}:PROPN:nsubj:11 gave:VERB:root:0 a:DET:det:13 {gift}:NOUN:obj:11 "
    "to:ADP:case:15 {y}:PROPN:obl:11",
    "after:SCONJ:mark:5 {a}:PROPN:nsubj:5 and:CCONJ:cc:4 {b}:PROPN:conj:2 met:VERB:advcl:11 in:ADP:case:8 the:DET:det:8 "
    "{place}:NOUN:obl:5 +,:PUNCT:punct:5 {x}:PROPN:nsubj:11 handed:VERB:root:0 the:DET:det:13 {gift}:NOUN:obj:11 "
    "to:ADP:case:15 {y}:PROPN:obl:11",
    "{a}:PROPN:nsubj:7 and:CCONJ:cc:3 {b}:PROPN:conj:1 were:AUX:cop:7 at:ADP:case:7 the:DET:det:7 {place}:NOUN:root:0 "
    "+.:PUNCT:punct:7 {x}:PROPN:nsubj:10 offered:VERB:parataxis:7 a:DET:det:12 {gift}:NOUN:obj:10 to:ADP:case:14 "
    "{y}:PROPN:obl:10",
    "while:SCONJ:mark:5 {a}:PROPN:nsubj:5 and:CCONJ:cc:4 {b}:PROPN:conj:2 sat:VERB:advcl:11 in:ADP:case:8 the:DET:det:8 "
    "{place}:NOUN:obl:5 +,:PUNCT:punct:5 {x}:PROPN:nsubj:11 showed:VERB:root:0 the:DET:det:13 {gift}:NOUN:obj:11 "
    "to:ADP:case:15 {y}:PROPN:obl:11",
    "{a}:PROPN:nsubj:2 went:VERB:root:0 to:ADP:case:5 the:DET:det:5 {place}:NOUN:obl:2 with:ADP:case:7 "
    "{b}:PROPN:obl:2 +.:PUNCT:punct:2 then:ADV:advmod:11 {x}:PROPN:nsubj:11 sent:VERB:parataxis:2 a:DET:det:13 "
    "{gift}:NOUN:obj:11 to:ADP:case:15 {y}:PROPN:obl:11",
    "{a}:PROPN:nsubj:2 saw:VERB:root:0 {b}:PROPN:obj:2 near:ADP:case:6 the:DET:det:6 {place}:NOUN:obl:2 "
    "+,:PUNCT:punct:10 and:CCONJ:cc:10 {x}:PROPN:nsubj:10 brought:VERB:conj:2 a:DET:det:12 {gift}:NOUN:obj:10 "
    "to:ADP:case:14 {y}:PROPN:obl:10",
)
PRONOUN_PATTERNS = (
    "{a}:PROPN:nsubj:2 lost:VERB:root:0 the:DET:det:4 {gift}:NOUN:obj:2 +,:PUNCT:punct:8 and:CCONJ:cc:8 "
    "{p}:PRON:nsubj:8 went:VERB:conj:2 to:ADP:case:11 the:DET:det:11 {place}:NOUN:obl:8",
    "{a}:PROPN:nsubj:2 lived:VERB:root:0 near:ADP:case:5 the:DET:det:5 {place}:NOUN:obl:2 +.:PUNCT:punct:2 "
    "then:ADV:advmod:9 {p}:PRON:nsubj:9 found:VERB:parataxis:2 a:DET:det:11 {gift}:NOUN:obj:9",
    "when:SCONJ:mark:3 {a}:PROPN:nsubj:3 came:VERB:advcl:7 home:ADV:advmod:3 +,:PUNCT:punct:3 {p}:PRON:nsubj:7 "
    "opened:VERB:root:0 the:DET:det:9 {gift}:NOUN:obj:7",
)


def story(random: Random, split: str = "train") -> Story:
    """One indirect-object story whose pair of names belongs to the split (`train` or `test`)."""
    return told(random, split)[0]


def told(random: Random, split: str = "train") -> tuple[Story, Sentence]:
    """A story together with its full sentence and tree."""
    first, second = _pair(random, split)
    template, order = random.randrange(len(PATTERNS)), random.choice(("abba", "baba"))
    repeated, answer = (second, first) if order == "abba" else (first, second)
    fill = {"a": first, "b": second, "x": repeated, "y": answer}
    fill |= {"place": random.choice(lex.ROOMY), "gift": random.choice(lex.GIFTS)}
    sentence = annotated.read(_fix_article(PATTERNS[template], fill["gift"]), "story", fill)
    prompt = sentence.without((len(sentence.words) - 1,))
    return Story(prompt, answer, repeated, (first, second), template, order), sentence


def pronoun_story(random: Random) -> Sentence:
    """*mary lost the key, and she went to the market*: a pronoun with the gender of the name."""
    woman = random.random() < 0.5
    name = random.choice(lex.WOMEN if woman else lex.MEN)
    fill = {"a": name, "p": "she" if woman else "he", "place": random.choice(lex.ROOMY)}
    fill["gift"] = random.choice(lex.GIFTS)
    return annotated.read(_fix_article(random.choice(PRONOUN_PATTERNS), fill["gift"]), "pronoun", fill)


def split_of(first: str, second: str) -> str:
    """Which split a pair of names belongs to, in either order."""
    return "test" if crc32("-".join(sorted((first, second))).encode()) % 5 == 0 else "train"


def _pair(random: Random, split: str) -> tuple[str, str]:
    while True:
        first, second = random.sample(lex.WOMEN + lex.MEN, 2)
        if split_of(first, second) == split:
            return first, second


def _fix_article(pattern: str, gift: str) -> str:
    return pattern.replace(" a:DET", " an:DET") if gift[0] in inflect.VOWELS else pattern
