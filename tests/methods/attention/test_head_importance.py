"""Orders of heads against planted dead heads, hooks, Monte Carlo; curves against orders that are worth nothing."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.methods.attention.head_feed_forward import feed_forward
from exegete.methods.attention.head_gates import gate_edit, train_gates
from exegete.methods.attention.head_importance import (
    ALONE,
    GATES,
    GRADIENT,
    KIND,
    HeadPruningStudy,
    rise_alone,
    survivors,
)
from exegete.methods.attention.head_orders import (
    RANDOM,
    against_random,
    curves,
    least_first,
    relevance_of_heads,
    taylor,
)
from exegete.methods.attention.head_reading import heads_of
from exegete.methods.attention.head_removal import Removal, tasks_of
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import still
from exegete.models.tiny import tiny
from exegete.ops.hard_concrete import HEAT, open_probability, sampled, settled
from exegete.terrarium.material import texts

IDS = (Text(ids=(5, 9, 21, 33, 12, 40, 7)), Text(ids=(60, 61, 9, 33, 14)))
DEAD = (1, 2, 4, 7, 8, 11, 13, 14)


@pytest.fixture(scope="module")
def planted():
    """The terrarium's decoder in which eight of sixteen heads write nothing."""
    model = xg.load("terrarium/decoder")
    bound = model.map
    with torch.no_grad():
        for i in DEAD:
            layer, head = divmod(i, bound.n_heads)
            weight = bound.at(bound.part_path("", layer, "attn", "proj")).weight
            cut = slice(head * bound.d_head, (head + 1) * bound.d_head)
            if type(bound.at(bound.part_path("", layer, "attn", "proj"))).__name__ == "Conv1D":
                weight[cut] = 0
            else:
                weight[:, cut] = 0
    return model


def test_dead_heads_are_the_least_important_by_every_measure(planted):
    lab = Lab(planted)
    heads, tasks = heads_of(lab), tasks_of(lab, texts("causal", 4), Target())
    with still(planted.module):
        found = {
            GRADIENT: taylor(lab, heads, tasks),
            ALONE: rise_alone(Removal(lab, heads), tasks),
            GATES: train_gates(lab, heads, tasks, 40, 2, 1.0).location,
        }
    dead = np.isin(np.arange(16), DEAD)
    for name in (GRADIENT, ALONE):
        assert np.abs(found[name][dead]).max() < 1e-6, name
        assert np.abs(found[name][~dead]).min() > 1e-6, name
    assert set(least_first(found[GRADIENT])[:8]) == set(DEAD)
    assert found[GATES][dead].max() < found[GATES][~dead].mean()  # nothing keeps their gates open


def test_orders_that_know_beat_every_random_one_and_their_reverse_does_not(planted):
    lab = Lab(planted)
    heads, tasks = heads_of(lab), tasks_of(lab, texts("causal", 24), Target())
    with still(planted.module):
        order = least_first(taylor(lab, heads, tasks[::2]))
    found, rises = curves(Removal(lab, heads), tasks[1::2], {"known": order, "reverse": order[::-1]}, 3, 4)
    known, reverse = (against_random(n, rises[n], rises[RANDOM], 0) for n in ("known", "reverse"))
    assert known.value == pytest.approx(0.0, abs=1e-5)  # eight heads that write nothing are gone
    assert known.beats_control
    assert known.beats_chance
    assert not reverse.beats_chance
    assert reverse.value > 1
    assert found.loss[:, 0] == pytest.approx(found.loss[0, 0])
    assert (found.low[-1] <= found.loss[-1] + 1e-9).all()


def test_the_study_as_a_whole():
    study = HeadPruningStudy(n_points=3, n_random=2, n_steps=3, n_maps=10, batch=2)
    r = study(load(tiny("gpt2")), (*IDS, *IDS, Text(ids=(5,))))
    assert set(r.measures) == {KIND, GRADIENT, ALONE, GATES}
    scores = [s for s in r.trust.scores if "induction" not in s.name]
    assert {s.n for s in scores} == {2}  # half of the texts, of which one could not be scored
    assert {s.n_failed for s in scores} == {1}  # a single token asks nothing
    with pytest.raises(InputError, match="two words"):
        study(load(tiny("gpt2")), Text(ids=(5,)))


def test_relevance_of_the_last_heads_is_what_they_add_to_the_logits():
    """With nothing behind them but the final norm, held at its value, their share of the right logits can be computed by hand."""
    module, tokenizer = tiny("llama")
    with torch.no_grad():
        module.model.layers[-1].mlp.down_proj.weight.zero_()
    lab = Lab(load((module, tokenizer)))
    heads, (task,) = heads_of(lab), tasks_of(lab, IDS[:1], Target())
    with still(module):
        found = relevance_of_heads(lab, heads, [task])
    t = lab.run(task.inputs, read=["1.z", "final_in"])
    z, x, norm = t["1.z"][0], t["final_in"][0], module.model.norm
    scale = norm.weight / (x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon).sqrt()
    out, width = module.model.layers[-1].self_attn.o_proj, z.shape[-1]
    for h in range(4):
        added = z[h] @ out.weight[:, h * width : (h + 1) * width].T * scale
        logits = added @ module.lm_head.weight.T
        share = float(logits[task.rows[0]].gather(-1, task.right[:, None]).sum().detach())
        assert found[4 + h] == pytest.approx(abs(share), rel=1e-3)
    assert found[4:].min() > 1e-3


def test_what_knows_nothing_does_not_beat_the_best_of_random_draws():
    """Orders differ more than texts do: against the mean draw, with an interval over texts, every other blind order would win."""
    draw = np.random.default_rng(0)
    won = {"mean": 0, "best": 0}
    for _ in range(200):
        rise = draw.normal(size=(11, 1)) + 0.2 * draw.normal(size=(11, 12))
        s = against_random("blind", rise[0], rise[1:], 0)
        won["best"] += bool(s.beats_control)
        won["mean"] += bool(s.beats_chance)
    assert won["best"] <= 24  # 1 in 11 would be 18
    assert won["mean"] > 2 * won["best"]


def test_gates_change_no_weight_and_an_open_gate_is_no_gate():
    lab = Lab(load(tiny("llama")))
    heads, tasks = heads_of(lab), tasks_of(lab, IDS, Target())
    before = {k: v.clone() for k, v in lab.model.module.state_dict().items()}
    with still(lab.model.module):
        gates = train_gates(lab, heads, tasks, 8, 2, 1.0)
    assert all(torch.equal(v, before[k]) for k, v in lab.model.module.state_dict().items())
    assert np.isfinite(gates.history).all()
    assert gates.history[-1] != gates.history[0]
    assert np.abs(gates.location - 2.0).min() > 1e-3  # every gate moved
    plain = lab.run(tasks[0].inputs).logits
    assert torch.equal(lab.run(tasks[0].inputs, edit=gate_edit(heads, torch.ones(8))).logits, plain)
    shut = torch.ones(8)
    shut[5] = 0
    loss, _ = Removal(lab, heads)(tasks[:1], shut.bool().numpy()[None])
    log = lab.run(tasks[0].inputs, edit=gate_edit(heads, shut)).logits[0].log_softmax(-1)
    assert loss[0, 0] == pytest.approx(-float(log[tasks[0].rows[0], tasks[0].right].mean()), abs=1e-5)


def test_a_heavier_penalty_closes_more_gates():
    lab = Lab(load(tiny("gpt2")))
    heads, tasks = heads_of(lab), tasks_of(lab, IDS, Target())
    with still(lab.model.module):
        light, heavy = (train_gates(lab, heads, tasks, 30, 1, p) for p in (0.01, 100.0))
    assert heavy.closed.all()
    assert light.open.mean() > heavy.open.mean() + 0.3


def test_hard_concrete_by_monte_carlo():
    draw = torch.Generator().manual_seed(0)
    u = torch.rand(200_000, generator=draw, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    for a in (-2.0, 0.0, 1.5):
        at = torch.tensor(a, dtype=torch.float64)
        g = sampled(at, u)
        assert float((g > 0).double().mean()) == pytest.approx(float(open_probability(at)), abs=5e-3)
        assert 0 <= float(g.min()) <= float(g.max()) <= 1
    assert float(settled(torch.tensor(-9.0))) == 0
    assert float(settled(torch.tensor(9.0))) == 1
    assert pytest.approx(1 / 3) == HEAT


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_feed_forward_part_left_out_is_one_that_returns_nothing(family):
    lab = Lab(load(tiny(family)))
    tasks = tasks_of(lab, IDS, Target())
    found = feed_forward(lab, heads_of(lab), tasks)
    module = lab.model.module
    blocks = module.transformer.h if family == "gpt2" else module.model.layers
    for k, block in enumerate(blocks):
        for i, task in enumerate(tasks):
            losses = []
            for hooked in (False, True):
                handle = block.mlp.register_forward_hook(lambda _m, _a, out: out * 0) if hooked else None
                with torch.no_grad():
                    log = module(**task.inputs).logits[0].log_softmax(-1)
                if handle:
                    handle.remove()
                losses.append(-float(log[task.rows[0], task.right].mean()))
            assert found.rise[k, i] == pytest.approx(losses[1] - losses[0], abs=1e-5)
    assert np.abs(found.rise).min() > 1e-4


def test_tasks_ask_what_they_say():
    lab = Lab(load(tiny("gpt2")))
    (task,) = tasks_of(lab, IDS[:1], Target())
    assert task.right.tolist() == list(IDS[0].ids[1:])
    lab = Lab(load(tiny("bert")))
    for text, task in zip(IDS, tasks_of(lab, IDS, Target())):
        ids = task.inputs["input_ids"][0]
        assert (ids[task.rows[0]] == lab.model.tokenizer.mask_token_id).all()
        ids = ids.clone()
        ids[task.rows[0]] = task.right
        assert ids.tolist() == list(text.ids)
    assert tasks_of(Lab(load(tiny("gpt2"))), [Text(ids=(5,))], Target()) == [None]
    lab = Lab(load(tiny("bert", "sequence")))
    (task,) = tasks_of(lab, IDS[:1], Target())
    said = lab.run(task.inputs).logits.argmax(-1)
    assert task.right.tolist() == said.tolist()


def test_heads_that_stay_are_known_for_induction_only_where_they_are_induction_heads():
    share, order = np.linspace(0, 0.9, 16), np.arange(16)
    rng = np.random.default_rng(0)
    assert survivors(share, order, rng).beats_chance
    assert survivors(share, order, rng).value == pytest.approx(share[-4:].mean())
    assert not survivors(share, order[::-1], rng).beats_chance
    assert not survivors(np.full(16, 0.3), order, rng).beats_chance


def test_rounding_orders_nothing():
    x = np.array([3.0, 1.0, 1.0 + 1e-9, 1.0 - 1e-9, 0.5])
    assert least_first(x).tolist() == [4, 1, 2, 3, 0]
