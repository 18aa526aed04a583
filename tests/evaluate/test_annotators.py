"""Agreement of the people whose marks explanations are held against: by hand, beside chance, and on the board."""

import numpy as np
import pytest

from exegete.core.rationale import Rationale
from exegete.core.request import Text
from exegete.core.store import open_result
from exegete.evaluate.annotators import Marking, agreement, by_annotator
from exegete.evaluate.board import markdown
from exegete.evaluate.contract import Ranking
from exegete.evaluate.plausibility.token_f1 import TokenF1
from exegete.evaluate.suite import evaluate
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.agreement import counts_of, krippendorff_alpha
from exegete.show.render import page

NAMES = ("ann", "ben", "cid")
LINES = [np.array([4.0, 3, 2, 1]), np.array([1.0, 2, 3, 4])]


def marking(rows, names=NAMES, lines=LINES):
    return Marking.of(np.array(rows, dtype=bool), names, lines)


def test_alpha_is_that_of_all_units_of_all_texts():
    rows = ([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1]], [[0, 0, 1, 0], [0, 0, 1, 0], [0, 1, 1, 0]])
    alpha, kappa, *_ = agreement([marking(r) for r in rows])
    assert alpha.value == pytest.approx(
        krippendorff_alpha(counts_of(np.concatenate(rows, axis=1).astype(float)))
    )
    assert (alpha.chance, alpha.n, alpha.n_failed) == (0, 2, 0)
    assert abs(alpha.control) < 0.1 < kappa.value


def test_each_against_the_majority_of_the_others_by_hand():
    found = {s.name: s for s in agreement([marking([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1]])])}
    # the others of ann: ben and cid, more than half of both: the first alone; of ben: the first two; of cid: the first
    assert found["ann and the others"].value == pytest.approx(2 * 1 / (2 + 1))
    assert found["ben and the others"].value == pytest.approx(2 * 1 / (1 + 2))
    assert found["cid and the others"].value == pytest.approx(2 * 1 / (3 + 1))
    # two of four places taken blindly meet the one mark half the time
    assert found["ann and the others"].chance == pytest.approx(2 * 0.5 / (2 + 1))


def test_chance_of_the_others_is_what_dealing_out_reaches():
    rows = np.array([[1, 1, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0], [1, 0, 0, 1, 0, 0]])
    score = agreement([marking(rows)])[2]
    rng = np.random.default_rng(0)
    most = rows[1:].sum(0) > 1
    draws = [2 * (rng.permutation(rows[0]) & most).sum() / (rows[0].sum() + most.sum()) for _ in range(4000)]
    assert score.chance == pytest.approx(np.mean(draws), abs=0.02)


def test_methods_by_annotator_are_token_f1_of_each():
    rows = np.array([[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]], dtype=bool)
    scores = {s.name: s for s in by_annotator([marking(rows)], ("m", "random"))}
    for name, row in zip(("ann", "ben"), rows):
        assert scores[f"m and {name}"].value == pytest.approx(
            TokenF1().score_marks(row, Ranking.of(LINES[0]))[0]
        )
    assert scores["m and ben"].control == pytest.approx(1) and scores["m and ben"].chance == pytest.approx(
        0.5
    )
    assert len(scores) == 2  # cid marked nothing


def test_one_annotator_agrees_with_nobody():
    alone = [marking([[1, 0, 0, 0]]), Marking()]
    assert agreement(alone) == () == by_annotator(alone, ("m", "random"))


def test_texts_that_one_person_marked_are_counted():
    texts = [marking([[1, 0, 0, 0], [1, 0, 0, 0]]), marking([[1, 0, 0, 0]])]
    alpha = agreement(texts)[0]
    assert (alpha.value, alpha.n, alpha.n_failed) == (1, 1, 1)


def test_of_a_crowd_those_who_marked_most_have_rows():
    texts = [marking([[1, 0, 0, 0], [1, 1, 0, 0]], (f"once {i}", f"often {i % 8}")) for i in range(24)]
    names = [s.name for s in by_annotator(texts, ("m", "random"))]
    assert names == [f"m and often {i}" for i in range(8)]


def test_the_board_shows_it(tmp_path):
    model = load(tiny("bert", "sequence"))
    items = [
        Rationale(
            text=Text(text="the film was great"), marks=(((13, 18),), ((9, 18),)), annotators=("ann", "ben")
        ),
        Rationale(
            text=Text(text="people never sat"), marks=(((7, 12),), ((7, 12),)), annotators=("ann", "ben")
        ),
    ]
    table = evaluate(model, items, ["saliency"], ["token_f1"], trust="fast", folder=str(tmp_path / "run"))
    names = [s.name for s in (*table.agreement, *table.by_annotator)]
    assert names[0] == "agreement of annotators (Krippendorff's alpha)"
    assert {"ann and the others", "saliency and ann", "saliency and ben"} <= set(names)
    assert table.agreement[0].value == pytest.approx(
        krippendorff_alpha(np.array([[0, 2], [0, 2], [1, 1], [2, 0], [0, 2], [2, 0], [0, 2]], dtype=float))
    )
    each = np.array([[s.value for s in table.by_annotator]])
    assert each.mean() == pytest.approx(
        table.trusts[0].scores[0].value
    )  # the metric is the mean over annotators
    assert open_result(table.save(tmp_path / "t.exg")) == table
    assert "Krippendorff" in page(table) and "Krippendorff" in markdown(table)
    again = evaluate(model, items, ["saliency"], ["token_f1"], trust="fast", folder=str(tmp_path / "run"))
    assert again.agreement == table.agreement and again.by_annotator == table.by_annotator
