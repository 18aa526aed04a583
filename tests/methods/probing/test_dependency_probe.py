"""Dependency probe: what words alone decide is found, what nothing decides is not, and each control chooses its own layer."""

import numpy as np

from exegete.core.material import Parsed
from exegete.methods.probing.dependency_probe import CONTROL, DependencyProbe, Parsing, _scores, _words
from exegete.methods.probing.dependency_probe import WORDS as ALONE
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny

WORDS = ("the", "cat", "saw", "old", "mat")
LIGHT = {"n_steps": 150, "rank": 16, "rate": 0.02}


def trees(ruled: bool, n=60):
    """Five different words in random order: "saw" is the root and all others hang on it; or each on any word before it."""
    rng, found = np.random.default_rng(0), []
    for _ in range(n):
        words = tuple(str(w) for w in rng.permutation(WORDS))
        top = words.index("saw")
        heads = [-1 if i == top else top for i in range(5)] if ruled else [-1, *(int(rng.integers(i)) for i in range(1, 5))]  # fmt: skip
        found.append(
            Parsed(words=words, heads=tuple(heads), relations=tuple("root" if h < 0 else "x" for h in heads))
        )
    return found


def test_heads_that_words_decide_are_found_and_beat_what_can_be_remembered():
    found = DependencyProbe(**LIGHT)(load(tiny("bert", "masked")), trees(True))
    uas, task, las = found.trust.scores[:3]
    assert uas.value > 0.95 and las.value > 0.95
    assert uas.beats_chance and not uas.beats_control  # randomised weights know which word it is as well
    assert task.control_name == CONTROL


def test_heads_that_nothing_decides_are_not_found():
    found = DependencyProbe(**LIGHT)(load(tiny("bert", "masked")), trees(False))
    assert not found.trust.scores[0].beats_chance
    assert "not shown" in found.lede


def parsing(right, both=None):
    """The same on development and test sentences, by layer: heads right, and heads with relations, of ten words."""
    counts = tuple(np.tile([[k, n, 10]], (4, 1)) for k, n in zip(right, both or right))
    return Parsing(counts, counts, ([], []))


GUESS = {"UAS": 0.1, "LAS": 0.1}


def test_the_control_task_is_held_against_at_its_own_best_layer():
    lab = Lab(load(tiny("bert", "masked")))
    task = _scores(lab, parsing((8, 6)), None, parsing((3, 7)), GUESS, "", 0)[1]
    assert task.value == 0.8
    assert task.control == 0.7


def test_words_alone_are_a_control_of_layers_and_named_where_they_are_best_themselves():
    lab = Lab(load(tiny("bert", "masked")))

    def told(own, layer):
        scores = _scores(lab, own, None, parsing((1, 1)), GUESS, "", 0)
        return scores[3:], _words(scores, own.value("LAS", own.test[own.best("UAS")]), layer, "", "layer 0")

    (words,), said = told(parsing((5, 8), (5, 4)), "layer 0")
    assert (words.control, words.control_name, words.value) == (0.5, ALONE, 0.8)
    assert (
        words.beats_control
        and "Words alone, without their sentence, give 50%" in said
        and "do not add" not in said
    )
    assert "(with their relation 40%)" in said  # of that layer; the embeddings' 50 % are the best
    none, said = told(parsing((8, 5)), "embeddings")
    assert not none and "no layer is better" in said
