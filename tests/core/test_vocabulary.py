"""Targets, requests, trust words, registry, seeds, letters."""

import pytest

from exegete.core import errors
from exegete.core.method import Method, method_of
from exegete.core.registry import Registry
from exegete.core.request import Segment, Text
from exegete.core.seed import derive
from exegete.core.target import Target
from exegete.core.trust import Check, Cost, Score


def test_targets_from_what_people_write():
    assert Target.of(None) == Target()
    assert Target.of("positive").label == "positive"
    assert Target.of(2, against="bad").against == "bad"
    assert Target.of("entropy").scale == "entropy"
    assert Target.of("generated").kind == "generated"
    assert Target.of(Target(label="a"), scale="prob") == Target(label="a", scale="prob")
    with pytest.raises(errors.UsageError, match="float"):
        Target.of(1.5)  # type: ignore[arg-type]


def test_requests_from_what_people_write():
    assert Text.of("hi") == Text(text="hi")
    assert Text.of([1, 2]).ids == (1, 2)
    assert Text.of([{"role": "user", "content": "hi"}]).messages == (Segment(text="hi", role="user"),)
    for wrong in (3, [], [{"role": "user"}], [1.5]):
        with pytest.raises(errors.InputError):
            Text.of(wrong)  # type: ignore[arg-type]
    with pytest.raises(errors.InputError, match="exactly one"):
        Text(text="a", ids=(1,))


def test_a_score_says_whether_it_beats_chance_and_control():
    good = Score(name="comp", value=0.5, chance=0.1, control=0.2, control_name="random weights")
    assert good.verdict == "beats chance; beats random weights"
    bad = Score(name="suff", value=0.5, better="lower", chance=0.4)
    assert "does NOT beat chance" in bad.verdict
    wide = Score(name="comp", value=0.5, interval=(0.05, 0.9), chance=0.1)
    assert wide.beats_chance is False, "over a set the whole interval must lie beyond chance"
    assert "too big" in Score(name="x", value=1, skipped="too big").verdict


def test_where_nothing_can_stand_out_the_score_says_so():
    tied = Score(name="suff", value=0.0, better="lower", chance=0.5, percentile=92.0, crowd=16.0, control=0.6)
    assert tied.undecided
    assert tied.beats_chance is None
    assert "16 % of them: too short to tell" in tied.verdict
    clear = Score(name="suff", value=0.0, better="lower", chance=0.5, percentile=99.0, crowd=2.0)
    assert clear.beats_chance is True


def test_a_check_fails_on_nan():
    assert not Check.at_most("gap", float("nan"), 1).passed
    assert Check.at_most("gap", 1.0, 1.0).passed


def test_costs_add_and_subtract():
    a, b = Cost(forwards=3, tokens=7, seconds=1.0), Cost(forwards=1, backwards=2)
    assert (a + b) - b == a
    assert str(Cost(forwards=1, tokens=1000, seconds=0.5)) == "1 forward, 1,000 tokens, 0.5 s"
    assert str(Cost(forwards=1, tokens=1000)) == "1 forward, 1,000 tokens"  # no time taken is not "0 s"


def test_registry_finds_lists_near_and_refuses_doubles():
    book: Registry[type] = Registry("thing", ())
    book.add("occlusion", int)
    book.add("occlusion", int)
    with pytest.raises(errors.ExegeteError, match="already"):
        book.add("occlusion", str)
    with pytest.raises(errors.UnknownName, match="Did you mean occlusion"):
        book.get("oclusion")


def test_a_method_is_built_from_flags_or_refused_by_field():
    m = method_of("occlusion", {"removal": "pad"})
    assert type(m).build(m.params()) == m
    with pytest.raises(errors.UsageError, match="removal"):
        method_of("occlusion", {"removl": "pad"})
    with pytest.raises(errors.UsageError, match="draws"):
        method_of("occlusion", {"draws": 0})
    with pytest.raises(errors.UnknownName, match="occlusion"):
        method_of("oclusion")


def test_missing_needs_are_refused_before_work():
    class Hungry(Method):
        id = "hungry"
        needs = ("checkpoints",)

    with pytest.raises(errors.MissingNeed, match="checkpoints"):
        Hungry().require({"text"}, "a model")


def test_seeds_depend_on_every_name_and_on_nothing_else():
    assert derive(0, "a") == derive(0, "a") != derive(0, "b") != derive(1, "a")
    assert derive(0, "a", "b") != derive(0, "ab")


@pytest.mark.parametrize("name", ["integrated-gradients", "IntegratedGradients", "integratd_gradients"])
def test_near_names_ignore_case_and_dashes(name):
    assert errors.near(name, ["integrated_gradients", "lime"])[0] == "integrated_gradients"


def test_a_look_up_that_failed_is_not_taken_for_a_whole_one():
    book: Registry[type] = Registry("thing", ("no_such_package_anywhere",))
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            book.ids()
