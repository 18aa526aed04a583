"""Two models compared: against the attentions they return, a change planted in one head, and models that do not fit."""

import copy
import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from exegete.core.errors import ModelError
from exegete.core.request import Text
from exegete.methods.attention.attention_compare import AttentionCompareStudy
from exegete.methods.attention.two_models import moved_copy
from exegete.models.load import load
from exegete.models.tiny import tiny

TEXTS = [Text(ids=(10, 20, 30, 40, 50)), Text(ids=(21, 33, 10, 25, 44, 31, 17)), Text(ids=(30, 31, 32))]


def saved(module, tokenizer, path) -> str:
    module.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def with_other_head(family: str, path, head: int = 2) -> str:
    """A copy in which the queries of one head of the last layer are others."""
    module, tokenizer = tiny(family)
    with torch.no_grad():
        if family == "gpt2":
            weight = module.transformer.h[-1].attn.c_attn.weight
            width = weight.shape[0] // 4
            weight[:, head * width : (head + 1) * width] *= -3
        else:
            weight = module.bert.encoder.layer[-1].attention.self.query.weight
            width = weight.shape[0] // 4
            weight[head * width : (head + 1) * width] *= -3
    return saved(module, tokenizer, path)


def returned(model, text) -> np.ndarray:
    module = copy.deepcopy(model.module).eval()
    module.set_attn_implementation("eager")
    with torch.no_grad():
        out = module(torch.tensor([text.ids]), output_attentions=True)
    return torch.stack(out.attentions)[:, 0].double().numpy()


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_only_the_head_that_was_changed_is_found(family, tmp_path):
    model = load(tiny(family))
    name = with_other_head(family, tmp_path / "m")
    r = AttentionCompareStudy(other=name, n_twins=2)(model, TEXTS)
    same = r.change.copy()
    same[:, -1, 2] = 0
    assert (same == 0).all()
    assert r.change[:, -1, 2].min() > 1e-4
    assert (r.random > 0).any(0).any()
    other = load(name)
    for text, change in zip(TEXTS, r.change):
        a, b = returned(model, text), returned(other, text)
        first = 1 if family == "gpt2" else 0  # the first query of a causal model sees one key only
        slow = [jensenshannon(x, y) ** 2 for x, y in zip(a[-1, 2, first:], b[-1, 2, first:])]
        assert change[-1, 2] == pytest.approx(float(np.mean(slow)), abs=1e-6)


def test_flow_is_rollout_level_by_level(tmp_path):
    model = load(tiny("gpt2"))
    r = AttentionCompareStudy(n_twins=1)(model, TEXTS[1])
    mixed = [(a.mean(0) + np.eye(7)) / 2 for a in returned(model, TEXTS[1])]
    top = np.eye(7)[-1]
    assert r.token == 6
    assert np.allclose(r.flow[0], [top @ mixed[1] @ mixed[0], top @ mixed[1], top], atol=1e-6)
    assert all(c.passed for c in r.checks)


def test_a_model_is_like_itself(tmp_path):
    module, tokenizer = tiny("gpt2")
    r = AttentionCompareStudy(other=saved(module, tokenizer, tmp_path), n_twins=1)(
        load((module, tokenizer)), TEXTS
    )
    assert (r.change == 0).all()
    assert (r.random == 0).all()
    assert (r.flow[0] == r.flow[1]).all()
    assert r.moved == ()
    assert not any(s.beats_control for s in r.trust.scores)
    assert "same" in r.lede


def test_the_control_moves_every_tensor_as_far():
    model, other = load(tiny("bert", "masked")), load(tiny("bert", "sequence"))
    with torch.no_grad():
        other.module.bert.encoder.layer[0].attention.self.key.weight += 0.3
    twin, why = moved_copy(model, other, np.random.default_rng(0))
    assert twin is not None
    assert why == ""
    own, theirs, moved = (
        {k: p.detach() for k, p in m.module.bert.named_parameters()} for m in (model, other, twin)
    )
    for name, weight in own.items():
        far = float((theirs[name] - weight).norm())
        assert float((moved[name] - weight).norm()) == pytest.approx(far, rel=1e-3, abs=1e-6)
    key = "encoder.layer.0.attention.self.key.weight"
    assert float((theirs[key] - own[key]).norm()) > 1


def test_models_that_do_not_fit_are_refused(tmp_path):
    model = load(tiny("gpt2"))
    for name, other in (("layers", tiny("gpt2", layers=3)), ("family", tiny("gpt_neo"))):
        path = saved(*other, tmp_path / name)
        with pytest.raises(ModelError, match="not of one architecture"):
            AttentionCompareStudy(other=path)(model, TEXTS)


def test_tokenizers_that_differ_are_refused(tmp_path):
    module, tokenizer = tiny("gpt2")
    path = saved(module, tokenizer, tmp_path)
    file = tmp_path / "tokenizer.json"
    told = json.loads(file.read_text())
    vocab = told["model"]["vocab"]
    one, two = tokenizer.convert_ids_to_tokens(tokenizer("the dog saw a bird").input_ids)[-2:]
    vocab[one], vocab[two] = vocab[two], vocab[one]
    file.write_text(json.dumps(told))
    with pytest.raises(ModelError, match="tokens"):
        AttentionCompareStudy(other=path)(load((module, tokenizer)), "the dog saw a bird")
