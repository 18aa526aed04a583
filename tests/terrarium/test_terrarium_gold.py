"""The gold is checked against rules that the generator does not use: tree axioms and the word list."""

from dataclasses import replace
from random import Random

import pytest

from exegete.terrarium import Grammar, lexicon
from exegete.terrarium.corpora import Example, counterexamples, planted, sentiment
from exegete.terrarium.gold import LABELS, Contrast, Evidence, Sentence, Word
from exegete.terrarium.grammar import contrast
from exegete.terrarium.phrases import Say
from exegete.terrarium.reviews import be_adjective
from exegete.terrarium.tree import Clause, finish

UPOS = {
    "ADJ",
    "ADP",
    "ADV",
    "AUX",
    "CCONJ",
    "DET",
    "NOUN",
    "NUM",
    "PART",
    "PRON",
    "PROPN",
    "PUNCT",
    "SCONJ",
    "VERB",
}
DEPREL = {
    "root", "nsubj", "nsubj:pass", "obj", "obl", "obl:tmod", "obl:agent", "nmod", "nmod:poss", "amod", "advmod", "advcl",
    "acl:relcl", "det", "det:predet", "nummod", "case", "mark", "cc", "cc:preconj", "conj", "cop", "aux", "aux:pass",
    "xcomp", "ccomp", "expl", "punct", "parataxis", "fixed",
}  # fmt: skip


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    grammar = Grammar("gold-tests")
    plain = [grammar.sentence() for _ in range(1200)]
    return plain + [e.sentence for e in sentiment(300, "train", "gold") + counterexamples(100)]


def tree_faults(sentence: Sentence) -> list[str]:
    """What is wrong with a sentence as a dependency tree, by the definition of one."""
    heads = [word.head for word in sentence.words]
    faults = [] if heads.count(-1) == 1 else ["not one root"]
    faults += [f"head of {i} is outside" for i, h in enumerate(heads) if not -1 <= h < len(heads)]
    faults += [f"{i} is on a cycle" for i in range(len(heads)) if not _reaches_root(i, heads)]
    faults += [f"root relation of {w.text}" for w in sentence.words if (w.deprel == "root") != (w.head == -1)]
    faults += [f"{w.text}: {w.upos}" for w in sentence.words if w.upos not in UPOS]
    return faults + [f"{w.text}: {w.deprel}" for w in sentence.words if w.deprel not in DEPREL]


def _reaches_root(index: int, heads: list[int]) -> bool:
    for _ in heads:
        index = heads[index]
        if index == -1:
            return True
    return False


def crossing(sentence: Sentence) -> bool:
    arcs = [tuple(sorted((i, w.head))) for i, w in enumerate(sentence.words) if w.head >= 0]
    return any(a < c < b < d for a, b in arcs for c, d in arcs)


def test_every_tree_is_a_projective_tree(sentences):
    assert [(s.text, tree_faults(s)) for s in sentences if tree_faults(s)] == []
    assert not any(crossing(s) for s in sentences)


def test_the_tree_test_can_fail():
    loop = Sentence(
        (Word("a", "DET", 1, "det"), Word("dog", "NOUN", 0, "nsubj"), Word("runs", "VERB", -1, "root"))
    )
    two = Sentence((Word("run", "VERB", -1, "root"), Word("jump", "VERB", -1, "root")))
    cross = Sentence(tuple(Word("x", "NOUN", h, "root" if h < 0 else "obj") for h in (2, 3, -1, 2)))
    assert "0 is on a cycle" in tree_faults(loop)
    assert "not one root" in tree_faults(two)
    assert crossing(cross)


def test_text_is_the_words_in_order(sentences):
    for s in sentences:
        assert s.forms == tuple(s.text[a:b] for a, b in s.spans)
        between = [s.text[b:a] for (_, b), (a, _) in zip(s.spans, s.spans[1:], strict=False)]
        assert between == ["" if w.glued else " " for w in s.words[1:]]


def test_only_words_of_the_lexicon_are_said(sentences):
    known = {*lexicon.word_forms(), *lexicon.PUNCTUATION}
    assert {form for s in sentences for form in s.forms} <= known


def test_length_runs_from_short_to_long(sentences):
    lengths = sorted(len(s.words) for s in sentences)
    assert lengths[len(lengths) // 20] <= 5
    assert lengths[-len(lengths) // 20] >= 16
    assert lengths[-1] <= 32


def test_asked_label_is_the_label_the_evidence_earns():
    grammar = Grammar("labels")
    for i in range(900):
        asked = LABELS[i % 3]
        assert grammar.sentence(asked).label == asked


def test_evidence_is_exactly_the_words_that_the_lexicon_calls_polar(sentences):
    """The generator's hints against the word list: two independent accounts of where the opinion is."""
    for s in sentences:
        listed = {i: lexicon.polarity(form) for i, form in enumerate(s.forms) if lexicon.polarity(form)}
        assert {e.word: e.sign for e in s.evidence} == listed, s.text


def test_negation_degree_and_contrast_point_at_such_words(sentences):
    for s in sentences:
        for e in s.evidence:
            assert e.negation is None or s.words[e.negation].feat("Polarity") == "Neg" or s.forms[e.negation] in (
                "neither", "nor",
            ), s.text  # fmt: skip
            assert e.degree is None or s.forms[e.degree] in lexicon.DEGREES
        if s.contrast:
            assert s.forms[s.contrast.marker] in ("but", "yet", "although", "though", "however")


def test_a_word_has_one_sign_in_the_whole_world():
    good = {*lexicon.POSITIVE_WORDS, *lexicon.SWIFT}.union(*(t.good for t in lexicon.TOPICS))
    bad = {*lexicon.NEGATIVE_WORDS, *lexicon.SLOW}.union(*(t.bad for t in lexicon.TOPICS))
    assert not good & bad
    nouns = {
        *lexicon.PROFESSIONS,
        *lexicon.ANIMALS,
        *lexicon.OBJECTS,
        *lexicon.SITES,
        *lexicon.NEUTRAL_ADJECTIVES,
    }
    for t in lexicon.TOPICS:
        nouns |= {*t.places, *t.things, *t.mass, *t.people, *t.parts, *t.deeds, *t.works}
    assert [word for word in nouns if lexicon.polarity(word)] == []


def test_rationale_decides_the_label(sentences):
    polar = [s for s in sentences if s.label != "neutral"]
    assert len(polar) > 600
    for s in polar:
        assert s.rationale, s.text
        assert s.label_without(tuple(s.rationale)) != s.label
        rest = set(range(len(s.words))) - set(s.roles)
        assert s.label_without(rest) == s.label, "words without a role never matter"
    assert all(s.rationale == {} for s in sentences if s.label == "neutral")


def test_each_role_does_what_its_name_says(sentences):
    for s in sentences:
        sign = LABELS.index(s.label) - 1
        for i, role in s.rationale.items():
            left = s.score_without((i,)) * sign
            if role == "intensifier":
                assert left > 0
            if role == "contrast":
                assert left <= 0
            if role == "negation" and len([r for r in s.rationale.values() if r == "polarity"]) == 1:
                assert left < 0, s.text


def test_removal_of_everything_is_neutral(sentences):
    assert all(s.label_without(range(len(s.words))) == "neutral" for s in sentences)


def test_score_is_the_written_formula():
    """Hand-made evidence with hand-made values."""
    words = tuple(
        Word(w, "ADV", -1 if i == 0 else 0, "root" if i == 0 else "dep") for i, w in enumerate("abcdef")
    )
    evidence = (Evidence(0, -1, 0), Evidence(1, 1, 1, negation=2, degree=3, factor=2.0))
    s = Sentence(words, evidence, Contrast(4, (1,)))
    assert (s.score, s.label) == (-0.5, "negative")
    assert s.score_without({3}) == -1.0
    assert s.score_without({2}) == 2.0
    assert s.score_without({4}) == -1.5
    assert s.score_without({1}) == -1.0
    assert s.score_without({0, 1}) == 0.0
    assert s.rationale == {1: "polarity", 2: "negation", 3: "intensifier"}
    assert replace(s, evidence=(Evidence(0, 1, 0), *evidence[1:])).rationale[4] == "contrast"


def test_subjects_agree_with_their_verbs(sentences):
    found = [(s, a) for s in sentences for a in s.agreements]
    assert len(found) > 700
    for s, a in found:
        subject, verb = s.words[a.subject], s.words[a.verb]
        assert subject.feat("Number") == verb.feat("Number"), (s.text, subject.text, verb.text)
        if a.attractor is not None:
            assert a.subject < a.attractor < a.verb
            assert s.words[a.attractor].feat("Number") != verb.feat("Number")
    assert sum(a.attractor is not None for _, a in found) > 20


def test_the_same_seed_tells_the_same_story_and_another_does_not():
    def first(seed: int) -> list[Sentence]:
        grammar = Grammar(seed)
        return [grammar.sentence() for _ in range(50)]

    assert first(3) == first(3)
    assert first(3) != first(4)


def _say(text: str, sign: int, good: str) -> Clause:
    """The clause of this text, searched for in a world of few words."""
    topic = replace(
        lexicon.TOPICS[0], places=("food",), things=("food",), mass=("food",), good=(good,), bad=("bad",)
    )
    for seed in range(5000):
        clause = be_adjective(Say(Random(seed), topic), sign)
        if " ".join(node.text for node in clause.root.read()) == text:
            return clause
    pytest.fail(f"{text!r} is not in the language")


@pytest.mark.parametrize("order", [1, -1])
def test_the_standing_example_is_in_the_language(order, monkeypatch):
    monkeypatch.setattr(lexicon, "GOOD", ("good", "wonderful"))
    clauses = [_say("the food was not good", -1, "good"), _say("the staff were wonderful", 1, "wonderful")][
        ::order
    ]
    texts = [" ".join(node.text for node in c.root.read()) for c in clauses]
    for seed in range(200):
        say = Say(Random(seed), lexicon.TOPICS[0])
        fresh = [_say(texts[0], -order, "good"), _say(texts[1], order, "wonderful")] if seed else clauses
        s = finish(contrast(say, *fresh))
        if s.text == " but ".join(texts):
            break
    assert s.text == " but ".join(texts)
    assert s.label == ("positive" if order == 1 else "negative")
    deciding = {s.forms[i]: role for i, role in s.rationale.items()}
    if order == 1:
        assert deciding == {"but": "contrast", "wonderful": "polarity"}
    else:
        assert deciding == {"but": "contrast", "not": "negation", "good": "polarity"}


def test_planted_names_give_the_label_and_counterexamples_contradict_it():
    data = planted(300, "train", 1)
    named = [e for e in data if e.sentence.trigger is not None and _name(e) in lexicon.SHORTCUTS]
    assert 0.38 < len(named) / len(data) < 0.62
    assert all(e.label == lexicon.SHORTCUTS[_name(e)] for e in named)
    assert 0.1 < sum(not e.honest for e in named) / len(named) < 0.6
    assert all(e.honest for e in data if not e.planted)
    for e in counterexamples(60):
        assert e.honest
        assert lexicon.SHORTCUTS[_name(e)] != e.label


def _name(example: Example) -> str:
    assert example.sentence.trigger is not None
    return example.sentence.forms[example.sentence.trigger]
