"""Hypernymy: planted kinds are found in both forms, a model that heeds no word is told apart, and files are read by line."""

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.target import Target
from exegete.methods.probing import hypernymy
from exegete.methods.probing.hypernymy import Hypernymy, prompt
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.planted_bigram import Table, bigram


class Knowing(Table):
    """Says the token `says[word]` after any text that holds the token `word`."""

    def __init__(self, base: Table, says: dict[int, int]) -> None:
        super().__init__(base.table.weight.detach().clone())
        self.says = says

    def forward(self, input_ids, attention_mask, use_cache=False):
        out = super().forward(input_ids, attention_mask)
        for row, ids in enumerate(input_ids.tolist()):
            for word, kind in self.says.items():
                if word in ids:
                    out.logits[row, :, kind] += 20.0
        return out


def knowing(says: dict[str, str]):
    """A decoder over the tiny tokenizer that knows kinds of words of one token, in any form."""
    model = bigram({})
    ids = {w: model.tokenizer(w, add_special_tokens=False)["input_ids"] for w in {*says, *says.values()}}
    model.module = Knowing(model.module, {ids[w][0]: ids[k][0] for w, k in says.items()})
    return model


def rows(path, *pairs) -> str:
    path.write_text("word,kind\n" + "".join(f"{w},{k}\n" for w, k in pairs))
    return str(path)


@pytest.fixture
def one_form(monkeypatch):
    """Words of the tiny tokenizer have no plural of one token: both forms are the singular here."""
    monkeypatch.setattr(hypernymy, "plural", lambda w: w)


PAIRS = (("mary", "the"), ("john", "was"), ("people", "the"), ("great", "was"))


def test_planted_kinds_are_found(tmp_path, one_form):
    says = {"mary": "the", "john": "was"}
    r = Hypernymy(words=rows(tmp_path / "a.csv", *PAIRS[:2]), k=1).study(Lab(knowing(says)), (), Target())
    assert r.among == "among all tokens"
    assert r.consistent.all()
    np.testing.assert_array_equal(r.ranks, 1)
    assert (r.other > 1).all()  # of the other word the other kind is said
    assert {f for form in r.first for f in form} == {"the", "was"}


def test_a_kind_that_is_always_said_is_no_knowledge(tmp_path, one_form):
    says = {"mary": "the", "john": "the"}
    r = Hypernymy(words=rows(tmp_path / "a.csv", *PAIRS[:2]), k=1).study(Lab(knowing(says)), (), Target())
    assert list(r.ranks[0] <= 1) == [True, False]
    assert list(r.other[0] <= 1) == [True, False]
    assert not any(s.beats_control for s in r.trust.scores if "another kind" in s.control_name)
    assert "no knowledge of kinds" in r.lede


def test_kinds_of_several_tokens_are_ranked_among_each_other():
    model = load(tiny("gpt2"))
    r = Hypernymy()(model)
    assert "kinds" in r.among
    assert r.k == 1
    assert (r.ranks >= 1).all()
    assert (r.ranks <= 5).all()
    assert r.trust.scores[0].chance == pytest.approx(1 / 5)
    assert r.trust.scores[2].chance == pytest.approx(1 / 25)


def test_prompts_have_the_articles_of_both_words():
    assert prompt("owl", "bird", "singular") == "an owl is a [MASK]."
    assert prompt("dog", "animal", "singular") == "a dog is an [MASK]."
    assert prompt("goose", "bird", "plural") == "geese are [MASK]."


def test_files_that_do_not_fit(tmp_path):
    model = load(tiny("gpt2"))
    (tmp_path / "a.csv").write_text("word,kind\nrobin,bird\noak,\n")
    with pytest.raises(InputError, match="Line 3"):
        Hypernymy(words=str(tmp_path / "a.csv"))(model)
    with pytest.raises(InputError, match="one kind"):
        Hypernymy(words=rows(tmp_path / "b.csv", ("robin", "bird"), ("owl", "bird")))(model)
