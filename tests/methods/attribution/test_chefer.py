"""Chefer relevance against a naive re-implementation on Hugging Face's own attentions, and on every family."""

import numpy as np
import pytest
import torch

from exegete.core.errors import TargetError
from exegete.core.target import Target
from exegete.methods.attribution.chefer import Chefer
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import FAMILIES, tiny

TEXT = "the cat sat on"


def grad_times(pattern, scalar):
    (g,) = torch.autograd.grad(scalar, pattern, retain_graph=True)
    return (g * pattern).clamp(min=0).mean(1)[0].detach().numpy()


def eager(family, task=None):
    return load(tiny(family, task, overrides={"attn_implementation": "eager"}))


def test_bert_classifier_reads_the_row_of_cls():
    model = eager("bert", "sequence")
    q = ask(model, TEXT, 1)
    out = model.module(torch.as_tensor(q.ids)[None], output_attentions=True)
    n = len(q.ids)
    r = np.eye(n)
    for pattern in out.attentions:
        a = grad_times(pattern, out.logits[0, 1])
        r = (np.eye(n) + a) @ r
    naive = r[0] - np.eye(n)[0]
    units = q.units("token")
    found = Chefer().attribute(q, units)
    assert np.allclose(found.total, naive[[u.tokens[0] for u in units]], atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_decoder_reads_the_row_of_each_output(family):
    model = eager(family)
    q = ask(model, TEXT, Target(kind="continuation", label=(20, 30, 40)))
    out = model.module(torch.as_tensor(q.ids)[None], output_attentions=True)
    n = len(q.ids)
    for row, scores in zip(q.branches[0].rows, Chefer().attribute(q, q.units("token", prefix=True)).each):
        scalar = out.logits[0, row.position].log_softmax(-1)[row.id]
        r = np.eye(n)
        for pattern in out.attentions:
            r = (np.eye(n) + grad_times(pattern, scalar)) @ r
        naive = r[row.position] - np.eye(n)[row.position]
        named = [u.tokens[0] for u in q.units("token", prefix=True)]
        assert np.allclose(scores, naive[named], atol=1e-6)


def bar(r):
    held = r - np.eye(len(r))
    for i, line in enumerate(held):
        if line.sum() != 0:
            held[i] = line / line.sum()
    return held + np.eye(len(r))


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_classifier_whose_decoder_reads_the_text_again(family):
    """Both places of a token count: in the encoder, and one to the right in the decoder, whose start token is no token."""
    model = eager(family, "sequence")
    q = ask(model, TEXT, 1)
    out = model.module(torch.as_tensor(q.ids)[None], output_attentions=True)
    scalar, n = out.logits[0, 1], len(q.ids)
    ss, tt, ts = np.eye(n), np.eye(n), np.zeros((n, n))
    for p in out.encoder_attentions:
        ss = ss + grad_times(p, scalar) @ ss
    for own, across in zip(out.decoder_attentions, out.cross_attentions):
        a = grad_times(own, scalar)
        tt, ts = tt + a @ tt, ts + a @ ts
        ts = ts + bar(tt).T @ grad_times(across, scalar) @ bar(ss)
    at = int(np.flatnonzero(q.ids == model.config.eos_token_id)[-1])  # where the classifier reads
    again = np.append((tt - np.eye(n))[at, 1:], 0.0)
    units = q.units("token")
    found = Chefer().attribute(q, units)
    slots = [u.tokens[0] for u in units]
    assert np.allclose(found.total, (ts[at] + again)[slots], atol=1e-6)
    assert not np.allclose(found.total, ts[at][slots], atol=1e-6)  # the decoder's own reading is part of it


def test_encoder_decoder_follows_the_bimodal_updates():
    model = eager("t5")
    q = ask(model, TEXT, Target(kind="continuation", label=(20, 30)))
    source, target = q.ids[~q.dec], q.ids[q.dec]
    out = model.module(
        input_ids=torch.as_tensor(source)[None],
        decoder_input_ids=torch.as_tensor(target)[None],
        output_attentions=True,
        use_cache=False,
    )
    s, t = len(source), len(target)
    row = q.branches[0].rows[1]
    scalar = out.logits[0, row.position].log_softmax(-1)[row.id]
    ss, tt, ts = np.eye(s), np.eye(t), np.zeros((t, s))
    for p in out.encoder_attentions:
        ss = ss + grad_times(p, scalar) @ ss

    for own, across in zip(out.decoder_attentions, out.cross_attentions):
        a = grad_times(own, scalar)
        tt, ts = tt + a @ tt, ts + a @ ts
        ts = ts + bar(tt).T @ grad_times(across, scalar) @ bar(ss)
    naive = np.concatenate([ts[row.position], tt[row.position] - np.eye(t)[row.position]])
    units = q.units("token", prefix=True)
    found = Chefer().attribute(q, units)
    assert np.allclose(found.each[1], naive[[u.tokens[0] for u in units]], atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_runs_on_every_family(family):
    model = load(tiny(family))
    mask = f" {model.tokenizer.mask_token}" if model.task == "masked" else ""
    result = Chefer()(model, f"the cat{mask} sat", unit="token")
    assert [c.name for c in result.checks if not c.passed] == []
    assert not result.signed
    assert (result.total >= 0).all()
    assert result.total.sum() > 0


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_what_was_not_read_has_no_relevance(family):
    target = Target(kind="continuation", label=(20, 30, 40))
    result = Chefer()(load(tiny(family)), TEXT, target, unit="token", prefix=True)
    assert (result.scores[~result.available] == 0).all()
    assert np.allclose(result.scores.sum(0), result.total)


def test_a_mean_pooled_classifier_is_read_at_all_its_positions():
    model = load(tiny("modernbert", "sequence", overrides={"classifier_pooling": "mean"}))
    one = load(tiny("modernbert", "sequence", overrides={"classifier_pooling": "cls"}))
    mean, cls = (Chefer()(m, TEXT, 1, unit="token").total for m in (model, one))
    assert not np.allclose(mean, cls)
    assert (mean > 0).all()


def test_a_contrast_of_continuations_is_refused():
    with pytest.raises(TargetError, match="two passes"):
        Chefer()(load(tiny("llama")), TEXT, Target(kind="continuation", label=(20, 30), against=(40, 21)))
