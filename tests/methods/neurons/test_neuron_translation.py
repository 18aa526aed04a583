"""Words moved towards another class: the added vector by hand, what it reaches, and that moving by nothing turns nothing."""

import numpy as np
import torch

from exegete.core.site import Site
from exegete.methods.neurons.neuron_translation import NeuronTranslationStudy
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.terrarium.labelled import marked

WORDS = marked("word", 40)


def test_a_word_is_moved_by_the_means_and_only_there():
    """The added vector, by hand; other tokens and other texts stay."""
    model = load("terrarium/encoder")
    study = NeuronTranslationStudy(layers=(2,), n_texts=6, n_random=2, beta=3.0)
    lab = Lab(model)
    setting = study.setting(lab, WORDS, study.layers, hide=False)
    moves = study.moves(lab, setting)
    assert (moves.old != moves.new).all()
    ex, train = setting.ex, setting.ex.parts[0]
    raw = ex.x * ex.scale + ex.mean
    batch = setting.runs.batches[0]
    change = study.changes(setting, moves, np.array([9, 4]), batch)[Site("resid_post", layer=2)]
    moved = change(torch.zeros(*batch.ids.shape, 128))
    for r, text in enumerate(batch.texts):
        n = int(np.flatnonzero(batch.word == moves.word[text])[0])
        q = [raw[train][ex.y[train] == z].mean(0) for z in (moves.new[text], moves.old[text])]
        wanted = torch.zeros(batch.ids.shape[1], 128)
        alpha = 3.0, 3.0 * (1 - np.log(2) / np.log(3))
        for a, unit in zip(alpha, (9, 4)):
            wanted[batch.first[n] : batch.token[n] + 1, unit] = float(a * (q[0] - q[1])[unit])
        assert torch.allclose(moved[r], wanted, atol=1e-4)


def test_moving_everything_all_the_way_turns_the_label():
    """With all neurons of the last layer moved by the whole distance, the probe says the other class; moved by nothing, never."""
    model = load("terrarium/encoder")
    study = NeuronTranslationStudy(layers=(3,), n_texts=20, n_random=2, beta=60.0)
    lab = Lab(model)
    setting = study.setting(lab, marked("word", 120), study.layers, hide=False)
    moves = study.moves(lab, setting)
    every = np.arange(len(setting.ex.places))
    found = setting.runs.run(lambda batch: study.changes(setting, moves, every, batch))
    assert (setting.says(found.words)[moves.word] == moves.new).mean() > 0.7
    base = setting.says(setting.runs.base.words)[moves.word]
    assert (base == moves.new).mean() < 0.2


def test_translation_turns_labels_on_a_trained_model_and_leaves_other_words():
    found = NeuronTranslationStudy(layers=(2,), n_texts=24, n_random=2)(
        load("terrarium/encoder"), marked("word", 120)
    )
    turned, away = found.trust.scores
    assert turned.beats_chance
    assert away.beats_chance
    assert found.kept.ranked.mean() < found.kept.reversed.mean() - 0.1  # the last neurons do less
    assert found.turned.ranked[-1] > found.turned.base + 0.2
    assert found.kept.ranked[-1] < found.kept.base - 0.3
    assert found.others.ranked.min() > 0.8
