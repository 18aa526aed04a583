"""Pairs, facts, parsed sentences, and CoNLL-U: what is read is what stands there, and what is wrong is named."""

import pytest

from exegete.core.conllu import read_conllu
from exegete.core.errors import InputError
from exegete.core.material import Fact, Pair, Parsed
from support.data import shared_data

GOOD = """# text = Dogs don't bark
1\tDogs\tdog\tNOUN\t_\t_\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\t_\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\t_\t_\t4\tadvmod\t_\t_
4\tbark\tbark\tVERB\t_\t_\t0\troot\t_\t_
4.1\tbark\tbark\tVERB\t_\t_\t_\t_\t_\t_

1\tYes\tyes\tINTJ\t_\t_\t0\troot\t_\t_
"""


def written(tmp_path, text):
    path = tmp_path / "a.conllu"
    path.write_text(text)
    return path


def test_a_treebank_is_read(tmp_path):
    first, second = read_conllu(written(tmp_path, GOOD))
    assert first.words == ("Dogs", "do", "n't", "bark")
    assert first.heads == (3, 3, 3, -1)
    assert first.relations == ("nsubj", "aux", "advmod", "root")
    assert first.tags[0] == "NOUN"
    assert second.words == ("Yes",)
    assert len(read_conllu(written(tmp_path, GOOD), most=1)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("\t4\tnsubj", "\t9\tnsubj"), "Line 2 has the head '9'"),
        (("1\tDogs\tdog", "1\tDogs dog"), "Line 2 has 9 columns"),
        (("4\tbark\tbark\tVERB\t_\t_\t0", "4\tbark\tbark\tVERB\t_\t_\t1"), "circle"),
        (("3\tn't", "7\tn't"), "Line 5 has the id 7"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        read_conllu(written(tmp_path, GOOD.replace(*change)))


def test_an_empty_or_missing_treebank_is_refused(tmp_path):
    with pytest.raises(InputError, match="no sentence"):
        read_conllu(written(tmp_path, "# nothing\n"))
    with pytest.raises(InputError, match="cannot be read"):
        read_conllu(tmp_path / "none.conllu")


def test_a_real_treebank_has_as_many_words_as_lines():
    path = shared_data("treebank/en_ewt-ud-dev.conllu")
    sentences = read_conllu(path)
    lines = [x.split("\t")[0] for x in path.read_text().split("\n") if x and x[0] != "#"]
    assert len(sentences) == 2001
    assert sum(len(s.words) for s in sentences) == sum(x.isdigit() for x in lines)
    assert all(s.heads.count(-1) == 1 for s in sentences)


def test_the_last_mention_of_the_subject_is_the_one():
    fact = Fact(prompt="mary and mary live in", subject="mary", answer="town")
    assert fact.span == (9, 13)
    with pytest.raises(InputError, match="does not name"):
        Fact(prompt="mary lives in", subject="john", answer="town")


def test_trees_must_fit_their_words():
    with pytest.raises(InputError, match="1 heads"):
        Parsed(words=("a", "b"), heads=(1,), relations=("x", "y"))
    with pytest.raises(InputError, match="no other word"):
        Parsed(words=("a", "b"), heads=(0, -1), relations=("x", "y"))


def test_a_pair_is_made_of_what_people_write():
    pair = Pair.of("a b", [1, 2], "x")
    assert pair.clean.text == "a b"
    assert pair.corrupt is not None
    assert pair.corrupt.ids == (1, 2)
    assert Pair.of("a").corrupt is None


@pytest.mark.parametrize(
    ("subject", "words"), [("cat", "does not name"), ("", "subject is empty"), (" ", "subject is empty")]
)
def test_a_fact_names_its_subject(subject, words):
    """An empty string stands in every text, and names nothing in it."""
    with pytest.raises(InputError, match=words):
        Fact(prompt="the dog saw a", subject=subject, answer="bird")
