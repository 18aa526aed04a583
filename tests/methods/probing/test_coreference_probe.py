"""Coreference probe: a kind planted in the embeddings is found, an unplanted model is told apart, letters for what does not fit."""

from string import ascii_letters

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.core.material import Mark, Marked, Parsed
from exegete.methods.probing.coreference_probe import CoreferenceProbe
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.terrarium import lexicon as lex
from exegete.terrarium.labelled import marked

N = 24  # words of each kind


def planted(strength: float):
    """A tiny model, its words of two kinds, and stories " x a b y": kinds shift embeddings of words and of two pronouns."""
    model = load(tiny("gpt2"))
    she, he, *rest = ascii_letters  # each ends in a token of its own
    kinds = rest[0 : 2 * N : 2], rest[1 : 2 * N : 2]
    table = model.module.get_input_embeddings().weight
    rng = np.random.default_rng(0)
    way = torch.tensor(rng.normal(size=table.shape[1]), dtype=table.dtype)
    with torch.no_grad():
        for sign, several in ((1, (she, *kinds[0])), (-1, (he, *kinds[1]))):
            for w in several:
                table[model.tokenizer(f" {w}", add_special_tokens=False)["input_ids"][-1]] += (
                    sign * strength * table.std() * way
                )
    return model, (she, he), kinds


def stories(pronouns, kinds, n=160):
    rng, made = np.random.default_rng(1), []
    for i in range(n):
        circle = i // 4 % (N // 3)
        ones = [k[3 * circle + int(rng.integers(3))] for k in kinds]
        which, order = i % 2, (1, -1)[i // 2 % 2]
        said = ones[::order]
        text = f" {said[0]} {said[1]} {pronouns[which]}"
        at = [1, 2 + len(said[0]), 3 + len(said[0]) + len(said[1])]
        pronoun = (at[2], len(text))
        marks = tuple(
            Mark(label="yes" if w == ones[which] else "no", spans=(pronoun, (s, s + len(w))))
            for w, s in zip(said, at)
        )
        made.append(Marked(text=text, marks=marks))
    return made


def test_a_planted_kind_is_found_in_words_never_learned_from():
    model, pronouns, kinds = planted(3.0)
    r = CoreferenceProbe(n_steps=60)(model, stories(pronouns, kinds))
    assert r.unseen
    assert r.accuracy[0] > 0.95
    assert r.overall > 0.9
    assert r.chance == r.first == r.last == 0.5
    twin, inside = r.trust.scores[:2]
    assert twin.beats_chance
    assert twin.beats_control
    assert not inside.beats_control
    assert "stands in the words themselves" in r.lede


def test_a_model_without_it_is_told_apart():
    model, pronouns, kinds = planted(0.0)
    r = CoreferenceProbe(n_steps=60)(model, stories(pronouns, kinds))
    assert not r.trust.scores[0].beats_chance
    assert "not shown to know" in r.lede


def test_stories_of_the_terrarium_tell_nothing_by_place_or_name():
    items = marked("coreference", 400)
    first = [i.marks[0].label == "yes" for i in items]
    assert np.mean(first) == 0.5
    for woman in (True, False):
        same = [f for f, i in zip(first, items) if (i.words[0] == "she") == woman]
        assert len(same) == 200
        assert np.mean(same) == 0.5
    for i in items:
        right = [i.text[slice(*m.spans[1])] for m in i.marks if m.label == "yes"]
        assert len(right) == 1
        assert right[0] in (lex.WOMEN if i.words[0] == "she" else lex.MEN)
        assert all(m.spans[1][1] < m.spans[0][0] for m in i.marks)


def test_texts_that_share_their_candidates_say_so():
    items = [
        Marked(
            text=f"john met mary {'again ' * k}and {w} ran",
            marks=tuple(
                Mark(label=x, spans=((14 + 6 * k + 4, 14 + 6 * k + 4 + len(w)), span))
                for x, span in zip(labels, ((0, 4), (9, 13)))
            ),
        )
        for k in range(4)
        for w, labels in (("he", ("yes", "no")), ("she", ("no", "yes")))
    ]
    r = CoreferenceProbe(n_steps=5)(load(tiny("gpt2")), items)
    assert not r.unseen
    assert "by heart" in r.trust.notes[0]
    assert set(r.pronouns) == {"he", "she"}
    assert set(r.right) == {"john", "mary"}


def test_letters():
    model = load(tiny("gpt2"))
    with pytest.raises(InputError, match="yes or no"):
        CoreferenceProbe()(model, marked("pair", 5))
    with pytest.raises(InputError, match="a tree"):
        CoreferenceProbe()(model, [Parsed(words=("a", "b"), heads=(1, -1), relations=("x", "root"))] * 3)
    late = Marked(
        text="he saw john", marks=tuple(Mark(label=x, spans=((0, 2), (7, 11))) for x in ("yes", "no"))
    )
    with pytest.raises(InputError, match="two candidates before"):
        CoreferenceProbe()(model, [late] * 4)
