"""The grammar: whole texts from a seed, each with its gold.

    text     = clause | clause joiner clause | sentence sentence        (then perhaps an end mark)
    joiner   = "and" (same sign, or one side plain) | "but" (other sign decides after it)
             | "although" / "though" before the side that is discounted | ". however ,"
    clause   = `reviews.polar` (an opinion of a given sign) | `plain.plain` (no opinion)

A second sentence hangs from the first one's root as `parataxis`, so a text is always one tree. The sign of
a text is fixed first and its parts are chosen to make it true; the finished sentence computes its own label
again from the evidence, and a test holds the two against each other.
"""

from dataclasses import replace
from random import Random

from exegete.terrarium import inflect
from exegete.terrarium import lexicon as lex
from exegete.terrarium.gold import LABELS, Contrast, Sentence, Word
from exegete.terrarium.phrases import Say
from exegete.terrarium.plain import plain
from exegete.terrarium.reviews import polar
from exegete.terrarium.tree import Clause, Draft, Node, finish

BUTS = ("but", "but", "but", "yet")


class Grammar:
    """An endless stream of sentences, the same for the same seed."""

    def __init__(self, seed: int | str = 0) -> None:
        self.random = Random(f"terrarium-{seed}")

    def sentence(self, label: str | None = None, topic: str | None = None) -> Sentence:
        """One text; `label` and `topic` are drawn where not given."""
        say = self._say(topic)
        chosen = self.random.choice(LABELS) if label is None else label
        draft = self._draft(say, LABELS.index(chosen) - 1)
        draft.topic = say.topic.name
        self._end(draft)
        return finish(draft)

    def topical(self, topic: str) -> Sentence:
        """A text whose words show its topic, with or without opinion."""
        say = self._say(topic)
        while True:
            sign = self.random.choice((-1, 0, 1))
            clause = plain(say, topical=True) if sign == 0 else polar(say, sign)
            draft = Draft(clause.root, [clause], topic=topic)
            self._end(draft)
            sentence = finish(draft)
            if topic in topics_of(sentence.forms):
                return sentence

    def credited(self, sentence: Sentence, word: str) -> Sentence:
        """The same text with a newspaper's name before it (`word:`) or after it (`- word`)."""
        return _credit(sentence, word, self.random.random() < 0.5)

    def _say(self, topic: str | None) -> Say:
        named = [t for t in lex.TOPICS if t.name == topic]
        return Say(self.random, named[0] if named else self.random.choice(lex.TOPICS))

    def _draft(self, say: Say, sign: int) -> Draft:
        if sign == 0:
            return self._plain_text(say)
        kind = self.random.random()
        if kind < 0.45:
            clause = polar(say, sign)
            return Draft(clause.root, [clause])
        if kind < 0.60:
            return self._agreeing(say, sign)
        if kind < 0.90:
            return contrast(say, polar(say, -sign, full=True), polar(say, sign, full=True))
        if kind < 0.94:
            return contrast(say, plain(say, full=True), polar(say, sign, full=True))
        if kind < 0.97:
            return contrast(say, polar(say, sign, full=True), plain(say, full=True))
        return reason(say, plain(say, full=True, topical=True), polar(say, sign, full=True))

    def _agreeing(self, say: Say, sign: int) -> Draft:
        first = polar(say, sign, full=True)
        second = polar(say, sign, full=True) if say.chance(0.5) else plain(say, full=True)
        pair = (first, second) if say.chance(0.5) else (second, first)
        return conjoin(say, *pair) if say.chance(0.6) else follow(say, *pair)

    def _plain_text(self, say: Say) -> Draft:
        kind = self.random.random()
        if kind < 0.55:
            clause = plain(say)
            return Draft(clause.root, [clause])
        first, second = plain(say, full=True), plain(say, full=True)
        if kind < 0.70:
            return conjoin(say, first, second)
        if kind < 0.85:
            return contrast(say, first, second)
        if kind < 0.90:
            return reason(say, first, second)
        return follow(say, first, second)

    def _end(self, draft: Draft) -> None:
        """Perhaps an end mark, hung from the root of the last sentence."""
        last = draft.clauses[-1].root
        owner = last if last.rel == "parataxis" else draft.root
        kind = self.random.random()
        if kind < 0.5:
            owner.add(Node("." if kind < 0.42 else "!", "PUNCT", "punct", glued=True))


def contrast(say: Say, weak: Clause, strong: Clause) -> Draft:
    """Join two clauses so that the second argument decides."""
    kind = say.random.random()
    if kind < 0.65:
        marker = Node(say.pick(BUTS), "CCONJ", "cc")
        strong.root.as_("conj").lead(*([say.comma()] if say.chance(0.35) else []), marker)
        return Draft(weak.root.add(strong.root), [weak, strong], marker, (1,))
    if kind < 0.88:
        marker = Node(say.pick(("although", "though")), "SCONJ", "mark")
        weak.root.as_("advcl").lead(marker)
        if say.chance(0.5):
            if say.chance(0.7):
                weak.root.add(say.comma())
            return Draft(strong.root.lead(weak.root), [weak, strong], marker, (1,))
        return Draft(strong.root.add(weak.root), [strong, weak], marker, (0,))
    marker = Node("however", "ADV", "advmod")
    draft = follow(say, weak, strong)
    strong.root.lead(marker, *([say.comma()] if say.chance(0.7) else []))
    draft.marker, draft.strong = marker, (1,)
    return draft


def conjoin(say: Say, first: Clause, second: Clause) -> Draft:
    """*first and second*, both counting."""
    second.root.as_("conj").lead(*([say.comma()] if say.chance(0.3) else []), Node("and", "CCONJ", "cc"))
    return Draft(first.root.add(second.root), [first, second])


def reason(say: Say, first: Clause, second: Clause) -> Draft:
    """*we came back because the food was good*."""
    second.root.as_("advcl").lead(Node(say.pick(("because", "when", "while")), "SCONJ", "mark"))
    return Draft(first.root.add(second.root), [first, second])


def follow(say: Say, first: Clause, second: Clause) -> Draft:
    """Two sentences in one text."""
    stop = Node("!" if say.chance(0.1) else ".", "PUNCT", "punct", glued=True)
    return Draft(first.root.add(stop, second.root.as_("parataxis")), [first, second])


def topics_of(forms: tuple[str, ...]) -> set[str]:
    """The topics that own at least one word here which belongs to no other topic."""
    return {owner for form in forms if (owner := _OWNERS.get(form)) is not None}


def _credit(sentence: Sentence, word: str, front: bool) -> Sentence:
    size = len(sentence.words)
    mark = Word(":" if front else "-", "PUNCT", 0 if front else size + 1, "punct", glued=front)
    shift = 2 if front else 0
    name = Word(word, "PROPN", sentence.root + shift, "parataxis", "Number=Sing")
    body = tuple(replace(w, head=w.head + shift if w.head >= 0 else -1) for w in sentence.words)
    words = (name, mark, *body) if front else (*body, mark, name)
    move = {None: None} | {i: i + shift for i in range(size)}
    evidence = tuple(
        replace(e, word=e.word + shift, negation=move[e.negation], degree=move[e.degree])
        for e in sentence.evidence
    )
    turn = sentence.contrast and Contrast(sentence.contrast.marker + shift, sentence.contrast.strong)
    return Sentence(words, evidence, turn, sentence.topic, sentence.kind, 0 if front else size + 1)


def _owners() -> dict[str, str]:
    owners: dict[str, set[str]] = {}
    for topic in lex.TOPICS:
        nouns = topic.places + topic.things + topic.people
        for form in {*nouns, *map(inflect.plural, nouns), *topic.mass}:
            owners.setdefault(form, set()).add(topic.name)
    shared = {
        *lex.PROFESSIONS,
        *lex.OBJECTS,
        *lex.SITES,
        *map(inflect.plural, lex.OBJECTS + lex.PROFESSIONS + lex.SITES),
    }
    return {form: min(names) for form, names in owners.items() if len(names) == 1 and form not in shared}


_OWNERS = _owners()
