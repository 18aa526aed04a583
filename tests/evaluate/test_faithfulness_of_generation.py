"""Every faithfulness metric judges next tokens, continuations and encoder-decoders, by every removal their tokenizer allows."""

import numpy as np
import pytest

from exegete.core.errors import ModelError
from exegete.evaluate.contract import Ranking, faithfulness_metrics, judging
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny

ROWS = np.random.default_rng(0).normal(size=(2, 4))


@pytest.mark.parametrize(
    ("family", "task", "target", "removals"),
    [
        ("gpt2", "causal", None, ("delete", "pad")),
        ("gpt2", "causal", " indeed it was", ("delete", "pad")),
        ("t5", "seq2seq", " it was fine", ("delete", "pad", "unk")),
    ],
)
def test_it_has_a_value_for_generation(family, task, target, removals):
    q = judging(ask(load(tiny(family, task)), "the food was good", target))
    units = q.units("word")
    for how in removals:
        for metric in faithfulness_metrics():
            if metric.id.startswith("soft_"):
                continue  # erases embeddings, and has no value where nothing says as much as the text
            chosen = metric.model_copy(update={"removal": how})
            found = chosen.score_orders(chosen.game(q, units), Ranking.of(ROWS))
            assert np.isfinite(found).all(), (metric.id, how)
    for metric in (m for m in faithfulness_metrics() if m.id.startswith("soft_")):
        found = metric.score_orders(metric.game(q, units), Ranking.of(ROWS))
        known = found[np.isfinite(found)]
        assert len(found) == 2 and ((known >= 0) & (known <= 1)).all()


def test_a_token_that_the_tokenizer_lacks_is_a_letter():
    q = judging(ask(load(tiny("gpt2", "causal")), "the food was good"))
    for metric in faithfulness_metrics():
        chosen = metric.model_copy(update={"removal": "mask"})
        with pytest.raises(ModelError, match="no mask token"):
            chosen.score_orders(chosen.game(q, q.units("word")), Ranking.of(ROWS))
