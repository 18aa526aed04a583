"""Formulas of units against planted ones, units that follow nothing, and concepts written out by hand."""

import dataclasses

import numpy as np
import pytest

from exegete.core.errors import InputError, UsageError
from exegete.core.material import Parsed
from exegete.core.results.formulas import Formulas
from exegete.methods.neurons import compositional
from exegete.methods.neurons.compositional import CompositionalExplanations
from exegete.methods.neurons.word_concepts import word_concepts
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.terrarium.material import trees

LIGHT = {"layers": (0,), "units": (0, 1, 2), "length": 3}
SENTENCES = trees("masked", 120)


def one(words: str, tags: str, features: tuple[str, ...] = ()) -> Parsed:
    said = tuple(words.split())
    return Parsed(
        words=said,
        heads=(-1, *[0] * (len(said) - 1)),
        relations=("root", *["dep"] * (len(said) - 1)),
        tags=tuple(tags.split()),
        features=features,
    )


def planted(monkeypatch: pytest.MonkeyPatch, items: tuple[Parsed, ...]) -> Formulas:
    """Unit 0 fires on nouns that do not follow a determiner; unit 1 is noise; unit 2 never moves. The twin is as it is."""
    real, calls = compositional.harvest, []

    def harvest(*args, **named):
        table = real(*args, **named)
        calls.append(1)
        if len(calls) > 1:
            return table
        (site,) = table.values
        values = table.values[site].copy()
        tag = [[items[i].tags[m + k] if m + k >= 0 else "" for k in (0, -1)] for i, m in zip(table.item, table.mark)]  # fmt: skip
        values[:, 0] = [here == "NOUN" and before != "DET" for here, before in tag]
        values[:, 1] = np.random.default_rng(0).normal(size=len(values))
        values[:, 2] = 3.0
        return dataclasses.replace(table, values={site: values})

    monkeypatch.setattr(compositional, "harvest", harvest)
    return CompositionalExplanations(**LIGHT)(load(tiny("bert")), items)


def test_a_planted_formula_is_recovered_and_noise_is_not_explained(monkeypatch):
    found = planted(monkeypatch, SENTENCES)
    first, noise, flat = found.units
    assert first.iou == first.searched == 1.0
    assert first.formula == "NOUN and not after DET"
    assert first.shuffled < 0.35  # chance is as high as a unit is dense: always on with nouns
    assert first.other < 0.2
    assert noise.iou < 0.15
    assert noise.searched > noise.iou  # the search alone flatters
    assert np.isnan(flat.iou)
    score = found.trust.scores[0]
    assert score.n == 2
    assert score.n_failed == 1
    assert score.value == pytest.approx((first.iou + noise.iou) / 2)
    assert score.chance == pytest.approx((first.shuffled + noise.shuffled) / 2)
    assert first.twin < 1


def test_no_sentence_is_searched_and_held_out():
    """Also where it comes twice."""
    items = (*SENTENCES[:30], *SENTENCES[:30])
    model = load(tiny("bert"))
    lab = compositional.Lab(model, 0)
    table = compositional.harvest(lab, compositional.words_of(items), ["0.mlp_act"], "max")
    (searched, held), told = CompositionalExplanations()._parts(lab, items, table)
    here, there = ({items[i].text.lower() for i in table.item[rows]} for rows in (searched, held))
    assert here
    assert there
    assert not here & there
    assert not told
    assert len(searched) + len(held) == len(table)


def test_concepts_of_words_by_hand():
    items = (
        one("the cat sat", "DET NOUN VERB", ("_", "Number=Sing", "Tense=Past|Number=Sing")),
        one("The dog", "DET NOUN", ("_", "Number=Sing")),
    )
    item, mark = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 1])
    found = word_concepts(items, item, mark, np.arange(5), 10, 1)
    on = {n: m.astype(int).tolist() for n, m in zip(found.names, found.masks)}
    assert on["NOUN"] == [0, 1, 0, 0, 1]
    assert on["after NOUN"] == [0, 0, 1, 0, 0]  # not in the next sentence
    assert on["before NOUN"] == [1, 0, 0, 1, 0]
    assert on['"the"'] == on["DET"] == on["first word"] == on["closed class"] == [1, 0, 0, 1, 0]
    assert on["last word"] == [0, 0, 1, 0, 1]
    assert on["Number=Sing"] == [0, 1, 1, 0, 1]
    assert on["Tense=Past"] == [0, 0, 1, 0, 0]
    assert on["relation root"] == [1, 0, 0, 1, 0]
    assert "after last word" not in on  # never
    some = word_concepts(items, item[1:], mark[1:], np.arange(4), 10, 2)
    assert '"the"' not in some.names  # once among these words
    assert some.masks[some.names.index("after DET")].astype(int).tolist() == [1, 0, 0, 1]


def test_letters():
    model = load(tiny("bert"))
    with pytest.raises(InputError, match="needs at least 4"):
        CompositionalExplanations()(model, SENTENCES[:2])
    with pytest.raises(UsageError, match="unit 999"):
        CompositionalExplanations(layers=(0,), units=(999,))(model, SENTENCES[:9])
    with pytest.raises(InputError, match="on at 500"):
        CompositionalExplanations(least_words=500)(model, SENTENCES[:9])
