"""The files of a board say what the table says: read back, compared cell by cell; LaTeX and Markdown by hand."""

import numpy as np
import pytest
from pyarrow import parquet

from exegete.core.result import Difference, MetricTable
from exegete.core.store import open_result
from exegete.core.trust import Score, Trust
from exegete.evaluate import judged_text
from exegete.evaluate.board import latex, markdown, write_board
from exegete.show.board_words import RANDOM


def score(value, low, high, **more):
    return Score(name="m_1", value=value, interval=(low, high), chance=0.2, control=0.3, n=9, **more)


def made(p=0.01):
    return MetricTable(
        methods=("a_b", "c|d", "random"),
        metrics=("m_1",),
        better=("higher",),
        trusts=(
            Trust(scores=(score(0.8, 0.7, 0.9),)),
            Trust(scores=(score(0.4, 0.1, 0.7, n_failed=2),)),
            Trust(scores=(Score(name="m_1", value=float("nan"), n=0, n_failed=9),)),
        ),
        values=np.array([[[0.7, 0.9]], [[0.1, np.nan]], [[np.nan, np.nan]]]),
        diagnosticity=(Score(name="d", value=0.9, chance=0.5, interval=(0.8, 1.0), n=2),),
        differences=(Difference(metric="m_1", first="a_b", second="c|d", mean=0.4, p=p, n=9),),
        n_texts=2,
        failures=("a: b",),
    )


def test_what_beats_chance_and_control_is_bold_and_what_beats_all_others_has_a_star():
    lines = markdown(made()).splitlines()
    assert lines[0] == "| method | m_1 ↑ |"
    assert lines[2] == "| a_b | **0.80 ±0.10** ★ |"
    assert lines[3] == "| c\\|d | 0.40 ±0.30 |"
    assert lines[4] == "| random | – |"
    assert lines[5] == "| *diagnosticity* | 0.90 ±0.10 |"
    assert "11 scores could not be computed; 1 failures" in lines[-1]
    assert made().best(0) == 0
    assert made(p=0.2).best(0) is None
    assert made(p=float("nan")).best(0) is None


def test_latex_escapes_names():
    lines = latex(made()).splitlines()
    assert r"a\_b & \textbf{0.80 $\pm$0.10}$^*$ \\" in lines
    assert r"\begin{tabular}{lr}" in lines
    assert all(line.startswith("%") for line in lines[lines.index(r"\end{tabular}") + 1 :])


def test_parquet_holds_every_number(tmp_path):
    table = made()
    files = write_board(table, str(tmp_path))
    assert {f.rsplit("/", 1)[1] for f in files} == {p.name for p in tmp_path.iterdir()}
    assert open_result(tmp_path / "result.exg") == table
    assert "0.8" in (tmp_path / "board.html").read_text()
    values = parquet.read_table(tmp_path / "board.parquet").to_pylist()
    for row in values:
        i = table.methods.index(row["method"])
        assert row["value"] == pytest.approx(table.values[i, 0, row["text"]], nan_ok=True)
    scores = parquet.read_table(tmp_path / "scores.parquet").to_pylist()
    assert [(s["low"], s["high"], s["n_failed"]) for s in scores] == [
        (0.7, 0.9, 0),
        (0.1, 0.7, 2),
        (None, None, 9),
    ]
    assert scores[0]["verdict"] == "beats chance; beats its control" and "yardstick" in scores[2]["verdict"]
    assert parquet.read_table(tmp_path / "differences.parquet").to_pylist()[0]["p"] == 0.01


def test_the_random_row_is_never_bold_and_bold_says_what_it_beats():
    table = made()
    lucky = Trust(scores=(score(0.7, 0.6, 0.8),))
    table = table.model_copy(update={"trusts": (*table.trusts[:2], lucky)})
    for words in (markdown(table), latex(table)):
        row = next(line for line in words.splitlines() if "random &" in line or line.startswith("| random"))
        assert "0.70" in row and "**" not in row and "textbf" not in row
        assert "random row itself beats chance on 1 of 1 metric" in words
        assert "Bold beats chance and control." in words
    assert "random row itself" not in markdown(made())
    bare = tuple(Trust(scores=(t.scores[0].model_copy(update={"control": None}),)) for t in table.trusts)
    assert "Bold beats chance; no control was run." in markdown(table.model_copy(update={"trusts": bare}))


def test_one_text_is_not_bold():
    """Without interval and percentile a value far above chance shows nothing."""
    table = made()
    one = Score(name="m_1", value=0.9, chance=0.2, control=0.3, n=1)
    alone = table.model_copy(
        update={"trusts": (Trust(scores=(one,)), *table.trusts[1:]), "agreement": (one,)}
    )
    assert "| 0.90 ★ |" in markdown(alone) and "(n 1); too few to tell" in markdown(alone)
    assert RANDOM == judged_text.RANDOM
