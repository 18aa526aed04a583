"""Removed heads are really gone, distances are those of a slow twin, and heads planted to be copies are found as such."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.methods.attention.head_orders import gate_gradients, without
from exegete.methods.attention.head_reading import heads_of
from exegete.methods.attention.head_redundancy import HeadRedundancyStudy
from exegete.methods.attention.head_removal import Removal, mean_z, tasks_of
from exegete.models.edit import Ablate, Scale
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import still
from exegete.models.tiny import tiny
from exegete.ops.redundancy import distances, groups, nearest, scattered, stand_ins

TEXTS = (Text(ids=(5, 9, 21, 33, 12, 40, 7)), Text(ids=(60, 61, 9, 33, 14)))


def parts(family: str):
    lab = Lab(load(tiny(family)))
    heads = heads_of(lab)
    return lab, heads, tasks_of(lab, TEXTS, Target())


def projections(module, family):
    """The modules whose input are the outputs of the heads."""
    if family == "gpt2":
        return [b.attn.c_proj for b in module.transformer.h]
    if family == "bert":
        return [b.attention.output.dense for b in module.bert.encoder.layer]
    return [b.self_attn.o_proj for b in module.model.layers]


def by_hooks(lab, family, task, gone, fill=0.0):
    """Loss with the outputs of some heads (layer, head) replaced in front of the projection, by hooks of its own."""
    module, handles = lab.model.module, []
    for layer, proj in enumerate(projections(module, family)):
        mine = [h for k, h in gone if k == layer]

        def replace(_m, args, mine=mine):
            x = args[0].clone()
            width = x.shape[-1] // 4
            for h in mine:
                x[..., h * width : (h + 1) * width] = fill
            return (x,)

        handles.append(proj.register_forward_pre_hook(replace))
    with torch.no_grad():
        log = module(**task.inputs).logits[0].log_softmax(-1)
    for h in handles:
        h.remove()
    return -float(log[task.rows[0], task.right].mean())


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "bert"])
def test_removed_heads_are_really_gone(family):
    """Grouped queries too: a query head goes, its key-value head stays for the others."""
    lab, heads, tasks = parts(family)
    gone = [[], [(1, 2)], [(0, 1)], [(0, 0), (1, 3)], [(1, h) for h in range(4)]]
    masks = np.ones((len(gone), len(heads)), bool)
    for row, which in enumerate(gone):
        masks[row, [4 * k + h for k, h in which]] = False
    loss, _ = Removal(lab, heads)(tasks, masks)
    for row, which in enumerate(gone):
        for i, task in enumerate(tasks):
            assert loss[row, i] == pytest.approx(by_hooks(lab, family, task, which), abs=1e-5)
    assert np.abs(loss[1:] - loss[0]).min() > 1e-4  # a mask that did nothing would be seen


def test_removal_is_the_ablate_edit_and_starts_late_without_a_difference():
    lab, heads, tasks = parts("llama")
    masks = np.ones((2, 8), bool)
    masks[0, 5], masks[1, [1, 6]] = False, False
    means = mean_z(lab, heads, tasks)
    for how in ("zero", "mean"):
        loss, _ = Removal(lab, heads, how, means if how == "mean" else {})(tasks[:1], masks)
        source = [means[Site("z", layer=k)][None] if how == "mean" else None for k in range(2)]
        edits = [
            {"1.z": Ablate(how, source=source[1], heads=1)},
            {"0.z": Ablate(how, source=source[0], heads=1), "1.z": Ablate(how, source=source[1], heads=2)},
        ]
        for row, edit in enumerate(edits):
            log = lab.run(tasks[0].inputs, edit=edit).logits[0].log_softmax(-1)
            truth = -float(log[tasks[0].rows[0], tasks[0].right].mean())
            assert loss[row, 0] == pytest.approx(truth, abs=1e-5)
    before = lab.meter.forwards
    Removal(lab, heads)(tasks, masks[[0, 0, 0, 0]])
    assert lab.meter.forwards - before == 2 * len(
        tasks
    )  # equal sets are run once, after the pass they start from


def test_even_attention_is_that_of_heads_whose_queries_are_zero():
    lab, heads, tasks = parts("gpt2")
    masks = np.ones((1, 8), bool)
    masks[0, 6] = False
    loss, _ = Removal(lab, heads, "even")(tasks, masks)
    module, tokenizer = tiny("gpt2")
    width = module.config.n_embd
    at = slice(2 * width // 4, 3 * width // 4)
    with torch.no_grad():
        attn = module.transformer.h[1].attn.c_attn
        attn.weight[:, at], attn.bias[at] = 0.0, 0.0
    other = Lab(load((module, tokenizer)))
    truth, _ = Removal(other, heads_of(other))(tasks, np.ones((1, 8), bool))
    assert loss == pytest.approx(truth, abs=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_gate_gradients_are_finite_differences(family):
    lab, heads, tasks = parts(family)
    with still(lab.model.module):
        found = gate_gradients(lab, heads, tasks[0])
    step = 1e-2
    for i in (1, 6):
        layer, head = divmod(i, 4)
        values = []
        for s in (1 + step, 1 - step):
            log = (
                lab.run(tasks[0].inputs, edit={f"{layer}.z": Scale(s, heads=head)}).logits[0].log_softmax(-1)
            )
            values.append(-float(log[tasks[0].rows[0], tasks[0].right].mean()))
        assert found[i] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-3)
    assert np.abs(found).max() > 5e-3


def test_distances_are_those_of_scipy():
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.ones(6), size=(4, 5))
    found = distances(rows)
    for i in range(4):
        for j in range(4):
            each = [jensenshannon(rows[i, r], rows[j, r], base=2) ** 2 if i != j else 0.0 for r in range(5)]
            assert found[i, j] == pytest.approx(np.mean(each), abs=1e-9)
    apart = np.zeros((2, 1, 2))
    apart[0, 0, 0] = apart[1, 0, 1] = 1.0
    assert distances(apart)[0, 1] == pytest.approx(1.0)


def test_scattered_rows_are_as_sharp_and_hide_the_same_keys():
    rng = np.random.default_rng(0)
    seen = np.tril(np.ones((5, 5), bool))
    rows = rng.dirichlet(np.ones(5), size=(3, 5)) * seen
    out = scattered(rows, seen, rng)
    assert np.allclose(np.sort(out, -1), np.sort(rows, -1))
    assert (out[:, ~seen] == 0).all()
    assert np.abs(out - rows).max() > 0.1


def test_stand_ins_go_first_and_groups_hold_what_is_alike():
    apart = np.full((5, 5), 0.9)
    apart[1, 3] = apart[3, 1] = 0.05
    apart[0, 4] = apart[4, 0] = 0.1
    apart[3] -= 0.04  # 3 is a little closer to the rest than 1
    apart[:, 3] = apart[3]
    np.fill_diagonal(apart, 0)
    order = stand_ins(apart)
    assert order[0] == 3
    assert order[1] in (0, 4)
    assert sorted(order) == list(range(5))
    assert groups(apart, 0.2).tolist() == [0, 1, 2, 1, 0]
    assert groups(apart, 0.0).max() == 4
    assert nearest(apart)[2] == pytest.approx(0.86)


def test_masks_of_an_order():
    kept = without(np.array([2, 0, 1]), np.array([0, 1, 3]))
    assert kept.tolist() == [[True] * 3, [True, True, False], [False] * 3]


def test_copied_heads_are_found_and_removed_first():
    """1.h2 is given the weights of 1.h0, and writes nothing: it looks where 1.h0 looks and can go at no cost."""
    module, tokenizer = tiny("gpt2")
    width = module.config.n_embd
    part = width // 4
    with torch.no_grad():
        attn = module.transformer.h[1].attn
        for third in range(2):
            one, other = (slice(third * width + h * part, third * width + (h + 1) * part) for h in (0, 2))
            attn.c_attn.weight[:, other] = attn.c_attn.weight[:, one]
            attn.c_attn.bias[other] = attn.c_attn.bias[one]
        attn.c_proj.weight[2 * part : 3 * part] = 0
    study = HeadRedundancyStudy(n_points=9, n_random=4, how="zero", alike=0.001)
    r = study(load((module, tokenizer)), (*TEXTS, *TEXTS))
    assert r.apart[4, 6] < 1e-9
    assert r.group[4] == r.group[6]
    assert set(r.order[:1]) <= {4, 6}
    assert len(set(r.group)) == 7
    plain = study(load(tiny("gpt2")), (*TEXTS, *TEXTS))
    assert plain.group.max() == 7  # without the copy, no two are the same


def test_curves_end_at_the_model_without_heads():
    r = HeadRedundancyStudy(n_points=3, n_random=2)(load(tiny("llama")), (*TEXTS, *TEXTS))
    c = r.curves
    assert c.removed.tolist() == [0, 4, 8]
    assert np.ptp(c.loss[:, 0]) < 1e-6
    assert np.ptp(c.loss[:, -1]) < 1e-6
    assert abs(c.loss[0, 0] - c.loss[0, -1]) > 1e-3
