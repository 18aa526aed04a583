"""Every faithfulness metric judges next tokens, continuations and what is generated, of decoders and encoder-decoders, by every
removal their tokenizer allows; values are those of the bare model asked by hand."""

from functools import cache

import numpy as np
import pytest
import torch

from exegete.core.errors import ModelError
from exegete.core.target import Target
from exegete.evaluate.contract import Ranking, faithfulness_metrics, judging
from exegete.evaluate.faithfulness.comprehensiveness import Comprehensiveness
from exegete.evaluate.faithfulness.correlation import Correlation
from exegete.evaluate.faithfulness.decision_flip_fraction import DecisionFlipFraction
from exegete.evaluate.faithfulness.sufficiency import Sufficiency
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny

ROWS = np.random.default_rng(0).normal(size=(2, 4))
TEXT = "the food was good"
TARGETS = {
    "next token": None,
    "span": " it was",
    "sequence": Target(kind="generated", max_new_tokens=3),
    "contrast": Target(label=" it was", against=" on the mat"),
}
ANY = ("delete", "pad", "mean", "zero", "resample", "infill")
MODELS = {"gpt2": ANY, "t5": (*ANY, "unk"), "bart": (*ANY, "unk", "mask")}
SMALL = {"n_sizes": 2, "n_subsets": 2, "draws": 2}


@cache
def model_of(family):
    """A tiny model; T5 with the sentinels that the tiny tokenizer lacks."""
    module, tokenizer = tiny(family, "causal" if family == "gpt2" else "seq2seq")
    if family == "t5":
        tokenizer.add_special_tokens({"additional_special_tokens": [f"<extra_id_{i}>" for i in range(9)]})
        module.resize_token_embeddings(len(tokenizer))
    return load((module.eval(), tokenizer))


@pytest.mark.parametrize(
    ("family", "target"),
    [*(("gpt2", t) for t in TARGETS), ("t5", "span"), *(("bart", t) for t in TARGETS if t != "contrast")],
)
def test_it_has_a_value_for_generation(family, target):
    q = judging(ask(model_of(family), TEXT, TARGETS[target]))
    units = q.units("word")
    for metric in faithfulness_metrics():
        for how in MODELS[family]:
            if how not in metric.removals:
                continue
            fields = {k: v for k, v in SMALL.items() if k in type(metric).model_fields}
            chosen = metric.model_copy(update={"removal": how, **fields})
            found = chosen.score_orders(chosen.game(q, units), Ranking.of(ROWS))
            assert found.shape == (2,)
            if metric.id.startswith(
                "soft_"
            ):  # a share of what is lost, undefined where nothing says as much as the text
                known = found[np.isfinite(found)]
                assert ((known >= 0) & (known <= 1)).all(), (metric.id, how)
            else:
                assert np.isfinite(found).all(), (metric.id, how)


def said(model, ids, goal):
    """Joint log-probability of the goal and the first token that the bare model says, after a text or a source of `ids`."""
    with torch.no_grad():
        if model.task == "causal":
            read = torch.tensor([[*ids, *goal]])
            logits = model.module(read).logits[0, len(ids) - 1 :]
        else:
            start = [model.config.decoder_start_token_id]
            logits = model.module(
                input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([start + goal[:-1]])
            ).logits[0]
    logp = logits.double().log_softmax(-1)
    return sum(float(logp[i, g]) for i, g in enumerate(goal)), int(logits[0].argmax())


@pytest.mark.parametrize(
    ("family", "target", "how"),
    [
        *((f, "span", h) for f in MODELS for h in ("delete", "infill")),
        *(("bart", "sequence", h) for h in ("pad", "resample")),
        *(("gpt2", "sequence", h) for h in ("delete", "infill")),
    ],
)
def test_values_are_those_of_the_bare_model(family, target, how):
    model = model_of(family)
    q = judging(ask(model, TEXT, TARGETS[target]))
    units = q.units("word")
    goal = [r.id for r in q.branches[0].rows]
    assert len(goal) > 1 and q.scale == "logprob"
    prompt = [i for i, t in enumerate(q.tokens) if t.stack != "dec" and t.role != "prefix"]
    game = Comprehensiveness(removal=how, draws=3).game(q, units)

    def texts(keep):
        """The prompts that are read when only some units are left."""
        left = [i for i in prompt if all(keep[u] or i not in units[u].tokens for u in range(len(units)))]
        if how == "delete":
            return [[int(q.ids[i]) for i in left]]
        if how == "pad":
            return [[int(q.ids[i]) if i in left else model.tokenizer.pad_token_id for i in prompt]]
        slots = np.array([[i not in prompt or i in left for i in range(len(q.ids))]])
        return [t[prompt].tolist() for t in game.texts(slots)[0]]

    def value(*gone):
        return float(np.mean([said(model, t, goal)[0] for t in texts([u not in gone for u in range(4)])]))

    def answer(*gone):
        votes = [said(model, t, goal)[1] for t in texts([u not in gone for u in range(4)])]
        return max(votes, key=votes.count)

    scores = ROWS[0]
    order = np.argsort(-scores).tolist()
    whole = value()

    def judged(metric):
        chosen = metric(removal=how, draws=3)
        return chosen.score(chosen.game(q, units), scores)

    sizes = (1, 1, 1, 1, 2)  # of 4 units, at 1, 5, 10, 20 and 50 %
    rest = [order[k:] for k in sizes]
    assert judged(Comprehensiveness) == pytest.approx(
        whole - np.mean([value(*order[:k]) for k in sizes]), abs=1e-5
    )
    assert judged(Sufficiency) == pytest.approx(whole - np.mean([value(*r) for r in rest]), abs=1e-5)
    alone = [value(u) for u in range(4)]
    assert judged(Correlation) == pytest.approx(-np.corrcoef(scores, alone)[0, 1], abs=1e-4)
    flip = next((k for k in range(1, 4) if answer(*order[:k]) != answer()), None)
    if flip is not None:
        assert judged(DecisionFlipFraction) == flip / 4


def test_a_token_that_the_tokenizer_lacks_is_a_letter():
    q = judging(ask(load(tiny("gpt2", "causal")), TEXT))
    for metric in faithfulness_metrics():
        chosen = metric.model_copy(update={"removal": "mask"})
        with pytest.raises(ModelError, match="no mask token"):
            chosen.score_orders(chosen.game(q, q.units("word")), Ranking.of(ROWS))
