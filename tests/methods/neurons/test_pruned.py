"""Needed contexts of a unit that fires on B when A stands within three tokens before it: exactly these two words, and no longer context."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.methods.neurons import pruned as module
from exegete.methods.neurons.neuron_description import NeuronDescription
from exegete.methods.neurons.pruned import frequent, pruned
from exegete.methods.neurons.unit_texts import Unit
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny import tiny
from exegete.ops.needed_words import merged

A, B, UNIT, REACH = 9, 17, 5, 3
Rule = Callable[[list[int], int], float]


def near(ids: list[int], i: int) -> float:
    return 4.0 * (ids[i] == B and A in ids[max(0, i - REACH) : i])


def alone(ids: list[int], i: int) -> float:
    return 4.0 * (ids[i] == B)


class Planted(nn.Module):
    """An activation function whose unit does what a rule says of the ids that the model reads."""

    def __init__(self, inner: nn.Module, rule: Rule) -> None:
        super().__init__()
        self.inner, self.rule, self.ids = inner, rule, torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        out = self.inner(x).clone()
        for row, ids in zip(out, self.ids.tolist()):
            row[:, UNIT] = torch.tensor([self.rule(ids, i) for i in range(len(ids))])
        return out


def planted(rule: Rule) -> Model:
    model = load(tiny("gpt2"))
    stack: Any = model.module
    act = Planted(stack.transformer.h[0].mlp.act, rule)
    stack.transformer.h[0].mlp.act = act
    stack.transformer.wte.register_forward_hook(lambda _, given, out: setattr(act, "ids", given[0]))
    return model


def texts(n: int = 60) -> list[Text]:
    """Random words, every third with A and, one to five tokens later, B."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(n):
        ids = [int(v) for v in rng.integers(18, 30, 12)]
        if i % 3 == 0:
            ids[5], ids[5 + 1 + i % 5] = A, B
        elif i % 3 == 1:
            ids[int(rng.integers(12))] = (A, B)[i % 2]
        found.append(Text(ids=tuple(ids)))
    return found


def fires(t: Text) -> bool:
    ids = list(t.ids or ())
    return any(near(ids, i) for i in range(len(ids)))


SITE = Unit(Site.parse("0.mlp_act"), UNIT)


def test_exactly_the_two_words_are_needed_and_the_context_is_no_longer():
    model, given = planted(near), [t for t in texts() if fires(t)]
    lab = Lab(model)
    fill = frequent(lab, texts())
    found = pruned(lab, given, SITE, 0.1, fill)
    assert len(found) == len(given) > 5
    for t, c in zip(given, found):
        ids = list(t.ids or ())
        at = ids.index(B)
        kept = ids[ids.index(A) : at + 1]
        assert c.tokens == lab.pieces(kept)
        for i in range(len(kept)):  # importance by the rule itself
            others = [f for f in fill if f != kept[i]][: module.N_FILLERS]
            left = np.median([near([*kept[:i], f, *kept[i + 1 :]], len(kept) - 1) for f in others])
            assert c.importance[i] == pytest.approx(np.clip(1 - (left - 0.1) / 3.9, 0, 1), abs=1e-6)
        assert [i for i, v in enumerate(c.importance) if v >= 0.5] == [0, len(kept) - 1]
    (only,) = merged(found)
    word, before = (lab.pieces([i])[0].strip().lower() for i in (B, A))
    assert (only.word, only.before) == (word, ((before, REACH),))


def test_a_unit_that_needs_no_context_gets_none():
    model = planted(alone)
    lab = Lab(model)
    found = pruned(lab, [t for t in texts() if fires(t)], SITE, 0.1, frequent(lab, texts()))
    assert {len(c.tokens) for c in found} == {1}
    (only,) = merged(found)
    assert only.before == ()


def test_the_study_shows_what_is_needed_and_what_it_took():
    model = planted(near)
    study = NeuronDescription(layers=(0,), units=(UNIT, 1), n_pruned=4)
    found = study(model, texts())
    word, before = (model.tokenizer.decode([i]).strip() for i in (B, A))
    assert found.needs[0][0][0].startswith(f"{word!r} with {before!r} within ")
    assert found.units[0].own[0] > 0.9
    assert "forwards" in dict(found.context)["Needed contexts"]
    assert len(found.figures()) == 2
    assert not NeuronDescription(layers=(0,), units=(UNIT, 1))(model, texts()).needs
