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
    good = Score(name="comp", value=0.5, chance=0.1, control=0.2, control_name="random weights", n=9)
    assert good.verdict == "beats chance; beats random weights" and good.standing == "good"
    bad = Score(name="suff", value=0.5, better="lower", chance=0.4, n=9)
    assert "does NOT beat chance" in bad.verdict
    wide = Score(name="comp", value=0.5, interval=(0.05, 0.9), chance=0.1)
    assert wide.beats_chance is False, "over a set the whole interval must lie beyond chance"
    assert "too big" in Score(name="x", value=1, skipped="too big").verdict


def test_one_item_without_interval_and_percentile_has_no_verdict():
    """One text that 128 people agree on shows nothing of other texts, however far above chance it lies."""
    one = Score(name="annotator 128", value=1.0, chance=0.2, control=0.3, control_name="dealt marks", n=1)
    assert one.too_few and one.standing == "unknown" and one.lost == ()
    assert (
        one.verdict == "too few to tell (n 1): one item does not show whether it beats chance or dealt marks"
    )
    below = one.model_copy(update={"value": 0.1})
    assert below.standing == "unknown" and "NOT" not in below.verdict
    for known in ({"n": 2}, {"interval": (0.9, 1.0)}, {"percentile": 99.0}, {"over_chance": (0.5, 0.9)}):
        more = one.model_copy(update=known)
        assert more.standing == "good" and more.verdict.startswith("beats chance"), known
    assert one.model_copy(update={"percentile": 60.0}).lost == ("chance",)


def test_the_interval_that_decides_is_said():
    """An interval of values that holds chance, and differences that all lie above it; and the reverse."""
    wide = Score(
        name="comp", value=0.736, interval=(0.472, 0.906), chance=0.52, over_chance=(0.02, 0.4), control=0.7,
        control_name="random weights", over_control=(-0.1, 0.2), n=12,
    )  # fmt: skip
    assert wide.verdict == (
        "beats chance (by 0.22, 0.02 to 0.4, item by item); "
        "does NOT beat random weights (lead 0.036, -0.1 to 0.2, item by item)"
    )
    lower = Score(
        name="suff",
        value=0.1,
        better="lower",
        interval=(0.0, 0.6),
        chance=0.3,
        over_chance=(-0.3, -0.05),
        n=12,
    )
    assert lower.verdict == "beats chance (by 0.2, 0.05 to 0.3, item by item)"
    others = lower.model_copy(update={"chance": 0.9})  # chance is of fewer items: no middle is told
    assert others.verdict == "beats chance (by 0.05 to 0.3, item by item)"


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
