"""One front door: the public names are these, each one resolves, and a misspelt one lists near ones."""

import pytest

import exegete as xg

VERBS = {
    "load",
    "explain",
    "compare",
    "evaluate",
    "open",
    "show",
    "prove",
    "forecast",
    "methods",
    "metrics",
    "study",
    "edited",
    "apply",
    "undo",
    "run",
    "read_rationales",
}
TYPES = {
    "Model", "Method", "Text", "Segment", "Target", "Site", "Result", "Attribution", "Comparison", "MetricTable",
    "Listing", "Finding", "Pair", "Fact", "Parsed",
    "Mark",
    "Marked",
    "Minimal", "Rationale", "Choice", "Trust", "Score", "Check", "Cost", "ExegeteError",
}  # fmt: skip


def test_the_public_names():
    assert set(xg.__all__) == VERBS | TYPES | {"__version__"}


@pytest.mark.parametrize("name", sorted(VERBS | TYPES))
def test_each_name_resolves_and_is_documented(name):
    thing = getattr(xg, name)
    assert thing.__name__ == name
    assert (thing.__doc__ or "").strip()


def test_methods_are_reached_by_their_class_name():
    assert xg.Occlusion.id == "occlusion"


def test_a_misspelt_name_lists_near_ones():
    with pytest.raises(AttributeError, match="explain"):
        xg.explian  # noqa: B018


def test_rooms_do_not_hide_verbs():
    """`exegete.evaluate`, `exegete.show` and `exegete.methods` are packages too; importing them leaves the verbs."""
    import exegete.evaluate.trust
    import exegete.methods
    import exegete.run.plan
    import exegete.show.render  # noqa: F401

    for name in ("evaluate", "show", "methods", "run"):
        assert callable(getattr(xg, name)), name
