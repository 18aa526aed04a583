"""Defects measured in released packages of this kind: one decisive test each, named after the defect."""

import copy
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.cli import letters
from exegete.cli.main import dispatch
from exegete.core.registry import METHODS
from exegete.core.store import open_result
from exegete.models import prefix
from exegete.models.ask import ask
from exegete.models.capture import run
from exegete.models.forward import buckets
from exegete.models.remove import Game
from exegete.models.tiny import tiny
from exegete.show.render import page
from support.saved import loaded

TEXT = "the small dog saw a bird"
TEXTS = [TEXT, "it was not good but the staff were wonderful", "a cat", "the house is on the river ."]
NASTY = "</script><img src=x onerror=alert(1)> [bold]x[/bold] [/] {{7*7}}"


def explained(family, task, method, target=None, text=TEXT, **more):
    return xg.explain(loaded(family, task), text, method, target, **{"trust": "none", **more})


def test_the_last_shorter_batch_is_kept_and_failures_are_counted():
    model = xg.load(tiny("bert", "sequence"))
    for n in range(1, 12):
        assert sorted(i for b in buckets([5] * n, 20) for i in b) == list(range(n))
    model.token_budget = 3 * 12
    table = xg.evaluate(model, [*TEXTS, ""], ["occlusion"], ["comprehensiveness"])
    score = table.trusts[0].scores[0]
    assert (score.n, score.n_failed, table.n_texts) == (4, 1, 5)
    assert len(table.failures) == 1
    assert "text 5" in table.failures[0]
    alone = [
        xg.evaluate(model, [t], ["occlusion"], ["comprehensiveness"]).trusts[0].scores[0].value for t in TEXTS
    ]
    assert abs(score.value - np.mean(alone)) < 1e-6


def test_no_result_of_one_model_passes_for_that_of_another():
    first, second = tiny("bert", "sequence"), tiny("bert", "sequence", seed=1)
    a, b, again = (xg.load(x).fingerprint for x in (first, second, tiny("bert", "sequence")))
    assert a == again != b
    model = xg.load(first)
    before = xg.explain(model, TEXT, "occlusion", trust="full")
    with torch.no_grad():
        model.module.classifier.weight[0, 0] += 1.0
    after = xg.explain(model, TEXT, "occlusion", trust="full")
    assert before.provenance.fingerprint == a != after.provenance.fingerprint
    assert not np.array_equal(before.total, after.total)
    other = tiny("bert", "sequence")[0]
    other.config.layer_norm_eps = 1e-3
    assert xg.load((other, first[1])).fingerprint != a
    told = before.provenance
    assert (told.method, told.task, told.dtype, told.family) == ("occlusion", "sequence", "float32", "bert")
    assert told.params["removal"] == "auto"
    assert told.versions.keys() == {"exegete", "torch", "transformers"}


@pytest.mark.parametrize(
    ("family", "task"), [("gpt2", "causal"), ("llama", "sequence"), ("bert", "sequence"), ("t5", "seq2seq")]
)
def test_batch_size_and_padding_do_not_change_probabilities(family, task):
    model = xg.load(tiny(family, task))
    found, answers = [], []
    for budget in (1, 50, 4096):
        model.token_budget = budget
        q = ask(model, TEXT, xg.Target(scale="prob"))
        game = Game(q, q.units("word"), "delete")
        keep = np.array([[bool(k >> i & 1) for i in range(game.n)] for k in range(2**game.n)])
        found.append(game(keep))
        slots = game.slots(keep)
        answers.append(q.argmax(np.broadcast_to(q.ids, slots.shape), slots))
    assert max(np.abs(found[0] - f).max() for f in found) < 1e-5
    assert all((answers[0] == a).all() for a in answers)


@pytest.mark.parametrize(
    ("family", "task", "target"),
    [("bert", "sequence", None), ("gpt2", "causal", " is"), ("llama", "causal", None)],
)
def test_the_parts_sum_to_the_whole(family, task, target):
    """Integrated gradients and Shapley values to f(x) - f(nothing); relevance is conserved, by its own check."""
    shapley = explained(family, task, "exact_shapley", target)
    assert abs(shapley.total.sum() - (shapley.value - shapley.base_value)) < 1e-4
    path = explained(family, task, xg.IntegratedGradients(n_steps=256), target, unit="token")
    assert abs(path.total.sum() - (path.value - path.base_value)) < 1e-2 * abs(path.value - path.base_value)
    for method in (path, explained(family, task, "lrp", target)):
        assert all(c.passed for c in method.checks), [c for c in method.checks if not c.passed]
    rough = explained(family, task, xg.IntegratedGradients(n_steps=2, tolerance=1e-6), target)
    assert [c.name for c in rough.checks if not c.passed] == ["completeness"]


def test_how_a_text_begins_is_the_models_own_and_said():
    llama, gpt2 = explained("llama", "causal", "occlusion"), explained("gpt2", "causal", "occlusion")
    assert any("'<s>' before the text" in n for n in llama.notes)
    assert any("without a beginning-of-text token" in n for n in gpt2.notes)
    model = loaded("llama", "causal")
    ids = torch.tensor([model.tokenizer(TEXT)["input_ids"]])
    assert ids[0, 0] == model.tokenizer.bos_token_id
    with torch.no_grad():
        logp = model.module(ids).logits[0, -1].log_softmax(-1)
    r = explained("llama", "causal", "occlusion", 5, scale="logprob")
    assert abs(r.value - float(logp[5])) < 1e-5


def test_a_cache_that_reads_the_prefix_twice_is_caught(monkeypatch):
    r = explained("gpt2", "causal", "occlusion", " is here")
    assert {c.name: c.passed for c in r.checks}["cached logits agree"]
    honest = prefix.read_on

    def twice(model, cache, ids, start):
        again = torch.cat([ids[:, :1], ids], 1)
        return honest(model, cache, again, start)[:, 1:]

    monkeypatch.setattr(prefix, "read_on", twice)
    long = " ".join([TEXT] * 6)
    broken = xg.explain(xg.load(tiny("gpt2")), long, "occlusion", " is here", trust="none")
    assert not {c.name: c.passed for c in broken.checks}["cached logits agree"]
    monkeypatch.undo()
    whole = xg.explain(xg.load(tiny("gpt2")), long, "occlusion", " is here", trust="none")
    assert np.abs(broken.total - whole.total).max() < 1e-4  # and its scores were not used


@pytest.mark.parametrize(
    "method", ["occlusion", "integrated_gradients", "lrp", "chefer", "conductance", "smoothgrad"]
)
def test_nothing_is_left_behind(method, monkeypatch):
    module, tokenizer = tiny("bert", "sequence")
    module.train()
    next(module.parameters()).grad = torch.ones_like(next(module.parameters()))
    model = xg.load((module, tokenizer))
    x = torch.tensor([tokenizer(TEXT)["input_ids"]])

    def seen():
        state = copy.deepcopy(module.state_dict())
        modes, kinds = [m.training for m in module.modules()], [type(m) for m in module.modules()]
        hooks = [
            len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
            for m in module.modules()
        ]
        grads = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
        own = [sorted(vars(m)) for m in module.modules()]
        module.eval()
        with torch.no_grad():
            logits = module(x).logits
        module.train()
        return logits, state, modes, kinds, hooks, grads, own, len(tokenizer)

    before = seen()
    xg.explain(model, TEXT, method, trust="full")
    _same(before, seen())
    monkeypatch.setattr(xg.Attribution, "__init__", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        xg.explain(model, TEXT, method, trust="none")
    _same(before, seen())


def _same(a, b):
    for x, y in zip(a, b):
        if isinstance(x, dict):
            assert all(torch.equal(x[k], y[k]) for k in x)
        elif isinstance(x, torch.Tensor):
            assert torch.equal(x, y)
        elif isinstance(x, list) and any(isinstance(v, torch.Tensor) for v in x):
            assert all((v is None and w is None) or torch.equal(v, w) for v, w in zip(x, y))
        else:
            assert x == y


@pytest.mark.parametrize("family", ["gpt2", "bert", "llama"])
def test_attention_under_the_default_kernel_is_right(family):
    """The pattern read under the model's own kernel is that which the eager twin returns."""
    module, tokenizer = tiny(family)
    eager = tiny(family, overrides={"attn_implementation": "eager"})[0]
    assert module.config._attn_implementation == "sdpa"
    x = torch.tensor([tokenizer(TEXT)["input_ids"]])
    with torch.no_grad():
        wanted = eager(x, output_attentions=True).attentions
    for layer, pattern in enumerate(wanted):
        got = run(module, {"input_ids": x}, read=[f"{layer}.pattern"])[f"{layer}.pattern"]
        assert got.shape == pattern.shape and float((got - pattern).abs().max()) < 1e-5


def test_linear_layers_of_another_class_are_covered():
    """GPT-2 keeps its layers as `Conv1D`. A twin with `nn.Linear` in their place gets the same relevance."""
    module, tokenizer = tiny("gpt2")
    twin = copy.deepcopy(module)
    swapped = 0
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "Conv1D":
                linear = torch.nn.Linear(child.weight.shape[0], child.weight.shape[1])
                linear.weight.data, linear.bias.data = child.weight.data.T.contiguous(), child.bias.data
                setattr(parent, name, linear)
                swapped += 1
    assert swapped == 8
    rule = xg.LRP(rule="gamma") if hasattr(xg, "LRP") else None
    for method in filter(None, ("lrp", "deep_taylor", rule)):
        a, b = (
            xg.explain(xg.load((m, tokenizer)), TEXT, method, " is", trust="none") for m in (module, twin)
        )
        assert np.abs(a.total - b.total).max() < 1e-4 * max(1.0, np.abs(b.total).max())
        told = next(n for n in a.notes if n.startswith("The rules covered"))
        covered, of = (int(w) for w in told.split() if w.isdigit())
        assert covered == of >= swapped


class _Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def hostile():
    """A model whose classes are named with markup, and results of every verb on a text of markup."""
    module, tokenizer = tiny("bert", "sequence")
    module.config.id2label = {0: NASTY, 1: "[red]b[/red]", 2: "<script>alert(2)</script>"}
    module.config._name_or_path = f"[bold]{NASTY}"
    model, method = xg.load((module, tokenizer)), "occlusion"
    text = f"the dog {NASTY} saw"
    return text, [
        xg.explain(model, text, method, 0, against=2),
        xg.compare(model, text, [method, "input_x_gradient"], 2),
        xg.evaluate(model, [text, ""], [method], ["comprehensiveness"]),
        xg.prove(model),
    ]


def test_markup_in_tokens_labels_and_names_is_text_in_pages(hostile, tmp_path):
    for r in hostile[1]:
        r = open_result(r.save(tmp_path / "r.exg"))
        for html in (page(r), r._repr_html_()):
            found = _Tags(html)
            assert "img" not in found.tags and "<img" not in html
            assert not [k for k, _ in found.attributes if k.startswith("on")]
            assert not [v for k, v in found.attributes if k in ("src", "href") and not str(v).startswith("#")]
            assert "alert(2)</script>" not in html and "49 " not in "".join(found.text).split("7*7")[0][-3:]
    assert "onerror" in "".join(_Tags(page(hostile[1][0])).text)


def test_markup_is_text_in_the_terminal(hostile, capsys, monkeypatch):
    """Marks of the terminal library too: nothing is eaten, nothing is styled, nothing raises."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")
    _, results = hostile
    for r in results:
        xg.show(r)
        out = capsys.readouterr().out
        assert "[bold]" in out or r.type in ("MetricTable", "Listing"), out
    xg.show(results[0])
    out = " ".join(capsys.readouterr().out.split())
    for words in ("[bold]x[/bold]", "[/]", "</script>", "{{7*7}}"):
        assert words in out, words


def test_markup_typed_on_the_command_line_is_text(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")
    text = "the food [bold]was[/bold] [/] not :smile: good"
    args = ["explain", text, "--method", "occlusion", "--trust", "fast", "--target", "[/red]"]
    assert letters.run(lambda: dispatch(args)) == 1
    assert "'[/red]'" in capsys.readouterr().err
    assert letters.run(lambda: dispatch(args[:-2])) == 0
    heat = re.sub(r"\[[-+][0-9.e-]+\]", "", capsys.readouterr().out)  # the numbers that stand for colours
    assert text in heat, heat


def test_pages_stay_small_and_ask_nobody():
    """512 tokens stay under two megabytes."""
    model = xg.load(tiny("gpt2", overrides={"n_positions": 600}))
    model.tokenizer.model_max_length = 600
    r = xg.explain(
        model, xg.Text(ids=tuple(range(40, 296)) * 2), "input_x_gradient", unit="token", trust="none"
    )
    html = page(r)
    assert len(r.units) == 512 and len(html.encode()) < 2_000_000
    assert "http://" not in html.replace("http://www.w3.org", "") and "https://" not in html
    assert "default-src 'none'" in html


@pytest.mark.parametrize("method", ["lime", "kernel_shap", "permutation_shapley", "occlusion"])
def test_no_input_is_evaluated_twice_nor_one_at_a_time(method, monkeypatch):
    """Four units have 16 subsets: however many samples are asked for, no more passes, and in batches."""
    model = xg.load(tiny("bert", "sequence"))
    calls = []
    forward = model.module.forward

    def counted(*args, **more):
        calls.append([tuple(row) for row in more["input_ids"].tolist()])
        return forward(*args, **more)

    monkeypatch.setattr(model.module, "forward", counted)
    kind = METHODS.get(method)
    chosen = kind.build({"n_samples": 200} if "n_samples" in kind.model_fields else {})
    r = xg.explain(model, "the dog saw it", chosen, 0, trust="none")
    rows = [row for call in calls for row in call]
    whole = max(rows.count(row) for row in set(rows))
    assert r.cost.distinct <= 16
    assert len(rows) <= 16 + 3  # and the untouched input for the self-checks
    assert whole <= 3
    assert sum(rows.count(row) > 1 for row in set(rows)) <= 1
    assert len(calls) <= 6
