"""The contract suite of studies: every registered study keeps every promise of the house.

A new study file is in this suite without being named here. `test_the_suite_can_fail` shows that a study which breaks a
promise does not get through.
"""

import copy
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from exegete.core.errors import ExegeteError, MissingNeed
from exegete.core.material import Parsed
from exegete.core.method import method_of
from exegete.core.reference import Reference
from exegete.core.registry import METHODS
from exegete.core.results.finding import Finding
from exegete.core.store import open_result
from exegete.core.target import Target
from exegete.core.techniques import techniques
from exegete.core.trust import Score
from exegete.core.value import Value
from exegete.methods.contracts.study import MATERIAL, Study
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.tiny import families, tasks
from exegete.show.render import notebook, page, terminal
from support.light import light
from support.studies import TREE, home, material, model_of, texts

ALL = {name: cls for name, cls in METHODS if issubclass(cls, Study)}
VERBS = ("attend", "lens", "trace", "patch", "circuit", "heads", "edit")
VERBS += ("probe", "pairs", "cloze", "neurons", "features", "concept", "reason", "sanity")
FAMILIES = ("attention", "mechanism", "probing", "neurons", "features", "concepts", "evaluation")
# one family of each kind that computes differently: plain, grouped queries, sandwich norms, parallel parts, routed experts,
# parts that add the residual themselves, an encoder, shared layers, encoder-decoders before and after norms
KINDS = ("gpt2", "llama", "gemma2", "gpt_neox", "mixtral", "bloom", "bert", "albert", "t5", "bart")
LONG = "the cat sat on the mat " * 100
TOO_LONG: dict[str, Any] = {
    "facts": lambda x: x.model_copy(update={"prompt": LONG + x.prompt, "paraphrases": (), "neighbours": ()}),
    "questions": lambda x: x.model_copy(update={"question": LONG}),
    "minimal": lambda x: x.model_copy(update={"good": LONG, "bad": " ".join(reversed(LONG.split()))}),
    "trees": lambda _: Parsed(
        words=TREE.words * 100, heads=TREE.heads + (0,) * 6 * 99, relations=TREE.relations * 100
    ),
}


def made(cls: type[Study], model: Model | None = None) -> Finding:
    model = model or home(cls)
    return light(cls)(model, material(model, cls))


@pytest.mark.parametrize("name", sorted(ALL))
def test_declared(name):
    """Default-constructs, round-trips through JSON, says what it is, what it costs and where it was published."""
    cls = ALL[name]
    study = cls()
    assert cls.build(study.params()) == study
    assert method_of(name) == study
    assert cls.id == name
    assert cls.family in FAMILIES
    assert cls.verb in VERBS
    assert cls.asks in ("nothing", *MATERIAL)
    assert cls.summary().endswith(".")
    assert cls.passes
    assert cls.reference.title
    assert issubclass(cls.finds, Finding)
    assert cls.finds is not Finding
    assert cls.techniques
    assert set(cls.techniques) <= {t.id for t in techniques()}
    for field, info in cls.model_fields.items():
        assert info.description, f"{name}.{field} has no description"


def everything(model: Model) -> dict[str, Any]:
    """What must be as found."""
    m = model.module
    return {
        "weights": copy.deepcopy(m.state_dict()),
        "modes": [x.training for x in m.modules()],
        "wanted": [p.requires_grad for p in m.parameters()],
        "hooks": [
            (len(x._forward_hooks), len(x._forward_pre_hooks), "forward" in x.__dict__) for x in m.modules()
        ],
        "gradients": [p.grad is None for p in m.parameters()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of what is not as found."""
    found = [k for k in ("modes", "wanted", "hooks", "gradients") if before[k] != after[k]]
    found += [] if torch.equal(before["torch"], after["torch"]) else ["torch"]
    found += [] if (before["numpy"] == after["numpy"]).all() else ["numpy"]
    return found + [k for k, v in before["weights"].items() if not torch.equal(v, after["weights"][k])]


@pytest.mark.parametrize("name", sorted(ALL))
def test_leaves_everything_as_found(name):
    model = home(ALL[name])
    model.module.train()
    before = everything(model)
    result = made(ALL[name], model)
    assert changed(before, everything(model)) == []
    assert result.checks[0].name == "model untouched"
    assert result.checks[0].passed


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("nth", [2, 5])
def test_a_failure_leaves_everything_as_found(name, nth):
    """An exception in the nth pass, wherever that is."""
    model = home(ALL[name])
    before, calls = everything(model), [0]

    def fail(*_):
        calls[0] += 1
        if calls[0] == nth:
            raise RuntimeError("injected")

    last = [m for m in model.module.modules() if isinstance(m, torch.nn.LayerNorm)][-1]
    handle = last.register_forward_pre_hook(fail)
    try:
        made(ALL[name], model)
    except RuntimeError as e:
        assert "injected" in str(e)
    finally:
        handle.remove()
    assert changed(before, everything(model)) == []


@pytest.mark.parametrize("name", sorted(ALL))
def test_repeats_and_does_not_depend_on_batching(name):
    """Same seed, same answer; one text a pass or all at once, same numbers."""
    results = []
    for budget in (4096, 4096, 16):
        model = home(ALL[name])
        model.token_budget = budget
        results.append(made(ALL[name], model))
    first, again, alone = (r.model_copy(update={"cost": type(r.cost)()}) for r in results)
    assert first == again
    apart = [f"{where}: {gap:.1e}" for where, gap in gaps(first, alone) if gap > 1e-4]
    assert not apart


def gaps(a: Any, b: Any, where: str = "") -> list[tuple[str, float]]:
    """Relative differences of every number in two values of like shape, by path."""
    if isinstance(a, Value):
        skip = {"cost", "trust", "provenance", "checks", "lede", "notes"} if isinstance(a, Finding) else set()
        fields = [f for f in type(a).model_fields if f not in skip]
        return [g for f in fields for g in gaps(getattr(a, f), getattr(b, f), f"{where}.{f}")]
    if isinstance(a, np.ndarray) and a.dtype.kind == "f":
        x, y = (v.astype(np.float64) for v in (a, b))
        x, y = np.where(np.isfinite(x), x, 0), np.where(np.isfinite(y), y, 0)
        return [(where, float(np.abs(x - y).max(initial=0) / max(1.0, np.abs(x).max(initial=0))))]
    if isinstance(a, float) and np.isfinite(a):
        return [(where, abs(a - b) / max(1.0, abs(a)))]
    if isinstance(a, dict):
        return [g for k in a for g in gaps(a[k], b[k], f"{where}.{k}")]
    if isinstance(a, tuple):
        return [g for i, (x, y) in enumerate(zip(a, b)) for g in gaps(x, y, f"{where}.{i}")]
    return []


@pytest.mark.parametrize("name", sorted(ALL))
def test_no_naked_scores(name):
    """A finding that judges or ranks has a score with chance or control, n and n_failed; it is told in words."""
    cls = ALL[name]
    r = made(cls)
    assert isinstance(r, cls.finds)
    assert r.title
    assert r.lede
    assert r.figures()
    assert r.provenance.method == name
    assert r.cost.forwards > 0 or cls.asks == "nothing"
    if cls.shows:
        return
    assert r.trust.scores
    for s in r.trust.scores:
        assert s.chance is not None or s.control is not None or s.skipped, s.name
        assert s.control is None or s.control_name, s.name
    for s in scores_of(r):
        assert s.n >= 0 and s.n_failed >= 0, s.name
        assert s.n or s.n_failed or s.skipped, s.name
        assert np.isfinite(s.value) == (s.n > 0), f"{s.name}: {s.value} of {s.n}"


def scores_of(x: Any) -> list[Score]:
    """Every score in a finding, wherever it stands."""
    if isinstance(x, Score):
        return [x]
    if isinstance(x, Value):
        return [s for f in type(x).model_fields for s in scores_of(getattr(x, f))]
    if isinstance(x, dict):
        return [s for v in x.values() for s in scores_of(v)]
    return [s for v in x for s in scores_of(v)] if isinstance(x, tuple) else []


@pytest.mark.parametrize("name", sorted(n for n, c in ALL.items() if c.asks in TOO_LONG and not c.most))
def test_what_cannot_be_read_is_not_among_what_was_scored(name):
    """An item longer than the model reads is refused, or leaves `n` as it is without it."""
    cls, model = ALL[name], home(ALL[name])
    items = material(model, cls)
    before = {(s.name, s.control_name): s.n for s in light(cls)(model, items).trust.scores}
    try:
        after = light(cls)(model, (*items, TOO_LONG[cls.asks](items[0]))).trust.scores
    except ExegeteError:
        return
    for s in after:
        assert s.n <= before.get((s.name, s.control_name), s.n), s.name


@pytest.mark.parametrize("name", sorted(ALL))
def test_saved_opened_equal_and_drawn(name, tmp_path):
    r = made(ALL[name])
    assert open_result(r.save(tmp_path / "r.exg")) == r
    assert "<html" in page(r)
    assert notebook(r)
    terminal(r)


@pytest.mark.parametrize("name", sorted(ALL))
def test_missing_needs_are_refused_before_any_work(name, monkeypatch):
    model = home(ALL[name])
    monkeypatch.setattr(type(model), "offers", frozenset())
    calls: list[int] = []
    model.module.register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(MissingNeed):
        light(ALL[name])(model, material(model, ALL[name]))
    assert not calls


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("name", sorted(ALL))
def test_runs_on_every_kind_of_family_it_claims(name, family):
    """Or refuses with a letter that says why; a model of another task is refused before any work."""
    cls = ALL[name]
    model = model_of(family)
    if model.task not in cls.tasks:
        other = next((t for t in tasks(family) if t in cls.tasks), None)
        if other is None:
            with pytest.raises(ExegeteError):
                light(cls)(model, material(model, cls))
            return
        model = model_of(family, other)
    try:
        r = made(cls, model)
    except ExegeteError as e:
        assert (name, family) in REFUSED or name in REFUSED_BY.get(family, ()), e
        return
    assert r.checks[0].passed
    assert all(c.passed for c in r.checks), [c for c in r.checks if not c.passed]


# what cannot be done, and is refused by letter
POST_NORM = (
    "self_repair",
)  # the residual passes a norm after every part: no part writes straight to the output
EDGES = ("edge_attribution_patching", "acdc", "circuit_faithfulness", "circuit_overlap", "path_patching")
# what a part reads there is no sum of what others wrote (or, in encoder-decoders, edges across the border are not described)
# units of fused, routed experts cannot be seen
UNITS = ("ffn_values", "ffn_keys", "rank_one_edit", "knowledge_neurons")
REFUSED_BY: dict[str, tuple[str, ...]] = {
    "mixtral": (*UNITS, "neuron_records", "neuron_description", "compositional", "summarize_and_score"),
    "bart": (*POST_NORM, *EDGES),
    "t5": EDGES,
    "bert": EDGES,
    "albert": EDGES,
}
# one mask cannot be answered with a word that the tiny tokenizer cuts in pieces
REFUSED: set[tuple[str, str]] = {
    (n, f) for n in ("causal_tracing", "knowledge_neurons", "laser") for f in ("bert", "albert")
}
REFUSED.add(
    ("attribution_tree", "mixtral")
)  # routing jumps while attention grows: attributions do not add up


class Sloppy(Study):
    """Breaks promises on purpose."""

    id: ClassVar[str] = "sloppy"
    asks: ClassVar[Any] = "texts"
    reference: ClassVar[Reference] = Reference(authors="", year=0, title="")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Finding:
        """A changed weight, a hook left behind."""
        with torch.no_grad():
            next(lab.model.module.parameters()).add_(1.0)
        lab.model.module.register_forward_pre_hook(lambda *_: None)
        return Finding(title="", lede="")


def test_the_suite_can_fail():
    model = home(Sloppy)
    before = everything(model)
    r = Sloppy()(model, texts(model))
    assert not r.checks[0].passed
    assert "hooks" in changed(before, everything(model))
    assert len(changed(before, everything(model))) > 1


def test_every_family_is_a_known_one():
    assert set(KINDS) <= set(families())
