"""Cascading randomisation: what never looks is flagged, what looks is not, and the groups of weights are every weight once."""

from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, UsageError
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.registry import METHODS
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.evaluate.sanity.cascading_randomisation import CascadingRandomisation, _merged, cascade, groups
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import Scores
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.planted import additive, some_ids

TEXTS = ["the food was good but the staff were rude", "we sat on the mat and the cat was big", "he is at a lake now", "go to the river and drink"]  # fmt: skip


@pytest.fixture(autouse=True)
def planted():
    """Three methods that never look at the model, for the length of a test."""
    METHODS.load()
    before = dict(METHODS._things)

    @register
    class Lengths(Occlusion):
        """Scores a unit by its length: an edge detector of texts."""

        id: ClassVar[str] = "lengths"
        reference: ClassVar[Reference] = Reference(authors="", year=2000, title="lengths")

        def attribute(self, q, units):
            return Scores(total=np.array([len(u.text) + i / 100 for i, u in enumerate(units)]))

    @register
    class Flat(Occlusion):
        """Gives every unit the same score."""

        id: ClassVar[str] = "flat"
        reference: ClassVar[Reference] = Reference(authors="", year=2000, title="flat")

        def attribute(self, q, units):
            return Scores(total=np.ones(len(units)))

    @register
    class Short(Lengths):
        """Scores a unit by its length, and fails on texts of many words."""

        id: ClassVar[str] = "short"
        reference: ClassVar[Reference] = Reference(authors="", year=2000, title="short")

        def attribute(self, q, units):
            if len(units) > 9:
                raise InputError("short", "too long", "short")
            return super().attribute(q, units)

    @register
    class Dice(Occlusion):
        """Random scores that its seed throws."""

        id: ClassVar[str] = "dice"
        reference: ClassVar[Reference] = Reference(authors="", year=2000, title="dice")

        def attribute(self, q, units):
            return Scores(total=np.random.default_rng([self.seed, len(units)]).normal(size=len(units)))

    yield
    METHODS._things = before


@pytest.fixture(scope="module")
def model():
    return load(tiny("bert", "sequence"))


def test_what_never_looks_is_flagged_and_what_looks_is_not(model):
    found = CascadingRandomisation(explainers=("lengths", "occlusion", "flat", "dice"), seed=3)(model, TEXTS)
    assert found.methods == ("lengths", "occlusion", "flat", "dice")
    np.testing.assert_allclose(found.kept[0], 1)
    assert found.flagged == (True, False, False, True)
    blind, good, flat, luck = found.trust.scores
    assert blind.value == pytest.approx(0, abs=1e-9)
    assert not blind.beats_chance
    assert good.beats_chance
    assert good.beats_control
    assert good.control == pytest.approx(0, abs=1e-9)  # no seed, nothing lost by another
    assert luck.value == pytest.approx(0, abs=1e-9)  # the same throw for every model
    assert luck.control > 0.5  # and another throw for another seed
    assert np.isnan(flat.value)
    assert (flat.n, flat.n_failed) == (0, len(TEXTS))
    assert "lengths, dice stay more alike" in found.lede
    assert "flat gives no order" in found.lede
    assert found.kept[1, 0] == 1
    assert found.kept[1, -1] < 0.9


def test_the_truth_of_an_additive_model_moves_to_other_tokens():
    """Occlusion of the additive model is its table; permuting the table permutes the scores, and no more than that."""
    model = additive()
    texts = [Text(ids=some_ids(model, 8, s)) for s in range(6)]
    twin = next(cascade(model, [("table", ("table.weight",))], 5))
    table, other = (m.module.get_parameter("table.weight").detach().numpy()[:, 0] for m in (model, twin))
    np.testing.assert_allclose(np.sort(table), np.sort(other))
    for t in texts:
        a = Occlusion(removal="delete")(twin, t, Target(label="yes", scale="logit"), unit="token")
        np.testing.assert_allclose(a.total, other[list(t.ids or ())], atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "bert", "albert", "t5", "mixtral", "bart"])
def test_groups_are_every_weight_once_from_the_output_down(family):
    model = load(tiny(family))
    found = groups(model)
    names = [n for _, group in found for n in group]
    assert sorted(names) == sorted(n for n, _ in model.module.named_parameters())
    assert found[-1][0] == "embeddings"
    layers = [name for name, _ in found if "layer" in name]
    assert layers
    for stack in ("", "dec", "enc"):
        own = [int(n.split()[-1]) for n in layers if n.startswith(stack or "layer")]
        assert own == sorted(own, reverse=True)


def test_each_step_goes_on_from_the_last_and_the_model_stays(model):
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    steps = groups(model)
    changed: list[set[str]] = []
    for twin in cascade(model, steps, 0):
        now = twin.module.state_dict()
        changed.append({k for k in before if not torch.equal(before[k], now[k])})
    for smaller, larger in pairwise(changed):
        assert smaller < larger
    assert all(torch.equal(before[k], v) for k, v in model.module.state_dict().items())
    assert any("word_embeddings" in k for k in changed[-1] - changed[-2])
    assert not any("embeddings" in k for k in changed[0])


def test_few_steps_hold_all_weights(model):
    steps = _merged(groups(model), 2)
    assert len(steps) == 2
    assert sum(len(n) for _, n in steps) == sum(len(n) for _, n in groups(model))


def test_random_orders_are_what_they_are_said_to_be(model):
    """Mean rank correlation of random orders has standard deviation 1 / sqrt(T (U - 1))."""
    texts = [Text(ids=some_ids(additive(), 10, s)) for s in range(4)]
    found = CascadingRandomisation(explainers=("lengths",), n_random=4000, unit="token")(
        additive_bert(), texts
    )
    assert found.random[1] == pytest.approx(1.96 / (4 * 9) ** 0.5, rel=0.1)
    assert found.random[0] == pytest.approx(-found.random[1], abs=0.05)


def additive_bert():
    return load(tiny("bert", "sequence"))


def test_stretches_give_the_whole_with_methods_that_fail_or_have_no_order(model):
    study = CascadingRandomisation(explainers=("lengths", "flat", "short"), n_steps=2, seed=3)
    items, lab = study.items([*TEXTS, "food"]), Lab(model)
    whole = study(model, items)
    parts = [p for some in (items[:1], items[1:]) for p in study.work(lab, some, Target())]
    found = study.merge(lab, items, parts, Target(), n_failed=1)
    np.testing.assert_allclose(found.kept, whole.kept)
    assert found.random == whole.random and found.flagged == whole.flagged == (True, False, True)
    # one long text, explained once, under another seed, and after each of two steps of two draws
    assert found.trust.notes[1:] == whole.trust.notes[1:] == ("short: too long (6 times)",)
    assert (
        [s.n_failed for s in found.trust.scores] == [s.n_failed + 1 for s in whole.trust.scores] == [1, 5, 2]
    )


def test_letters(model):
    with pytest.raises(UsageError, match="does not score the units"):
        CascadingRandomisation(explainers=("logit_lens",))(model, TEXTS)
    with pytest.raises(InputError, match="None has two"):
        CascadingRandomisation(explainers=("occlusion",))(model, ["food"])
