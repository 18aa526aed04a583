"""Raw attention, rollout, tracing and flow: against the model's own returned attentions, all paths, and an exact solver."""

from itertools import product

import networkx as nx
import numpy as np
import pytest
import torch

from exegete.core.errors import TargetError
from exegete.core.target import Target
from exegete.methods.attention.attention_flow import AttentionFlow
from exegete.methods.attention.attention_rollout import AttentionRollout
from exegete.methods.attention.attention_tracing import AttentionTracing
from exegete.methods.attention.raw_attention import RawAttention
from exegete.methods.contracts.attribution import explain
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops import max_flow
from exegete.ops.routes import Routes, carried, double, halved, single, whole

TEXT = "the small dog saw a bird"


def question(family: str, task: str | None, target=None, layers: int = 3):
    module, tokenizer = tiny(family, task, layers=layers)
    module.set_attn_implementation("eager")
    return ask(load((module, tokenizer)), TEXT, target)


def own_attentions(q, **more) -> list[np.ndarray]:
    """Mean over heads of what the model itself returns, by another way than the tap."""
    ids = torch.tensor([q.ids[~q.dec].tolist()])
    with torch.no_grad():
        out = q.model.module.eval()(ids, output_attentions=True, **more)
    names = ("encoder_attentions", "decoder_attentions", "cross_attentions") if more else ("attentions",)
    return [np.stack([a[0].double().mean(0).numpy() for a in out[name]]) for name in names]


def mixed(a: np.ndarray) -> np.ndarray:
    return (a + np.eye(len(a))) / 2


def by_token(method, q) -> np.ndarray:
    return explain(method, q, "token", prefix=True).scores


@pytest.mark.parametrize(("family", "task"), [("bert", "sequence"), ("gpt2", None), ("llama", "sequence")])
def test_one_stack_is_a_product_of_the_matrices_that_the_model_returns(family, task):
    q = question(family, task, None if task else "a bird")
    (a,) = own_attentions(q)
    at = [0 if family == "bert" else -1] if task else [r.position or 0 for r in q.branches[0].rows]
    asked = [u.tokens[0] for u in q.units("token", True)]
    rollout = mixed(a[2]) @ mixed(a[1]) @ mixed(a[0])
    for method, matrix in (
        (AttentionRollout(), rollout),
        (AttentionTracing(), a[2] @ a[1] @ a[0]),
        (RawAttention(), a[2]),
    ):
        assert np.allclose(by_token(method, q), matrix[at][:, asked], atol=1e-6)
    assert not np.allclose(rollout, mixed(a[0]) @ mixed(a[1]) @ mixed(a[2]), atol=1e-3)  # the order matters


def test_two_stacks_by_hand():
    q = question("t5", None, "a bird", layers=2)
    dec = torch.tensor([q.ids[q.dec].tolist()])
    enc, own, across = own_attentions(q, decoder_input_ids=dec)
    source = mixed(enc[1]) @ mixed(enc[0])
    m, n = across[0].shape
    to_dec, to_enc = np.eye(m), np.zeros((m, n))
    for a, c in zip(own, across):
        to_dec, to_enc = mixed(a) @ to_dec, mixed(a) @ to_enc
        to_dec, to_enc = to_dec / 2, to_enc / 2 + c @ source / 2
    at = [r.position or 0 for r in q.branches[0].rows]
    truth = np.concatenate([to_enc, to_dec], 1)[at]
    assert np.allclose(truth.sum(1), 1)
    asked = [u.tokens[0] for u in q.units("token", True)]
    assert np.allclose(by_token(AttentionRollout(), q), truth[:, asked], atol=1e-6)


def test_a_classifier_that_reads_its_text_twice_gets_both():
    """BART's decoder reads the text one place to the right: what reaches decoder place j+1 belongs to token j."""
    q = question("bart", "sequence", layers=1)
    ids = torch.tensor([q.ids.tolist()])
    with torch.no_grad():
        out = q.model.module.eval()(ids, output_attentions=True)
    enc, own, across = (
        mixed(out.encoder_attentions[0][0].double().mean(0).numpy()),
        mixed(out.decoder_attentions[0][0].double().mean(0).numpy()),
        out.cross_attentions[0][0].double().mean(0).numpy(),
    )
    end = int(np.flatnonzero(q.ids == q.model.config.eos_token_id)[-1])
    row = across[end] @ enc / 2
    row[:-1] += own[end, 1:] / 2
    asked = [u.tokens[0] for u in q.units("token")]
    assert np.allclose(by_token(AttentionRollout(), q)[0], row[asked], atol=1e-6)


def test_carried_is_the_sum_over_all_paths():
    rng = np.random.default_rng(0)
    a = [whole(rng.random((3, 3))) for _ in range(3)]
    held = carried(single(a, True), np.eye(3))[0]
    slow = np.zeros((3, 3))
    for path in product(range(3), repeat=4):
        slow[path[0], path[3]] += np.prod([mixed(a[2 - k])[path[k], path[k + 1]] for k in range(3)])
    assert np.allclose(held, slow)
    assert np.allclose(halved(np.zeros((2, 2))), np.eye(2))  # queries that see nothing stay where they are


def networkx_flow(routes: Routes, start: np.ndarray, sink) -> float:
    graph = nx.DiGraph()
    for s in routes.steps:
        for i, j in zip(*np.nonzero(s.weights)):
            graph.add_edge((s.upper, i), (s.lower, j), capacity=float(s.weights[i, j]))
    for i in np.flatnonzero(start):
        graph.add_edge("source", (len(routes.sizes) - 1, i), capacity=float(start[i]))
    for place in sink:
        graph.add_edge(place, "sink")  # no capacity: no limit
    return float(nx.maximum_flow_value(graph, "source", "sink"))


def random_routes(rng, two: bool) -> Routes:
    def draw(n, m):
        return whole(rng.random((n, m)) ** 6)

    if two:
        return double(
            [draw(4, 4) for _ in range(2)],
            [draw(3, 3) for _ in range(2)],
            [draw(3, 4) for _ in range(2)],
            True,
        )
    return single([np.tril(draw(5, 5)) + 1e-3 * np.eye(5) for _ in range(3)], True)


@pytest.mark.parametrize("two", [False, True])
def test_flows_are_those_of_an_exact_solver(two):
    rng = np.random.default_rng(1)
    for _ in range(4):
        routes = random_routes(rng, two)
        start = whole(rng.random(routes.sizes[-1]))
        sinks = [[(level, i)] for level in routes.inputs for i in range(routes.sizes[level])]
        sinks.append([(0, 0), (0, 2)])
        found = max_flow.max_flows(routes, start, sinks)
        truth = [networkx_flow(routes, start, s) for s in sinks]
        assert np.allclose(found.values, truth, atol=1e-7)
        assert found.lost == found.gap == 0
        assert np.ptp(found.values) > 0.01
        alone = carried(routes, start[None])  # rollout is one of the flows, so it is never larger
        assert all(alone[s[0][0]][0, s[0][1]] <= v + 1e-7 for s, v in zip(sinks[:-1], found.values))


def test_a_flow_that_is_not_the_largest_fails_its_proof(monkeypatch):
    class Less:
        def __init__(self, solved):
            self.flow, self.flow_value = solved.flow * 0, 0

    solver = max_flow.maximum_flow
    routes = random_routes(np.random.default_rng(1), False)
    monkeypatch.setattr(max_flow, "maximum_flow", lambda *a: Less(solver(*a)))
    assert max_flow.max_flows(routes, np.eye(5)[4], [[(0, 0)]]).gap > 0.01


def test_flow_of_a_model_is_that_of_its_own_attentions():
    q = question("gpt2", None, "a")
    (a,) = own_attentions(q)
    routes, start = single(list(a), True), np.eye(len(q.ids))[-1]
    r = explain(AttentionFlow(), q, "word")
    truth = [networkx_flow(routes, start, [(0, i) for i in u.tokens]) for u in q.units("word")]
    assert np.allclose(r.total, truth, atol=1e-6)
    assert all(c.passed for c in r.checks)


def test_what_no_route_reaches_has_no_influence():
    """Two layers with a window of two tokens reach two tokens back: the rest gets 0, and replacing it changes nothing."""
    module, tokenizer = tiny("mistral", layers=2)
    module.config.sliding_window = 2
    q = ask(load((module, tokenizer)), TEXT, "a")
    for method in (AttentionRollout(), AttentionFlow()):
        scores = explain(method, q, "token").scores[0]
        assert (scores > 0).sum() == 3
        for unit, score in zip(q.units("token"), scores):
            other = q.ids.copy()
            other[list(unit.tokens)] = 20
            moved = abs(float(q.ask(other[None])[0, 0] - q.value()[0]))
            assert (moved > 1e-6) == (score > 0)


def test_a_contrast_of_continuations_is_refused():
    model = load(tiny("gpt2"))
    q = ask(model, TEXT, Target(label="a bird", against="the small dog"))
    with pytest.raises(TargetError, match="two passes"):
        explain(AttentionRollout(), q)


def test_a_saturated_flow_says_that_it_orders_nothing():
    r = explain(AttentionFlow(), question("t5", None, "a bird", layers=2))
    assert any("does not order" in n for n in r.notes)
