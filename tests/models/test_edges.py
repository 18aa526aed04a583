"""The edge graph, edge runs and reader gradients, against a slow twin, hand-made hooks, the chain rule and finite differences."""

import numpy as np
import pytest
import torch

from exegete.core.errors import SiteError, UnknownName, UnsupportedModel
from exegete.core.site import Site
from exegete.models.edge_gradients import ReaderGradients
from exegete.models.edge_run import EdgeRun
from exegete.models.edges import EdgeGraph, edge_graph
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.prove import probe_inputs
from exegete.models.tiny import families, tiny
from support.edge_twin import naive, named_edges

REFUSED = {
    "bert",
    "roberta",
    "distilbert",
    "electra",
    "deberta",
    "deberta_v2",
    "albert",
    "t5",
    "bart",
}  # post-norm, two stacks
KINDS = ("gpt2", "llama", "gemma2", "gpt_neox", "olmo2", "cohere", "granite", "bloom")


def pair(model):
    """Inputs of a clean and a corrupt text, one of a batch of two padded on the right."""
    clean, corrupt = (dict(probe_inputs(model.map, seed)) for seed in (0, 1))
    for x in (clean, corrupt):
        x["attention_mask"] = torch.ones_like(x["input_ids"])
        x["attention_mask"][1, -2:] = 0
    return clean, corrupt


def logits_of(model, inputs, **more):
    with torch.no_grad():
        return model.module(**inputs, **more).logits


def some_cut(graph, rng, n=1, share=0.3):
    return torch.from_numpy(graph.allowed & (rng.random((n, *graph.shape)) < share))


# -- the graph -----------------------------------------------------------------------------------------------------------


def test_gpt2_small_has_as_many_edges_as_the_acdc_paper_counts():
    graph = EdgeGraph(12, 12, 12, False)
    assert (*graph.shape, len(graph.edges)) == (445, 157, 32491)


@pytest.mark.parametrize("kv", [4, 2, 1])
@pytest.mark.parametrize("parallel", [False, True])
def test_edges_are_those_from_a_part_to_one_that_is_computed_after_it(kv, parallel):
    graph = EdgeGraph(3, 4, kv, parallel)
    when = {"embed": -1.0}  # a moment for every part, in halves of a layer
    for i in range(3):
        when |= {f"{i}.h{h}": 2.0 * i for h in range(4)} | {f"{i}.mlp": 2.0 * i + (0 if parallel else 1)}
    want = set()
    for r in graph.readers:
        moment = 6.0 if r.kind == "logits" else when[f"{r.layer}.mlp" if r.kind == "mlp" else f"{r.layer}.h0"]
        want |= {(w, r.name) for w, t in when.items() if t < moment}
    assert set(named_edges(graph)) == want
    assert len(graph.edges) == len(want)


def test_a_key_value_head_feeds_its_group():
    graph = edge_graph(load(tiny("llama")).map)
    names = [w.name for w in graph.writers]
    fed = {r.name: [names[w] for w in f] for r, f in zip(graph.readers, graph.feeds)}
    assert graph.n_heads == 2 * graph.n_kv_heads
    assert fed["1.kv0.k"] == fed["1.kv0.v"] == ["1.h0", "1.h1"]
    assert fed["1.h1.q"] == ["1.h1"]
    assert fed["logits"] == []
    plain = edge_graph(load(tiny("gpt2")).map)
    assert "0.h1.k" in [r.name for r in plain.readers]


def test_a_part_that_does_not_exist_and_an_edge_back_in_time_get_a_letter():
    graph = EdgeGraph(2, 4, 4, False)
    assert graph.mask([("0.h1", "1.h2.q")]).sum() == 1
    with pytest.raises(UnknownName, match=r"0\.h1"):
        graph.mask([("0.h11", "logits")])
    with pytest.raises(UnknownName):
        graph.mask([("0.h1", "7.mlp")])
    for edge in (("1.h0", "0.mlp"), ("0.h0", "0.h1.q")):
        with pytest.raises(SiteError):
            graph.mask([edge])
    assert EdgeGraph(2, 4, 4, False).mask([("0.h0", "0.mlp")]).any()
    with pytest.raises(SiteError, match="beside"):
        EdgeGraph(2, 4, 4, True).mask([("0.h0", "0.mlp")])


# -- edge runs -----------------------------------------------------------------------------------------------------------


def test_a_run_with_random_edges_cut_is_what_the_slow_twin_says():
    model = load(tiny("gpt2", layers=3))
    graph, lab = edge_graph(model.map), Lab(model)
    (clean, corrupt), rng = pair(model), np.random.default_rng(0)
    whole = {k: torch.ones_like(v) if k == "attention_mask" else v for k, v in clean.items()}
    other = {k: torch.ones_like(v) if k == "attention_mask" else v for k, v in corrupt.items()}
    there = EdgeRun(lab, graph)
    there(other)
    told = naive(model.module, graph, other["input_ids"])[1]
    for w, x in zip(graph.writers, there.writes):
        assert torch.allclose(x, told[w.name], atol=1e-5), w.name
    cuts = some_cut(graph, rng, len(clean["input_ids"]))
    got = EdgeRun(lab, graph, cuts, there.writes)(whole).logits
    for b, cut in enumerate(cuts):
        names = {(graph.writers[w].name, graph.readers[r].name) for r, w in cut.nonzero().tolist()}
        want = naive(model.module, graph, whole["input_ids"], names, told)[0][b]
        assert torch.allclose(got[b], want, atol=1e-4)
        fewer = naive(model.module, graph, whole["input_ids"], set(sorted(names)[:-5]), told)[0][b]
        assert not torch.allclose(got[b], fewer, atol=1e-4)


@pytest.mark.parametrize("family", [f for f in families() if f not in REFUSED])
def test_nothing_cut_is_the_model_and_everything_cut_is_the_other_text(family):
    model = load(tiny(family))
    graph, lab = edge_graph(model.map), Lab(model)
    clean, corrupt = pair(model)
    there = EdgeRun(lab, graph)
    there(corrupt)
    none = torch.zeros(1, *graph.shape, dtype=torch.bool)
    every = torch.from_numpy(graph.allowed)[None]
    real = clean["attention_mask"].bool()
    more = {"use_cache": False} if model.task == "causal" else {}
    own = logits_of(model, clean, **more)
    assert torch.equal(EdgeRun(lab, graph, none, there.writes)(clean).logits, own)
    want = logits_of(model, corrupt, **more)[real]
    got = EdgeRun(lab, graph, every, there.writes)(clean).logits[real]
    scale = float(want.abs().max().clamp_min(1.0))
    assert float((got - want).abs().max()) < 1e-4 * scale
    assert float((own[real] - want).abs().max()) > 1e-2 * scale  # the two texts are told apart


@pytest.mark.parametrize("family", [f for f in families() if f not in REFUSED])
def test_the_residual_is_the_sum_of_what_was_written_and_a_constant(family):
    model = load(tiny(family))
    graph, lab = edge_graph(model.map), Lab(model)
    run, ends = EdgeRun(lab, graph), []
    clean = pair(model)[0]
    run(clean)
    with torch.no_grad():
        ends = lab.run(clean, read=[Site("final_in", stack=graph.stack)])[Site("final_in", stack=graph.stack)]
    rest = (ends - run.writes.sum(0))[clean["attention_mask"].bool()]
    assert float((rest - rest[0]).abs().max()) < 1e-4 * float(ends.abs().max())


@pytest.mark.parametrize("family", sorted(REFUSED))
def test_models_whose_parts_read_no_sum_are_refused(family):
    with pytest.raises(UnsupportedModel, match="node_patching"):
        edge_graph(load(tiny(family)).map, family)


def test_one_key_edge_of_grouped_queries_by_hand():
    """Hooks on plain modules: layer 1's key-value head 1 hears another 0.h3."""
    model = load(tiny("llama"))
    graph, lab, (clean, corrupt) = edge_graph(model.map), Lab(model), pair(model)
    layers, seen = model.module.model.layers, {}
    attn, norm = layers[1].self_attn, layers[1].input_layernorm
    dh = attn.head_dim

    def write(inputs):
        hook = layers[0].self_attn.o_proj.register_forward_pre_hook(lambda _m, a: seen.update(z=a[0]))
        logits_of(model, inputs, use_cache=False)
        hook.remove()
        return seen["z"][..., 3 * dh : 4 * dh] @ layers[0].self_attn.o_proj.weight[:, 3 * dh : 4 * dh].T

    delta = write(corrupt) - write(clean)
    weight = attn.k_proj.weight

    def keys(_m, _a, out):
        out = out.clone()
        out[..., dh : 2 * dh] = (norm(seen["resid"] + delta) @ weight.T)[..., dh : 2 * dh]
        return out

    hooks = [
        layers[1].register_forward_pre_hook(lambda _m, a, k: seen.update(resid=a[0] if a else k["hidden_states"]), with_kwargs=True),
        attn.k_proj.register_forward_hook(keys),
    ]  # fmt: skip
    want = logits_of(model, clean, use_cache=False)
    for h in hooks:
        h.remove()
    there = EdgeRun(lab, graph)
    there(corrupt)
    cut = torch.from_numpy(graph.mask([("0.h3", "1.kv1.k")]))[None]
    real = clean["attention_mask"].bool()
    assert torch.allclose(EdgeRun(lab, graph, cut, there.writes)(clean).logits[real], want[real], atol=1e-5)
    other = torch.from_numpy(graph.mask([("0.h3", "1.kv0.k")]))[None]
    assert not torch.allclose(
        EdgeRun(lab, graph, other, there.writes)(clean).logits[real], want[real], atol=1e-5
    )


def test_a_map_that_is_wrong_is_noticed(monkeypatch):
    model = load(tiny("gpt2"))
    graph = edge_graph(model.map)
    wrong = lambda lab, graph, layer, part: model.module.transformer.ln_f  # noqa: E731
    monkeypatch.setattr("exegete.models.edge_run.norm_before", wrong)
    with pytest.raises(UnsupportedModel, match="differ"):
        EdgeRun(Lab(model), graph)(pair(model)[0])


def test_runs_leave_no_hook_behind():
    model = load(tiny("gpt2"))
    graph, lab = edge_graph(model.map), Lab(model)
    cut = torch.from_numpy(graph.allowed)[None]
    with pytest.raises(RuntimeError):
        EdgeRun(lab, graph, cut, torch.zeros(len(graph.writers), 1, 1, 3))(
            pair(model)[0]
        )  # writes of a wrong width
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())


# -- gradients of readers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", KINDS)
def test_gradients_of_all_readers_sum_to_the_gradient_at_the_residual(family):
    model = load(tiny(family))
    graph, lab = edge_graph(model.map), Lab(model)
    clean, _ = pair(model)
    measure = lambda logits: logits[:, 3, 5] - logits[:, 3, 7]  # noqa: E731
    found = ReaderGradients(lab, graph, clean, measure)
    site = Site("resid_pre", layer=0, stack=graph.stack)
    with torch.enable_grad():
        run = lab.run(clean, read=[site], keep_graph=True)
        want = torch.autograd.grad(measure(run.logits).sum(), run[site])[0]
    each = list(found.each())
    assert sum(len(g) for _, g in each) == len(graph.readers)
    total = torch.stack([g.sum(0) for _, g in each]).sum(0)
    scale = float(want.abs().max())
    assert float((total - want).abs().max()) < 1e-4 * scale
    assert (
        float((total - each[1][1].sum(0) - want).abs().max()) > 1e-4 * scale
    )  # without one of them it does not
    assert torch.allclose(found.writes[0], run[site].detach())


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gpt_neox"])
def test_each_reader_s_gradient_is_the_slope_of_an_edge_run(family):
    """A little more of one writer, heard by one reader alone, moves the output by the gradient times it (float64)."""
    model = load(tiny(family))
    model.module.double()
    graph, lab = edge_graph(model.map), Lab(model)
    clean, _ = pair(model)
    measure = lambda logits: logits[:, 3, 5] - logits[:, 3, 7]  # noqa: E731
    found = ReaderGradients(lab, graph, clean, measure)
    gradients = torch.zeros(len(graph.readers), *found.writes.shape[1:], dtype=torch.float64)
    for where, g in found.each():
        gradients[where] = g
    torch.manual_seed(0)
    exact = family in ("gpt2", "gpt_neox")  # the norms of the others work in float32 whatever they are given
    step = (1e-5 if exact else 2e-3) * torch.randn(found.writes.shape, dtype=torch.float64)
    slopes, told = [], []
    for r in range(0, len(graph.readers), 2):
        w = graph.upstream(r) - 1
        cut = torch.zeros(1, *graph.shape, dtype=torch.bool)
        cut[0, r, w] = True
        up, down = (measure(EdgeRun(lab, graph, cut, found.writes + s * step)(clean).logits) for s in (1, -1))
        slopes.append((up - down) / 2)
        told.append((gradients[r] * step[w]).sum((1, 2)))
    want, got = torch.stack(slopes), torch.stack(told)
    assert len(want) > 8
    assert float((got - want).abs().max()) < (1e-6 if exact else 5e-3) * float(want.abs().max())
    assert float((got.roll(1, 0) - want).abs().max()) > 0.1 * float(want.abs().max())  # of another reader
