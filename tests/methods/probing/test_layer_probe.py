"""Layer profiles against planted labels, labels that mean nothing, theory on control tasks, and splits that never leak."""

import numpy as np
import pytest

from exegete.core.errors import InputError, UnknownName, UsageError
from exegete.core.material import Mark, Marked, Parsed
from exegete.methods.probing.layer_probe import LayerProbe
from exegete.methods.probing.layers import Prober, _split, data_of, run_seed
from exegete.methods.probing.rows import asked
from exegete.models.harvest import harvest, layer_sites
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.split import split
from exegete.show.render import page, terminal

WORDS = (
    "the",
    "cat",
    "dog",
    "bird",
    "river",
    "mat",
    "man",
    "woman",
    "saw",
    "took",
    "gave",
    "small",
    "old",
    "red",
    "in",
    "on",
    "to",
)


def sentences(n=120, seed=0, length=6):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, length)) for _ in range(n)]


def by_word(texts, label):
    """Every word labelled by `label(text index, word index, words)`."""
    found = []
    for t, text in enumerate(texts):
        words, marks, at = text.split(" "), [], 0
        for i, w in enumerate(words):
            marks.append(Mark(label=label(t, i, words), spans=((at, at + len(w)),)))
            at += len(w) + 1
        found.append(Marked(text=text, marks=tuple(marks)))
    return found


def planted(model, texts, layer=2, classes=2):
    """Words labelled by a linear function of what layer `layer` - 1 writes."""
    items = by_word(texts, lambda t, i, w: "x")
    sites = layer_sites(model)
    table = harvest(Lab(model), items, sites)
    x = table.values[sites[layer]]
    x = (x - x.mean(0)) / x.std(0)
    drawn = x @ np.random.default_rng(5).standard_normal((x.shape[1], classes))
    said = iter((drawn - drawn.mean(0)).argmax(1))
    return by_word(texts, lambda t, i, w: f"c{next(said)}"), sites


def test_planted_labels_are_found_where_they_were_planted_and_not_in_random_weights():
    model = load(tiny("bert", "masked"))
    items, _ = planted(model, sentences(200))
    r = LayerProbe(n_seeds=2)(model, items)
    assert r.score[2] > 0.95
    assert r.best == 2
    assert r.score[2] > r.score[0] + 0.05
    assert 1 <= r.centre <= 2
    twin, words, control = r.trust.scores
    assert twin.beats_chance and twin.beats_control
    assert words.beats_control and control.beats_control
    assert r.counts.sum() == 1200
    assert np.nanmax(np.abs(r.recall.mean(1) - r.score)) < 0.1
    assert "NOT" not in r.lede


def test_random_labels_are_told_no_better_than_chance_and_the_lede_says_so():
    model, rng = load(tiny("bert", "masked")), np.random.default_rng(99)
    items = by_word(sentences(100), lambda t, i, w: "ab"[rng.integers(2)])
    r = LayerProbe(n_seeds=2)(model, items)
    score = r.trust.scores[0]
    assert score.interval[0] <= max(score.chance, 0.5) + 0.02
    assert not score.beats_chance
    assert "does NOT beat" in r.lede


def test_a_probe_remembers_few_words_so_that_selectivity_is_near_zero_and_many_words_it_does_not():
    model = load(tiny("bert", "masked"))
    few = by_word(sentences(120), lambda t, i, w: "abcd"[WORDS.index(w[i]) % 4])
    r = LayerProbe(probe="mlp", n_seeds=1, pool="mean")(model, few)
    # 17 word types, told apart by the mean of their letters (cat and mat end alike): any labelling is learned by heart
    sure = 2 * (2 * 0.02 * 0.98 / 144) ** 0.5  # two standard errors between two shares of 98 % of 144 words
    assert r.score[0] > 0.98 - sure
    assert abs(r.selectivity[0]) < sure
    assert r.words_alone == pytest.approx(1)
    assert not r.trust.scores[1].beats_control
    rng = np.random.default_rng(0)
    rare = [
        Marked(
            text=f"{w} {rng.choice(WORDS)}",
            marks=(Mark(label="ab"[len(w) % 2], spans=((0, len(w)),)),),
        )
        for w in ("".join(rng.choice(list("abcdefgh"), rng.integers(3, 9))) for _ in range(200))
    ]
    r = LayerProbe(n_seeds=1)(model, rare)
    assert r.control[0] < 0.75  # held-out words were never seen: what was drawn for them cannot be known


def test_no_text_stands_in_two_parts_also_where_it_comes_twice():
    model = load(tiny("gpt2", "causal"))
    texts = sentences(30) * 3  # every text three times, each time with another label
    items = [Marked.of(t, "ab"[i // 30 % 2]) for i, t in enumerate(texts)]
    ask = asked(items, "pos", 0, 1, 1000)
    sites = layer_sites(model)
    data = data_of(harvest(Lab(model), ask.items, sites, "mean"), ask)
    assert len(set(data.group)) == 30
    for seed in range(5):
        parts, _ = _split(data, seed)
        groups = [set(data.group[p]) for p in parts]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
        assert sum(map(len, parts)) == 90
    halves = [i.model_copy(update={"group": f"pair {k % 30 // 2}"}) for k, i in enumerate(items)]
    ask = asked(halves, "pos", 0, 1, 1000)
    data = data_of(harvest(Lab(model), ask.items, sites, "mean"), ask)
    assert len(set(data.group)) == 15  # neither do different texts of one group
    found = run_seed((harvest(Lab(model), ask.items, sites, "mean"), None), sites, data, Prober("linear", 2), 0, False, lambda n: None)  # fmt: skip
    assert set(found.runs) == {"task", "control"}  # whole texts have no neighbours


def test_neighbours_labels_are_their_rows():
    items = by_word(sentences(4), lambda t, i, w: w[i])
    ask = asked(items, "pos", 0, 1, 1000)
    model = load(tiny("gpt2", "causal"))
    data = data_of(harvest(Lab(model), ask.items, layer_sites(model)), ask)
    words = [text.split() for text in sentences(4)]
    for row, (item, mark) in enumerate((t, i) for t in range(4) for i in range(6)):
        for side, step in ((data.before, -1), (data.after, 1)):
            there = 0 <= mark + step < 6
            assert (side[row] >= 0) == there
            if there:
                assert data.names[data.y[side[row]]] == words[item][mark + step]


def test_a_word_between_two_marks_parts_them():
    """Where rare labels were left out, or marks stand on some words only, the next mark is not the next word."""
    items = by_word(sentences(40), lambda t, i, w: "rare" if (t, i) == (0, 1) else "ab"[i % 2])
    ask = asked(items, "pos", 0, 2, 1000)
    model = load(tiny("gpt2", "causal"))
    data = data_of(harvest(Lab(model), ask.items, layer_sites(model)), ask)
    assert data.after[:5].tolist() == [-1, 2, 3, 4, -1]  # the rare word stood between rows 0 and 1
    assert data.before[:5].tolist() == [-1, -1, 1, 2, 3]


def test_examples_are_counted_once_however_often_they_are_held_out():
    model = load(tiny("bert", "masked"))
    items = by_word(sentences(40), lambda t, i, w: "ab"[i % 2])
    one, many = (LayerProbe(n_seeds=n)(model, items).trust.scores[0].n for n in (1, 8))
    assert one == pytest.approx(48, abs=6)  # a fifth of 240 words
    assert one < many <= 240


def test_numbers_are_read_by_ridge_and_places_in_kilometres():
    model = load(tiny("gpt2", "causal"))
    texts, site = sentences(150), layer_sites(model)[2]
    x = harvest(Lab(model), [Marked.of(t, "x") for t in texts], [site], "mean").values[site]
    planted = (x - x.mean(0)) / x.std(0) @ np.random.default_rng(5).standard_normal(x.shape[1])
    noise = (
        np.random.default_rng(6).standard_normal(150) * planted.std() / 3
    )  # so that R2 is 0.9 to who knows the rest
    r = LayerProbe(n_seeds=2)(model, [Marked.of(t, float(v)) for t, v in zip(texts, planted + noise)])
    assert r.unit == "R2" and r.probe == "ridge"
    assert r.best == 2
    low, high = r.interval[2]
    assert (
        low < 1 - 0.1 * 90 / (90 - x.shape[1]) < high
    )  # least squares from 90 texts: noise * n / (n - width) is lost
    assert high - low < 0.3
    assert r.control.max() < 0.1
    assert r.majority == pytest.approx(0, abs=1e-9)
    assert r.measures[0][1] == pytest.approx(
        6 / np.pi * np.arcsin(0.9**0.5 / 2), abs=0.1
    )  # Spearman of r2 = 0.9, both normal
    lengths = [" ".join(s.split()[: 2 + i % 5]) for i, s in enumerate(texts)]
    items = [Marked.of(t, (4.0 * len(t.split()), 10.0 * len(t))) for t in lengths]
    r = LayerProbe(n_seeds=1, places=True)(model, items)
    name, km, guess = r.measures[-1]
    assert "km" in name and km < guess
    assert len(r.measures) == 3


def test_pairs_have_their_own_baseline_and_a_treebank_is_labelled_by_its_task():
    model = load(tiny("bert", "masked"))
    rng = np.random.default_rng(0)
    trees = []
    for text in sentences(60):
        heads = [-1, *(int(rng.integers(0, i)) for i in range(1, 6))]
        relations = ["root", *("near" if i - h == 1 else "far" for i, h in enumerate(heads) if i)]
        trees.append(Parsed(words=tuple(text.split()), heads=tuple(heads), relations=tuple(relations)))
    r = LayerProbe(task="relation", n_seeds=1)(model, trees)
    assert r.level == "pair" and r.what == "dependency relation"
    assert "pair of words" in r.words_name
    assert np.isnan(r.neighbour).all()
    assert set(r.classes) == {"near", "far"}
    assert "dependency relation" in page(r)
    terminal(r)


def test_rare_classes_are_left_out_and_counted_and_many_rows_are_sampled():
    model = load(tiny("bert", "masked"))
    items = by_word(sentences(40), lambda t, i, w: "rare" if (t, i) in ((0, 0), (3, 2)) else "ab"[i % 2])
    r = LayerProbe(n_seeds=1, most_rows=120)(model, items)
    assert r.dropped == (("rare", 2),)
    assert any("too rare" in n for n in r.trust.notes)
    assert any("of 40 texts were probed" in n for n in r.trust.notes)
    assert 100 <= r.counts.sum() <= 130


def test_letters():
    model = load(tiny("bert", "masked"))
    texts = sentences(20)
    with pytest.raises(InputError, match="Fewer than two classes"):
        LayerProbe()(model, [Marked.of(t, "same") for t in texts])
    with pytest.raises(InputError, match="class names and others numbers"):
        LayerProbe()(model, [Marked.of(t, "a" if i % 2 else 1.0) for i, t in enumerate(texts)])
    with pytest.raises(InputError, match="All are the same"):
        LayerProbe()(model, [Marked.of(t, 3.0) for t in texts])
    with pytest.raises(InputError, match="texts and words"):
        LayerProbe()(model, [Marked.of(texts[0], "a"), *by_word(texts, lambda t, i, w: "b")])
    with pytest.raises(UnknownName, match="chunk"):
        LayerProbe(task="chnk")(model, [Parsed(words=("a", "b"), heads=(1, -1), relations=("x", "root"))] * 5)
    own = [Marked.of(t, "ab"[i % 2]) for i, t in enumerate(texts)]
    for name in ("feature:Number", "voice"):  # it would name what is probed, and probe something else
        with pytest.raises(UsageError, match=f"--task {name}"):
            LayerProbe(label=name)(model, own)
        with pytest.raises(UsageError, match="leave the task"):
            LayerProbe(task=name)(model, own)
    with pytest.raises(UnknownName, match="feature:NAME"):
        LayerProbe(task="featur")(model, own)
    lone = [Marked.of(texts[0], "a"), Marked.of(texts[1], "b"), *(Marked.of(t, "b") for t in texts[2:])]
    with pytest.raises(InputError, match="at least 10"):
        LayerProbe()(model, lone)
    alone = LayerProbe(min_count=1, n_seeds=6)(model, lone)
    assert alone.counts.min() == 1
    assert not any(
        "lack some class" in n for n in alone.trust.notes
    )  # splits are drawn until training has it
    apart = [*(Marked.of(t, "b") for t in texts[:12]), *(Marked.of("a cat", c) for c in "cdef")]
    ask = asked(apart, "pos", 0, 1, 1000)
    data = data_of(harvest(Lab(model), ask.items, layer_sites(model)[:1], "mean"), ask)
    assert _split(data, 0)[1] == 0
    where = set(data.y[data.group == data.group[-1]])
    lost = [
        k for k in range(200) if not where & set(data.y[split(data.group, rng=np.random.default_rng(k))[0]])
    ]
    assert 40 < len(lost) < 120  # a single draw loses them in two of five
