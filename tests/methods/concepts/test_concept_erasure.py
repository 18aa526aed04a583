"""Erasure of a concept: exact where it is made, an edit that is saved and taken back, and no more than random labels for nothing."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from exegete.core.errors import UsageError
from exegete.core.store import open_result
from exegete.methods.concepts.concept_erasure import ConceptErasureStudy, _told
from exegete.methods.concepts.contrast import contrast
from exegete.methods.concepts.under_edits import outputs, pooled
from exegete.models.harvest import harvest, layer_sites
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.rewrite import edited, site_edits
from support.concept_texts import texts


@pytest.fixture(scope="module")
def model():
    return load("terrarium/sentiment")


@pytest.fixture(scope="module")
def found(model):
    return ConceptErasureStudy(n_random=2, n_texts=4)(model, texts())


def test_no_linear_rule_is_left_and_the_model_answers_alike(found):
    assert all(c.passed for c in found.all_checks)
    assert found.accuracy[0] > 0.9
    assert found.after.max() < 0.7
    assert found.random.min() > 0.75  # as many directions, made for random labels
    assert found.gap[1] < 0.3 * found.gap[0]
    assert found.gap[2] > 2 * found.gap[1]


def test_the_rule_that_is_tried_was_not_learned_where_the_map_was_made(model):
    """Rows that the map was made from tell nothing by the theorem, also of a map that holds for no other text."""
    study, lab = ConceptErasureStudy(layer=2), Lab(model)
    items = texts(n=30)
    found = contrast(items, "", "", lab.rng("pairs"))
    few, *rest = np.arange(3), np.arange(3, 60, 2), np.arange(4, 60, 2)
    with torch.no_grad():
        site = layer_sites(model)[3]
        made = study._erasers(lab, found, few, (site,), np.tile([1, 0], 3))  # made from six texts
        values = pooled(lab, [i.text for i in found.items], [site], made.edit)[site]
    assert made.check.passed
    assert _told(values, found, rest, lab).mean() > 0.7
    assert abs(_told(values, found, (few, few), lab).mean() - 0.5) < 0.1  # where nothing can be found


def test_the_saved_edit_does_the_same_and_is_taken_back(found, model, tmp_path):
    again = open_result(found.save(tmp_path / "e.exg"))
    lab, said = Lab(model), ["the food was good", "the food was bad"]
    with torch.no_grad():
        before = outputs(lab, said, [None]).said
        inside = outputs(lab, said, [None, site_edits(again)]).said
        with edited(model, again):
            during = outputs(lab, said, [None]).said
        after = outputs(lab, said, [None]).said
    assert np.array_equal(before, after)
    assert np.allclose(during[0], inside[1])
    assert np.abs(before[0] - during[0]).max() > 0.1


def test_in_the_running_model_the_concept_is_gone_from_the_means(model):
    """One layer: rows read in the edited model itself, all of them used to make the map."""
    found = ConceptErasureStudy(layer=1, n_random=1, n_texts=4)(model, texts(n=25))
    assert found.layer == "layer 1"
    assert len(found.sites) == 1
    site = layer_sites(model)[2]
    items = texts(n=25)
    with torch.no_grad():
        rows = pooled(Lab(model), [i.text for i in items], [site], site_edits(found))[site]
    good = np.array([i.labels[0] == "good" for i in items])
    plain = harvest(Lab(model), items, [site], "mean").values[site]
    gap, before = (np.linalg.norm(r[good].mean(0) - r[~good].mean(0)) for r in (rows, plain))
    assert gap < 0.35 * before  # three in five of these texts made the map
    assert LogisticRegression(max_iter=500).fit(plain, good).score(plain, good) == 1


def test_pooled_is_the_activation_table(model):
    items, sites = texts(n=4), layer_sites(model)[1:3]
    with torch.no_grad():
        own = pooled(Lab(model), [i.text for i in items], sites)
        table = harvest(Lab(model), items, sites, "mean")
    assert all(np.allclose(own[s], table.values[s], atol=1e-5) for s in sites)


def test_a_layer_that_there_is_not(model):
    with pytest.raises(UsageError, match="It has 4 layers"):
        ConceptErasureStudy(layer=4)(model, texts())
