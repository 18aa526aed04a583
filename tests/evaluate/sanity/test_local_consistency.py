"""Consistency and sufficiency: pairs counted one by one, a model of which both are known, and unbiasedness over samples."""

from itertools import combinations
from typing import ClassVar

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.registry import METHODS
from exegete.core.request import Text
from exegete.core.store import open_result
from exegete.core.target import Target
from exegete.evaluate.sanity.local_consistency import LocalConsistencyStudy, _key, alike, satisfied, top_words
from exegete.evaluate.truth.planted import planted
from exegete.evaluate.truth.planted_words import FILLERS
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import Scores
from exegete.models.lab import Lab
from exegete.ops.same_answer import agreement_interval, pair_agreement

DECIDING = ("splendid", "lovely", "dreadful", "horrid")  # two for praise, two for blame
N = 16


@pytest.fixture(scope="module", autouse=True)
def planted_method():
    """A method that always points at the first word."""
    METHODS.load()
    before = dict(METHODS._things)

    @register
    class First(Occlusion):
        """Points at the first word, whatever the text."""

        id: ClassVar[str] = "first"
        reference: ClassVar[Reference] = Reference(authors="", year=2000, title="first")

        def attribute(self, q, units):
            return Scores(total=-np.arange(float(len(units))))

    @register
    class Second(Occlusion):
        """Points at the first word, and fails on texts that end with a word of blame."""

        id: ClassVar[str] = "second"
        reference: ClassVar[Reference] = Reference(authors="", year=2000, title="second")

        def attribute(self, q, units):
            if units[-1].text.strip() in DECIDING[2:]:
                raise InputError("every second", "every second", "every second")
            return Scores(total=-np.arange(float(len(units))))

    yield
    METHODS._things = before


def texts():
    """A common first word, one of four words that decides, and three of no weight."""
    rng = np.random.default_rng(0)
    return [
        Text(text=" ".join(["the", *rng.choice(FILLERS[1:], 3, replace=False), w]))
        for w in DECIDING * (N // 4)
    ]


@pytest.fixture(scope="module")
def found(planted_method):
    study = LocalConsistencyStudy(explainers=("occlusion", "first"), sizes=(1, 5), seed=1, n_random=200)
    return study(planted("additive").model, [*texts(), texts()[0]], Target(scale="logit"))  # one text twice


def test_what_decides_is_consistent_and_sufficient_and_what_all_share_is_a_guess(found):
    good, blind = found.value[:, 0, 0], found.value[:, 1, 0]
    assert good.tolist() == [1, 1]
    same = [i % 4 // 2 == j % 4 // 2 for i, j in combinations(range(N), 2)]
    assert blind == pytest.approx([np.mean(same)] * 2)
    assert found.unique[:, :, 0].tolist() == [[0, 0], [0, 0]]
    scores = {s.name: s for s in found.trust.scores}
    best = scores["occlusion: consistency of 1 word"]
    assert best.beats_chance
    assert best.beats_control
    assert best.interval == pytest.approx((0.025 ** (1 / 8), 1))  # 16 texts are 8 pairs that share none
    assert not scores["first: consistency of 1 word"].beats_chance
    assert found.dealt[0, :, 0] == pytest.approx(np.mean(same), abs=0.05)
    assert dict(found.context) == {"texts": str(N), "different answers": "2"}


def test_explanations_that_no_other_text_shares_are_counted_not_scored(found):
    """All five words as explanation: every text is alone."""
    assert np.isnan(found.value[:, 0, 1]).all()
    assert (found.unique[:, 0, 1] == 1).all()
    alone = {s.name: s for s in found.trust.scores}["occlusion: sufficiency of 5 words"]
    assert (alone.n, alone.n_failed) == (0, N)
    assert "no two texts" in alone.verdict


def test_pairs_one_by_one():
    rng = np.random.default_rng(4)
    held = [frozenset(rng.choice(list("abcdef"), 4)) for _ in range(20)]
    own = [frozenset(sorted(h)[:1]) for h in held]
    y = rng.integers(0, 3, 20)
    for relation, fits in (
        (alike, lambda i, j: own[i] == own[j]),
        (satisfied, lambda i, j: own[i] <= held[j]),
    ):
        m = pair_agreement(relation(own, held), y)
        for i in range(20):
            others = [j for j in range(20) if j != i and fits(i, j)]
            want = np.mean([y[j] == y[i] for j in others]) if others else np.nan
            assert m[i] == pytest.approx(want, nan_ok=True)


def test_the_estimate_is_unbiased_where_cells_are_known():
    """Two explanations; in the first 0.8 answer yes, in the second 0.5: m_c = (0.68 + 0.5) / 2."""
    rng, means = np.random.default_rng(0), []
    for _ in range(1500):
        cell = np.arange(12) % 2
        y = rng.random(12) < np.where(cell == 0, 0.8, 0.5)
        means.append(pair_agreement(cell[:, None] == cell[None], y).mean())
    assert np.mean(means) == pytest.approx((0.68 + 0.5) / 2, abs=0.015)


def test_the_interval_covers_what_is_known():
    rng, hits = np.random.default_rng(1), []
    for r in range(40):
        cell = rng.integers(0, 2, 60)
        y = rng.random(60) < np.where(cell == 0, 0.9, 0.6)
        truth = (0.82 + 0.52) / 2
        low, high = agreement_interval(cell[:, None] == cell[None], y, r, 100)
        hits.append(low <= truth <= high)
    assert np.mean(hits) > 0.82
    assert agreement_interval(np.zeros((3, 3), bool), np.arange(3)) is None


def test_few_that_all_agree_are_no_proof():
    """Five texts of one explanation and one answer: as many agree by chance once in twenty where three of four answer so."""
    rng, seen = np.random.default_rng(2), []
    everybody = np.ones((5, 5), bool)
    for r in range(300):
        y = rng.random(5) < 0.75
        low, high = agreement_interval(everybody, y, r, 100)
        seen.append((y.all() or not y.any(), low <= 0.75**2 + 0.25**2 <= high))
    assert all(covered for agree, covered in seen if agree) and any(agree for agree, _ in seen)


def test_stretches_give_the_whole_and_count_what_failed(planted_method):
    """A text stands in both stretches, and a method fails on every second text."""
    study = LocalConsistencyStudy(explainers=("occlusion", "second"), sizes=(1,), seed=1, fewest=2)
    model, items = planted("additive").model, study.items([*texts(), texts()[2]])
    whole, lab = study(model, items, Target(scale="logit")), Lab(model)
    parts = [p for some in (items[:5], items[5:]) for p in study.work(lab, some, Target(scale="logit"))]
    found = study.merge(lab, items, parts, Target(scale="logit"), n_failed=2)
    assert np.array_equal(found.value, whole.value) and found.context == whole.context
    assert found.trust.notes == whole.trust.notes == (f"second: every second ({N // 2} times)",)
    assert [a.n_failed - b.n_failed for a, b in zip(found.trust.scores, whole.trust.scores)] == [2] * 4


def test_pairs_of_one_first_sentence_are_different_texts():
    items = (
        Text(text="the food", pair="good"),
        Text(text="the food", pair="bad"),
        Text(text="the food", id="7"),
    )
    assert len({_key(i) for i in (*items, Text(text="the food"))}) == 3


def test_words_that_stand_twice_count_once():
    assert top_words(["the", "good", "the", "food"], np.array([3.0, 1.0, 2.0, 0.5]), 2) == {"the", "good"}


def test_opens_again(found, tmp_path):
    assert open_result(found.save(tmp_path / "c.exg")) == found
    table, *curves = found.figures()
    assert len(table.rows) == 8
    assert len(curves) == 2
