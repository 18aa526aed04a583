"""Corpora: determinism, disjoint splits, facts, stories and minimal pairs against what their names promise."""

from collections import Counter
from random import Random

import pytest

from exegete.terrarium import agreement, corpora, facts, lexicon, stories
from exegete.terrarium.grammar import topics_of


def test_train_and_test_share_no_text():
    train = {e.text for e in corpora.sentiment(900, "train", 0)}
    test = {e.text for e in corpora.sentiment(300, "test", 0)}
    assert len(train) == 900
    assert len(test) == 300
    assert not train & test
    assert not test & set(corpora.language(1500, 0))


def test_labels_are_balanced_and_honest():
    examples = corpora.sentiment(900, "train", 2)
    assert set(Counter(e.label for e in examples).values()) == {300}
    assert all(e.honest for e in examples)


def test_credits_say_nothing_in_honest_data():
    named = [e for e in corpora.sentiment(2400) if e.sentence.trigger is not None]
    for name, claimed in lexicon.SHORTCUTS.items():
        labels = Counter(e.label for e in named if e.sentence.forms[e.sentence.trigger] == name)
        assert 0.15 < labels[claimed] / labels.total() < 0.55


@pytest.mark.parametrize(
    "make",
    [
        lambda: corpora.sentiment(60, "test", 5),
        lambda: corpora.planted(60, "train", 5),
        lambda: corpora.minimal_pairs(60, 5),
        lambda: corpora.indirect_objects(60, "test", 5),
        lambda: corpora.topics(60, "train", 5),
        lambda: list(corpora.language(60, 5)),
    ],
)
def test_a_corpus_is_a_function_of_its_arguments(make):
    assert make() == make()


def test_topic_sentences_show_their_topic():
    for sentence in corpora.topics(200):
        assert sentence.topic in topics_of(sentence.forms)


def test_every_fact_has_a_cloze_that_ends_before_its_object():
    asked = facts.clozes()
    assert len(asked) == len(lexicon.ENTITIES) * len(facts.RELATIONS) * facts.FORMS
    for cloze in asked[::7]:
        said = facts.statement(cloze.fact, cloze.form)
        assert said.text == f"{cloze.prompt} {cloze.answer}"
        assert cloze.fact.subject in cloze.prompt


def test_kept_wordings_are_never_trained_but_every_wording_is_trained_for_others():
    told = {s.text for s in corpora.statements()}
    asked = facts.clozes()
    for cloze in asked:
        assert (f"{cloze.prompt} {cloze.answer}" in told) == cloze.trained
    shown = Counter((c.fact.relation, c.form) for c in asked if c.trained)
    assert len(shown) == len(facts.RELATIONS) * facts.FORMS
    assert min(shown.values()) >= 20
    corpus = " | ".join(corpora.language(2000, 1))
    assert not [c for c in asked if not c.trained and f"{c.prompt} {c.answer}" in corpus]


def test_a_relation_has_one_object():
    pairs = Counter((f.subject, f.relation) for f in facts.world())
    assert set(pairs.values()) == {1}
    assert all(f.object != f.subject for f in facts.world())


def test_facts_and_stories_are_trees():
    random = Random(0)
    rows = corpora.statements() + [facts.statement(c.fact, c.form) for c in facts.clozes()[:50]]
    rows += [stories.told(random)[1] for _ in range(100)] + [stories.pronoun_story(random) for _ in range(50)]
    for s in rows:
        assert [w.head for w in s.words].count(-1) == 1
        for i in range(len(s.words)):
            seen = set()
            while i != -1:
                assert i not in seen, s.text
                seen.add(i)
                i = s.words[i].head


def test_a_story_asks_for_the_name_said_once():
    for story in corpora.indirect_objects(300):
        words = story.prompt.replace(",", "").replace(".", "").split()
        assert words.count(story.answer) == 1
        assert words.count(story.other) == 2
        assert words[-1] == "to"
        assert stories.split_of(*story.names) == "test"


def test_pairs_of_names_are_split():
    train = {frozenset(s.names) for s in corpora.indirect_objects(800, "train")}
    assert not train & {frozenset(s.names) for s in corpora.indirect_objects(400, "test")}


def test_pronouns_have_the_gender_of_the_name():
    random = Random(1)
    for _ in range(100):
        words = stories.pronoun_story(random).forms
        name = next(w for w in words if w in lexicon.WOMEN + lexicon.MEN)
        assert ("she" in words) == (name in lexicon.WOMEN)


def test_minimal_pairs_differ_in_one_verb_and_the_good_one_agrees():
    random = Random(2)
    for i in range(300):
        pair, gold = agreement.pair_with_tree(random, agreement.KINDS[i % len(agreement.KINDS)])
        good, bad = pair.good.split(), pair.bad.split()
        assert [k for k, (a, b) in enumerate(zip(good, bad, strict=True)) if a != b] == [pair.word]
        for a in gold.agreements:
            assert gold.words[a.subject].feat("Number") == gold.words[a.verb].feat("Number")
        if pair.attractor:
            head = next(a for a in gold.agreements if a.verb == pair.word)
            assert head.attractor is not None


def test_both_numbers_and_attractors_are_common():
    pairs = corpora.minimal_pairs(600)
    assert 110 < sum(p.attractor for p in pairs) < 190
    endings = Counter(len(p.good) > len(p.bad) for p in pairs)
    assert min(endings.values()) > 150
