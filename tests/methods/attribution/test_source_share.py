"""Source and prefix share: rows that sum to one, a model that reads only its source, letters."""

import numpy as np
import pytest

from exegete.core.errors import ModelError, TargetError
from exegete.core.target import Target
from exegete.methods.attribution.source_share import SourceShare
from exegete.models.load import load
from exegete.models.tiny import FAMILIES, tasks, tiny

TARGET = Target(kind="continuation", label=(20, 30, 40, 21))


@pytest.mark.parametrize("rule", ["positive", "signed"])
@pytest.mark.parametrize("family", [f for f in FAMILIES if tasks(f)[0] in ("causal", "seq2seq")])
def test_every_output_shares_out_exactly_one(family, rule):
    result = SourceShare(rule=rule)(load(tiny(family)), "the cat sat on", TARGET, unit="token", prefix=True)
    assert [c.name for c in result.checks if not c.passed] == []
    assert np.allclose(result.scores.sum(-1), 1)
    assert np.allclose(result.total, result.scores.mean(0))
    assert (result.scores >= 0).all()
    assert (result.scores[~result.available] == 0).all()
    prompt = np.array([u.role == "prompt" for u in result.units])
    assert result.scores[0, prompt].sum() == pytest.approx(1), (
        "before anything was said all comes from the prompt"
    )
    assert (result.scores[1:, ~prompt].sum(-1) > 0).all()


def test_a_decoder_that_cannot_see_itself_takes_all_from_the_source():
    """Self-attention and residual input of the decoder silenced: the share of the prefix falls to nothing."""
    model = load(tiny("t5"))
    import torch

    ids = [20, 30, 40, 21]
    with torch.no_grad():
        for block in model.module.decoder.block:
            block.layer[0].SelfAttention.o.weight.zero_()
        model.module.decoder.embed_tokens.weight = torch.nn.Parameter(
            model.module.decoder.embed_tokens.weight.clone()
        )
        model.module.decoder.embed_tokens.weight[ids] *= 1e-6
    result = SourceShare()(model, "the cat sat on", TARGET, unit="token", prefix=True)
    prompt = np.array([u.role == "prompt" for u in result.units])
    assert result.scores[:, prompt].sum(-1).min() > 0.999
    assert any("prompt 1.000, prefix 0.000" in n for n in result.notes)


def test_it_refuses_what_has_no_shares():
    with pytest.raises(ModelError, match="sequence"):
        SourceShare()(load(tiny("bert", "sequence")), "the cat")
    with pytest.raises(TargetError, match="one continuation"):
        SourceShare()(load(tiny("llama")), "the cat", Target(kind="next", label=20, against=30))
