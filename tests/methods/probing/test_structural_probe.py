"""On a real treebank and a real model the tree is found in the middle layers, above every control; the lede says what is not beaten."""

import numpy as np
import pytest

from exegete.core.conllu import read_conllu
from exegete.core.errors import InputError
from exegete.core.material import Parsed
from exegete.methods.probing.structural_probe import StructuralProbe
from exegete.methods.probing.tree_profile import untrained
from exegete.methods.probing.tree_table import counting, read_table
from exegete.models.harvest import layer_sites
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.tree_probe import Training
from support.data import shared_data


def test_real_trees_are_found_above_every_control():
    trees = read_conllu(shared_data("treebank/en_ewt-ud-train-4000.conllu"), 500)
    some = [t for t in trees if 5 <= len(t.words) <= 16][:200]
    model = load(str(shared_data("models/minilm_sst2")))
    found = StructuralProbe(n_steps=80, n_seeds=1, rank=32, rate=0.01)(model, some)
    edges = found.trust.scores[0]
    assert edges.beats_chance
    assert edges.beats_control
    assert found.best[0] in (1, 2, 3, 4)  # neither the words alone nor the last layers
    assert found.values[0].max() > found.values[0, 0] > found.by_control[1, 0].max()


def test_untrained_weights_do_not_beat_the_chain():
    """The study on a tiny random model: its words say so."""
    rng = np.random.default_rng(0)
    words = [tuple(f"{'abcdefgh'[rng.integers(8)]}{rng.integers(9)}" for _ in range(6)) for _ in range(30)]
    heads = [(-1, 0, 1, 2, 3, 4), (1, 2, 3, 4, 5, -1)]
    trees = [Parsed(words=w, heads=heads[i % 2], relations=("x",) * 6) for i, w in enumerate(words)]
    found = StructuralProbe(n_steps=20, n_seeds=1, rank=4)(load(tiny("bert", "masked")), trees)
    assert found.trust.scores[0].chance == 1.0
    assert not found.trust.scores[0].beats_chance
    assert "not shown" in found.lede


def test_words_are_means_of_their_tokens_and_punctuation_does_not_count():
    lab = Lab(load(tiny("bert", "masked")))
    tree = Parsed(words=("the", "cats", "sat", "."), heads=(1, 2, -1, 2), relations=("det", "nsubj", "root", "punct"))  # fmt: skip
    assert counting(tree).tolist() == [True, True, True, False]
    table = read_table(lab, [tree] * 3, layer_sites(lab.model))
    assert {len(v[0]) for v in table.values.values()} == {4}
    assert table.gold.edges[0].tolist() == [[0, 1], [1, 2]]
    parts, notes = table.parts(np.random.default_rng(0))
    assert sorted(np.concatenate(parts)) == [0, 1, 2]
    assert "same ones" in notes[0]


def test_what_is_left_out_is_said_and_random_projections_know_no_test_sentence():
    lab = Lab(load(tiny("bert", "masked")))
    short = Parsed(words=("a", "b"), heads=(1, -1), relations=("det", "root"))
    some = [
        Parsed(words=(w, "cat", "sat"), heads=(1, 2, -1), relations=("x",) * 3)
        for w in ("a", "old", "red", "my")
    ]
    table = read_table(lab, [*some, short], layer_sites(lab.model))
    parts, notes = table.parts(np.random.default_rng(0))
    assert notes == ("1 sentences with fewer than 3 words that count were left out.",)
    x = next(iter(table.values.values()))
    one, other = (untrained(lab, parts, Training(4))(v, "distance", 0).image for v in (x, [v * 9 if i in parts[2] else v for i, v in enumerate(x)]))  # fmt: skip
    assert np.array_equal(one, other)


def test_letters():
    model = load(tiny("bert", "masked"))
    short = Parsed(words=("a", "b"), heads=(1, -1), relations=("det", "root"))
    with pytest.raises(InputError, match="3 words or more"):
        StructuralProbe()(model, [short] * 5)
    circle = Parsed(words=("a", "b", "c", "d"), heads=(1, 0, 1, -1), relations=("x",) * 4)
    with pytest.raises(InputError, match="circle"):
        StructuralProbe()(model, [circle] * 5)
