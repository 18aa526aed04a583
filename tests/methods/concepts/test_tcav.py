"""TCAV against planted concepts, a linear head by hand, finite differences, and 200 random concepts of a trained classifier."""

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.core.material import Mark, Marked
from exegete.core.target import Target
from exegete.methods.concepts.concept_sets import Sorted, deal, sort_texts
from exegete.methods.concepts.slopes import token_gradients
from exegete.methods.concepts.tcav import Tcav
from exegete.methods.concepts.tcav_cells import Cells, How, all_cells, judged
from exegete.methods.concepts.tcav_verdict import lede
from exegete.models.edit import Add
from exegete.models.harvest import harvest, layer_sites
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.terrarium import labelled, material


@pytest.fixture(scope="module")
def sentiment():
    return load("terrarium/sentiment")


def planted(d=16, n=80, n_random=800, seed=0):
    """Rows of a concept along axis 0, of one along axis 1, and random ones; the head reads axis 0 alone."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2 * n + n_random, d))
    values[:n, 0] += 4
    values[n : 2 * n, 1] += 4
    names = ["planted"] * n + ["orthogonal"] * n + ["random"] * n_random
    texts = sort_texts([Marked.of(f"text {i}", name) for i, name in enumerate(names)])
    gradients = np.zeros((30, d))
    gradients[:, 0] = rng.uniform(
        0.5, 2, 30
    )  # a linear head on the mean: w_0 alone, of a class of its own scale a text
    return texts, values, gradients


def board(texts, values, gradients, seed=0, n_sets=16, layers=1, fit="ridge", least=0.6, alpha=0.05):
    rng = np.random.default_rng(seed)
    dealt = deal(texts, n_sets, rng)
    cells = all_cells(dealt, [(values, gradients)] * layers, How(fit))
    judged(cells, alpha, least, rng, 999)
    return cells


@pytest.mark.parametrize("fit", ["difference", "ridge", "logistic"])
def test_the_planted_concept_is_found_and_the_orthogonal_one_is_not(fit):
    cells = board(*planted(), fit=fit)
    assert (cells.share[0, 0] == 1).all()
    assert cells.p_corrected[0, 0] < 0.05
    assert cells.stand(0.05)[:, 0].tolist() == [True, False]
    assert (cells.accuracy[:2].mean(2) > 0.9).all()  # both are told from random texts: only one is used
    assert abs(cells.vectors[0, 0, 0]) > 0.9


def test_the_effect_is_the_step_of_the_linear_head():
    texts, values, gradients = planted()
    cells = board(texts, values, gradients, fit="difference")
    step = values[texts.concepts["planted"], 0].mean() - values[texts.pool, 0].mean()
    assert cells.effect[0].mean() == pytest.approx(gradients[:, 0].mean() * step, rel=0.15)


def test_sets_share_no_text():
    texts, _, _ = planted()
    dealt = deal(texts, 8, np.random.default_rng(0))
    rows = np.concatenate(
        [dealt.concepts["planted"].ravel(), dealt.against.ravel(), *(p.ravel() for p in dealt.pairs)]
    )
    assert len(set(rows.tolist())) == len(rows)
    assert not set(dealt.against.ravel().tolist()) & set(np.concatenate(dealt.pairs).ravel().tolist())


def test_random_concepts_are_accepted_at_most_one_time_in_twenty(sentiment):
    """200 random concepts, drawn from the pool of random texts, on all layers of a trained classifier."""
    lab = Lab(sentiment)
    names = [m for m in labelled.marked("concept", 900) if m.labels[0].startswith("random")]
    texts = sort_texts([*names, Marked.of("one text of a concept", "concept")]).items[:-1]
    sites = layer_sites(sentiment)
    asked = tuple(t.text for t in material.texts("sequence", 16))
    with torch.enable_grad():
        gradients, _ = token_gradients(lab, asked, Target(label="positive", scale="logit"), sites)
    values = harvest(lab, texts, sites, "mean").values
    rng, some, single = np.random.default_rng(0), [], []
    layers = [(values[s], gradients[s]) for s in sites]
    for trial in range(200):
        rows = rng.permutation(len(texts))
        own = Sorted(texts, {"random concept": rows[:60]}, rows[60:], ())
        dealt = deal(own, 10, np.random.default_rng(trial))
        cells = all_cells(dealt, layers, How("difference"))
        judged(
            cells, 0.05, 0.0, np.random.default_rng(trial), 400
        )  # nothing is refused: the test alone must hold
        some.append(cells.stand(0.05).any())
        single.append(cells.p[0] < 0.05)

    assert np.mean(some) <= 0.05
    assert np.mean(single) <= 0.05 + 0.01


def test_sentiment_depends_on_opinion_words_and_not_on_sizes(sentiment):
    found = Tcav(n_permutations=2000)(sentiment, labelled.marked("concept", 910), "negative")
    named = dict(zip(found.concepts, found.significant.any(1)))
    assert named["positive adjective"]
    assert named["negative adjective"]
    last = found.share[:, -1]
    order = dict(zip(found.concepts, last))
    assert order["negative adjective"] == 1
    assert order["positive adjective"] < 1
    assert found.effect[found.concepts.index("negative adjective"), -1] > 0
    control = Tcav(n_permutations=2000)(sentiment, labelled.marked("concept", 910), "positive")
    assert control.share[control.concepts.index("positive adjective"), -1] == 1


def test_gradients_are_finite_differences_of_the_logit(sentiment):
    lab, texts = Lab(sentiment), ("the food was good", "we saw the small bridge and the staff was rude")
    site = layer_sites(sentiment)[2]
    goal = Target(label="positive", scale="logit")
    with torch.enable_grad():
        found, _ = token_gradients(lab, texts, goal, [site])
    v = torch.randn(found[site].shape[1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for text, gradient in zip(texts, found[site]):
            aim = lab.aim([text], goal)
            up, down = (float(lab.measure(aim, {site: Add(s * v)})) for s in (1e-2, -1e-2))
            assert (up - down) / 2e-2 == pytest.approx(
                float(gradient @ v.double().numpy()), rel=2e-2, abs=1e-3
            )


def test_a_decoder_is_asked_about_its_next_token():
    items = labelled.marked("concept", 650)
    found = Tcav(n_sets=5, n_texts=6, n_permutations=100, least_accuracy=0)(load("terrarium/decoder"), items)
    assert found.target == "what the model says next"
    assert found.n_texts == 6
    assert np.isfinite(found.effect).all()


def test_a_text_that_does_not_fit_is_counted_as_failed():
    items = list(labelled.marked("concept", 500))
    name = next(i.labels[0] for i in items if not i.labels[0].startswith("random"))
    model = load("terrarium/sentiment")
    study = Tcav(n_permutations=100, n_texts=6, n_sets=3, least_accuracy=0.0)
    found = study(model, [*items, Marked.of("good " * 3000, name)], "negative")
    assert {s.n_failed for s in found.trust.scores} == {1}
    assert found.trust.notes[1].startswith("1 texts are too long")
    plain = study(model, items, "negative")
    assert {s.n_failed for s in plain.trust.scores} == {0}
    assert np.array_equal(found.share, plain.share)


def test_letters():
    items = list(labelled.marked("concept", 130))
    with pytest.raises(InputError, match="20 are needed"):
        deal(sort_texts(items), 10, np.random.default_rng(0))
    with pytest.raises(InputError, match="no random set"):
        sort_texts([i for i in items if not i.labels[0].startswith("random")])
    with pytest.raises(InputError, match="no concept"):
        sort_texts([i for i in items if i.labels[0].startswith("random")])
    with pytest.raises(InputError, match="stretch"):
        sort_texts([Marked(text="a b", marks=(Mark(label="x", spans=((0, 1),)),))])
    few = [i for i in items if not i.labels[0].startswith("random")] + items[3:8]
    with pytest.raises(InputError, match="random texts; 12 are needed"):
        deal(sort_texts(few), 2, np.random.default_rng(0))


def test_vectors_that_tell_nothing_are_refused(sentiment):
    """Concepts drawn from the random texts themselves: no vector of theirs is worth reading."""
    random = [m for m in labelled.marked("concept", 500) if m.labels[0].startswith("random")]
    fake = [Marked.of(m.text, "nothing") if i % 5 == 0 else m for i, m in enumerate(random)]
    with pytest.raises(InputError, match="do their vectors tell"):
        Tcav(n_permutations=100)(sentiment, fake)


def test_the_sentence_says_what_moves_where_and_what_was_refused():
    """Down on average though up on most texts; nothing beside random sets; and a vector that tells nothing."""
    cells = Cells.empty(3, 2, 4, 5)
    cells.share[0], cells.effect[0] = 0.75, -0.5
    cells.p_corrected = np.array([[0.01, 0.9], [0.9, 0.9], [0.01, 0.01]])
    cells.p_effect_corrected = np.ones((3, 2))
    cells.refused = np.array([[False, False], [False, False], [True, True]])
    said = lede(cells, ("a", "b", "c"), ("layer 0", "layer 1"), "'negative'", 0.05)
    assert "'a' moves 'negative' at layer 0 by -0.5 on average, though up on 75% of the texts" in said
    assert "'b' does not stand out" in said
    assert "'c' cannot be told from random texts at any place" in said
