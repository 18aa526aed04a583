"""The scoring engine against plain calls of the Hugging Face model: same numbers, fewer passes, nothing left behind."""

import numpy as np
import pytest
import torch

from exegete.core.errors import ModelError, TargetError
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.models.ask import ask, distribution
from exegete.models.load import load
from exegete.models.question import Question
from exegete.models.scale import Row, score
from exegete.models.tiny import families, tiny

TEXT = "the small dog saw a cat near the house"
DECODERS = [f for f in families() if load(tiny(f)).task == "causal"]


def question(family: str, target=None, task=None, **options) -> Question:
    model = load(tiny(family, task))
    text = f"{TEXT} {model.tokenizer.mask_token}" if model.task == "masked" else TEXT
    return ask(model, Text(text=text), Target.of(target, **options))


def plain_logits(q: Question, ids, dec=None) -> torch.Tensor:
    """Logits [tok, vocab] from the model alone, one input, no hooks."""
    extra = {"decoder_input_ids": torch.tensor(dec)[None]} if dec is not None else {}
    with torch.no_grad():
        return q.model.module(input_ids=torch.tensor(ids)[None], **extra).logits[0]


def plain_values(q: Question, ids=None) -> list[float]:
    """Slow twin of `ask` for one input without tails, on the logit scale."""
    ids = q.ids if ids is None else ids
    dec = ids[q.dec] if q.dec.any() else None
    logits = plain_logits(q, ids[~q.dec], dec)
    rows = q.branches[0].rows
    return [float(logits[r.position, r.id] if r.position is not None else logits[r.id]) for r in rows]


@pytest.mark.parametrize("family", families())
def test_values_are_the_models_own(family):
    q = question(family, scale="logit")
    assert q.value() == pytest.approx(plain_values(q), abs=1e-5)


@pytest.mark.parametrize("family", families())
def test_batch_length_and_padding_do_not_change_values(family):
    q = question(family)
    rng = np.random.default_rng(0)
    fixed = [i for i, t in enumerate(q.tokens) if t.role != "prompt"]
    keep = rng.random((8, len(q.ids))) < 0.6
    keep[:, fixed] = True
    ids = np.broadcast_to(q.ids, keep.shape)
    together = q.ask(ids, keep)
    q._memo.clear()
    q.model.token_budget = 1
    alone = q.ask(ids, keep)
    assert np.abs(together - alone).max() < 1e-5


@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom", "t5", "bart"])
def test_deleting_reads_the_shorter_text(family):
    """Deleting slots gives what the model says of the text without them, rows moved along."""
    q = question(family, "bird", scale="logit")
    keep = np.ones((1, len(q.ids)), dtype=bool)
    gone = [i for i, t in enumerate(q.tokens) if t.role == "prompt"][1:4]
    keep[0, gone] = False
    left = q.ids[keep[0]]
    dec = left[q.dec[keep[0]]] if q.dec.any() else None
    logits = plain_logits(q, left[~q.dec[keep[0]]], dec)
    shift = 0 if q.dec.any() else len(gone)
    expected = [float(logits[r.position - shift, r.id]) for r in q.branches[0].rows]
    assert q.ask(q.ids[None], keep)[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("scale", ["logit", "logprob", "prob", "loss", "entropy"])
def test_scales(scale):
    q = question("gpt2", scale=scale)
    row = q.branches[0].rows[0]
    logits = plain_logits(q, q.ids)[row.position].double()
    log = logits.log_softmax(-1)
    expected = {
        "logit": logits[row.id],
        "logprob": log[row.id],
        "prob": log[row.id].exp(),
        "loss": -log[row.id],
        "entropy": -(log.exp() * log).sum(),
    }[scale]
    assert q.value()[0] == pytest.approx(float(expected), abs=1e-4)


def test_the_total_of_a_continuation_is_its_log_likelihood():
    q = question("llama", "a bird")
    ids = [r.id for r in q.branches[0].rows]
    logits = plain_logits(q, q.ids).log_softmax(-1)
    start = len(q.ids) - len(ids)
    expected = sum(float(logits[start + k, i]) for k, i in enumerate(ids))
    assert float(q.total(q.value())) == pytest.approx(expected, abs=1e-4)
    joint = question("llama", "a bird", scale="prob")
    assert float(joint.total(joint.value())) == pytest.approx(np.exp(expected), rel=1e-3)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_contrast_of_long_texts_is_the_difference_of_their_log_likelihoods(family):
    both = question(family, "a bird", against="the old house")
    this, that = question(family, "a bird"), question(family, "the old house")
    expected = float(this.total(this.value()) - that.total(that.value()))
    assert both.n_outputs == 1
    assert both.value()[0] == pytest.approx(expected, abs=1e-4)


def test_a_contrast_of_classes():
    q = question("bert", 1, task="sequence", against=0)
    logits = plain_logits(q, q.ids)
    row = q.branches[0].rows[0]
    assert q.value()[0] == pytest.approx(float(logits[row.id] - logits[row.foil]), abs=1e-5)


@pytest.mark.parametrize("family", families())
def test_gradients_match_finite_differences(family):
    q = question(family)
    e = q.embeddings()
    values, grads = q.gradients(e[None])
    assert values[0] == pytest.approx(q.value(), abs=1e-5)
    g = torch.Generator().manual_seed(1)
    d = torch.randn(e.shape, generator=g)
    d = d / d.norm() * 1e-2
    up, down = (q.total(q.ask_points(lambda part, s=s: (e + s * d)[None], 1))[0] for s in (1, -1))
    slope = float((grads[0] * d).sum())
    assert (up - down) / 2 == pytest.approx(slope, abs=2e-3 + 0.1 * abs(slope))


def test_each_output_has_its_own_gradient():
    q = question("gpt2", "a bird")
    e = q.embeddings()[None]
    _, each = q.gradients(e, each=True)
    _, total = q.gradients(e)
    assert each.shape == (1, q.n_outputs, *e.shape[1:])
    assert torch.allclose(each.sum(1), total, atol=1e-5)
    late = [i for i, t in enumerate(q.tokens) if t.role == "prefix"]
    assert each[0, 0, late].abs().max() == 0, "an output does not depend on what is read later"


def test_never_more_evaluations_than_distinct_inputs():
    q = question("bert", task="sequence")
    ids = np.stack([q.ids, q.ids, np.roll(q.ids, 1), q.ids])
    q.ask(ids)
    q.ask(ids)
    assert (q.meter.asked, q.meter.distinct, q.meter.forwards) == (8, 2, 2 + 1)


def test_only_asked_rows_are_unembedded():
    q = question("gpt2")
    seen = []
    head = q.model.unembedding()
    handle = head.register_forward_hook(lambda m, a, out: seen.append(out.shape[1]))
    q.ask(np.stack([q.ids, np.roll(q.ids, 1)]))
    handle.remove()
    assert seen == [1]


def test_passes_stay_within_the_token_budget():
    q = question("gpt2")
    q.model.token_budget = 3 * len(q.ids)
    seen = []
    handle = q.model.module.register_forward_pre_hook(
        lambda m, a, k: seen.append(k["input_ids"].numel()), with_kwargs=True
    )
    q.ask(np.stack([np.roll(q.ids, i) for i in range(10)]))
    handle.remove()
    assert max(seen) <= q.model.token_budget
    assert len(seen) == 4


@pytest.mark.parametrize("family", families())
def test_a_failing_pass_leaves_the_model_as_found(family):
    """An exception in the middle of a pass: no hook, mode, gradient or weight is left changed."""
    q = question(family)
    model = q.model
    model.module.train()
    for p in model.module.parameters():
        p.requires_grad_(True)
    before = {k: v.clone() for k, v in model.module.state_dict().items()}

    def fail(*_):
        raise RuntimeError("injected")

    inner = [m for m in model.module.modules() if isinstance(m, torch.nn.Linear)][-1]
    handle = inner.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="injected"):
        q.gradients(q.embeddings()[None])
    handle.remove()
    assert all(m.training for m in model.module.modules())
    assert all(p.requires_grad and p.grad is None for p in model.module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.module.state_dict().items())
    model.module.eval()


def test_nan_gets_a_letter():
    q = question("bert", task="sequence")
    with torch.no_grad():
        next(q.model.module.parameters())[:] = float("nan")
    with pytest.raises(ModelError, match="NaN"):
        q.value()


def test_letters_for_targets():
    with pytest.raises(TargetError, match="classes"):
        question("bert", "positve", task="sequence")
    with pytest.raises(TargetError) as told:
        question("bert", "zzz", task="sequence")
    names = question("bert", 0, task="sequence").model.labels
    assert all(told.value.letter().count(name) == 1 for name in names)
    with pytest.raises(TargetError, match="single token"):
        question("gpt2", Target(kind="next", label="unbelievable house"))
    with pytest.raises(TargetError, match="causal model"):
        question("gpt2", Target(kind="class", label=0))
    with pytest.raises(TargetError, match="holds no mask"):
        ask(load(tiny("bert")), "no mask here")
    with pytest.raises(TargetError, match="vocabulary"):
        question("gpt2", Target(kind="continuation", label=(10**9,)))


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5", "bart"])
def test_a_generated_target_is_what_the_model_generates(family):
    model = load(tiny(family))
    q = ask(model, TEXT, Target(kind="generated", max_new_tokens=5))
    ids = torch.tensor(q.ids[~q.dec])[None]
    if not q.dec.any():
        ids = ids[:, : len(q.ids) - len(q.branches[0].rows) + 1]
    with torch.no_grad():
        out = model.module.generate(
            ids, do_sample=False, max_new_tokens=5, attention_mask=torch.ones_like(ids)
        )
    mine = [r.id for r in q.branches[0].rows]
    assert out[0].tolist()[-5:][: len(mine)] == mine or out[0].tolist()[1 : 1 + len(mine)] == mine


def test_given_ids_are_read_as_they_are():
    """No decode-and-retokenise: ids that no text gives come through unchanged."""
    model = load(tiny("gpt2"))
    ids = (7, 7, 7, 9, 250, 11)
    assert tuple(ask(model, Text(ids=ids)).ids) == ids


def pair_question(**options) -> Question:
    return ask(
        load(tiny("bert", "sequence")), Text(text="the dog", pair="a small house"), Target.of(0, **options)
    )


def test_the_model_is_told_which_text_of_a_pair_a_token_belongs_to():
    q = pair_question()
    told = q.model.tokenizer("the dog", "a small house", return_tensors="pt")
    with torch.no_grad():
        own = float(q.model.module(**told).logits[0, 0])
        untold = float(q.model.module(input_ids=told["input_ids"]).logits[0, 0])
    assert abs(own - untold) > 1e-3
    assert q.value() == pytest.approx([own], abs=1e-5)
    assert float(q.run(q.embeddings()[None])[0, 0].detach()) == pytest.approx(own, abs=1e-5)
    predicted = ask(q.model, Text(text="the dog", pair="a small house")).reference()[0][0]
    assert float(predicted[0]) == pytest.approx(own, abs=1e-5)


def test_deleting_from_a_pair_keeps_each_token_in_its_text():
    q = pair_question()
    keep = np.ones((2, len(q.ids)), dtype=bool)
    keep[1, [1, -2]] = False
    with torch.no_grad():
        left = [torch.tensor(x[keep[1]])[None] for x in (q.ids, q.parts)]
        own = float(q.model.module(input_ids=left[0], token_type_ids=left[1]).logits[0, 0])
    assert q.ask(np.broadcast_to(q.ids, keep.shape), keep)[1] == pytest.approx([own], abs=1e-5)


def test_the_entropy_where_an_answer_is_ruled_out():
    """Zero times the logarithm of zero is zero."""
    logits = torch.tensor([[[0.0, 0.0, float("-inf")]]])
    assert float(score(logits, [Row(0, 0)], "entropy")) == pytest.approx(np.log(2))


def test_answers_of_one_name_are_told_apart():
    q = question("llama")
    names = [q.model.tokenizer.decode([i]) for i in range(q.model.vocabulary)]
    first, second = next(
        (names.index(n), i)
        for i, n in enumerate(names)
        if n.strip() and names.index(n) < i and "\ufffd" not in n
    )
    logits = torch.full((1, q.model.vocabulary), -20.0)
    logits[0, first], logits[0, second] = 3.0, 5.0
    said, told = distribution(q, logits, k=2)
    assert said == names[second]
    assert list(told.values()) == pytest.approx(torch.tensor([5.0, 3.0]).softmax(0).tolist(), abs=1e-4)


def test_a_changed_configuration_is_another_model():
    model = load(tiny("bert", "sequence"))
    before = model.fingerprint
    model.config.layer_norm_eps = 0.5
    assert model.fingerprint != before


@pytest.mark.parametrize("target", ["bird", "a bird"])
def test_a_contrast_with_itself_gets_a_letter(target):
    with pytest.raises(TargetError, match="same output"):
        question("gpt2", target, against=target)
