"""The lab measures what attributions explain, counts what it spends, and leaves nothing behind."""

import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError, TargetError
from exegete.models.ask import ask
from exegete.models.edit import Scale
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny

CASES = [("gpt2", "causal"), ("llama", "causal"), ("bert", "masked"), ("bert", "sequence"), ("t5", "seq2seq")]


def lab_of(family, task):
    return Lab(load(tiny(family, task)))


def texts(task):
    tail = " [MASK]" if task == "masked" else ""
    return [f"mary went to the store{tail}", f"john gave a drink to mary in the old house{tail}"]


@pytest.mark.parametrize(("family", "task"), CASES)
@pytest.mark.parametrize("scale", ["logit", "prob", "loss"])
def test_an_aim_measures_what_a_question_asks(family, task, scale):
    """Another way to the same numbers: the engine of attributions."""
    lab = lab_of(family, task)
    target = xg.Target(scale=scale)
    aim = lab.aim(texts(task), target)
    truth = [float(q.total(q.value())) for q in (ask(lab.model, t, target) for t in texts(task))]
    assert lab.measure(aim).tolist() == pytest.approx(truth, abs=1e-5)
    assert [float(lab.measure(aim.only(i))) for i in range(2)] == pytest.approx(truth, abs=1e-5)
    copies = lab.measure(aim.only(0), copies=3).tolist()
    assert copies == pytest.approx([truth[0]] * 3, abs=1e-5)


def test_continuations_of_different_length_are_measured_together():
    lab = lab_of("gpt2", "causal")
    goals = [
        xg.Target(kind="continuation", label=" the store"),
        xg.Target(kind="continuation", label=" was very moving"),
    ]
    aim = lab.aim(texts("causal"), goals)
    truth = [
        float(q.total(q.value())) for q in (ask(lab.model, t, g) for t, g in zip(texts("causal"), goals))
    ]
    assert lab.measure(aim).tolist() == pytest.approx(truth, abs=1e-5)


def test_whole_logits_and_rows_give_the_same_measure():
    lab = lab_of("llama", "causal")
    aim = lab.aim(texts("causal"))
    whole, rows = lab.run(aim.inputs), lab.run(aim.inputs, rows=aim.positions)
    assert whole.logits.shape[1] > rows.logits.shape[1] == 1
    assert torch.allclose(aim.measure(whole.logits), aim.measure(rows.logits), atol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_an_answer_as_long_as_the_batch_is_measured_where_it_stands(family):
    """A prompt of one token with a long answer: as many rows are asked for as there are places, and they are not the places."""
    lab = Lab(load(tiny(family)))
    texts = [xg.Text(ids=(50,)), xg.Text(ids=(60, 61, 62))]
    aim = lab.aim(texts, [xg.Target(label=word, scale="logprob") for word in ("abcd", "a")])
    assert aim.positions is not None and aim.positions.shape == aim.inputs["input_ids"].shape
    alone = torch.cat([lab.measure(aim.only(i)) for i in range(2)])
    assert torch.allclose(lab.measure(aim), alone, atol=1e-4)


def test_every_pass_is_counted():
    lab = lab_of("gpt2", "causal")
    reading = lab.read(texts("causal"))
    lab.run(reading.inputs)
    assert lab.meter.forwards == 2
    assert lab.meter.tokens == reading.inputs["input_ids"].numel()
    t = lab.run(reading.inputs, read=["embed"], keep_graph=True)
    with torch.enable_grad():
        (g,) = lab.gradients(t.logits.sum(), [t["embed"]])
    assert lab.meter.backwards == 2
    assert g.abs().sum() > 0
    lab.resume({k: v[:1, :3] for k, v in reading.inputs.items()}, 1, torch.zeros(5, 3, lab.model.map.d_model))
    assert lab.meter.forwards == 2 + 2 + 5


def test_edits_reach_the_measure_and_nothing_stays():
    lab = lab_of("gpt2", "causal")
    aim = lab.aim(texts("causal"))
    plain = lab.measure(aim)
    assert not torch.allclose(lab.measure(aim, {"0.attn_add": Scale(0.0)}), plain)
    assert torch.equal(lab.measure(aim), plain)


def test_a_contrast_of_several_tokens_is_refused():
    lab = lab_of("gpt2", "causal")
    goal = xg.Target(label=" the old store", against=" a very old film")
    with pytest.raises(TargetError, match="two passes"):
        lab.aim(texts("causal")[:1], goal)


def test_nothing_to_read_is_refused():
    with pytest.raises(InputError, match="none"):
        lab_of("gpt2", "causal").read([])
