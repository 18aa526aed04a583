"""Every metric: an example worked by hand, and a naive loop over the bare Hugging Face model."""

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, UnknownName, UsageError
from exegete.core.registry import METRICS
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.evaluate.contract import Ranking, faithfulness_metrics, judging, metric_of
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.remove import Game
from exegete.models.tiny import tiny
from support.planted import additive

IDS = (40, 41, 42, 43)
WEIGHTS = (3.0, 1.0, -2.0, 0.5)
BY_HAND = {  # the contrast yes - no is the sum of the weights left: 2.5 whole; bins of four units: k = 1, 1, 1, 1, 2
    "comprehensiveness": (4 * 3.0 + 4.0) / 5,
    "sufficiency": (4 * (2.5 - 3.0) + (2.5 - 4.0)) / 5,
    "decision_flip_fraction": 0.25,  # without 3.0 the rest sums to -0.5: "no"
    "decision_flip_most_informative": 1.0,
    "correlation": 1.0,  # what is left without unit i is 2.5 - w_i
    "violation": 0.0,
    "deletion_auc": ((2.5 - 0.5) / 2 + (-0.5 - 1.5) / 2 + (-1.5 - 2.0) / 2 + (-2.0 + 0.0) / 2) / 4,
    "insertion_auc": ((0.0 + 3.0) / 2 + (3.0 + 4.0) / 2 + (4.0 + 4.5) / 2 + (4.5 + 2.5) / 2) / 4,
    "monotonicity": np.corrcoef([-2.0, 0.5, 1.0, 3.0], [-2.0, -1.5, -0.5, 2.5])[0, 1],
    "infidelity": 0.0,  # what a set of units adds is the sum of their weights
    "sensitivity_n": 1.0,
    "log_odds": -3.0,  # a contrast of logits as it is
}
SOFT = {
    "soft_comprehensiveness",
    "soft_sufficiency",
}  # drawn: held against their expectation in test_soft_metrics
BRUTE_FORCED = {
    "infidelity",
    "sensitivity_n",
    *SOFT,
}  # against loops in test_subset_metrics and test_soft_metrics


def hand_game():
    model = additive(weights=dict(zip(IDS, WEIGHTS)))
    q = judging(ask(model, Text(ids=IDS), Target(label="yes", against="no")))
    return Game(q, q.units("token"))


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_worked_by_hand(name):
    assert metric_of(name).score(hand_game(), np.array(WEIGHTS)) == pytest.approx(BY_HAND[name], abs=1e-6)


def test_every_faithfulness_metric_has_an_example_by_hand():
    assert {m.id for m in faithfulness_metrics()} == set(BY_HAND) | SOFT


def test_a_reversed_explanation_is_worse_by_every_metric():
    q = hand_game().question
    for metric in faithfulness_metrics():
        game = metric.game(q, q.units("token"))
        good, bad = metric.score(game, np.array(WEIGHTS)), metric.score(game, -np.array(WEIGHTS))
        assert (good > bad) if metric.better == "higher" else (good < bad), metric.id


# ---- a naive loop over the bare model --------------------------------------------------------------------------------


class Naive:
    """Probability and decision of the bare module for one subset of units at a time."""

    def __init__(self, model, q, units, how):
        self.model, self.q, self.units, self.how = model, q, units, how

    def logits(self, kept):
        ids, gone = (
            list(map(int, self.q.ids)),
            {t for u in set(range(len(self.units))) - set(kept) for t in self.units[u].tokens},
        )
        if self.how == "delete":
            ids = [i for p, i in enumerate(ids) if p not in gone] or [self.model.tokenizer.eos_token_id]
        else:
            filler = getattr(self.model.tokenizer, f"{self.how}_token_id")
            ids = [filler if p in gone else i for p, i in enumerate(ids)]
        with torch.no_grad():
            out = self.model.module(input_ids=torch.tensor([ids])).logits[0]
        return (out if out.dim() == 1 else out[-1]).double()

    def f(self, kept):
        return float(self.logits(kept).softmax(-1)[self.q.branches[0].rows[0].id])

    def argmax(self, kept):
        return int(self.logits(kept).argmax())


def naive_metrics(g, r):
    """All metrics in plain loops."""
    n, everything = len(r), list(range(len(r)))
    order = sorted(everything, key=lambda u: (-r[u], u))
    without = lambda gone: [u for u in everything if u not in gone]  # noqa: E731
    ks = [max(1, int(np.ceil(round(n * b, 9)))) for b in (0.01, 0.05, 0.1, 0.2, 0.5)]
    whole, answer = g.f(everything), g.argmax(everything)
    flips = [k for k in range(1, n + 1) if g.argmax(without(order[:k])) != answer]
    strongest = max(everything, key=lambda u: (abs(r[u]), -u))
    rising = order[::-1]
    deleted = [g.f(without(order[:k])) for k in range(n + 1)]
    inserted = [g.f(order[:k]) for k in range(n + 1)]
    added = [g.f(rising[: k + 1]) for k in range(n)]
    return {
        "comprehensiveness": np.mean([whole - g.f(without(order[:k])) for k in ks]),
        "sufficiency": np.mean([whole - g.f(order[:k]) for k in ks]),
        "decision_flip_fraction": (flips[0] if flips else n) / n,
        "decision_flip_most_informative": float(g.argmax(without(order[:1])) != answer),
        "correlation": -np.corrcoef(r, [g.f(without([u])) for u in everything])[0, 1],
        "monotonicity": np.corrcoef(np.array(r)[rising], added)[0, 1],
        "violation": float(np.sign(r[strongest]) * (whole - g.f(without([strongest]))) < 0),
        "deletion_auc": sum(deleted[i] + deleted[i + 1] for i in range(n)) / 2 / n,
        "log_odds": np.log(g.f(without(order[: int(np.ceil(n / 5))])) / whole),
        "insertion_auc": sum(inserted[i] + inserted[i + 1] for i in range(n)) / 2 / n,
    }


@pytest.mark.parametrize(
    ("family", "task", "how"),
    [
        ("bert", "sequence", "mask"),
        ("bert", "sequence", "delete"),
        ("bert", "sequence", "pad"),
        ("gpt2", "causal", "delete"),
    ],
)
def test_metrics_equal_a_naive_loop(family, task, how):
    model = load(tiny(family, task))
    q = judging(ask(model, "the food was not good but fine"))
    units = q.units("word")
    naive = Naive(model, q, units, how)
    rng = np.random.default_rng(7)
    rows = np.concatenate([rng.normal(size=(3, len(units))), rng.integers(-1, 2, size=(1, len(units)))])
    slowly = [naive_metrics(naive, list(r)) for r in rows]
    assert set(slowly[0]) | BRUTE_FORCED == {m.id for m in faithfulness_metrics()}
    for metric in (m for m in faithfulness_metrics() if m.id in slowly[0]):
        chosen = metric.model_copy(update={"removal": how})
        found = chosen.score_orders(chosen.game(q, units), Ranking.of(rows))
        slow = [each[metric.id] for each in slowly]
        assert found == pytest.approx(slow, abs=1e-5), metric.id


def test_what_is_judged():
    """A class by its probability, a continuation by its joint log-probability, a contrast and a loss as they are."""
    encoder, decoder = load(tiny("bert", "sequence")), load(tiny("gpt2"))
    assert judging(ask(encoder, "so good")).scale == "prob"
    assert judging(ask(decoder, "so good")).scale == "prob"
    long = ask(decoder, "so good", " indeed it was")
    assert long.n_outputs > 1 and judging(long).scale == "logprob"
    assert judging(ask(encoder, "so good", Target(label=0, against=1))).scale == "logit"
    assert judging(ask(encoder, "so good", Target(scale="loss"))).scale == "loss"
    assert judging(ask(encoder, "so good", Target(scale="entropy"))).scale == "entropy"


def test_together_they_run_the_union_of_their_inputs_and_nothing_twice():
    model, text = load(tiny("bert", "sequence")), "the food was not good but the staff were fine"
    rows = Ranking.of(np.random.default_rng(0).normal(size=(5, 10)))
    union: set[bytes] = set()
    by_units = [m for m in faithfulness_metrics() if m.id not in SOFT]  # the soft ones ask by embeddings
    for metric in by_units:
        alone = judging(ask(model, text))
        metric.score_orders(metric.game(alone, alone.units("word")), rows)
        union |= set(alone._memo)
    q = judging(ask(model, text))
    for metric in by_units:
        metric.score_orders(metric.game(q, q.units("word")), rows)
    assert q.meter.distinct == q.meter.forwards == len(union)
    assert q.meter.asked > 2 * q.meter.distinct  # they do have inputs in common


def test_metrics_that_know_no_value_say_nan():
    game = hand_game()
    flat = np.ones(4)
    assert np.isnan(metric_of("correlation").score(game, flat))
    assert np.isnan(metric_of("monotonicity").score(game, flat))
    assert np.isfinite(metric_of("comprehensiveness").score(game, flat))


def test_letters():
    with pytest.raises(InputError, match="NaN or infinite"):
        Ranking.of(np.array([1.0, np.nan]))
    with pytest.raises(UnknownName, match="comprehensiveness"):
        metric_of("comprehensivness")
    with pytest.raises(UsageError, match="removing units"):
        from exegete.methods.attribution.occlusion import Occlusion

        metric_of(Occlusion())


@pytest.mark.parametrize("cls", [cls for _, cls in METRICS], ids=lambda c: c.id)
def test_contract_of_metrics(cls):
    metric = cls()
    assert metric.reference.title and metric.reference.where and metric.reference.year > 1900
    assert len(metric.summary()) > 20 and metric.passes
    assert metric.better in ("higher", "lower")
    assert all(f.description for f in cls.model_fields.values())
    assert cls.build(metric.params()) == metric == cls.model_validate_json(metric.model_dump_json())
