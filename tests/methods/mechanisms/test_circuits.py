"""Circuit studies on models whose circuit is known, on a linear model, and against loops that patch one thing after another."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

import exegete as xg
from exegete.core.errors import InputError, TargetError, UnsupportedModel, UsageError
from exegete.core.material import Pair
from exegete.core.target import Target
from exegete.evaluate.truth.compiled import compiled, compiled_names
from exegete.methods.mechanisms.acdc import ACDC, _log_probs, kl_distance, prune
from exegete.methods.mechanisms.circuit_faithfulness import CircuitFaithfulness
from exegete.methods.mechanisms.circuit_overlap import CircuitOverlapStudy
from exegete.methods.mechanisms.circuit_pairs import read_pairs
from exegete.methods.mechanisms.circuit_runs import Judge
from exegete.methods.mechanisms.circuit_verdict import Bench, verdict
from exegete.methods.mechanisms.edge_attribution_patching import EdgeAttributionPatching, exact_effects
from exegete.methods.mechanisms.edge_scores import edge_scores
from exegete.methods.mechanisms.node_patching import NodePatching
from exegete.models.bare import bare_gpt2
from exegete.models.edges import edge_graph
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.circuit import auroc, normalised

NAMES = compiled_names()
LIGHT = {"n_draws": 2, "n_dropped": 6, "n_sizes": 2, "seed": 0}
TARGET = Target.of(None)


@cache
def made(name):
    return compiled(name)


def judge_of(model, pairs, ablation="corrupt"):
    lab = Lab(model)
    return Judge(lab, edge_graph(model.map), read_pairs(lab, pairs, TARGET, ablation == "corrupt"), ablation)


@cache
def judged(name, n=24):
    c = made(name)
    return judge_of(c.model, c.pairs(n))


def gold_of(name):
    return judged(name).graph.mask(made(name).edges)


def found(name, scores):
    """AUROC of scores [R, W] against the gold edges."""
    allowed = judged(name).graph.allowed
    return auroc(np.abs(scores)[allowed], gold_of(name)[allowed])


# -- the circuit that was put in is the circuit that is found --------------------------------------------------------------


@pytest.mark.parametrize("ig_steps", [0, 10])
@pytest.mark.parametrize("name", NAMES)
def test_attribution_patching_finds_the_gold_edges(name, ig_steps):
    j = judged(name)
    scores = edge_scores(j.lab, j.graph, j.grounds, ig_steps)
    assert found(name, scores) >= 0.95
    shuffled = [np.random.default_rng(i).permutation(np.abs(scores)[j.graph.allowed]) for i in range(20)]
    gold = gold_of(name)[j.graph.allowed]
    assert (
        abs(np.mean([auroc(s, gold) for s in shuffled]) - 0.5) < 0.2
    )  # the same scores on other edges find nothing


@pytest.mark.parametrize("name", NAMES)
def test_acdc_keeps_the_gold_edges_and_few_others(name):
    j = judged(name, 6)
    keep, rises, order = prune(j, kl_distance(j), 0.01)
    gold = gold_of(name)
    assert not (gold & ~keep).any()
    assert (keep & ~gold).sum() <= 2
    assert found(name, rises) >= 0.95
    assert (order[j.graph.allowed & ~keep] >= 0).all()


@pytest.mark.parametrize("direction", ["noising", "denoising"])
@pytest.mark.parametrize("name", NAMES)
def test_node_patching_finds_the_gold_nodes(name, direction):
    c = made(name)
    f = NodePatching(direction=direction)(c.model, c.pairs(12))
    names, effects = zip(*f.ranking)
    assert auroc(np.abs(effects), np.array([n in c.nodes for n in names])) == 1.0
    assert f.trust.scores[0].beats_control


def test_attribution_patching_of_a_randomised_model_finds_nothing():
    from exegete.models.randomise import Randomiser

    c = made("induction")
    j = judge_of(Randomiser(0)(c.model), c.pairs(12))
    scores = edge_scores(j.lab, j.graph, j.grounds, 5)
    assert found("induction", scores) < 0.9 < found("induction", edge_scores(judged("induction").lab, j.graph, judged("induction").grounds, 5))  # fmt: skip


# -- the estimate is what its equation says --------------------------------------------------------------------------------


def double_gpt2():
    """A random GPT-2 in float64 and pairs for it."""
    model = load(tiny("gpt2"))
    model.module.double()
    ids = np.random.default_rng(0).integers(5, 60, (3, 6)).tolist()
    return model, [
        Pair.of(xg.Text(ids=tuple(a)), xg.Text(ids=(*a[:2], 70 + i, *a[3:])), (21,), (22,))
        for i, a in enumerate(ids)
    ]


def test_the_plain_estimate_is_the_slope_of_every_exact_patch():
    """The other value is brought nearer and nearer: the effect of each edge, over the distance, becomes its score."""
    model, pairs = double_gpt2()
    j = judge_of(model, pairs)
    scores = edge_scores(j.lab, j.graph, j.grounds, 0)
    clean = Judge(j.lab, j.graph, replace(j.pairs, corrupt=j.pairs.aim.inputs)).grounds[0].given
    near = lambda step: [replace(j.grounds[0], given=clean + step * (j.grounds[0].given - clean))]  # noqa: E731
    slope = {}
    for step in (1e-4, 1.0):
        j.grounds, j.known = near(step), {}
        slope[step] = exact_effects(j, j.graph.edges) / step
    allowed, most = j.graph.allowed, np.abs(scores).max()
    assert np.abs(slope[1e-4] - scores)[allowed].max() < 1e-3 * most
    assert np.abs(slope[1.0] - scores)[allowed].max() > 1e-2 * most  # from far away it is an estimate


def linear_model():
    """Even attention, linear hidden units, no norms: the output is linear in what every edge carries."""
    module, tokenizer = bare_gpt2(
        [f"w{i}" for i in range(12)], layers=2, heads=2, width=16, inner=8, positions=8
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=generator))
        for block in module.transformer.h:
            block.attn.c_attn.weight[:, :32] = 0.0
            block.attn.c_attn.bias[:32] = 0.0
            block.mlp.act = nn.Identity()
    return load((module, tokenizer), task="causal")


LINES = [Pair.of("w0 w1 w2 w3", "w0 w5 w2 w6", "w7", "w8"), Pair.of("w3 w1 w4 w4", "w9 w1 w5 w4", "w2", "w8")]


@pytest.mark.parametrize("ig_steps", [0, 1, 3])
def test_every_estimate_is_exact_where_the_model_is_linear(ig_steps):
    j = judge_of(linear_model(), LINES)
    scores, exact = edge_scores(j.lab, j.graph, j.grounds, ig_steps), exact_effects(j, j.graph.edges)
    assert np.abs(scores).max() > 0.05
    assert np.abs(scores - exact)[j.graph.allowed].max() < 1e-5
    heads = [r for r, x in enumerate(j.graph.readers) if x.kind in "qk"]
    assert np.abs(scores[heads]).max() < 1e-6


def test_the_edges_of_the_embedding_sum_to_the_whole_difference_on_a_path():
    model, pairs = double_gpt2()
    j = judge_of(model, pairs)
    whole = j.full.mean() - j.empty.mean()
    by_pair = edge_scores(j.lab, j.graph, j.grounds, 16, by_pair=True)
    gap = abs(by_pair.mean(0)[:, 0].sum() - whole)
    assert gap < 1e-2 * abs(whole) < abs(edge_scores(j.lab, j.graph, j.grounds, 0)[:, 0].sum() - whole)
    assert np.allclose(by_pair[:, :, 0].sum(1), j.full - j.empty, atol=2e-2 * np.abs(j.full - j.empty).max())


def test_scores_cost_two_forwards_and_a_backward_a_pair():
    c = made("copy")
    lab = Lab(c.model)
    pairs = read_pairs(lab, c.pairs(6), TARGET)
    before = replace(lab.meter)
    j = Judge(lab, edge_graph(c.model.map), pairs)
    edge_scores(lab, j.graph, j.grounds, 0)
    assert (lab.meter.forwards - before.forwards, lab.meter.backwards - before.backwards) == (12, 6)
    before = replace(lab.meter)
    edge_scores(lab, j.graph, j.grounds, 4)
    assert (lab.meter.forwards - before.forwards, lab.meter.backwards - before.backwards) == (6 * 5, 6 * 4)


# -- exact runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ablation", ["corrupt", "mean", "zero"])
def test_everything_is_all_of_the_target_and_nothing_none(ablation):
    c = made("induction")
    j = judge_of(c.model, c.pairs(8), ablation)
    none, whole = np.zeros((1, *j.graph.shape), dtype=bool), j.graph.allowed[None]
    share = lambda keep: normalised(j.values(keep)[0], j.empty, j.full)  # noqa: E731
    assert share(none) == 0.0
    assert share(whole) == 1.0
    assert 0.9 < share(gold_of("induction")[None]) < 1.1 if ablation == "corrupt" else True
    told = c.model.module(**j.pairs.aim.inputs).logits
    assert np.allclose(j.full, j.pairs.aim.measure(told).detach(), atol=1e-4)


def test_values_do_not_depend_on_batches_and_are_remembered():
    c = made("comparison")
    j = judge_of(c.model, c.pairs(6))
    keep = j.graph.allowed & (np.random.default_rng(0).random((5, *j.graph.shape)) < 0.7)
    want = j.values(keep)
    spent = j.lab.meter.forwards
    assert np.array_equal(j.values(keep[::-1])[::-1], want)
    assert j.lab.meter.forwards == spent
    small = load((c.model.module, c.model.tokenizer), task="causal")
    small.token_budget = 9
    assert np.allclose(judge_of(small, c.pairs(6)).values(keep), want, atol=1e-5)


def test_texts_of_unequal_length_may_stand_in_one_batch():
    model, _ = double_gpt2()
    pairs = [
        Pair.of(xg.Text(ids=(5, 6, 7, 8)), xg.Text(ids=(5, 9, 7, 8)), (21,), (22,)),
        Pair.of(xg.Text(ids=(5, 6, 7, 8, 10, 11, 12)), xg.Text(ids=(5, 6, 7, 13, 10, 11, 12)), (21,), (22,)),
    ]
    both, alone = judge_of(model, pairs), [judge_of(model, [p]) for p in pairs]
    keep = both.graph.allowed & (np.random.default_rng(0).random((3, *both.graph.shape)) < 0.6)
    assert np.allclose(both.values(keep), np.concatenate([a.values(keep) for a in alone], 1), atol=1e-8)
    s = edge_scores(both.lab, both.graph, both.grounds, 2, by_pair=True)
    one = [edge_scores(a.lab, a.graph, a.grounds, 2) for a in alone]
    assert np.allclose(s, np.stack(one), atol=1e-8)


def test_acdc_in_batches_is_the_greedy_loop():
    """On a made-up distance in which edges help and hinder each other."""
    j = judged("copy")
    pull = np.random.default_rng(0).normal(0.002, 0.02, j.graph.shape) * j.graph.allowed
    distance = lambda keep: np.abs((pull * ~keep).sum((1, 2)))  # noqa: E731
    keep, now, alive = j.graph.allowed.copy(), 0.0, True
    for r in reversed(range(len(keep))):
        alive = (
            not j.graph.feeds[r] or keep[:, list(j.graph.feeds[r])].any()
        )  # all readers after it are decided
        for w in reversed(range(keep.shape[1])):
            less = keep.copy()
            less[r, w] = False
            if keep[r, w] and not alive:
                keep = less
            elif keep[r, w] and (d := float(distance(less[None])[0])) - now < 0.01:
                keep, now = less, d
    assert 0 < keep.sum() < j.graph.allowed.sum()
    for at_once in (1, 16):
        assert np.array_equal(prune(j, distance, 0.01, at_once)[0], keep)
    assert not np.array_equal(prune(j, distance, 0.02)[0], keep)


def test_the_divergence_is_kl_from_the_whole_model_to_the_circuit():
    c = made("copy")
    j = judge_of(c.model, c.pairs(4))
    assert np.abs(kl_distance(j)(j.graph.allowed[None])).max() < 1e-6
    none = np.zeros((1, *j.graph.shape), dtype=bool)
    with torch.no_grad():
        p, q = (
            c.model.module(input_ids=x["input_ids"]).logits[:, -1].double().log_softmax(-1)
            for x in (j.pairs.aim.inputs, j.pairs.corrupt)
        )
    want = (p.exp() * (p - q)).sum(-1).mean()
    assert kl_distance(j)(none)[0] == pytest.approx(float(want), rel=1e-4)


def test_node_effects_are_those_of_plain_hooks():
    model = load(tiny("gpt2"))
    pair = Pair.of(xg.Text(ids=(5, 6, 7, 8)), xg.Text(ids=(5, 9, 7, 8)), (21,), (22,))
    f = NodePatching()(model, pair)
    clean, corrupt = (torch.tensor([t.ids]) for t in (pair.clean, pair.corrupt))
    module, dh = model.module, model.map.d_model // model.map.n_heads
    told = lambda ids: float((x := module(ids).logits[0, -1].detach())[21] - x[22])  # noqa: E731
    for i, block in enumerate(module.transformer.h):
        for h in range(model.map.n_heads):
            kept = {}
            hook = block.attn.c_proj.register_forward_pre_hook(lambda _m, a, k=kept: k.update(z=a[0]))
            told(corrupt)
            hook.remove()

            def swap(_m, a, k=kept, at=slice(h * dh, (h + 1) * dh)):
                z = a[0].clone()
                z[..., at] = k["z"][..., at]
                return (z,)

            hook = block.attn.c_proj.register_forward_pre_hook(swap)
            with torch.no_grad():
                moved = told(clean)
            hook.remove()
            assert f.heads[i, h] == pytest.approx(told(clean) - moved, abs=1e-5)


def test_the_strongest_part_is_judged_on_pairs_that_did_not_choose_it():
    c = made("brackets")
    pairs = c.pairs(12)
    score = NodePatching()(c.model, pairs).trust.scores[0]
    chosen, held = NodePatching()(c.model, pairs[0::2]), dict(NodePatching()(c.model, pairs[1::2]).ranking)
    node, effect = chosen.ranking[0]
    assert score.name == f"effect of {node}, the strongest"
    assert score.value == pytest.approx(held[node], rel=1e-4)
    assert score.value != pytest.approx(effect, rel=1e-2)
    assert score.n == 6


# -- the verdict -----------------------------------------------------------------------------------------------------------


def verdict_of(name, keep):
    j = judged(name, 6)
    return {s.name: s for s in verdict(Bench(j, 3, 12, 2), keep, keep.astype(float)).scores}


def test_the_gold_circuit_is_faithful_complete_and_minimal():
    scores = verdict_of("induction", gold_of("induction"))
    assert abs(scores["faithfulness"].value - 1) < 0.05
    assert scores["faithfulness"].beats_control
    assert abs(scores["faithfulness of everything else"].value) < 0.05
    assert scores["edges that matter"].value == scores["nodes that matter"].value == 1.0


def test_superfluous_edges_are_no_longer_minimal_and_a_missing_one_is_no_longer_faithful():
    gold, graph = gold_of("induction"), judged("induction").graph
    more = gold | graph.mask(
        [("embed", "0.h0.q"), ("0.h0", "1.h1.v"), ("1.h1", "logits"), ("0.mlp", "logits")]
    )
    scores = verdict_of("induction", more)
    assert scores["edges that matter"].value < 0.7
    assert abs(scores["faithfulness"].value - 1) < 0.05
    less = gold & ~graph.mask([("0.h2", "1.h0.k")])
    assert verdict_of("induction", less)["faithfulness"].value < 0.8


def test_a_circuit_made_of_other_edges_carries_nothing():
    graph = judged("induction").graph
    other = graph.mask(
        [
            ("embed", "0.h1.q"),
            ("0.h1", "1.h2.k"),
            ("1.h2", "logits"),
            ("embed", "1.h2.v"),
            ("0.mlp", "logits"),
        ]
    )
    score = verdict_of("induction", other)["faithfulness"]
    assert abs(score.value) < 0.01
    assert not score.beats_chance


def test_attribution_patching_as_a_study():
    c = made("induction")
    f = EdgeAttributionPatching(n_top=5, **LIGHT)(c.model, c.pairs(6))
    assert set(f.kept_edges) == set(c.edges)
    assert f.kept_nodes == ("embed", "0.h2", "1.h0", "logits")
    assert "95%" not in f.lede
    assert "5 of 110 edges carry" in f.lede
    scores = {s.name: s for s in f.trust.scores}
    assert scores["correlation with exact patching"].value > 0.95
    assert f.curve[-1] == pytest.approx(1.0)
    assert all(x.passed for x in f.checks)
    one = EdgeAttributionPatching(n_top=5, n_edges=2, **LIGHT)(c.model, c.pairs(1))
    assert "also judges it" in one.notes[0]
    assert one.kept.sum() <= 2


def test_acdc_as_a_study():
    c = made("comparison")
    f = ACDC(**LIGHT)(c.model, c.pairs(4))
    assert set(f.kept_edges) == set(c.edges)
    assert f.scores[f.kept].min() >= 0.01  # the threshold: no edge is kept that could go


def test_a_classifier_of_one_logit_says_yes_or_no():
    """A softmax over one logit is always 1: every circuit would be as good as the whole model, and every edge cut."""
    c = made("copy")
    aim = judged("copy").pairs.aim
    p = _log_probs(aim, torch.tensor([[2.0], [-1.0]])).exp()
    assert torch.allclose(p[:, 1], torch.tensor([2.0, -1.0], dtype=torch.float64).sigmoid())
    assert torch.allclose(p.sum(1), torch.ones(2, dtype=torch.float64))
    assert c.model.task == "causal"


def test_half_precision_is_held_to_its_own_rounding():
    module = tiny("llama")
    pairs = [Pair.of(xg.Text(ids=(5, 6, 7, 8)), xg.Text(ids=(5, 9, 7, 8)), (21,), (22,))]
    for dtype in (torch.bfloat16, torch.float16):
        (module[0] if isinstance(module, tuple) else module).to(dtype)
        f = EdgeAttributionPatching(n_edges=60, n_top=2, ig_steps=0, **LIGHT)(load(module), pairs)
        assert [x.name for x in f.checks if not x.passed] == []
        assert f.checks[-1].value < 0.1


def test_the_words_say_what_pairs_that_did_not_choose_say():
    c = made("indirect_object")
    f = NodePatching()(c.model, c.pairs(12))
    assert f"{f.trust.scores[0].value:.3g}" in f.lede
    turned = [p.model_copy(update={"answer": p.against, "against": p.answer}) for p in c.pairs(12)]
    g = NodePatching()(c.model, turned)  # the same change, told of the other answer
    assert " loses " in f.lede
    assert " gains " in g.lede


def test_texts_that_are_alike_tell_nothing_of_parts():
    c = made("copy")
    alike = [p.model_copy(update={"corrupt": p.clean}) for p in c.pairs(4)]
    f = NodePatching()(c.model, alike)
    assert f.lede.startswith("No part moves the target")
    assert (f.trust.scores[0].n, f.trust.scores[0].n_failed) == (0, 2)  # two of four chose
    assert np.isnan(f.trust.scores[0].value)
    assert f.trust.scores[0].beats_chance is None


# -- overlap ---------------------------------------------------------------------------------------------------------------


def kinds(name, *which, n=60):
    pairs = made(name).pairs(n)
    return [
        p.model_copy(update={"id": f"{k}/{i}"})
        for k in which
        for i, p in enumerate(pairs)
        if f"/{k}-" in p.id
    ]


def test_two_tasks_share_what_both_send_over_it():
    """Another letter comes again: the query. Another one followed: the value. Both go to the output."""
    c = made("induction")
    f = CircuitOverlapStudy(n_edges=2, n_draws=2)(c.model, kinds("induction", "last", "next", n=24))
    assert f.names == ("last", "next")
    assert f.shared == ("1.h0 -> logits",)
    assert (f.first[0], f.second[0], f.both[0]) == (2, 2, 1)
    assert f.trust.scores[0].value == pytest.approx(1 / 3)
    assert f.trust.scores[0].beats_chance
    assert np.abs(np.diag(f.transfer) - 1).max() < 0.1
    assert abs(f.transfer[0, 1]) < 0.1  # the query alone does not serve the task of the value


def test_one_task_overlaps_with_itself():
    c = made("induction")
    f = CircuitOverlapStudy(n_edges=5, n_draws=2)(c.model, c.pairs(12))
    assert f.both[0] == f.first[0] == f.second[0] == 5
    assert f.trust.scores[0].value == 1.0
    assert np.abs(f.transfer - 1).max() < 0.1


def test_a_task_of_one_pair_is_judged_on_what_found_it_and_says_so():
    c = made("copy")
    f = CircuitOverlapStudy(n_edges=3, n_draws=2, ig_steps=0)(c.model, c.pairs(2))
    assert "first half and of second half" in f.notes[0]
    assert CircuitOverlapStudy(n_edges=3, n_draws=2, ig_steps=0)(c.model, c.pairs(4)).notes == ()


def test_three_tasks_get_a_letter():
    c = made("induction")
    with pytest.raises(UsageError, match="3 tasks"):
        CircuitOverlapStudy()(c.model, kinds("induction", "last", "next", "order", n=12))


# -- saved circuits and files ----------------------------------------------------------------------------------------------


def test_a_saved_circuit_is_judged_again_and_one_of_another_model_is_refused(tmp_path):
    c = made("induction")
    f = EdgeAttributionPatching(n_top=2, **LIGHT)(c.model, c.pairs(6))
    path = str(tmp_path / "circuit.xg")
    f.save(path)
    again = CircuitFaithfulness(circuit=path, **LIGHT)(c.model, c.pairs(4, seed=9))
    assert again.kept_edges == f.kept_edges
    assert again.trust.scores[0].n == 4  # pairs that found nothing are all there to judge
    assert abs(again.trust.scores[0].value - 1) < 0.1
    assert "not used to find it" not in again.lede  # nobody knows
    assert "on the pairs given" in again.lede
    assert "flatters it" in again.notes[0]
    with pytest.raises(UsageError, match="same layers and heads"):
        CircuitFaithfulness(circuit=path)(made("indirect_object").model, made("indirect_object").pairs(4))
    again_path = str(tmp_path / "nodes.xg")
    NodePatching()(c.model, c.pairs(2)).save(again_path)
    with pytest.raises(UsageError, match="NodeEffects"):
        CircuitFaithfulness(circuit=again_path)(c.model, c.pairs(4))


def grouped():
    """A circuit of a model with key-value heads that feed two heads each."""
    model = load(tiny("llama"))
    pairs = [Pair.of(xg.Text(ids=(5, 6, 7, 8)), xg.Text(ids=(5, 9, 7, 8)), (21,), (22,))]
    return EdgeAttributionPatching(n_edges=60, n_top=2, ig_steps=0, **LIGHT)(model, pairs)


def test_edges_of_grouped_queries_end_at_key_value_heads_and_feed_their_group():
    f = grouped()
    assert "0.kv0.k" in f.readers
    assert "0.h0.k" not in f.readers
    assert "0.h3.q" in f.readers
    shared = [(w, r) for w, r in f.kept_edges if r.endswith(("k", "v"))]
    drawn = {(s, t, sort) for s, t, sort, _ in f._links()}
    w, r = shared[0]
    layer, group = r.split(".")[0], int(r.split(".")[1][2:])
    assert {(w, f"{layer}.h{2 * group + i}", r[-1]) for i in range(2)} <= drawn


@pytest.mark.parametrize(
    "make", [grouped, lambda: ACDC(**LIGHT)(made("induction").model, made("induction").pairs(4))]
)
def test_json_and_graphml_are_read_by_networkx_as_they_were_written(make, tmp_path):
    f = make()
    links = sorted((s, t, sort, round(n["score"], 9)) for s, t, sort, n in f._links())
    data = json.loads(Path(f.to_json(tmp_path / "c.json")).read_text(encoding="utf-8"))
    told = nx.node_link_graph(data, edges="edges")
    assert sorted((s, t, k, round(d["score"], 9)) for s, t, k, d in told.edges(data=True, keys=True)) == links
    read = nx.read_graphml(f.to_graphml(tmp_path / "c.graphml"))
    assert read.is_directed()
    assert sorted((s, t, d["sort"], round(d["score"], 9)) for s, t, d in read.edges(data=True)) == links
    assert set(read) == set(told) == set(f.kept_nodes)
    assert read.nodes["logits"]["level"] == max(f.levels)


# -- letters ---------------------------------------------------------------------------------------------------------------


def test_pairs_that_cannot_be_used_get_a_letter():
    c = made("copy")
    with pytest.raises(InputError, match="as many tokens"):
        EdgeAttributionPatching()(c.model, Pair.of("a b c d e f one", "a b c d e one", "a", "b"))
    with pytest.raises(InputError, match="corrupt"):
        ACDC()(c.model, Pair.of("a b c d e f one", None, "a", "b"))
    with pytest.raises(TargetError, match="one token"):
        EdgeAttributionPatching()(c.model, Pair.of("a b c d one", "a b c d two", "a b", "b"))
    with pytest.raises(TargetError, match="does not know it"):
        NodePatching()(c.model, Pair.of("a b c d one", "a b c d two", "zebra", "b"))
    post = load(tiny("bert"))
    ids = xg.Text(ids=(5, 6, post.tokenizer.mask_token_id, 8))
    with pytest.raises(UnsupportedModel, match="node_patching"):
        EdgeAttributionPatching()(post, Pair.of(ids, ids, (21,), (22,)))


def test_two_texts_that_say_the_same_tell_nothing_and_the_finding_says_so():
    c = made("copy")
    text = "a b c d e f one"
    for study in (EdgeAttributionPatching(n_top=2, **LIGHT), ACDC(**LIGHT)):
        f = study(c.model, [Pair.of(text, text, "a", "b")] * 2)
        assert "nothing can be told" in f.lede
        assert np.isnan(f.trust.scores[0].value)
        assert f.trust.scores[0].n == 0 and f.trust.scores[0].n_failed > 0
        assert not f.trust.scores[0].beats_control
        assert [type(x).__name__ for x in f.figures()] == ["Graph", "Table"]  # no curve of nothing
