"""Edge probes on labels whose place is known."""

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.material import Mark, Marked
from exegete.methods.probing.edge_probe import EdgeProbe, _expected
from exegete.models.load import load
from exegete.models.tiny import tiny

WORDS = ("cat", "mary", "gave", "to", "we", "book")
LIGHT = {"n_steps": 150, "project": 8, "hidden": 16, "n_seeds": 2}


def texts(label, n=60):
    """Texts of six words; every word with the one before it is a pair, labelled by both."""
    rng, made = np.random.default_rng(0), []
    for _ in range(n):
        words = [str(w) for w in rng.choice(WORDS, 6)]
        at = np.cumsum([0, *(len(w) + 1 for w in words)]).tolist()
        spans = [(s, s + len(w)) for w, s in zip(words, at)]
        marks = tuple(
            Mark(label=label(words[i], words[i - 1], rng), spans=(spans[i], spans[i - 1]))
            for i in range(1, 6)
        )
        made.append(Marked(text=" ".join(words), marks=marks))
    return made


@pytest.fixture(scope="module")
def model():
    return load(tiny("gpt2"))


def test_a_label_of_the_words_themselves_is_told_from_the_embeddings(model):
    """Whether the first word is one of three: all there at layer 0, nothing left for later layers, in the twin as well."""
    found = EdgeProbe(**LIGHT)(model, texts(lambda a, _, __: "yes" if a in WORDS[:3] else "no"))
    assert found.f1[0] > 0.9
    assert found.trust.scores[0].beats_chance
    assert not found.trust.scores[0].beats_control  # randomised weights know the word as well
    assert not found.trust.scores[1].beats_control
    assert "NOT more than from the embeddings alone" in found.lede
    assert found.recall_first.min() > 0.8
    assert found.mixing.shape == (2, len(found.layers))


def test_random_labels_are_not_told(model):
    found = EdgeProbe(**LIGHT)(model, texts(lambda _, __, rng: str(rng.integers(0, 2))))
    assert not found.trust.scores[0].beats_chance
    assert "NOT beat chance" in found.lede


def test_a_text_that_comes_twice_is_not_learned_from_and_asked_about(model):
    """Random labels that come with their texts twice can be learned by heart; a split that parted the two would show it."""
    how = LIGHT | {"n_steps": 250, "n_seeds": 1}
    once = texts(lambda _, __, rng: str(rng.integers(0, 2)), 24)
    twice = once + [Marked(text=i.text, marks=i.marks, id="again") for i in once]
    found = EdgeProbe(**how)(model, twice)
    assert not found.trust.scores[0].beats_chance
    tied = [
        Marked(text=f"{i.text} {('cat', 'book')[k // 24]}", marks=i.marks, group=f"story {k % 24}")
        for k, i in enumerate(twice)
    ]
    assert not EdgeProbe(**how)(model, tied).trust.scores[0].beats_chance
    apart = [i.model_copy(update={"group": ""}) for i in tied]
    assert EdgeProbe(**how)(model, apart).trust.scores[0].beats_chance  # the test can fail


def test_the_expected_layer():
    assert _expected(np.array([0.4, 0.4, 0.6, 0.6])) == 2
    assert _expected(np.array([0.4, 0.5, 0.6])) == pytest.approx(1.5)
    assert _expected(np.array([0.4, 0.5, 0.45, 0.5])) == pytest.approx(
        1
    )  # what is lost and found again adds nothing
    assert np.isnan(_expected(np.array([0.4, 0.4, 0.3])))


def test_numbers_get_a_letter(model):
    with pytest.raises(InputError, match="class names"):
        EdgeProbe(**LIGHT)(model, texts(lambda *_: 1.0, 5))
