"""What no metric may be good at: answers that nothing moves, scores that say nothing; that is undefined, and told with its reason."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import PreTrainedConfig

from exegete.core.registry import METRICS
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.evaluate.contract import Pairing, Ranking, judging, metric_of
from exegete.evaluate.stability.order_map import OrderMap
from exegete.evaluate.stability.top_k_jaccard import TopKJaccard
from exegete.models.ask import ask
from exegete.models.load import load
from support.planted import additive, some_ids


class Rounded(torch.nn.Module):
    """Says the same whatever it reads, but for what single precision may add."""

    def __init__(self, size):
        super().__init__()
        self.table = torch.nn.Embedding(size, 1)
        self.config = PreTrainedConfig(num_labels=2, id2label={0: "no", 1: "yes"}, vocab_size=size)

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids, attention_mask):
        noise = 1e-6 * torch.sin(input_ids.double() * 7).sum(1).float()
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(noise), 3 + noise], 1))


@pytest.mark.parametrize("name", ["correlation", "monotonicity", "sensitivity_n", "infidelity"])
def test_rounding_is_no_effect(name):
    tokenizer = additive().tokenizer
    model = load((Rounded(len(tokenizer)).eval(), tokenizer), task="sequence")
    q = judging(ask(model, Text(ids=some_ids(model, 8)), Target(label="yes")))
    metric = metric_of(name)
    game = metric.game(q, q.units("token"))
    left = q.total(game(~np.eye(8, dtype=bool)))
    assert 0 < np.ptp(left) < 1e-6  # it does move, by rounding
    assert np.isnan(metric.score(game, left))
    assert np.isnan(metric.score(game, -left))


def test_rounding_violates_no_polarity_and_zeros_claim_none():
    tokenizer = additive().tokenizer
    model = load((Rounded(len(tokenizer)).eval(), tokenizer), task="sequence")
    q = judging(ask(model, Text(ids=some_ids(model, 8)), Target(label="yes")))
    metric = metric_of("violation")
    game = metric.game(q, q.units("token"))
    assert metric.score_orders(game, Ranking.of(np.concatenate([np.eye(8), -np.eye(8)]))).sum() == 0
    assert np.isnan(metric.score(game, np.zeros(8)))


def test_scores_that_are_all_equal_have_no_order_to_keep():
    level, some = np.full((1, 6), 0.3), np.arange(6.0)[None]
    for metric in (OrderMap(), TopKJaccard()):
        for pair in (Pairing(level, level), Pairing(level, some), Pairing(some, level)):
            assert np.isnan(metric.score_pairing(pair)).all()
        assert metric.score_pairing(Pairing(some, some))[0] == 1


@pytest.mark.parametrize(
    "name", [n for n, c in METRICS if n in ("correlation", "violation", "infidelity", "order_map")]
)
def test_it_is_told_when_a_metric_is_undefined(name):
    assert METRICS.get(name).undefined
