"""Tasks read off parsed sentences, against answers written by hand."""

import pytest

from exegete.core.annotations import TASKS, annotate, words_for
from exegete.core.errors import InputError, UnknownName
from exegete.core.material import Parsed


def parsed(rows: str) -> Parsed:
    """Rows of "word head relation tag features", heads counted from 1, 0 the root."""
    cells = [line.split() for line in rows.strip().split("\n")]
    return Parsed(
        words=tuple(c[0] for c in cells),
        heads=tuple(int(c[1]) - 1 for c in cells),
        relations=tuple(c[2] for c in cells),
        tags=tuple(c[3] for c in cells),
        features=tuple(c[4] if len(c) > 4 else "" for c in cells),
    )


SAID = parsed("""
the 3 det DET
old 3 amod ADJ
men 4 nsubj NOUN Number=Plur
said 0 root VERB Tense=Past|VerbForm=Fin
that 9 mark SCONJ
a 7 det DET
dog 9 nsubj:pass NOUN Number=Sing
was 9 aux:pass AUX Tense=Past|VerbForm=Fin
seen 4 ccomp VERB Tense=Past|VerbForm=Part
. 4 punct PUNCT
""")
SEEN = parsed("""
john 4 nsubj:pass PROPN Number=Sing
has 4 aux AUX Tense=Pres|VerbForm=Fin
been 4 aux:pass AUX Tense=Past|VerbForm=Part
seen 0 root VERB Tense=Past|VerbForm=Part
""")
EATS = parsed("""
she 2 nsubj PRON Number=Sing
eats 0 root VERB Tense=Pres|VerbForm=Fin
very 4 advmod ADV
ripe 5 amod ADJ
apples 2 obj NOUN Number=Plur
and 7 cc CCONJ
pears 5 conj NOUN Number=Plur
""")
LATE = parsed("""
kim 3 nmod:poss PROPN Number=Sing
's 1 case PART
bus 5 nsubj NOUN Number=Sing
is 5 cop AUX Tense=Pres|VerbForm=Fin
late 0 root ADJ
""")
ALL = (SAID, SEEN, EATS, LATE)
# what each sentence says of a task, by hand; None: nothing
BY_HAND = {
    "voice": ("active", "passive", "active", None),
    "tense": ("past", "present", "present", "present"),
    "subject_number": ("plural", "singular", "singular", "singular"),
    "top_constituents": ("nsubj ROOT ccomp", "nsubj aux aux ROOT", "nsubj ROOT obj", "nsubj cop ROOT"),
    "tree_depth": ("3", "1", "3", "3"),
    "depth": (3.0, 1.0, 3.0, 3.0),
    "length": (10.0, 4.0, 7.0, 5.0),
}
WORDS = {
    "pos": tuple(s.tags for s in ALL),
    "chunk": (
        ("B-NP", "I-NP", "I-NP", "B-VP", "B-SBAR", "B-NP", "I-NP", "B-VP", "I-VP", "O"),
        ("B-NP", "B-VP", "I-VP", "I-VP"),
        ("B-NP", "B-VP", "B-NP", "I-NP", "I-NP", "O", "B-NP"),
        ("B-NP", "I-NP", "I-NP", "B-VP", "B-ADJP"),
    ),
    "nesting": ("0000111110", "0000", "0000000", "00000"),
    "main_verb": (
        ("main verb", "other verb", "other verb"),
        ("other verb", "other verb", "main verb"),
        (),
        (),
    ),
    "main_subject": (
        ("main subject", "other noun"),
        (),
        ("main subject", "other noun", "other noun"),
        ("other noun", "main subject"),
    ),
    "position": tuple(tuple(float(i) for i in range(len(s.words))) for s in ALL),
    "feature:Number": (("Plur", "Sing"), ("Sing",), ("Sing", "Plur", "Plur"), ("Sing", "Sing")),
}


@pytest.mark.parametrize("task", sorted(BY_HAND))
def test_sentences_as_by_hand(task):
    found = {m.text: m for m in annotate(ALL, task)}
    for s, want in zip(ALL, BY_HAND[task]):
        assert (found[s.text].labels if s.text in found else (None,)) == (want,), s.text
        assert s.text not in found or found[s.text].marks[0].spans == ()


@pytest.mark.parametrize("task", sorted(WORDS))
def test_words_as_by_hand(task):
    found = {m.text: m for m in annotate(ALL, task)}
    for s, want in zip(ALL, WORDS[task]):
        assert (found[s.text].labels if s.text in found else ()) == tuple(want), s.text
    for m in found.values():
        assert all(word in m.text.split() for word in m.words)


def test_arcs_are_the_dependent_and_its_head():
    first = annotate(ALL, "relation")[0]
    pairs = [tuple(first.text[slice(*s)] for s in m.spans) for m in first.marks]
    assert ("dog", "seen") in pairs
    assert first.marks[pairs.index(("dog", "seen"))].label == "nsubj:pass"
    assert len(pairs) == len(SAID.words) - 1


def test_a_possessor_between_things_that_do_not_join_starts_a_phrase_of_its_own():
    s = parsed("the 3 det DET\nsaid 0 root VERB\nmen 2 obj NOUN")
    assert annotate((s, EATS), "chunk")[0].labels == ("B-NP", "B-VP", "B-NP")


def test_swapped_neighbours_are_about_half_differ_in_two_places_and_repeat():
    sentences = [s for s in ALL for _ in range(25)]
    found = annotate(sentences, "bigram_shift", seed=1)
    swapped = [(s, m) for s, m in zip(sentences, found, strict=True) if m.labels == ("swapped",)]
    assert 30 < len(swapped) < 70
    for s, m in swapped:
        new = m.text.split(" ")
        apart = [i for i, (a, b) in enumerate(zip(s.words, new, strict=True)) if a != b]
        assert len(apart) == 2 and apart[1] == apart[0] + 1
        assert sorted(new) == sorted(s.words)
    assert all(m.text == s.text for s, m in zip(sentences, found) if m.labels == ("as written",))
    assert found == annotate(sentences, "bigram_shift", seed=1)
    assert found != annotate(sentences, "bigram_shift", seed=2)


def test_letters():
    with pytest.raises(UnknownName, match="tree_depth"):
        annotate(ALL, "tree_dept")
    with pytest.raises(UnknownName, match="Number"):
        annotate(ALL, "feature:Numbr")
    with pytest.raises(InputError, match="only one answer, 'active'"):
        annotate((SAID, EATS), "voice")
    bare = Parsed(words=("a", "b"), heads=(1, -1), relations=("det", "root"))
    with pytest.raises(InputError, match=r"They have no tags[\s\S]*relation"):
        annotate((bare,), "pos")
    with pytest.raises(InputError, match="no features"):
        annotate((bare,), "tense")
    loop = Parsed(words=("a", "b", "c"), heads=(1, 0, -1), relations=("x", "y", "root"))
    with pytest.raises(InputError, match="circle"):
        annotate((loop, loop), "tree_depth")
    with pytest.raises(InputError, match="There are no sentences"):
        annotate((), "pos")


def test_every_task_has_words():
    assert all(words_for(t) for t in TASKS)
    assert words_for("feature:Case") == "feature Case"
