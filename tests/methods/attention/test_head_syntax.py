"""Syntax of heads against planted heads and trees, loops, finite differences, and trees that mean nothing."""

import numpy as np
import pytest

from exegete.core.conllu import read_conllu
from exegete.core.errors import InputError
from exegete.core.material import Parsed
from exegete.methods.attention.head_syntax import HeadSyntaxStudy
from exegete.methods.attention.head_trees import word_tokens
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.syntax import (
    ProbeData,
    _cost,
    best_distance,
    between_words,
    fit_probe,
    pointed,
    probe_right,
    ratio_interval,
)  # fmt: skip
from support.data import shared_data
from support.planted_looks import planted_heads

STUDY = HeadSyntaxStudy(least_arcs=5, n_steps=100)


def whole_words(tokenizer) -> list[str]:
    """Words that are one token after a blank."""
    return [t[1:] for t in tokenizer.get_vocab() if t.startswith("Ġ") and t[1:].isalpha() and len(t) > 2]


def twins(tokenizer, n: int = 12) -> list[Parsed]:
    """Sentences in which the head of a word is the same word said before, at any distance; other words hang on word 0."""
    draw, words = np.random.default_rng(0), sorted(whole_words(tokenizer))
    found = []
    for _ in range(n):
        said = draw.choice(words, size=7, replace=False).tolist()
        again = draw.choice(range(1, 7), size=3, replace=False).tolist()
        heads = [-1, *[0] * 6, *again]
        relations = ["root", *["dep"] * 6, *["same"] * 3]
        found.append(
            Parsed(words=(*said, *(said[i] for i in again)), heads=tuple(heads), relations=tuple(relations))
        )
    return found


def test_the_planted_head_of_a_relation_is_found_and_beats_a_fixed_distance():
    model = planted_heads()
    r = STUDY(model, twins(model.tokenizer))
    k = r.relations.index("same")
    assert r.heads[r.best[k]] == "1.h1"  # the duplicate-token head
    assert r.way[k] == 0
    assert r.accuracy[k] == 1.0
    assert r.by_distance[k] < 0.6
    first = r.relations.index("dep")
    assert r.heads[r.best[first]] == "0.h1"  # the first-token head
    assert r.accuracy[first] == 1.0
    arcs, uas = r.trust.scores
    assert arcs.beats_chance
    assert arcs.beats_control
    assert uas.value > 0.9
    assert uas.beats_chance


def test_a_head_that_only_looks_back_does_not_beat_the_place_before():
    """Chains: every word hangs on the one before. The previous-token head is always right, and no better than a fixed distance."""
    model = planted_heads()
    words = sorted(whole_words(model.tokenizer))
    draw = np.random.default_rng(1)
    chains = [
        Parsed(
            words=tuple(draw.choice(words, 6, replace=False).tolist()),
            heads=(-1, 0, 1, 2, 3, 4),
            relations=("root", *["next"] * 5),
        )
        for _ in range(6)
    ]
    r = STUDY(model, chains)
    assert r.accuracy[0] == r.by_distance[0] == 1.0
    assert not r.trust.scores[0].beats_chance
    assert "does not beat a fixed distance" in r.lede


def test_trees_that_mean_nothing_are_not_found():
    """A head chosen on the sentences it is judged on looks good by luck; chosen on others it does not."""
    lab = load(tiny("gpt2", layers=3))
    words = sorted(whole_words(lab.tokenizer))
    draw = np.random.default_rng(2)
    trees = []
    for _ in range(20):
        heads = [-1, *[int(draw.integers(0, i)) for i in range(1, 8)]]
        labels = ["root", *draw.choice(["a", "b", "c", "d", "e", "f"], 7).tolist()]
        trees.append(
            Parsed(words=tuple(draw.choice(words, 8).tolist()), heads=tuple(heads), relations=tuple(labels))
        )
    r = HeadSyntaxStudy(least_arcs=3, n_steps=50)(lab, trees)
    lucky = np.nanmax(r.table, axis=(0, 2)).mean()  # the best of 24, chosen where it is judged
    assert lucky > r.accuracy.mean() + 0.1
    assert not (r.trust.scores[0].beats_chance and r.trust.scores[0].beats_control)


def test_attention_between_words_by_loops():
    rng = np.random.default_rng(0)
    pattern = rng.dirichlet(np.ones(6), size=(2, 6))
    groups = [[1], [2, 3], [5]]
    found = between_words(pattern, groups)
    for h in range(2):
        for i, a in enumerate(groups):
            for j, b in enumerate(groups):
                slow = np.mean([sum(pattern[h, q, k] for k in b) for q in a])
                assert found[h, i, j] == pytest.approx(slow)


def test_pointed_leaves_out_the_word_itself_and_what_is_not_seen():
    a = np.array([[[0.9, 0.1, 0.8], [0.2, 0.5, 0.9], [0.3, 0.4, 0.5]]])
    assert pointed(a, np.ones((3, 3), bool)).tolist() == [[2, 2, 1]]
    assert pointed(a, np.tril(np.ones((3, 3), bool))).tolist() == [[-1, 0, 1]]


def test_the_probe_finds_a_tree_that_one_head_holds_and_nothing_in_noise():
    rng = np.random.default_rng(0)
    trees, held, noise = [], [], []
    for _ in range(40):
        heads = [-1, *[int(rng.integers(0, i)) for i in range(1, 7)]]
        a = rng.dirichlet(np.ones(7), size=(3, 7))
        noise.append(a.copy())
        for j, i in enumerate(heads):
            if i >= 0:
                a[1, i, j] += 1.0  # head 1: heads look at their dependents
        trees.append(heads)
        held.append(a)
    w = fit_probe(ProbeData.of(held[:20], trees[:20]), 100)
    assert probe_right(w, ProbeData.of(held[20:], trees[20:])).mean() > 0.98
    assert np.argmax(np.abs(w)) == 1
    w = fit_probe(ProbeData.of(noise[:20], trees[:20]), 100)
    assert probe_right(w, ProbeData.of(noise[20:], trees[20:])).mean() < 0.4


def test_the_slope_of_the_probe_is_a_finite_difference():
    rng = np.random.default_rng(0)
    data = ProbeData.of([rng.random((2, 5, 5)), rng.random((2, 4, 4))], [[-1, 0, 0, 2, 3], [1, -1, 1, 2]])
    assert data.n == 7
    w, step = rng.normal(size=4), 1e-5
    slope = _cost(w, data)[1]
    for k in range(4):
        d = np.eye(4)[k] * step
        assert slope[k] == pytest.approx(
            (_cost(w + d, data)[0] - _cost(w - d, data)[0]) / (2 * step), rel=1e-4
        )


def test_distances_and_intervals():
    assert best_distance(np.array([3, -1, 1, 3, -1, 1, 2])) in (-1, 1)
    assert best_distance(np.array([2, 2, -1])) == 2
    low, high = ratio_interval(np.array([[1, 2], [0, 1], [3, 3], [2, 4]] * 5), np.random.default_rng(0)) or (
        0,
        0,
    )
    assert low < 0.6 < high
    assert ratio_interval(np.array([[1, 2]]), np.random.default_rng(0)) is None


@pytest.mark.parametrize("family", ["gpt2", "bert", "llama", "t5", "deberta_v2"])
def test_words_get_their_own_tokens(family):
    parsed = Parsed(
        words=("the", "house", ",", "thirsty", "isn't"), heads=(1, -1, 1, 1, 1), relations=("x",) * 5
    )
    lab = Lab(load(tiny(family)))
    encoded = lab.read([parsed.text]).encoded[0]
    groups = word_tokens(parsed, encoded.tokens)
    assert groups is not None
    text = encoded.text
    for word, group in zip(parsed.words, groups):
        assert text[encoded.tokens[group[0]].start : encoded.tokens[group[-1]].end].strip() == word
    assert word_tokens(parsed, encoded.tokens[:3]) is None  # a word without a token


def test_too_little_material_is_refused_with_a_letter():
    one = Parsed(words=("the", "cat"), heads=(1, -1), relations=("det", "root"))
    with pytest.raises(InputError, match="least_arcs"):
        STUDY(load(tiny("bert")), [one, one])


def test_real_treebank_sentences_are_read():
    """Real English is read and matched with tokens; random weights know no syntax of it."""
    trees = [
        t for t in read_conllu(shared_data("treebank/en_ewt-ud-dev.conllu"), 120) if 4 <= len(t.words) <= 20
    ][:40]
    r = HeadSyntaxStudy(least_arcs=8, n_steps=60)(load(tiny("bert", layers=2)), trees)
    assert "det" in r.relations
    assert sum(r.n) > 100
    arcs = r.trust.scores[0]
    assert arcs.n_failed + 2 * arcs.n >= len(trees) - 1
    assert not (arcs.beats_chance and arcs.beats_control)  # random weights know no syntax
