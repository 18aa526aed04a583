"""LRP as a method: checks that pass on all families, outputs that add up, and more faithful than chance on a real model."""

import numpy as np
import pytest

from exegete.core.target import Target
from exegete.methods.attribution.lrp import LRP
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.relevance_mode import RelevanceMode
from exegete.models.remove import Game
from exegete.models.tiny import FAMILIES, tiny
from support.data import shared_data


def explained(method, family, target=None, **options):
    model = load(tiny(family))
    mask = f" {model.tokenizer.mask_token}" if model.task == "masked" else ""
    return method(model, f"the cat{mask} sat", target, unit="token", **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_checks_pass_on_every_family(family):
    result = explained(LRP(), family)
    assert [c.name for c in result.checks if not c.passed] == []
    assert {"relevance conserved", "forward unchanged under the rules"} <= {c.name for c in result.checks}
    assert any("weight matrices" in n for n in result.notes)
    assert any("patent" in n for n in result.notes)


@pytest.mark.parametrize("attention", ["cp", "attnlrp"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_outputs_add_up_to_the_total(family, attention):
    target = Target(kind="continuation", label=(20, 30, 40))
    result = explained(LRP(per_output=True, attention=attention), family, target, prefix=True)
    assert np.allclose(result.scores.sum(0), result.total, atol=1e-4)
    assert (result.scores[~result.available] == 0).all(), "what was not yet read has no relevance, exactly"
    assert np.abs(result.scores[result.available]).min() > 0


def test_the_same_question_gets_the_same_answer():
    a, b = explained(LRP(rule="gamma"), "bert"), explained(LRP(rule="gamma"), "bert")
    assert np.array_equal(a.total, b.total)


def test_rules_differ():
    scores = [
        explained(m, "gpt2").total
        for m in (LRP(), LRP(attention="cp"), LRP(attention="attnlrp"), LRP(rule="gamma"))
    ]
    assert sum(not np.allclose(scores[0], s) for s in scores[1:]) == 2  # one of them is the default


def test_a_broken_conservation_is_reported(monkeypatch):
    """With a rule left out (norms keep their own gradient) the check fails."""
    monkeypatch.setattr(RelevanceMode, "_norm", lambda self, func, *a, **k: func(*a, **k))
    result = explained(LRP(), "gpt2")
    assert "relevance conserved" in [c.name for c in result.checks if not c.passed]


def test_removing_what_lrp_names_hurts_a_real_classifier_more_than_chance():
    model = load(str(shared_data("models/minilm_sst2")))
    texts = [
        "the acting is superb and the story is deeply moving",
        "a dull and lifeless film that wastes its cast",
    ]
    for text in texts:
        q = ask(model, text)
        units = q.units("word")
        top = np.argsort(-LRP().attribute(q, units).total)[:2]
        game = Game(q, units, "mask", 0, 1)
        pairs = [[i, j] for i in range(len(units)) for j in range(i)]
        keep = np.ones((len(pairs) + 1, len(units)), dtype=bool)
        for row, pair in zip(keep, [list(top), *pairs]):
            row[pair] = False
        left = q.total(game(keep))
        assert (left[0] < left[1:]).mean() > 0.8
