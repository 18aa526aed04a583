"""The tree on weights where it is known, heads pruned by hand, and a model in which one head is all there is."""

import numpy as np
import pytest
import torch

from exegete.core.errors import ModelError
from exegete.methods.attention.attribution_tree import AttributionTreeStudy
from exegete.methods.attention.head_orders import points
from exegete.methods.attention.head_pruning import kept, numbered
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.token_tree import Branch, Layer, grow
from exegete.terrarium.material import material

TEXTS = ["the small dog saw a bird", "a cat sat on the mat", "mary gave john a book", "the river saw the dog"]
NOW = np.arange(3)


def test_a_tree_grows_along_the_strongest_edges():
    low = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.9], [0.0, 0.0, 1.0]])
    high = np.array([[0.0, 0.5, 0.1], [3.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    tree = grow([Layer(low, NOW, NOW), Layer(high, NOW, NOW)], 0, 0.15)
    assert tree == (Branch(0, 1, 1, 0.5), Branch(1, 2, 0, 0.9))
    # 1 is out of reach where its edge is weaker than the threshold, and with it 2
    assert grow([Layer(low, NOW, NOW), Layer(high, NOW, NOW)], 0, 0.2) == ()
    assert grow([Layer(-low, NOW, NOW)], 0, 0.2) == ()


def test_a_tree_crosses_from_decoder_to_source():
    cross = np.array([[0.0, 0.0], [0.1, 0.9]])
    layer = Layer(cross, np.array([-1, 3]), np.array([0, 1]))
    assert grow([layer], 3, 0.4) == (Branch(3, 1, 0, 0.9),)


def test_heads_are_really_pruned():
    """Against hooks that put zeros where a head hands on its part."""
    lab = Lab(load(tiny("bert", "sequence")))
    module, aim = lab.model.module, lab.aim([TEXTS[0]], None)
    heads = numbered([np.zeros(4), np.zeros(4)])
    orders, sizes = np.array([[5, 0, 2, 1, 3, 4, 6, 7]]), points(8, 5)
    sites = lab.model.map.sites("pattern")
    found = kept(lab, aim, sites, orders, sizes, heads)[0]
    answer = None
    for size, p in zip(sizes, found):
        hooks = []
        for layer in (0, 1):
            out = [h for a, h in heads[orders[0, :size]] if a == layer]

            def cut(_m, args, out=tuple(out)):
                z = args[0].unflatten(-1, (4, -1)).clone()
                z[:, :, list(out)] = 0
                return (z.flatten(-2),)

            dense = module.bert.encoder.layer[layer].attention.output.dense
            hooks.append(dense.register_forward_pre_hook(cut))
        with torch.no_grad():
            truth = module(**aim.inputs).logits[0].softmax(-1)
        for h in hooks:
            h.remove()
        answer = int(truth.argmax()) if answer is None else answer
        assert p == pytest.approx(float(truth[answer]), abs=1e-6)
    assert np.ptp(found) > 1e-4


def one_head(layer: int, head: int):
    """A classifier in which only one head hands on anything."""
    module, tokenizer = tiny("bert", "sequence")
    with torch.no_grad():
        for k, block in enumerate(module.bert.encoder.layer):
            weight = block.attention.output.dense.weight
            width = weight.shape[1] // 4
            alone = weight[:, head * width : (head + 1) * width].clone()
            weight.zero_()
            if k == layer:
                weight[:, head * width : (head + 1) * width] = 20 * alone
    return load((module, tokenizer))


def test_the_only_head_there_is_is_found_and_pruned_last():
    r = AttributionTreeStudy(n_random=8)(one_head(1, 2), TEXTS)
    assert np.unravel_index(np.nanargmax(r.importance), r.importance.shape) == (1, 2)
    rest = r.importance.copy()
    rest[1, 2] = 0
    assert np.abs(rest).max() < 1e-6 < r.importance[1, 2]
    # pruning all others changes nothing, and nothing else does
    assert np.allclose(r.kept_attribution[:, :-1], r.kept_attribution[:, :1], atol=1e-6)
    assert np.abs(r.kept_attribution[:, -1] - r.kept_attribution[:, 0]).max() > 1e-4
    assert np.abs(r.kept_random[:, 4] - r.kept_random[:, 0]).max() > 1e-5
    assert all(c.passed for c in r.checks)


def test_texts_of_the_order_and_of_the_curve_are_not_the_same():
    model = load(tiny("gpt2"))
    r = AttributionTreeStudy(n_random=2)(model, TEXTS)
    assert len(r.kept_attribution) == 2
    again = AttributionTreeStudy(n_random=2)(model, [*TEXTS[:2], TEXTS[3], TEXTS[2]])
    assert np.array_equal(r.importance, again.importance)
    assert np.allclose(r.kept_attribution, again.kept_attribution[::-1], atol=1e-6)
    assert (np.triu(r.maps[0].values[0, 0], 1) == 0).all()  # nothing is owed to what cannot be seen


def test_a_model_that_jumps_is_refused():
    with pytest.raises(ModelError, match="add up"):
        AttributionTreeStudy(max_steps=33)(load(tiny("mixtral")), TEXTS[:2])


def test_on_a_trained_model_attribution_knows_which_heads_can_go():
    """On the embedded language model, least attribution first keeps more of the answer than random order."""
    model = load("terrarium/decoder")
    r = AttributionTreeStudy(n_points=4, n_random=6, max_steps=33)(model, material("texts", model.task, n=12))
    _, random, _ = r.trust.scores
    assert random.beats_chance
    assert "keeps more of the answer than random order" in r.lede
    assert r.kept_attribution.mean() - r.kept_random.mean() > 0.03
