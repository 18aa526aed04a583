"""Known layers, trees, heads and facts are what they say, by interventions; what finds nothing does not score."""

from random import Random

import numpy as np
import pytest
import torch

from exegete.core.trust import Cost
from exegete.evaluate.truth.cloze_truths import PEOPLE, TRUTHS
from exegete.evaluate.truth.known_layer import first_layer, layer_row
from exegete.evaluate.truth.planted_facts import Holds, bigrams, carried, knows
from exegete.evaluate.truth.planted_impact import N_PLACES, heads_of, read_sentences, reader
from exegete.evaluate.truth.planted_layers import BACKS, KINDS, drawn, kind_before, layered, pronoun_marks
from exegete.evaluate.truth.planted_trees import N_TREES, N_WORDS, NAMES, forest, sentences, tree_model
from exegete.evaluate.truth.probing_truths import PROPERTIES
from exegete.evaluate.truth.probing_truths import TRUTHS as PROBING
from exegete.methods.probing.layer_probe import LayerProbe
from exegete.models.randomise import randomised
from exegete.ops.trees import tree_metrics

ROUNDING = 1e-6


def layers_of(model, text):
    """Residuals [layer, tok, width], the embeddings first, and the logits [tok, vocabulary]."""
    ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = model.module(input_ids=ids, output_hidden_states=True)
    return torch.stack(out.hidden_states)[:, 0], out.logits[0]


def first_said(model, text):
    """The likeliest next word."""
    return model.tokenizer.convert_ids_to_tokens(int(layers_of(model, text)[1][-1].argmax()))


@pytest.mark.parametrize("back", BACKS)
def test_a_word_before_is_absent_below_its_layer_but_for_rounding_and_there_from_it_on(back):
    words = drawn(Random(back))
    at = 7
    own = kind_before(words, at, back)
    same = [next(w for w in KINDS[own] if w != words[at - back])]
    other = [next(iter(k)) for name, k in KINDS.items() if name != own]
    rows = [layers_of(layered(), " ".join(words))[0][:, at + 1]]
    for (w,) in (same, other):
        changed = [*words[: at - back], w, *words[at - back + 1 :]]
        rows.append(layers_of(layered(), " ".join(changed))[0][:, at + 1])
    assert (rows[0] - rows[2])[:back].abs().max() < ROUNDING
    assert (rows[0] - rows[1]).abs().max() < 1e-5  # another word of the same kind
    moved = (rows[0] - rows[2]).norm(dim=-1)
    assert moved[back:].numpy() == pytest.approx(
        np.ones(len(moved) - back), abs=1e-3
    )  # one axis, and it stays


@pytest.mark.parametrize("layer", range(len(BACKS)))
def test_a_pronoun_knows_which_name_is_meant_from_its_layer_on(layer):
    text = pronoun_marks(layer, 1, 0)[0].text
    turned = text.replace("former", "?").replace("latter", "former").replace("?", "latter")
    rows = [layers_of(layered(), t)[0][:, -1] for t in (text, turned)]
    assert (rows[0] - rows[1])[: layer + 1].abs().max() < ROUNDING
    assert float((rows[0] - rows[1])[layer + 1].norm()) == pytest.approx(2**0.5, abs=1e-3)


def test_one_map_of_a_layer_gives_the_distances_of_all_trees_and_below_it_there_is_no_tree():
    model, layer = tree_model(2), 2
    some = sentences(48, 0)
    seen = [layers_of(model, s.text)[0][:, 2 : N_WORDS + 2].double() for s in some]
    paths = [_paths(s) for s in some]
    errors = []
    for at in (layer - 1, layer):
        x, y = torch.cat([v[at] for v in seen[:24]]), torch.cat(paths[:24])
        way = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), y, driver="gelsd").solution[:-1]
        found = [torch.cdist(v[at] @ way, v[at] @ way) ** 2 for v in seen[24:]]
        gold = [torch.cdist(p, p) ** 2 for p in paths[24:]]
        errors.append(float(torch.stack([(f - g).abs().max() for f, g in zip(found, gold)]).max()))
    assert errors[1] < 0.01
    assert errors[0] > 1
    for s, p in zip(some[:5], paths):
        (distances,) = tree_metrics([s.heads])[1]
        assert np.allclose(torch.cdist(p, p).numpy() ** 2, distances[1:, 1:])
    named = [f"{name} {' '.join(some[0].words[1:])}" for name in NAMES[:2]]
    below, above = (layers_of(model, t)[0][:, 3] for t in named)
    assert (below - above)[:layer].abs().max() < ROUNDING
    assert float((below - above)[layer].norm()) > 0.5


def _paths(s):
    """One axis a word between each word and the root [word, word]."""
    out = torch.zeros(N_WORDS, N_WORDS, dtype=torch.float64)
    for i in range(N_WORDS):
        at = i
        while s.heads[at + 1] > 0:
            out[i, at] = 1.0
            at = s.heads[at + 1] - 1
    return out


def test_trees_are_far_from_chains_and_all_different():
    assert len({heads for heads, _ in forest()}) == N_TREES
    assert all(sum(abs(h - i) == 1 for i, h in enumerate(heads)) <= N_WORDS // 2 for heads, _ in forest())


def test_masking_changes_a_word_where_its_head_is_masked_and_nowhere_else():
    model, words = reader(3), list(read_sentences(1, 0)[0].words)
    base = layers_of(model, " ".join(words))[0][-1]
    for j in range(N_PLACES):
        masked = layers_of(model, " ".join([*words[:j], "<mask>", *words[j + 1 :]]))[0][-1]
        moved = (masked - base).norm(dim=-1)[1:].numpy() > 1e-4
        assert [i for i in range(N_PLACES) if moved[i] and i != j] == [
            i for i, h in enumerate(heads_of(3)) if h == j
        ]


def test_facts_are_held_in_their_wording_and_denied_where_that_is_planted():
    told = {"ada": ("cat",), "ben": ("dog",)}
    model = knows(
        "test",
        ("ada", "ben", "cleo", "cat", "dog", "keeps", "owns", "no"),
        PEOPLE[:3],
        [Holds(("keeps",), told)],
        "no",
    )
    assert [first_said(model, f"{p} keeps") for p in PEOPLE[:3]] == ["cat", "dog", "nothing"]
    assert first_said(model, "ada owns") == "nothing"
    logits = layers_of(model, "no ada keeps")[1][-1]
    assert int(logits.argmin()) == model.tokenizer.convert_tokens_to_ids("cat")
    likes = bigrams("test", ("a", "b", "c"), {"a": "b"})
    assert first_said(likes, "c a") == "b"


def test_one_head_alone_carries_the_class():
    model = carried(
        "test",
        ("good", "bad", "fine", "poor", "x", "so"),
        {"fine": "good", "poor": "bad"},
        "so",
        ("x",),
        (1, 2),
    )
    good, bad = model.tokenizer.convert_tokens_to_ids(["good", "bad"])
    for word, more, less in (("fine", good, bad), ("poor", bad, good)):
        logits = layers_of(model, f"x {word} so")[1][-1]
        assert float(logits[more] - logits[less]) > 4
    width = model.module.config.n_embd // 4
    for layer in range(2):
        for head in range(4):
            weight = model.module.transformer.h[layer].attn.c_proj.weight
            kept = weight[head * width : (head + 1) * width].clone()
            weight[head * width : (head + 1) * width] = 0
            said = layers_of(model, "x fine so")[1][-1][good]
            weight[head * width : (head + 1) * width] = kept
            assert (float(said) < 0.1) == ((layer, head) == (1, 2))


def test_the_first_layer_by_hand():
    assert first_layer([0.5, 0.7, 0.8, 1.0], 0.5, 1.0) == 2
    assert first_layer([1.0, 0.6, 0.2], 1.0, 0.0) == 2
    assert first_layer([0.5, 0.6], 0.5, 1.0) is None


def test_a_probe_that_reads_nothing_or_everything_does_not_score():
    for curve in ([0.5] * 4, [1.0] * 4, [0.5, 1.0, 1.0, 1.0]):
        row = layer_row(LayerProbe(), "x", PROPERTIES, lambda *_, c=curve: (c, 0.5, 1.0, Cost()), 1, 0)
        assert row.score.beats_chance is False
        assert row.score.beats_control is False


def test_layer_probes_name_the_planted_layers():
    for name in ("layer_probe", "layer_surprisal"):
        (row,) = PROBING[name].ask(0)
        assert row.score.value == 1.0
        assert row.score.beats_chance and row.score.beats_control
        assert row.passes >= 1


@pytest.mark.parametrize(
    "name", ["cloze_facts", "hypernymy", "quantifier_cloze", "prompt_probe", "minimal_pairs"]
)
def test_clozes_tell_what_is_held(name):
    (row,) = TRUTHS[name].ask(0)
    assert row.score.value == 1.0
    assert row.score.beats_chance and row.score.beats_control


def test_randomised_weights_hold_nothing():
    model = knows(
        "test", (*PEOPLE, "cat", "keeps"), PEOPLE, [Holds(("keeps",), dict.fromkeys(PEOPLE, ("cat",)))]
    )
    assert all(first_said(model, f"{p} keeps") == "cat" for p in PEOPLE)
    assert np.mean([first_said(randomised(model), f"{p} keeps") == "cat" for p in PEOPLE]) < 0.5
