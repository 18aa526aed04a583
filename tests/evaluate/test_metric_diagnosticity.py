"""Diagnosticity of metrics: blind metrics are a guess, a metric turned round is wrong as often as it was right, gold is what the
model itself says of every subset, and passes are those counted by hand."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from exegete.core.errors import UnknownName, UsageError
from exegete.core.method import register
from exegete.core.registry import METRICS
from exegete.core.store import open_result
from exegete.core.target import Target
from exegete.evaluate.contract import FaithfulnessMetric, judging
from exegete.evaluate.faithfulness.comprehensiveness import Comprehensiveness
from exegete.evaluate.truth.gold_scores import gold_scores
from exegete.evaluate.truth.metric_diagnosticity import MetricDiagnosticity, spoilt
from exegete.evaluate.truth.planted import planted, proven
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny

NAMED = ("comprehensiveness", "upside", "blind", "nowhere", "decision_flip_most_informative", "correlation")


@pytest.fixture(scope="module", autouse=True)
def planted_metrics():
    """Three metrics of which it is known what they are worth."""
    METRICS.load()
    before = dict(METRICS._things)

    @register
    class Upside(Comprehensiveness):
        """Comprehensiveness with the wrong end held up."""

        id: ClassVar[str] = "upside"
        better: ClassVar = "lower"

    @register
    class Blind(FaithfulnessMetric):
        """Says the same of everything."""

        id: ClassVar[str] = "blind"
        reference: ClassVar = Comprehensiveness.reference

        def score_orders(self, game, ranking):
            return np.ones(len(ranking))

    @register
    class Nowhere(Blind):
        """Is defined on no text."""

        id: ClassVar[str] = "nowhere"

        def score_orders(self, game, ranking):
            return np.full(len(ranking), np.nan)

    yield
    METRICS._things = before


@pytest.fixture(scope="module")
def found(planted_metrics):
    study = MetricDiagnosticity(metrics=NAMED, truths=("additive", "ordered pair"), n_texts=4, seed=2)
    return study(load(tiny("gpt2")))


def test_metrics_of_known_worth_get_what_they_are_worth(found):
    right, wrong, blind, nowhere, *_ = found.trust.scores
    assert right.value > 0.9
    assert right.beats_chance
    assert right.beats_control
    assert wrong.value == pytest.approx(1 - right.value)
    assert not wrong.beats_chance
    assert blind.value == 0.5
    assert not blind.beats_chance
    assert np.isnan(nowhere.value)
    assert nowhere.n == 0 and nowhere.n_failed > 0
    assert "blind, upside cannot be told from a guess" in found.lede
    np.testing.assert_allclose(found.fallen[1], 1 - found.fallen[0])
    np.testing.assert_allclose(found.fallen[2], 0.5)


def test_four_texts_that_all_agree_are_no_proof(found):
    sure = found.each == 1
    assert sure.any()
    np.testing.assert_allclose(found.interval[sure][:, 0], 0.025 ** (1 / 4))
    np.testing.assert_allclose(found.interval[sure][:, 1], 1)
    for s in found.trust.scores:
        assert s.n == 0 or s.over_control[0] <= s.value - s.control <= s.over_control[1]


def test_diagnosticity_falls_with_every_step_of_spoiling_down_to_a_guess(found):
    for m in map(found.metrics.index, ("comprehensiveness", "correlation")):
        assert (np.diff(found.fallen[m]) < 0).all()
        assert found.fallen[m, -1] == pytest.approx(0.5, abs=0.12)
    assert found.levels.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_passes_are_those_counted_by_hand(found):
    """Ten words; comprehensiveness removes the first 1, 2 and 5; and reads the whole text; correlation every word alone."""
    by = dict(zip(found.metrics, found.passes))
    assert by["comprehensiveness"] == 4
    assert by["decision_flip_most_informative"] == 2
    assert by["correlation"] == 10
    assert by["blind"] == 0


def test_one_text_by_a_plain_loop():
    """Pairs of the truth and a random order, counted one by one, each judged by the probability of the bare module."""
    study = MetricDiagnosticity(
        metrics=("comprehensiveness",), truths=("pairwise",), n_texts=3, n_random=6, seed=5
    )
    what = planted("pairwise")
    wins = []
    for i, t in enumerate(proven(what, what.texts(3, 5)).texts):
        bench = study._bench(what, t, i, (0.0, 1.0))
        q = bench.question

        def p(keep, q=q, t=t, bench=bench):
            ids = torch.tensor(q.ids)[None].clone()
            for u, k in zip(bench.units, keep):
                ids[0, list(u.tokens)] = ids[0, list(u.tokens)] if k else what.model.tokenizer.mask_token_id
            with torch.no_grad():
                logits = what.model.module(input_ids=ids).logits[0].double()
            return float(logits.softmax(-1)[what.model.labels.index(t.label)])

        def comp(scores, p=p):
            order = sorted(range(10), key=lambda u: -scores[u])
            fall = [p([True] * 10) - p([u not in order[:k] for u in range(10)]) for k in (1, 1, 1, 2, 5)]
            return sum(fall) / 5

        own = comp(bench.levels[0][0])
        for row in bench.random:
            other = comp(row)
            wins.append(0.5 if abs(own - other) < 1e-9 else float(own > other))
    found = study(load(tiny("gpt2")))
    assert found.trust.scores[0].value == pytest.approx(np.mean(wins), abs=1e-9)


@pytest.mark.parametrize("name", ["additive", "pairwise", "token in context", "ordered pair"])
def test_gold_is_what_the_model_itself_says_of_all_subsets(name):
    """Shapley's sum over random orders of the bare module's log-odds, words masked one after the other."""
    what = planted(name)
    t = what.texts(1, seed=7)[0]
    q = judging(ask(what.model, t.text, Target(label=t.label)))
    units = q.units("word")
    gold = gold_scores(what, t, tuple(u.text for u in units))
    label, mask = what.model.labels.index(t.label), what.model.tokenizer.mask_token_id
    rng, n = np.random.default_rng(0), len(units)
    orders = [o for _ in range(150) for a in [rng.permutation(n)] for o in (a, a[::-1])]
    rows = torch.tensor(q.ids).repeat(len(orders), n + 1, 1)
    for i, order in enumerate(orders):
        for step in range(n + 1):
            for u in order[step:]:
                rows[i, step, list(units[u].tokens)] = mask
    with torch.no_grad():
        p = what.model.module(input_ids=rows.flatten(0, 1)).logits.double().softmax(-1)[:, label]
    steps = torch.logit(p).reshape(len(orders), n + 1).diff(dim=1).numpy()
    slow = np.zeros(n)
    for order, step in zip(orders, steps):
        slow[order] += step / len(orders)
    assert gold == pytest.approx(slow, abs=0.35)
    planted_ones = np.array([u.text in t.words for u in units])
    assert gold[planted_ones].min() > gold[~planted_ones].max()


def test_gold_of_a_learned_rule_are_its_marks():
    what = planted("single token")
    t = what.texts(1)[0]
    words = tuple(t.text.split())
    assert gold_scores(what, t, words).tolist() == [float(w in t.words) for w in words]


def test_spoilt_truths_keep_their_scores_and_only_so_many_move():
    gold = np.arange(10.0)
    rows = spoilt(gold, 0.3, 50, np.random.default_rng(0))
    assert (np.sort(rows) == gold).all()
    moved = (rows != gold).sum(1)
    assert moved.max() == 3
    assert (spoilt(gold, 0.0, 2, np.random.default_rng(0)) == gold).all()
    assert (spoilt(gold, 1.0, 200, np.random.default_rng(0)) == gold).mean() == pytest.approx(0.1, abs=0.03)


def test_opens_again(found, tmp_path):
    assert open_result(found.save(tmp_path / "d.exg")) == found
    grid, cost, *_ = found.figures()
    assert grid.values.shape == (len(NAMED), 2)
    assert cost.rows[0][0] in ("comprehensiveness", "correlation")


def test_letters():
    model = load(tiny("gpt2"))
    with pytest.raises(UsageError, match="shares lie between"):
        MetricDiagnosticity(corruption=(0.5, 1.0))(model)
    with pytest.raises(UnknownName, match="additive"):
        MetricDiagnosticity(truths=("aditive",))(model)
    with pytest.raises(UsageError, match="does not judge"):
        MetricDiagnosticity(metrics=("iou_f1",))(model)
