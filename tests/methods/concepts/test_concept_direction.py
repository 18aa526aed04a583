"""Concept directions on a trained classifier, their parts and pairs, and letters."""

import numpy as np
import pytest

from exegete.core.errors import InputError, UnknownName
from exegete.core.material import Mark, Marked
from exegete.core.store import open_result
from exegete.methods.concepts.concept_direction import ConceptDirection
from exegete.methods.concepts.contrast import contrast
from exegete.models.load import load
from support.concept_texts import texts


def test_parts_share_no_text_and_pairs_share_an_id():
    rng = np.random.default_rng(0)
    found = contrast(texts(), "", "", rng)
    assert (found.concept, found.against) == ("good", "bad")
    assert all(found.items[a].id == found.items[b].id for a, b in found.pairs)
    assert all(found.items[a].labels[0] == "good" for a in found.pairs[:, 0])
    parts = found.parts(rng)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(found.pairs)))
    said = [{found.items[r].text for r in found.pairs[p].ravel()} for p in parts]
    assert not said[0] & said[1]
    assert not said[0] & said[2]
    assert not said[1] & said[2]


def test_no_text_and_no_group_stands_in_two_parts():
    """Texts of a city are paired with one another; what is left is paired without tying all cities together."""
    whole = [
        Marked(text=f"{'not ' * k}in city {c}", marks=(Mark(label=f"{(k + c) % 2}"),), group=f"city {c}")
        for c in range(60)
        for k in range(2 + c % 3 // 2)  # every third city has a text too many
    ]
    # the same text under both labels: as the concept in one pair, as the other one in another
    whole += [Marked.of(f"said {i % 5}", f"{i // 5}") for i in range(10)]
    found = contrast(whole, "", "", np.random.default_rng(0))
    for seed in range(5):
        parts = found.parts(np.random.default_rng(seed))
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(found.pairs)))
        assert all(len(p) > 0.1 * len(found.pairs) for p in parts)
        said = [{t for r in found.pairs[p].ravel() for t in found.items[r].ties} for p in parts]
        assert not (said[0] & said[1] or said[0] & said[2] or said[1] & said[2])
    same = [found.items[a].group == found.items[b].group for a, b in found.pairs if found.items[a].group]
    assert sum(same) == 60


def test_texts_without_ids_are_paired_at_random_within_both_labels():
    found = contrast(
        [Marked.of(f"text {i}", float(i % 2)) for i in range(21)], "", "", np.random.default_rng(0)
    )
    assert (found.concept, found.against) == ("1", "0")
    assert found.pairs.shape == (10, 2)
    assert len(set(found.pairs.ravel().tolist())) == 20


def test_sentiment_has_a_direction_that_holds_elsewhere_and_chance_does_not(tmp_path):
    model = load("terrarium/sentiment")
    found = ConceptDirection(n_shuffles=3)(model, texts())
    i, j = found.chosen
    assert found.accuracy[i, j] > 0.9
    assert found.shuffled[j] < 0.75
    assert found.sets == ("one", "two")
    assert found.transfer.min() > 0.8
    assert np.allclose(np.linalg.norm(found.directions, axis=-1), 1)
    assert (
        found.agreement[found.methods.index("mean difference"), found.methods.index("pair PCA")] > 0.9
        or j == 0
    )
    again = open_result(found.save(tmp_path / "d.exg"))
    assert np.array_equal(again.direction(), found.directions[i, j])
    with pytest.raises(UnknownName):
        again.direction("no such method")
    labels = np.random.default_rng(0).permutation([m.labels[0] for m in texts()])
    nothing = [Marked.of(m.text, str(label)) for m, label in zip(texts(), labels)]
    random = ConceptDirection(n_shuffles=2, methods=("mean difference", "logistic"))(model, nothing)
    assert not all(s.beats_chance for s in random.trust.scores)  # shuffled labels: nothing to find
    assert "does not beat" in random.lede


def test_letters():
    rng = np.random.default_rng(0)
    with pytest.raises(UnknownName):
        contrast(texts(), "goood", "", rng)
    with pytest.raises(InputError, match="two different ones"):
        contrast([Marked.of(f"text {i}", "one") for i in range(9)], "", "", rng)
    with pytest.raises(InputError, match="at least 5"):
        contrast(texts()[:6], "", "", rng)
