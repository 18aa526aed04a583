"""The description length probe on labels whose code lengths are known."""

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.material import Mark, Marked
from exegete.methods.probing.mdl_probe import MdlProbe, standardised
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny

WORDS = ("the", "cat", "sat", "mat", "mary", "john", "gave", "a", "to", "we")


@pytest.fixture(scope="module")
def model():
    return load(tiny("gpt2"))


def texts(label, n=40):
    rng = np.random.default_rng(0)
    made = []
    for _ in range(n):
        words = [str(w) for w in rng.choice(WORDS, 8)]
        at = np.cumsum([0, *(len(w) + 1 for w in words)])
        marks = tuple(
            Mark(label=str(label(w, rng)), spans=((int(s), int(s) + len(w)),)) for w, s in zip(words, at)
        )
        made.append(Marked(text=" ".join(words), marks=marks))
    return made


def test_labels_that_are_word_types_are_cheap_and_cost_what_control_labels_cost(model):
    """The class of a word says nothing but which word it is: control labels are as cheap, and the lede must say so."""
    found = MdlProbe()(model, texts(lambda w, _: w in WORDS[::2]))
    assert found.online[0] < 0.6 * found.frequency
    assert not found.trust.scores[1].beats_control
    assert "no more" in found.lede
    assert found.kbit[0] == pytest.approx(found.online[0] * found.n_labels / 1024)
    assert len(found.blocks) == len(found.course)
    assert found.uniform == 1.0


def test_random_labels_are_not_compressed(model):
    found = MdlProbe()(model, texts(lambda _, rng: rng.integers(0, 2)))
    assert (found.online > 0.97).all()
    assert not found.trust.scores[0].beats_chance
    assert "NOT beat the label frequencies" in found.lede


def test_the_code_is_the_mean_over_all_labels(model):
    """Bits a label times labels is the length of the code; blocks add up to it."""
    found = MdlProbe(strengths=(10.0,))(model, texts(lambda w, _: w[0], 20))
    best = int(found.online.argmin())
    sizes = np.diff(np.concatenate([[0], found.blocks]))
    assert (found.course * sizes).sum() == pytest.approx(found.online[best] * found.n_labels)


def test_long_texts_do_not_widen_the_interval(model):
    """Where every label costs the same bit, drawing texts of other lengths again changes nothing."""
    some = texts(lambda _, rng: rng.integers(0, 2), 30)
    cut = [i.model_copy(update={"marks": i.marks[: 1 + 7 * (k % 2)]}) for k, i in enumerate(some)]
    found = MdlProbe(strengths=(1e9,))(model, cut)
    assert found.interval[0] == pytest.approx((1.0, 1.0), abs=0.05)


def test_texts_that_belong_together_are_sent_together(model):
    some = [
        i.model_copy(update={"group": f"pair {k % 5}"}) for k, i in enumerate(texts(lambda w, _: w[0], 20))
    ]
    sent = [i.group for i in MdlProbe()._some(Lab(model), some)]
    assert all(sent[k] == sent[k - k % 4] for k in range(20)) and len(set(sent)) == 5


def test_texts_are_drawn_where_there_are_too_many(model):
    found = MdlProbe(most_labels=80, code="both", n_steps=20)(model, texts(lambda w, _: w[0]))
    assert found.n_labels == 80
    assert len(found.variational) == len(found.layers)


def test_a_single_class_gets_a_letter(model):
    with pytest.raises(InputError, match="at least two classes"):
        MdlProbe()(model, texts(lambda *_: "x"))


def test_a_constant_column_is_zero():
    x = standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert x.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
