"""Rankings of neurons where three planted ones carry the label and one is a copy; what is judged, and that it can fail."""

import numpy as np
import pytest

from exegete.core.errors import InputError, UsageError
from exegete.core.material import Marked
from exegete.core.site import Site
from exegete.methods.neurons.examples import Examples, Places, gather, marked_of
from exegete.methods.neurons.gaussian_probe import GaussianProbe
from exegete.methods.neurons.judged import judge, scores
from exegete.methods.neurons.linguistic_correlation import LinguisticCorrelation
from exegete.methods.neurons.probeless import Probeless
from exegete.methods.neurons.rankings import by_greed, by_means, by_variance, by_weights
from exegete.methods.neurons.sparse_probe import SparseProbe
from exegete.models.harvest import sites_at
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.split import split
from exegete.terrarium.labelled import marked
from exegete.terrarium.material import trees

PLANTED, COPY = (3, 11, 17), 5


def examples(copy=False, seed=0, n=1500, dim=24, strength=3.0):
    """Four classes in neurons 3, 11 and 17; with `copy`, 5 is a noisy copy of 3 and 17 says less."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    x = rng.normal(size=(n, dim))
    x[:, 3] += strength * np.array([0, 1, 0, 1])[y]
    x[:, 11] += strength * np.array([0, 0, 1, 1])[y]
    x[:, 17] += (0.4 if copy else 1.0) * strength * np.array([1, 0, 0, 1])[y]
    if copy:
        x[:, COPY] = x[:, 3] + 0.05 * rng.normal(size=n)
    item = np.arange(n) // 5
    train, choose, test = split(item, (0.5, 0.25, 0.25), rng)
    parts = train, choose, test
    places = Places((Site("resid_post", layer=2),), np.zeros(dim, dtype=np.int64), np.arange(dim))
    words = tuple(f"w{i}" for i in rng.integers(0, 40, n))
    names = ("a", "b", "c", "d")
    mean, scale = x[train].mean(0), x[train].std(0)
    return Examples(
        places, (x - mean) / scale, y, names, words, item, np.zeros(n, np.int64), parts, mean, scale, 0
    )


def orders(ex):
    """Every ranking that looks at labels."""
    lab = Lab(load(tiny("gpt2")))
    return {
        "probeless": by_means(ex).order,
        "linear": by_weights(ex).order,
        "gaussian": by_greed(ex, 6).order,
        "sparse": SparseProbe(largest=4).rank(lab, (), ex).order,
    }


@pytest.mark.parametrize("seed", range(3))
def test_planted_neurons_come_first(seed):
    for name, order in orders(examples(seed=seed)).items():
        assert set(order[:3].tolist()) == set(PLANTED), name
        assert sorted(order.tolist()) == list(range(24)), name


def test_without_labels_they_do_not():
    """What looks at no label cannot find them, and labels that nothing carries put nothing first."""
    ex = examples()
    assert set(by_variance(ex).order[:3].tolist()) == set(PLANTED)  # here what carries labels also moves most
    nothing = examples(strength=0.0)
    for name, order in orders(nothing).items():
        assert set(order[:3].tolist()) != set(PLANTED), name


def test_greed_skips_a_copy_and_probeless_does_not():
    ex = examples(copy=True)
    first = by_means(ex).order[:3].tolist()
    assert {3, COPY} <= set(first)
    greedy = by_greed(ex, 4).order[:3].tolist()
    assert len({3, COPY} & set(greedy)) == 1
    assert {11, 17} <= set(greedy)


def test_a_good_order_is_judged_good_and_a_reversed_one_bad():
    ex = examples()
    order = by_means(ex).order
    rng = np.random.default_rng(0)
    good = judge(ex, order, (ex, order[::-1]), 3, 10, np.random.default_rng(0))
    bad = judge(ex, order[::-1], None, 3, 10, rng)
    assert all(s.beats_control for s in scores(ex, good, 0, ""))
    told = scores(ex, bad, 0, "too large")
    assert told[0].beats_control is False
    assert told[2].skipped == "too large"
    assert told[2].control is None
    assert good.curves.top[2] == bad.curves.bottom[2]  # the last of the one are the first of the other
    k = good.curves.k.tolist()
    assert good.curves.top[k.index(3)] > 0.85
    assert abs(good.curves.bottom[k.index(3)] - 0.25) < 0.08


def test_a_probe_that_remembers_words_has_no_selectivity():
    """Neurons that name the word let a probe tell any label of words, also a random one."""
    ex = examples(strength=0.0, dim=60)
    types = sorted(set(ex.words))
    label = {w: i % 4 for i, w in enumerate(types)}
    y = np.array([label[w] for w in ex.words])
    x = ex.x.copy()
    x[:, :40] = 4.0 * np.eye(40)[[types.index(w) for w in ex.words]]
    told = judge(
        Examples(**{**vars(ex), "x": x, "y": y}), np.arange(60), None, 40, 5, np.random.default_rng(0)
    )
    at = told.curves.k.tolist().index(40)
    assert told.curves.top[at] > 0.99
    assert told.curves.remembered[at] > 0.99


@pytest.fixture(scope="module")
def encoder():
    return load("terrarium/encoder")


LIGHT = {"layers": (1,), "n_random": 4}


@pytest.mark.parametrize(
    "study",
    [
        Probeless(**LIGHT),
        LinguisticCorrelation(**LIGHT, l1=0.02),
        GaussianProbe(**LIGHT, n_greedy=10),
        SparseProbe(**LIGHT, largest=4),
    ],
    ids=lambda s: s.id,
)
def test_parts_of_speech_on_a_trained_model(encoder, study):
    """A trained model beats its untrained twin and random neurons, and the finding says what it measured."""
    found = study(encoder, marked("word", 120))
    assert found.trust.scores[-1].n > 100
    by = {s.name: s for s in found.trust.scores}
    twin = next(s for name, s in by.items() if name.endswith("trained against untrained"))
    assert twin.beats_control
    assert twin.beats_chance
    assert len(found.ranked.names) == 128
    assert found.ranked.layer.tolist() == [1] * 128
    first = next(s for name, s in by.items() if name == "accuracy of a probe of the first 10 neurons")
    assert f"{first.value:.2f}" in found.lede
    assert ("does not beat" in found.lede) == any(s.beats_control is False for s in found.trust.scores[-4:])


def test_neurons_of_the_feed_forward_part(encoder):
    found = Probeless(site="mlp_act", layers=(0, 2), n_random=3)(encoder, marked("word", 60))
    assert len(found.ranked.names) == 1024
    assert set(found.ranked.layer.tolist()) == {0, 2}
    assert found.ranked.names[0].split("[")[0] in ("0.mlp_act", "2.mlp_act")


def test_a_treebank_is_read_by_its_tags(encoder):
    assert marked_of(trees("masked", 3))[0].labels == trees("masked", 3)[0].tags
    found = Probeless(layers=(0,), n_random=3)(encoder, trees("masked", 40))
    assert "NOUN" in found.classes


def test_columns_are_the_sites_own_numbers(encoder):
    """A column, put back to scale, is what the site gives; names say which."""
    lab = Lab(encoder)
    items = marked("word", 30)
    ex = gather(lab, items, sites_at(encoder, "resid_post", (2,)))
    row = int(ex.parts[2][0])
    item = items[ex.item[row]]
    seen = lab.run(lab.read([item.text]).inputs, [Site("resid_post", layer=2)])
    place = lab.read([item.text]).encoded[0]
    end = item.marks[ex.mark[row]].spans[0][1]
    token = max(i for i, t in enumerate(place.tokens) if 0 <= t.start < end)
    values = seen[Site("resid_post", layer=2)][0, token].numpy()
    assert np.allclose(ex.x[row] * ex.scale + ex.mean, values, atol=1e-4)
    assert ex.places.name(7) == "2.resid_post[u7]"
    assert not set(ex.item[ex.parts[0]]) & set(ex.item[ex.parts[2]])


def test_letters(encoder):
    with pytest.raises(UsageError, match="layer 9"):
        Probeless(layers=(9,))(encoder, marked("word", 10))
    with pytest.raises(InputError, match="classes"):
        Probeless()(encoder, [Marked.of(f"the cat {i}", "a" if i else "b") for i in range(5)])
    with pytest.raises(InputError, match="number"):
        Probeless()(encoder, marked("number", 20))
