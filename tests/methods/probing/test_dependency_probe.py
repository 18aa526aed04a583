"""Dependency probe: what words alone decide is found, what nothing decides is not, and each control chooses its own layer."""

import numpy as np

from exegete.core.material import Parsed
from exegete.methods.probing.dependency_probe import CONTROL, DependencyProbe, Parsing, _scores
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
    uas, task, las = found.trust.scores
    assert uas.value > 0.95 and las.value > 0.95
    assert uas.beats_chance and not uas.beats_control  # randomised weights know which word it is as well
    assert task.control_name == CONTROL


def test_heads_that_nothing_decides_are_not_found():
    found = DependencyProbe(**LIGHT)(load(tiny("bert", "masked")), trees(False))
    assert not found.trust.scores[0].beats_chance
    assert "not shown" in found.lede


def test_the_control_task_is_held_against_at_its_own_best_layer():
    def parsing(*right):  # the same on development and test sentences, by layer
        counts = tuple(np.tile([[k, k, 10]], (4, 1)) for k in right)
        return Parsing(counts, counts, ([], []))

    lab = Lab(load(tiny("bert", "masked")))
    own, control = parsing(8, 6), parsing(3, 7)
    task = _scores(lab, own, None, control, {"UAS": 0.1, "LAS": 0.1}, "", 0)[1]
    assert task.value == 0.8
    assert task.control == 0.7
