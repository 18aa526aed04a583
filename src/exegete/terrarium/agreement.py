"""Minimal pairs of subject-verb agreement: two sentences that differ in the number of one verb.

Kinds: `simple` (the dogs run / runs), `be` (the dogs are / is), `phrase` (the keys near the box shine /
shines), `object_relative` (the boys that the man sees laugh / laughs), `subject_relative` (the boy that
likes the cats runs / run), `coordination` (the dog jumps and runs / run). A pair is an attractor pair if a
noun between subject and verb has the other number.
"""

from random import Random

from exegete.terrarium import inflect
from exegete.terrarium import lexicon as lex
from exegete.terrarium.gold import MinimalPair, Sentence
from exegete.terrarium.phrases import Say, is_plural
from exegete.terrarium.tree import Clause, Draft, Node, finish

KINDS = ("simple", "be", "phrase", "object_relative", "subject_relative", "coordination")
_BE = {"is": "are", "are": "is", "was": "were", "were": "was"}


def pair(random: Random, kind: str) -> MinimalPair:
    """A minimal pair of this kind with random words and number."""
    return pair_with_tree(random, kind)[0]


def pair_with_tree(random: Random, kind: str) -> tuple[MinimalPair, Sentence]:
    """A minimal pair and the gold of its good sentence."""
    say = Say(random, random.choice(lex.TOPICS))
    subject, verbs = _subject(say)
    base = say.pick(verbs)
    clash = _modify(say, subject, kind)
    root, verb, other = _predicate(say, subject, base, kind)
    sentence = finish(Draft(root, [Clause(root)]))
    index = next(i for i, node in enumerate(root.read()) if node is verb)
    forms = [*sentence.forms]
    bad = " ".join((*forms[:index], other, *forms[index + 1 :]))
    return MinimalPair(sentence.text, bad, index, kind, clash), sentence


def _subject(say: Say) -> tuple[Node, tuple[str, ...]]:
    words, verbs = say.random.choice(((lex.PROFESSIONS, lex.INTRANSITIVE), (lex.ANIMALS, lex.ANIMAL_VERBS)))
    noun = say.pick([word for word in words if inflect.plural(word) != word])
    return say.noun(noun, say.chance(0.5)), verbs


def _modify(say: Say, subject: Node, kind: str) -> bool:
    """Hang the intervening phrase of this kind on the subject; True if its noun has the other number."""
    many = say.chance(0.5)
    if kind == "phrase":
        other = say.noun(say.pick(lex.OBJECTS + lex.SITES), many, "nmod")
        subject.add(say.preposition(say.pick(lex.PREPOSITIONS), other, "nmod"))
    elif kind == "object_relative":
        other = say.noun(say.pick(lex.PROFESSIONS), many)
        inner = say.verb(say.pick(lex.TRANSITIVE), other, "present", "acl:relcl").lead(other)
        subject.add(inner.lead(say.pronoun("that", "obj")))
    elif kind == "subject_relative":
        inner = say.verb(say.pick(lex.TRANSITIVE), subject, "present", "acl:relcl").lead(say.pronoun("that"))
        subject.add(inner.add(say.noun(say.pick(lex.PROFESSIONS), many, "obj")))
    else:
        return False
    return many != is_plural(subject)


def _predicate(say: Say, subject: Node, base: str, kind: str) -> tuple[Node, Node, str]:
    """The root, the verb the pair differs in, and that verb's wrong form."""
    if kind == "be" or (kind == "phrase" and say.chance(0.3)):
        be = say.be(subject, say.pick(("past", "present")))
        root = say.adjective(say.pick(("old", "small", "big", "white", "brown")), "root")
        return root.lead(subject, be), be, _BE[be.text]
    verb = say.verb(base, subject, "present")
    wrong = inflect.third(base) if is_plural(subject) else base
    if kind != "coordination":
        return verb.lead(subject), verb, wrong
    first = say.verb("rest" if base != "rest" else "wait", subject, "present").lead(subject)
    return first.add(verb.as_("conj").lead(Node("and", "CCONJ", "cc"))), verb, wrong
