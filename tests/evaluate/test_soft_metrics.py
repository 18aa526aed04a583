"""Soft erasure: the planted truth in expectation, a loop over the bare model, and what it must not depend on."""

import numpy as np
import pytest
import torch

from exegete.core.errors import UsageError
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.evaluate.contract import Ranking, judging
from exegete.evaluate.faithfulness.comprehensiveness import Comprehensiveness
from exegete.evaluate.faithfulness.soft_comprehensiveness import SoftComprehensiveness
from exegete.evaluate.faithfulness.soft_sufficiency import SoftSufficiency
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.planted import additive, some_ids, weights_of

BOTH = (SoftComprehensiveness, SoftSufficiency)


def planted(metric, n=10):
    ids = some_ids(additive(), n)
    model = additive(weights={i: float(w) for i, w in zip(ids, np.linspace(0.2, 3, n))})
    q = judging(ask(model, Text(ids=ids), Target(label="yes", against="no")))
    return metric.game(q, q.units("token")), weights_of(model, q.ids).astype(float)


def test_the_planted_truth_in_expectation():
    """A unit that stays with probability p adds p of its weight on average."""
    for cls in BOTH:
        game, w = planted(cls(n_draws=400))
        share = (w - w.min()) / (w.max() - w.min())
        found = cls(n_draws=400).score(game, w)
        assert found == pytest.approx((w * share).sum() / w.sum(), abs=0.03)
        wrong = cls(n_draws=400).score_orders(game, Ranking.of(np.stack([w[::-1], -w])))
        assert (wrong < found - 0.1).all()


@pytest.mark.parametrize(("family", "task"), [("bert", "sequence"), ("gpt2", "causal")])
def test_they_equal_a_loop_over_the_bare_model(family, task):
    """The masks are looked up; all else is done by hand, one draw and one slot at a time, on the bare module."""
    model = load(tiny(family, task))
    q = judging(ask(model, "the food was not good but fine"))
    metric = SoftComprehensiveness(n_draws=3)
    game = metric.game(q, q.units("word"))
    rows = np.random.default_rng(1).normal(size=(6, game.n))
    own, noise = q.embeddings(), game._noise(q.embeddings())
    target = q.branches[0].rows[0].id

    def f(embedded):
        with torch.no_grad():
            out = model.module(inputs_embeds=embedded[None]).logits[0]
        return float((out if out.dim() == 1 else out[-1]).double().softmax(-1)[target])

    empty = own.clone()
    for unit in game.units:
        empty[list(unit.tokens)] = 0
    for cls in BOTH:
        found = cls(n_draws=3).score_orders(game, Ranking.of(rows))
        for r, got in zip(rows, found):
            a = (r - r.min()) / (r.max() - r.min())
            values = []
            for d in range(3):
                x = own.clone()
                for unit, share in zip(game.units, a):
                    stays = 1 - share if cls is SoftComprehensiveness else share
                    for t in unit.tokens:
                        x[t] = own[t] * (noise[d, t] < stays)
                values.append(f(x))
            most = f(own) - f(empty)
            lost = float(np.clip((f(own) - np.mean(values)) / most, 0, 1)) if most > 0 else np.nan
            want = lost if cls is SoftComprehensiveness else 1 - lost
            assert got == pytest.approx(want, abs=1e-4, nan_ok=True)


def test_scores_of_zero_and_one_are_plain_erasure():
    """Where every score is 0 or 1 nothing is random: the units with a one go, whole."""
    for cls in BOTH:
        game, w = planted(cls())
        ones = (np.arange(10) >= 7).astype(float)
        assert cls().score(game, ones) == pytest.approx(w[7:].sum() / w.sum(), abs=1e-6)


def test_same_text_same_masks_and_scores_asked_twice_run_once():
    q = judging(ask(load(tiny("bert", "sequence")), "the food was not good but fine"))
    metric = SoftComprehensiveness()
    game = metric.game(q, q.units("word"))
    row = np.random.default_rng(0).normal(size=(1, game.n))
    first = metric.score_orders(game, Ranking.of(row.repeat(3, axis=0)))
    spent = q.meter.forwards
    assert spent == 2 + metric.n_draws  # the text, nothing, and each mask
    again = metric.score_orders(game, Ranking.of(row * 5 + 2))  # only how scores lie to each other counts
    assert again[0] == pytest.approx(first[0], abs=1e-6)
    assert metric.score_orders(metric.game(q, q.units("word")), Ranking.of(row)) == pytest.approx(first[:1])
    budget, q.model.token_budget = q.model.token_budget, 16
    alone = metric.score_orders(metric.game(q, q.units("word")), Ranking.of(row))
    q.model.token_budget = budget
    assert alone == pytest.approx(first[:1], abs=1e-5)


def test_what_has_no_value_and_letters():
    metric = SoftComprehensiveness()
    game, w = planted(metric)
    assert np.isnan(metric.score(game, np.ones(10)))
    backwards = judging(ask(game.question.model, Text(ids=tuple(game.question.ids)), Target(label="no", against="yes")))  # fmt: skip
    assert np.isnan(
        metric.score(metric.game(backwards, game.units), w)
    )  # nothing says "no" more than the text
    with pytest.raises(UsageError, match="no embedding to put there"):
        SoftSufficiency(removal="delete").game(game.question, game.units)
    hard = Comprehensiveness().game(game.question, game.units)
    with pytest.raises(UsageError, match="in or out"):
        metric.score(hard, w)
    assert np.isfinite(SoftSufficiency(removal="mask").score(SoftSufficiency(removal="mask").game(game.question, game.units), w))  # fmt: skip


def test_a_text_that_says_no_more_than_nothing_but_for_rounding_is_undefined():
    """A share of what is lost would be a ratio of two roundings, and could be anything from 0 to 1."""
    ids = (40, 41, 42)
    model = additive(weights=dict(zip(ids, (4.0, -4.0, 1e-6))))
    q = judging(ask(model, Text(ids=ids), Target(label="yes")))
    metric = SoftComprehensiveness()
    game = metric.game(q, q.units("token"))
    assert 0 < float(q.total(q.value())) - float(q.total(game(np.zeros((1, 3), dtype=bool)))[0]) < 4e-7
    assert np.isnan(metric.score(game, np.array([4.0, -4.0, 0.0])))
