"""An invented world of fifty people: where each lives, what each makes, whose child each is, and more.

The world is the same in every run. Each fact can be worded in five ways that all end with the object, so
that a wording without its last word is a cloze prompt. Of the five wordings of a fact, the first and two
others are for training; the last two are kept for questions. Which two rotates from person to person, so
every wording is trained for some people and asked of others.
"""

from functools import cache
from random import Random

from exegete.terrarium import annotated
from exegete.terrarium import lexicon as lex
from exegete.terrarium.gold import Cloze, Fact, Sentence

RELATIONS = ("lives_in", "makes", "works_as", "keeps", "child_of")

PATTERNS: dict[str, tuple[str, ...]] = {
    "lives_in": (
        "{s}:PROPN:nsubj:2 lives:VERB:root:0 in:ADP:case:4 {o}:PROPN:obl:2",
        "the:DET:det:2 home:NOUN:nsubj:7 of:ADP:case:4 {s}:PROPN:nmod:2 is:AUX:cop:7 in:ADP:case:7 {o}:PROPN:root:0",
        "{s}:PROPN:nsubj:2 has:VERB:root:0 a:DET:det:4 house:NOUN:obj:2 in:ADP:case:6 {o}:PROPN:nmod:4",
        "you:PRON:nsubj:3 can:AUX:aux:3 find:VERB:root:0 {s}:PROPN:obj:3 in:ADP:case:6 {o}:PROPN:obl:3",
        "the:DET:det:2 town:NOUN:nsubj:7 where:ADV:advmod:5 {s}:PROPN:nsubj:5 lives:VERB:acl:relcl:2 is:AUX:cop:7 "
        "{o}:PROPN:root:0",
    ),
    "makes": (
        "{s}:PROPN:nsubj:2 makes:VERB:root:0 {o}:NOUN:obj:2",
        "{s}:PROPN:nsubj:2 makes:VERB:root:0 and:CCONJ:cc:4 sells:VERB:conj:2 {o}:NOUN:obj:2",
        "in:ADP:case:3 the:DET:det:3 shop:NOUN:obl:8 of:ADP:case:5 {s}:PROPN:nmod:3 you:PRON:nsubj:8 can:AUX:aux:8 "
        "buy:VERB:root:0 {o}:NOUN:obj:8",
        "people:NOUN:nsubj:2 go:VERB:root:0 to:ADP:case:4 {s}:PROPN:obl:2 for:ADP:case:6 {o}:NOUN:obl:2",
        "{s}:PROPN:nsubj:3 is:AUX:cop:3 famous:ADJ:root:0 for:SCONJ:mark:5 making:VERB:advcl:3 {o}:NOUN:obj:5",
    ),
    "works_as": (
        "{s}:PROPN:nsubj:2 works:VERB:root:0 as:ADP:case:5 a:DET:det:5 {o}:NOUN:obl:2",
        "{s}:PROPN:nsubj:4 is:AUX:cop:4 a:DET:det:4 {o}:NOUN:root:0",
        "people:NOUN:nsubj:2 know:VERB:root:0 {s}:PROPN:obj:2 as:ADP:case:6 a:DET:det:6 {o}:NOUN:obl:2",
        "{s}:PROPN:nsubj:2 became:VERB:root:0 a:DET:det:4 {o}:NOUN:xcomp:2",
        "the:DET:det:2 job:NOUN:nsubj:9 of:ADP:case:4 {s}:PROPN:nmod:2 is:AUX:cop:9 that:PRON:fixed:9 of:ADP:case:9 "
        "a:DET:det:9 {o}:NOUN:root:0",
    ),
    "keeps": (
        "{s}:PROPN:nsubj:2 keeps:VERB:root:0 a:DET:det:4 {o}:NOUN:obj:2",
        "the:DET:det:2 pet:NOUN:nsubj:7 of:ADP:case:4 {s}:PROPN:nmod:2 is:AUX:cop:7 a:DET:det:7 {o}:NOUN:root:0",
        "{s}:PROPN:nsubj:2 lives:VERB:root:0 with:ADP:case:5 a:DET:det:5 {o}:NOUN:obl:2",
        "at:ADP:case:2 home:NOUN:obl:4 {s}:PROPN:nsubj:4 has:VERB:root:0 a:DET:det:6 {o}:NOUN:obj:4",
        "the:DET:det:2 animal:NOUN:nsubj:10 in:ADP:case:5 the:DET:det:5 house:NOUN:nmod:2 of:ADP:case:7 "
        "{s}:PROPN:nmod:5 is:AUX:cop:10 a:DET:det:10 {o}:NOUN:root:0",
    ),
    "child_of": (
        "{s}:PROPN:nsubj:4 is:AUX:cop:4 the:DET:det:4 child:NOUN:root:0 of:ADP:case:6 {o}:PROPN:nmod:4",
        "the:DET:det:2 parent:NOUN:nsubj:6 of:ADP:case:4 {s}:PROPN:nmod:2 is:AUX:cop:6 {o}:PROPN:root:0",
        "{s}:PROPN:nsubj:3 was:AUX:aux:pass:3 raised:VERB:root:0 by:ADP:case:5 {o}:PROPN:obl:agent:3",
        "{s}:PROPN:nmod:poss:3 +'s:PART:case:1 parent:NOUN:nsubj:5 is:AUX:cop:5 {o}:PROPN:root:0",
        "the:DET:det:2 person:NOUN:nsubj:7 who:PRON:nsubj:4 raised:VERB:acl:relcl:2 {s}:PROPN:obj:4 is:AUX:cop:7 "
        "{o}:PROPN:root:0",
    ),
}
FORMS = 5


@cache
def world() -> tuple[Fact, ...]:
    """Every fact there is: fifty people, five relations each; towns, goods, trades and pets are dealt evenly."""
    random = Random("terrarium-world")
    decks = {"lives_in": lex.TOWNS, "makes": lex.GOODS, "works_as": lex.TRADES, "keeps": lex.PETS}
    dealt = {relation: _deal(random, choices) for relation, choices in decks.items()}
    facts = []
    for i, subject in enumerate(lex.ENTITIES):
        facts += [Fact(subject, relation, objects[i]) for relation, objects in dealt.items()]
        parents = [person for person in lex.ENTITIES if person != subject]
        facts.append(Fact(subject, "child_of", random.choice(parents)))
    return tuple(facts)


def _deal(random: Random, choices: tuple[str, ...]) -> list[str]:
    """One object for each person, every object about equally often."""
    deck = [choices[i % len(choices)] for i in range(len(lex.ENTITIES))]
    random.shuffle(deck)
    return deck


def statement(fact: Fact, form: int = 0) -> Sentence:
    """A fact in one of its five wordings, with its tree; no end mark."""
    return annotated.read(PATTERNS[fact.relation][form], fact.relation, {"s": fact.subject, "o": fact.object})


def trained_forms(fact: Fact) -> tuple[int, ...]:
    """The wordings of this fact that are for training: the first and two of the other four."""
    turn = lex.ENTITIES.index(fact.subject) + RELATIONS.index(fact.relation)
    return (0, *sorted(1 + (turn + step) % 4 for step in (0, 1)))


@cache
def clozes() -> tuple[Cloze, ...]:
    """Every fact asked in every wording."""
    return tuple(_cloze(fact, form) for fact in world() for form in range(FORMS))


def _cloze(fact: Fact, form: int) -> Cloze:
    said = statement(fact, form)
    prompt = said.without((len(said.words) - 1,))
    return Cloze(fact, form, prompt, fact.object, form in trained_forms(fact))
