"""Descriptions by clues against planted rules, and their scores against what they must be by definition."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from exegete.ops.clues import Clues, describe
from exegete.ops.description_scores import balanced, detection, fuzzing, judged, simulation
from support.data import shared_data

WORDS = ("not", "good", "bad", "the", "food", "was", "very", "staff")
Excerpts = list[tuple[list[str], np.ndarray]]


def after_not(tokens: list[str], i: int) -> float:
    return 5.0 * (i > 0 and tokens[i - 1] == "not")


def good_or_bad(tokens: list[str], i: int) -> float:
    return 3.0 * (tokens[i] in ("good", "bad"))


def good_unless_negated(tokens: list[str], i: int) -> float:
    return 4.0 * (tokens[i] == "good" and "not" not in tokens[:i])


def excerpts(rule: Callable[[list[str], int], float], seed: int, n: int = 40) -> Excerpts:
    rng = np.random.default_rng(seed)
    texts = [list(rng.choice(WORDS, 8)) for _ in range(n)]
    return [(t, np.array([rule(t, i) for i in range(len(t))])) for t in texts]


@pytest.mark.parametrize("rule", [after_not, good_or_bad, good_unless_negated])
def test_planted_rules_are_found_and_foretold(rule):
    """On texts that it was not made from; the description of another rule does not foretell them."""
    test = excerpts(rule, 1)
    own = describe(excerpts(rule, 0))
    others = [
        describe(excerpts(r, 0)) for r in (after_not, good_or_bad, good_unless_negated) if r is not rule
    ]
    true = [y for _, y in test]
    mine, *swapped = (simulation([d.simulate(t) for t, _ in test], true) for d in (own, *others))
    assert mine > 0.9
    assert max(swapped) < mine - 0.1


def test_words_of_a_planted_rule():
    assert "after 'not'" in describe(excerpts(after_not, 0)).text
    assert describe([]).text == ""
    assert describe([(["a", "b"], np.zeros(2))]).text == ""


def test_activations_of_other_texts_describe_nothing():
    """In the mean of ten draws: by luck some of these few words foretell a little, and no first token fires in any text."""
    found = []
    for seed in range(0, 20, 2):
        given, test = excerpts(after_not, seed), excerpts(after_not, seed + 1)
        d = describe([(t, y) for (t, _), (_, y) in zip(given, [*given[1:], given[0]])])
        found.append(simulation([d.simulate(t) for t, _ in test], [y for _, y in test]))
    assert abs(np.mean(found)) < 0.2


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_empty_answer_scores_one_half_on_any_balance(share):
    rng = np.random.default_rng(0)
    true = [np.array([0.0, float(rng.random() < share)]) for _ in range(40)]
    empty = [Clues(0.0, ()).simulate(["a", "b"]) for _ in true]
    assert detection(empty, true, 0.5) == 0.5
    assert fuzzing(empty, true, 0.5, rng) == 0.5
    assert simulation(empty, true) == 0.0
    everything = judged(np.array([1.0, 1.0, 1.0]))
    assert balanced(everything, np.array([True, True, False])) == 0.5


def test_a_right_answer_scores_one_and_a_wrong_one_zero():
    true = [np.array([0.0, 1.0]), np.array([0.0, 0.0]), np.array([1.0, 0.0])]
    rng = np.random.default_rng(0)
    assert detection(true, true, 0.5) == fuzzing(true, true, 0.5, rng) == 1.0
    assert detection([1 - y.max() + 0 * y for y in true], true, 0.5) == 0.0
    assert simulation(true, true) == pytest.approx(1.0)
    assert np.isnan(detection(true[:1], true[:1], 0.5))


def test_descriptions_beat_swapped_ones_on_the_puzzles():
    """Five parts of each puzzle's sentences in turn are foretold from the others: by its own description, and by the others'."""
    found = json.loads(shared_data("neuron_puzzles/puzzles.json").read_text())
    puzzles = [_sentences(p["sentences"]) for p in found.values()]
    told = [[describe(_but(p, part)) for part in range(PARTS)] for p in puzzles]
    won = 0
    for mine, p in enumerate(puzzles):
        true = [y for part in range(PARTS) for _, y in p[part::PARTS]]
        scores = [
            simulation([d.simulate(t) for part, d in enumerate(ds) for t, _ in p[part::PARTS]], true)
            for ds in told
        ]
        won += scores[mine] > np.mean([s for i, s in enumerate(scores) if i != mine])
    assert len(puzzles) == 19
    assert won >= WON


# 18 are reached, 17 where one sentence at a time is held out. Kinds of clues and numbers were chosen on planted units
# (test_clues_planted.py), with which alone it stayed at 16; that effects are tested on other texts was thought of over the words for one
# puzzle (a single wrong sum, '295', came before "numbers after ':'"), and chosen on planted units too. What remains are meanings that no
# word of the other sentences shows: new words in idioms.
PARTS, WON = 5, 17


def _sentences(given: list) -> Excerpts:
    """Tokens with activations: what is no pair has none."""
    return [
        (
            [t if isinstance(t, str) else t[0] for t in s],
            np.array([0.0 if isinstance(t, str) else float(t[1]) for t in s]),
        )
        for s in given
    ]


def _but(p: Excerpts, part: int) -> Excerpts:
    """All sentences but those of one part."""
    return [s for i, s in enumerate(p) if i % PARTS != part]
