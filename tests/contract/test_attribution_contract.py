"""The contract suite: every registered attribution method keeps every promise of the house.

A new method file is in this suite without being named here. `test_the_suite_can_fail` shows that a method which breaks a
promise does not get through.
"""

import copy
from typing import ClassVar

import numpy as np
import pytest
import torch

from exegete.core.errors import ExegeteError, MissingNeed, ModelError
from exegete.core.method import Method, method_of
from exegete.core.reference import Reference
from exegete.core.registry import METHODS
from exegete.core.store import open_result
from exegete.core.techniques import techniques
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.contracts.attribution import AttributionMethod, Scores, explain
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.question import Question
from exegete.models.tiny import families, tiny
from exegete.show.render import page, terminal

ALL = {name: cls for name, cls in METHODS if issubclass(cls, AttributionMethod)}
TEXT = "the small dog saw a bird"
# smallest settings that still exercise a method, where its defaults are made for real texts
LIGHT = {
    "n_samples": 24, "n_steps": 4, "n_ablations": 16, "max_steps": 17, "n_permutations": 4, "neighbours": 5, "draws": 1,
}  # fmt: skip


REFUSED = {("mixtral", "conductance")}  # the neurons of fused experts are not visible between modules


def light(cls: type[AttributionMethod]) -> AttributionMethod:
    """The method at its lightest."""
    return cls.build({k: v for k, v in LIGHT.items() if k in cls.model_fields})  # type: ignore[return-value]


def question(family="bert", task="sequence", target=None) -> Question:
    model = load(tiny(family, task))
    text = f"{TEXT} {model.tokenizer.mask_token}" if model.task == "masked" else TEXT
    return ask(model, text, target)


def home(cls: type[AttributionMethod]) -> Question:
    """A question the method takes: a classifier where it can, else a language model."""
    if "infill" in cls.model_fields:  # needs a language model that reads the same tokens: itself
        return question(task="masked")
    if "sequence" in cls.tasks:
        return question()
    return question("t5", None, "a bird") if "seq2seq" in cls.tasks else question("gpt2", None, "a bird")


@pytest.mark.parametrize("name", sorted(ALL))
def test_declared(name):
    """Default-constructs, round-trips through JSON, says what it is, what it costs and where it was published."""
    cls = ALL[name]
    method = cls()
    assert cls.build(method.params()) == method
    assert method_of(name) == method
    assert cls.id == name
    assert cls.family in ("perturbation", "gradient", "surrogate", "decomposition", "attention")
    assert cls.summary().endswith(".")
    assert cls.passes
    assert isinstance(cls.reference, Reference)
    assert cls.reference.title
    known = {t.id for t in techniques()}
    assert cls.techniques
    assert set(cls.techniques) <= known
    for field, info in cls.model_fields.items():
        assert info.description, f"{name}.{field} has no description"
    forwards, backwards = method.estimate(10, 1)
    assert forwards > 0 or backwards > 0


@pytest.mark.parametrize("name", sorted(ALL))
def test_leaves_everything_as_found(name):
    """Weights, hooks, modes, gradients and the random states of torch and numpy."""
    q = home(ALL[name])
    module = q.model.module
    module.train()
    before = copy.deepcopy(module.state_dict())
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    explain(light(ALL[name]), q)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert all(m.training for m in module.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("nth", [2, 4])
def test_a_failure_leaves_everything_as_found(name, nth):
    """An exception in the nth pass, wherever that is."""
    q = home(ALL[name])
    module = q.model.module
    before = copy.deepcopy(module.state_dict())
    calls = [0]

    def fail(*_):
        calls[0] += 1
        if calls[0] == nth:
            raise RuntimeError("injected")

    inner = [m for m in module.modules() if isinstance(m, torch.nn.LayerNorm)]
    target = inner[-1] if inner else list(module.modules())[-1]
    handle = target.register_forward_pre_hook(fail)
    try:
        explain(light(ALL[name]), q)
    except RuntimeError as e:
        assert "injected" in str(e)
    handle.remove()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert explain(light(ALL[name]), home(ALL[name])).checks[0].passed


@pytest.mark.parametrize("name", sorted(ALL))
def test_repeats_and_does_not_depend_on_batching(name):
    """Same seed, same answer; one input a pass or all at once, same scores."""
    results = []
    for budget in (4096, 4096, 1):
        q = home(ALL[name])
        q.model.token_budget = budget
        results.append(explain(light(ALL[name]), q))
    first, again, alone = results
    assert np.array_equal(first.total, again.total)
    scale = max(1.0, float(np.abs(first.total).max()))
    assert np.abs(first.total - alone.total).max() <= 1e-5 * scale


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("unit", ["token", "word", "sentence"])
def test_one_score_a_unit_and_checks_pass(name, unit):
    q = home(ALL[name])
    if len(q.units(unit)) > getattr(ALL[name], "most_units", len(q.units(unit))):
        with pytest.raises(ExegeteError):
            explain(light(ALL[name]), q, unit)
        return
    r = explain(light(ALL[name]), q, unit)
    assert r.total.shape == (len(q.units(unit)),)
    assert r.scores.shape == (q.n_outputs, len(q.units(unit)))
    assert np.isfinite(r.total).all()
    assert r.cost.forwards > 0
    own = {c.name: c for c in r.checks}
    assert own["model untouched"].passed
    assert r.signed or (r.total >= -1e-9).all()


@pytest.mark.parametrize("name", sorted(ALL))
def test_saved_opened_equal_and_drawn(name, tmp_path):
    r = explain(light(ALL[name]), home(ALL[name]))
    assert open_result(r.save(tmp_path / "r.exg")) == r
    assert "<html" in page(r)
    terminal(r)


@pytest.mark.parametrize("name", sorted(ALL))
def test_missing_needs_are_refused_before_any_work(name, monkeypatch):
    q = home(ALL[name])
    monkeypatch.setattr(type(q.model), "offers", frozenset())
    before = q.meter.forwards
    with pytest.raises(MissingNeed):
        light(ALL[name])(q.model, TEXT)
    assert q.meter.forwards == before


@pytest.mark.parametrize("family", families())
def test_every_method_runs_on_every_family_it_claims(family):
    """Or refuses with a letter that says why."""
    model = load(tiny(family))
    text = f"{TEXT} {model.tokenizer.mask_token}" if model.task == "masked" else TEXT
    ran = []
    for name, cls in ALL.items():
        q = ask(model, text, None if model.task == "masked" else "a bird")
        if model.task not in cls.tasks:
            with pytest.raises(ModelError):
                cls().check(model)
            continue
        try:
            r = explain(light(cls), q)
        except ModelError as e:
            assert (family, name) in REFUSED, e
            continue
        assert np.isfinite(r.total).all(), name
        assert r.checks[0].passed, name
        ran.append(name)
    assert len(ran) >= 0.8 * len(ALL)


class Sloppy(AttributionMethod):
    """Breaks promises on purpose."""

    id: ClassVar[str] = "sloppy"
    reference: ClassVar[Reference] = Reference(authors="", year=0, title="")

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """Nothing."""
        return 0, 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Random scores, and a weight changed."""
        with torch.no_grad():
            next(q.model.module.parameters()).add_(1.0)
        return Scores(total=np.full(len(units), np.nan))


def test_the_suite_can_fail():
    r = explain(Sloppy(), question())
    failed = {c.name for c in r.checks if not c.passed}
    assert {"model untouched", "scores finite"} <= failed
    assert isinstance(r.checks[0], Check)
    assert issubclass(MissingNeed, ExegeteError)
    assert issubclass(Sloppy, Method)
