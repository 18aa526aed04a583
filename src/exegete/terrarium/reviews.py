"""Clauses with an opinion: every shape in which the world says that something is good or bad.

Each function takes a `Say` and the sign that the finished clause must have (+1 or -1) and returns a
`Clause` whose hints are exactly the words that give it that sign. A negated shape picks a word of the
opposite sign and says so in its hint; shapes without negation never contain a negation word.
"""

from collections.abc import Callable

from exegete.terrarium import lexicon as lex
from exegete.terrarium.phrases import SING, Say, is_plural
from exegete.terrarium.tree import Clause, Hint, Node


def judged(say: Say, rel: str = "nsubj") -> tuple[Node, str]:
    """Something of the topic that can be judged, and its sort: thing, person or service."""
    topic, kind = say.topic, say.random.random()
    det = say.pick(("the", "the", "the", "the", "this", "our", "that"))
    if kind < 0.12 and topic.name in lex.SERVED:
        return say.noun("service", rel=rel, det="the"), "service"
    if kind < 0.24 and topic.name != "music":
        return _staff(say, rel), "person"
    if kind < 0.36:
        return say.noun(say.pick(topic.people), say.chance(0.4), rel, det), "person"
    if kind < 0.50:
        return say.noun(say.pick(topic.mass), False, rel, "the"), "thing"
    if kind < 0.70:
        return say.noun(say.pick(topic.places), say.chance(0.15), rel, det), "thing"
    return say.noun(say.pick(topic.things), say.chance(0.35), rel, det), "thing"


def _staff(say: Say, rel: str) -> Node:
    return Node("staff", "NOUN", rel, "Number=Plur", [say.determiner("the")])


def quality(say: Say, sort: str, sign: int) -> str:
    """An adjective of this sign that suits the sort of thing."""
    general = lex.GOOD if sign > 0 else lex.BAD
    if sort == "person":
        return say.pick((lex.KIND if sign > 0 else lex.RUDE) if say.chance(0.6) else general)
    if sort == "service":
        return say.pick((lex.SWIFT if sign > 0 else lex.SLOW) if say.chance(0.6) else general)
    return say.pick((say.topic.good if sign > 0 else say.topic.bad) if say.chance(0.5) else general)


def extend(say: Say, subject: Node, sort: str) -> Node:
    """Perhaps a plain modifier after a subject: *in the village*, *that we ordered*."""
    kind = say.random.random()
    if kind < 0.10 and not subject.after:
        subject.add(say.place("nmod"))
    elif kind < 0.2 and sort == "thing" and not subject.after:
        who = say.pronoun(say.pick(("we", "i", "they", "you")))
        deed = say.verb(say.pick(lex.NEUTRAL_DEEDS), who, rel="acl:relcl").lead(who)
        if say.chance(0.6):
            deed.lead(say.pronoun("that", "obj"))
        if say.chance(0.3):
            deed.add(say.when())
        subject.add(deed)
    return subject


def _hint(say: Say, word: Node, sign: int, negation: Node | None) -> Hint:
    return Hint(word, -sign if negation else sign, negation)


def _maybe_not(say: Say, probability: float = 0.35) -> Node | None:
    if not say.chance(probability):
        return None
    return say.adverb(say.pick(("never", "hardly"))) if say.chance(0.2) else say.negation()


def be_adjective(say: Say, sign: int) -> Clause:
    """*the food was not very good*."""
    subject, sort = judged(say)
    extend(say, subject, sort)
    negation = _maybe_not(say)
    root = say.adjective(quality(say, sort, -sign if negation else sign), "root")
    hint = _hint(say, root, sign, negation)
    tense = "past" if say.chance(0.75) else "present"
    middle = [
        subject,
        say.be(subject, tense),
        *([negation] if negation else []),
        *([] if negation else say.often()),
        *say.degree(hint),
    ]
    return Clause(root.lead(*middle), [hint], "be_adjective")


def be_two_adjectives(say: Say, sign: int) -> Clause:
    """*the room was small and dirty*, *the staff were kind and helpful*."""
    subject, sort = judged(say)
    root = say.adjective(quality(say, sort, sign), "root")
    other = say.adjective(_another(say, sort, sign, root), "conj")
    hints = [_hint(say, root, sign, None), _hint(say, other, sign, None)]
    plain = say.pick(lex.SIZES + lex.COLORS) if sort == "thing" and say.chance(0.4) else None
    if plain and say.chance(0.5):
        root.text, hints = plain, hints[1:]
    elif plain:
        other.text, hints = plain, hints[:1]
    other.lead(Node("and", "CCONJ", "cc"), *(say.degree(hints[-1], 0.2) if hints[-1].word is other else []))
    tense = "past" if say.chance(0.75) else "present"
    return Clause(root.lead(subject, say.be(subject, tense)).add(other), hints, "be_two_adjectives")


def _another(say: Say, sort: str, sign: int, first: Node) -> str:
    """An adjective of the same sign that is not the first one."""
    while True:
        word = quality(say, sort, sign)
        if word != first.text:
            return word


def neither_nor(say: Say, sign: int) -> Clause:
    """*the room was neither clean nor quiet*."""
    subject, sort = judged(say)
    neither, nor = Node("neither", "CCONJ", "cc:preconj"), Node("nor", "CCONJ", "cc")
    root = say.adjective(quality(say, sort, -sign), "root")
    other = say.adjective(_another(say, sort, -sign, root), "conj").lead(nor)
    hints = [Hint(root, -sign, neither), Hint(other, -sign, nor)]
    return Clause(root.lead(subject, say.be(subject), neither).add(other), hints, "neither_nor")


def seem(say: Say, sign: int) -> Clause:
    """*the soup tasted awful*, *the plot did not seem clever*."""
    subject, sort = judged(say)
    extend(say, subject, sort)
    base = (
        "taste"
        if say.topic.name == "restaurant" and sort == "thing"
        else say.pick(("seem", "look", "sound", "feel"))
    )
    negation = say.negation() if say.chance(0.3) else None
    word = say.adjective(quality(say, sort, -sign if negation else sign), "xcomp")
    hint = _hint(say, word, sign, negation)
    word.lead(*say.degree(hint))
    verb = _helped(say, base, subject, negation)
    return Clause(verb.add(word), [hint], "seem")


def _helped(say: Say, base: str, subject: Node, negation: Node | None, middle: tuple[Node, ...] = ()) -> Node:
    """A verb with subject; with do-support where a negation particle needs it."""
    tense = "past" if say.chance(0.75) else "present"
    if negation is not None and negation.upos == "PART":
        return say.infinitive(base).lead(subject, say.do(subject, tense), negation, *middle)
    verb = say.verb(base, subject, tense)
    return verb.lead(subject, *([negation] if negation else []), *middle)


def opinion(say: Say, sign: int) -> Clause:
    """*we hated the slow service*, *i did not really like the film*."""
    who = say.pronoun(say.pick(("i", "we", "they", "i", "we", "everyone")))
    negation = None if who.text == "everyone" else _maybe_not(say)
    feeling = say.pick(lex.LIKE if (sign > 0) != bool(negation) else lex.HATE)
    object_, sort = judged(say, "obj")
    hints = []
    really = say.adverb("really") if say.chance(0.2) else None
    verb = _helped(say, feeling, who, negation, (really,) if really else ()).add(object_)
    hints.append(_hint(say, verb, sign, negation))
    if really:
        hints[0].degree, hints[0].factor = really, lex.DEGREES["really"]
    if say.chance(0.25) and not negation:
        hints.append(Hint(say.describe(object_, quality(say, sort, sign)), sign))
    elif say.chance(0.25):
        say.describe(
            object_, say.pick(("new", "old", "local", "big", "small") if sort == "thing" else ("old", "new"))
        )
    return Clause(_perhaps_when(say, verb), hints, "opinion")


def _perhaps_when(say: Say, verb: Node) -> Node:
    return verb.add(say.when()) if say.chance(0.2) else verb


def nobody(say: Say, sign: int) -> Clause:
    """*nobody liked the film*, *none of us enjoyed the soup*."""
    feeling = say.pick(lex.HATE if sign > 0 else lex.LIKE)
    who = say.pronoun("nobody")
    if say.chance(0.3):
        who = Node("none", "PRON", "nsubj", SING + "|Polarity=Neg")
        group = say.pronoun("us", "nmod") if say.chance(0.5) else say.noun("friend", True, "nmod", "our")
        who.add(say.preposition("of", group, "nmod"))
    object_, sort = judged(say, "obj")
    extend(say, object_, sort)
    verb = say.verb(feeling, who).lead(who).add(object_)
    return Clause(_perhaps_when(say, verb), [Hint(verb, -sign, who)], "nobody")


def recommend(say: Say, sign: int) -> Clause:
    """*i would not recommend the hotel to anyone*."""
    who = say.pronoun(say.pick(("i", "we")))
    negation = None if sign > 0 else (say.adverb("never") if say.chance(0.3) else say.negation())
    would = Node("would", "AUX", "aux", "VerbForm=Fin")
    object_, _ = judged(say, "obj")
    root = say.infinitive("recommend").lead(who, would, *([negation] if negation else [])).add(object_)
    if say.chance(0.4):
        target = (
            Node("anyone", "PRON", "obl", SING) if say.chance(0.5) else say.noun("friend", True, "obl", "our")
        )
        root.add(say.preposition("to", target))
    return Clause(root, [Hint(root, 1, negation)], "recommend")


def stimulus(say: Say, sign: int) -> Clause:
    """*the film bored us*, *the service did not impress me*."""
    subject, sort = judged(say)
    extend(say, subject, sort)
    negation = _maybe_not(say, 0.3)
    base = say.pick(lex.PLEASE if (sign > 0) != bool(negation) else lex.ANNOY)
    whom = say.pronoun(say.pick(("us", "me", "them", "everyone")), "obj")
    verb = _helped(say, base, subject, negation).add(whom)
    return Clause(verb, [_hint(say, verb, sign, negation)], "stimulus")


def experiencer(say: Say, sign: int) -> Clause:
    """*we were very happy with the room*."""
    who = say.pronoun(say.pick(("i", "we", "they")))
    negation = _maybe_not(say, 0.3)
    tense = "past" if say.chance(0.75) or (negation and negation.glued) else "present"
    root = say.adjective(say.pick(lex.HAPPY if (sign > 0) != bool(negation) else lex.UNHAPPY), "root")
    hint = _hint(say, root, sign, negation)
    middle = [who, say.be(who, tense), *([negation] if negation else []), *say.degree(hint)]
    object_, _ = judged(say, "obl")
    return Clause(root.lead(*middle).add(say.preposition("with", object_)), [hint], "experiencer")


def predicate_noun(say: Say, sign: int) -> Clause:
    """*the film was a disaster*, *it was not a good book*, *this is a terrible hotel*."""
    negation = say.negation() if say.chance(0.3) else None
    wanted = -sign if negation else sign
    tense = "past" if say.chance(0.6) else "present"
    if say.chance(0.4):
        subject, _ = judged(say)
        many = is_plural(subject) and subject.text != "staff"
        root = say.noun(
            say.pick(lex.TREASURE if wanted > 0 else lex.DISASTER), many, "root", None if many else "a"
        )
        hint = _hint(say, root, sign, negation)
        if root.text == "waste":
            root.add(say.preposition("of", Node("time", "NOUN", "nmod", SING), "nmod"))
    else:
        subject = say.pronoun("it") if say.chance(0.6) else Node("this", "PRON", "nsubj", SING)
        root = say.noun(say.pick(say.topic.places + say.topic.things), rel="root", det="a")
        word = say.describe(root, quality(say, "thing", wanted))
        hint = _hint(say, word, sign, negation)
        word.lead(*say.degree(hint, 0.2))
    root.lead(subject, say.be(subject, tense), *([negation] if negation else []))
    return Clause(root, [hint], "predicate_noun")


def exclaim(say: Say, sign: int) -> Clause:
    """*what a terrible film*, *great film*, *not good*."""
    kind = say.random.random()
    if kind < 0.3:
        negation = say.negation() if say.chance(0.5) else None
        if negation is not None:
            negation.text, negation.glued = "not", False
        root = say.adjective(quality(say, "thing", -sign if negation else sign), "root")
        hint = _hint(say, root, sign, negation)
        return Clause(root.lead(*([negation] if negation else []), *say.degree(hint)), [hint], "exclaim")
    many = kind > 0.8
    root = say.noun(say.pick(say.topic.places + say.topic.things), many, "root", "a" if kind < 0.6 else None)
    word = say.describe(root, quality(say, "thing", sign))
    hint = Hint(word, sign)
    word.lead(*say.degree(hint, 0.2))
    if kind < 0.6:
        root.lead(Node("what", "DET", "det:predet"))
    return Clause(root, [hint], "exclaim")


def there_was(say: Say, sign: int) -> Clause:
    """*there was nothing good about the film*, *there were many problems with the phone*."""
    there = Node("there", "PRON", "expl")
    about, _ = judged(say, "nmod")
    if say.chance(0.4):
        root = say.pronoun("nothing")
        word = say.adjective(quality(say, "thing", -sign))
        root.add(word, say.preposition("about", about, "nmod"))
        hint = Hint(word, -sign, root)
    else:
        none = say.determiner("no") if say.chance(0.5) else None
        root = _count(say, -sign if none else sign, none, "nsubj")
        root.add(say.preposition("with", about, "nmod"))
        hint = _hint(say, root, sign, none)
    be = say.be(root, rel="root")
    be.upos = "VERB"
    return Clause(be.lead(there).add(root), [hint], "there_was")


def _count(say: Say, sign: int, none: Node | None, rel: str) -> Node:
    """*many problems*, *a mistake*, *no strengths*: merits or faults, some of them or none."""
    many = none is not None or say.chance(0.65)
    noun = say.noun(say.pick(lex.MERITS if sign > 0 else lex.FAULTS), many, rel, None)
    few = say.pick(("many", "several", "some", "two", "three")) if many else "a"
    return noun.lead(none if none else say.determiner(few))


def has_merits(say: Say, sign: int) -> Clause:
    """*the phone has no faults*, *the plan had many strengths*."""
    subject, sort = judged(say)
    extend(say, subject, sort)
    none = say.determiner("no") if say.chance(0.4) else None
    object_ = _count(say, -sign if none else sign, none, "obj")
    root = say.verb("have", subject, "past" if say.chance(0.5) else "present").lead(subject).add(object_)
    return Clause(root, [_hint(say, object_, sign, none)], "has_merits")


def manner(say: Say, sign: int) -> Clause:
    """*the phone does not work well*, *the singer sang beautifully*."""
    subject = say.noun(say.pick(say.topic.people), say.chance(0.4))
    base = say.pick(say.topic.works)
    if say.topic.name == "phone" or say.chance(0.1):
        subject, base = say.noun(say.pick(say.topic.things), say.chance(0.4)), "work"
    negation = say.negation() if say.chance(0.35) else None
    word = say.adverb(say.pick(lex.WELL if (sign > 0) != bool(negation) else lex.BADLY))
    hint = _hint(say, word, sign, negation)
    word.lead(*(say.degree(hint, 0.25) if word.text in ("well", "badly", "poorly") else []))
    return Clause(_helped(say, base, subject, negation).add(word), [hint], "manner")


def too_much(say: Say, sign: int) -> Clause:
    """*the room was too small*: a plain adjective that *too* turns into a complaint."""
    subject, sort = judged(say)
    if sign > 0 or sort != "thing":
        return be_adjective(say, sign)
    too = say.adverb("too")
    root = say.adjective(say.pick(lex.TOO), "root").lead(subject, say.be(subject), too)
    return Clause(root, [Hint(too, -1)], "too_much")


def believe(say: Say, sign: int) -> Clause:
    """*i do not think that the food was good*, *we believe the plot is silly*."""
    who = say.pronoun(say.pick(("i", "we", "they")))
    negation = say.negation() if say.chance(0.4) else None
    subject, sort = judged(say)
    inner = say.adjective(quality(say, sort, -sign if negation else sign), "ccomp")
    hint = _hint(say, inner, sign, negation)
    inner.lead(subject, say.be(subject, "past" if say.chance(0.6) else "present"), *say.degree(hint, 0.2))
    if say.chance(0.5):
        inner.lead(Node("that", "SCONJ", "mark"))
    base = say.pick(("think", "believe", "say")) if negation is None else say.pick(("think", "believe"))
    return Clause(_helped(say, base, who, negation).add(inner), [hint], "believe")


Shape = Callable[[Say, int], Clause]
SHAPES: tuple[tuple[Shape, float], ...] = (
    (be_adjective, 7.0), (be_two_adjectives, 2.0), (neither_nor, 0.6), (seem, 1.5), (opinion, 4.0), (nobody, 1.2),
    (recommend, 1.0), (stimulus, 1.5), (experiencer, 1.5), (predicate_noun, 2.0), (exclaim, 1.2), (there_was, 1.0),
    (has_merits, 0.8), (manner, 1.2), (too_much, 1.2), (believe, 1.5),
)  # fmt: skip


def polar(say: Say, sign: int, full: bool = False) -> Clause:
    """A clause of this sign in any shape; `full` leaves out fragments, which cannot be joined."""
    while True:
        shape = say.random.choices([s for s, _ in SHAPES], [w for _, w in SHAPES])[0]
        if not (full and shape is exclaim):
            return shape(say, sign)
