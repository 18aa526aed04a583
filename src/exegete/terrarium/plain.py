"""Clauses without opinion: facts about places, people, animals and things.

They carry no polar word, but they do carry negations, degree adverbs and contrasts, so that those words
alone never tell a label. Many put a noun of the other number between subject and verb, which is what the
agreement tests ask about.
"""

from collections.abc import Callable

from exegete.terrarium import lexicon as lex
from exegete.terrarium.phrases import Say
from exegete.terrarium.tree import Clause, Node


def _thing(say: Say, rel: str = "nsubj", det: str | None = None) -> Node:
    words = say.topic.places if say.chance(0.4) else say.topic.things
    return say.noun(say.pick(words), say.chance(0.35), rel, det or say.pick(("the", "the", "our", "this")))


def _place(say: Say) -> Node:
    return say.noun(
        say.pick(say.topic.places), say.chance(0.35), "nsubj", say.pick(("the", "the", "our", "this"))
    )


def _counted(say: Say, rel: str) -> Node:
    """*a kitchen*, *two gardens*, *some windows*."""
    word = say.pick(say.topic.parts)
    if say.chance(0.5):
        node = say.noun(word, False, rel, "a")
    else:
        node = say.noun(word, True, rel, None).lead(
            say.determiner(say.pick((*lex.NUMBERS[:6], "some", "several")))
        )
    if say.chance(0.25):
        say.describe(node, say.pick(lex.SIZES + lex.COLORS))
    return node


def _two(say: Say, node: Node, other: Node) -> Node:
    return node.add(other.as_("conj").lead(Node("and", "CCONJ", "cc")))


def has_parts(say: Say) -> Clause:
    """*the hotel has a kitchen and two gardens*, *the train does not have a window*."""
    subject = _place(say)
    object_ = _counted(say, "obj")
    if say.chance(0.4):
        _two(say, object_, _counted(say, "conj"))
    if say.chance(0.2):
        root = say.infinitive("have").lead(subject, say.do(subject, "present"), say.negation())
    else:
        root = say.verb("have", subject, "present" if say.chance(0.6) else "past").lead(subject, *say.often())
    return Clause(root.add(object_), kind="has_parts")


def is_plain(say: Say) -> Clause:
    """*the phone is small and black*, *the shop was not very old*."""
    subject = _thing(say)
    if say.chance(0.2):
        subject.add(say.place("nmod"))
    root = say.adjective(say.pick(lex.NEUTRAL_ADJECTIVES), "root")
    negation = [say.negation()] if say.chance(0.25) else []
    degree = [say.adverb(say.pick(tuple(lex.DEGREES)))] if say.chance(0.25) else []
    root.lead(
        subject, say.be(subject, "past" if say.chance(0.6) else "present"), *negation, *say.often(), *degree
    )
    if say.chance(0.3):
        other = say.adjective(say.pick(lex.NEUTRAL_ADJECTIVES), "conj").lead(Node("and", "CCONJ", "cc"))
        root.add(other)
    return Clause(root, kind="is_plain")


def is_somewhere(say: Say) -> Clause:
    """*the hotel is near the river*."""
    subject = _thing(say) if say.chance(0.6) else _person(say)
    root = say.place("root")
    return Clause(
        root.lead(subject, say.be(subject, "past" if say.chance(0.5) else "present")), kind="is_somewhere"
    )


def _person(say: Say, rel: str = "nsubj") -> Node:
    word = say.pick(say.topic.people + lex.PROFESSIONS)
    node = say.noun(word, say.chance(0.4), rel, say.pick(("the", "the", "the", "a", "this", "our", "my")))
    if say.chance(0.15):
        say.describe(node, say.pick(lex.PERSON_ADJECTIVES))
    return node


def did(say: Say) -> Clause:
    """*we bought a book in the shop*, *i did not open the window on monday*."""
    who = say.pronoun(say.pick(("i", "we", "they", "he", "she", "we")))
    base = say.pick(say.topic.deeds + lex.NEUTRAL_DEEDS)
    object_ = _thing(say, "obj", say.pick(("the", "a", "our", "the", "his", "her", "their", "your")))
    if say.chance(0.3):
        say.describe(object_, say.pick(lex.SIZES + lex.COLORS + lex.STATES))
    kind = say.random.random()
    if kind < 0.15:
        root = say.infinitive(base).lead(who, say.do(who), say.negation())
    elif kind < 0.2:
        root = say.verb(base, who).lead(who, say.adverb(say.pick(("never", "hardly"))))
    else:
        tense = "present" if say.chance(0.35) else "past"
        root = say.verb(base, who, tense).lead(who, *say.often())
    return Clause(_tail(say, root.add(object_)), kind="did")


def _tail(say: Say, root: Node) -> Node:
    if say.chance(0.25):
        root.add(say.place())
    if say.chance(0.25):
        root.add(say.when())
    return root


def there_are(say: Say) -> Clause:
    """*there are two gardens behind the hotel*, *there is no kitchen in the inn*."""
    count = _counted(say, "nsubj")
    if say.chance(0.2):
        count = say.noun(say.pick(say.topic.parts), say.chance(0.5), "nsubj", "no")
    be = say.be(count, "past" if say.chance(0.4) else "present", "root")
    be.upos = "VERB"
    where = say.preposition(
        say.pick(("in", "near", "behind")), say.noun(say.pick(say.topic.places), False, "obl")
    )
    return Clause(be.lead(Node("there", "PRON", "expl")).add(count, where), kind="there_are")


def takes_time(say: Say) -> Clause:
    """*the film lasts two hours*, *the shop opens at nine*, *the book costs ten euros*."""
    kind = say.random.randrange(3)
    subject = _thing(say) if kind == 1 else _place(say)
    tense = "past" if say.chance(0.4) else "present"
    number = say.determiner(say.pick(lex.NUMBERS))
    if kind == 2:
        root = say.verb(say.pick(("open", "close", "start")), subject, tense)
        number.upos, number.rel = "NUM", "obl"
        root.add(number.lead(Node("at", "ADP", "case")))
    else:
        base, units = (("last", ("hour", "minute", "day")), ("cost", ("dollar", "euro")))[kind]
        root = say.verb(base, subject, tense)
        root.add(say.noun(say.pick(units), True, "obj", None).lead(number))
    return Clause(root.lead(subject), kind="takes_time")


def acts(say: Say) -> Clause:
    """*the waiter brought the soup*, *the painter near the boats smiles*."""
    subject, verbs = _actor(say)
    attach(say, subject)
    tense = "present" if say.chance(0.7) else "past"
    if say.chance(0.3):
        root = say.verb(say.pick(lex.HANDLE + lex.TRANSITIVE), subject, tense)
        root.add(say.noun(say.pick(lex.OBJECTS), say.chance(0.4), "obj"))
    else:
        root = say.verb(say.pick(verbs), subject, tense)
    root.lead(subject, *say.often())
    if say.chance(0.1):
        other = say.verb(say.pick(verbs), subject, tense, "conj")
        root.add(other.lead(Node("and", "CCONJ", "cc")))
    return Clause(_tail(say, root), kind="acts")


def _actor(say: Say) -> tuple[Node, tuple[str, ...]]:
    kind = say.random.random()
    if kind < 0.5:
        return _person(say), lex.INTRANSITIVE
    det = say.pick(("the", "the", "this", "that", "a", "every"))
    if kind < 0.8:
        return say.noun(
            say.pick(lex.ANIMALS), det != "every" and say.chance(0.5), "nsubj", det
        ), lex.ANIMAL_VERBS
    return say.noun(say.pick(lex.OBJECTS), det != "every" and say.chance(0.5), "nsubj", det), lex.OBJECT_VERBS


def attach(say: Say, subject: Node, kind: float | None = None) -> Node:
    """Perhaps a modifier between subject and verb that brings a second noun (an attractor)."""
    kind = say.random.random() if kind is None else kind
    if kind < 0.3:
        word = say.pick(lex.OBJECTS + lex.ANIMALS + lex.SITES + lex.PROFESSIONS)
        other = say.noun(word, say.chance(0.5), "nmod")
        subject.add(say.preposition(say.pick(lex.PREPOSITIONS), other, "nmod"))
    elif kind < 0.4:
        other = say.noun(say.pick(lex.PROFESSIONS), say.chance(0.5))
        relative = say.verb(say.pick(lex.TRANSITIVE), other, "present", "acl:relcl").lead(other)
        subject.add(relative.lead(say.pronoun("that", "obj")))
    elif kind < 0.5:
        relative = say.verb(say.pick(lex.TRANSITIVE), subject, "present", "acl:relcl")
        relative.lead(say.pronoun("that"))
        other = say.noun(say.pick(lex.PROFESSIONS + lex.ANIMALS), say.chance(0.5), "obj")
        subject.add(relative.add(other))
    return subject


def is_near(say: Say) -> Clause:
    """*the keys beside the box are on the table*, *the dogs that the man sees are old*."""
    subject, _ = _actor(say)
    attach(say, subject, say.random.random() * 0.7)
    be = say.be(subject, "present" if say.chance(0.6) else "past")
    if say.chance(0.5):
        root = say.adjective(say.pick(lex.SIZES[:6] + lex.COLORS + ("old", "young", "new")), "root")
    else:
        root = say.place("root")
    return Clause(root.lead(subject, be), kind="is_near")


def says(say: Say) -> Clause:
    """*they say that the shop is old*, *i do not think the bus is red*."""
    who = say.pronoun(say.pick(("i", "we", "they", "she", "he")))
    inner = say.random.choice((is_plain, has_parts, is_somewhere))(say).root.as_("ccomp")
    if say.chance(0.5):
        inner.lead(Node("that", "SCONJ", "mark"))
    base = say.pick(("think", "believe", "say"))
    if say.chance(0.3):
        root = say.infinitive(base).lead(who, say.do(who, "present"), say.negation())
    else:
        root = say.verb(base, who, "present" if say.chance(0.5) else "past").lead(who)
    return Clause(root.add(inner), kind="says")


def bare(say: Say) -> Clause:
    """*the hotel near the river*, *two old chairs*: a noun phrase that asserts nothing."""
    node = _thing(say, "root") if say.chance(0.6) else _counted(say, "root")
    if say.chance(0.3):
        node.add(say.place("nmod"))
    return Clause(node, kind="bare")


Shape = Callable[[Say], Clause]
SHAPES: tuple[tuple[Shape, float], ...] = (
    (has_parts, 1.5), (is_plain, 2.5), (is_somewhere, 1.0), (did, 3.0), (there_are, 1.2), (takes_time, 1.2),
    (acts, 2.5), (is_near, 1.0), (says, 0.8), (bare, 0.5),
)  # fmt: skip
TOPICAL = (has_parts, is_plain, did, there_are, takes_time)


def plain(say: Say, full: bool = False, topical: bool = False) -> Clause:
    """A clause without opinion; `full` leaves out fragments, `topical` keeps to the text's topic."""
    while True:
        shape = say.random.choices([s for s, _ in SHAPES], [w for _, w in SHAPES])[0]
        if not (full and shape is bare) and (not topical or shape in TOPICAL):
            return shape(say)
