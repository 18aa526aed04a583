"""A metric table as files: Parquet for machines, Markdown and LaTeX for papers.

    board.parquet         a row a method, metric and text: its value
    scores.parquet        a row a method and metric: value, interval, chance, control, n, n_failed, verdict
    differences.parquet   a row a pair of methods and metric: mean difference and p after Holm's correction
    board.html            the page; result.exg the result itself, for `exegete show`
    board.md, board.tex   methods by metrics: mean and half the interval; bold beats chance and control (the random row is never
                          bold), a star the best of a column by a corrected test against every other method

Nothing is judged here: every number is one of the table's.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from exegete.core.result import MetricTable
from exegete.core.store import save, write_atomic
from exegete.core.trust import Score
from exegete.show import board_words
from exegete.show.render import page

LEVEL = 0.05
NO_SCORE = "–"


def write_board(table: MetricTable, folder: str) -> tuple[str, ...]:
    """Write all files into `folder`, which is there; their paths."""
    home = Path(folder)
    written = [
        _parquet(home / "board.parquet", _values(table)),
        _parquet(home / "scores.parquet", _scores(table)),
        _parquet(home / "differences.parquet", [d.model_dump() for d in table.differences]),
    ]
    texts = {"board.md": markdown(table), "board.tex": latex(table), "board.html": page(table)}
    for name, words in texts.items():
        write_atomic(home / name, words.encode())
        written.append(str(home / name))
    return (*written, save(table, home / "result.exg"))


def markdown(table: MetricTable) -> str:
    """The table in Markdown, with what is needed to read it below."""
    head = ["method", *(f"{m} {'↑' if b == 'higher' else '↓'}" for m, b in zip(table.metrics, table.better))]
    rows = [[name, *(_cell(table, i, k, "**{}**", " ★") for k in range(len(table.metrics)))]
            for i, name in enumerate(table.methods)]  # fmt: skip
    rows.append(["*diagnosticity*", *(_short(s) for s in table.diagnosticity)])
    lines = [_line(head), _line(["---"] + ["---:"] * len(table.metrics)), *map(_line, rows)]
    return "\n".join([*lines, "", *_legend(table), ""])


def latex(table: MetricTable) -> str:
    """The table in LaTeX (booktabs)."""
    arrows = {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}
    head = ["method", *(f"{_tex(m)} {arrows[b]}" for m, b in zip(table.metrics, table.better))]
    rows = [[_tex(name), *(_cell(table, i, k, r"\textbf{{{}}}", "$^*$").replace("±", r"$\pm$") for k in range(len(table.metrics)))]
            for i, name in enumerate(table.methods)]  # fmt: skip
    rows.append([r"\emph{diagnosticity}", *(_short(s).replace("±", r"$\pm$") for s in table.diagnosticity)])
    body = [" & ".join(r) + r" \\" for r in (head, *rows)]
    return "\n".join(
        [
            r"\begin{tabular}{l" + "r" * len(table.metrics) + "}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:-1],
            r"\midrule",
            body[-1],
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {line}" for line in _legend(table)),
            "",
        ]
    )


def _cell(table: MetricTable, i: int, k: int, bold: str, star: str) -> str:
    s = table.trusts[i].scores[k]
    words = _short(s)
    if s.beats_chance and s.standing == "good" and table.methods[i] != board_words.RANDOM:
        words = bold.format(words)
    return words + (star if table.best(k) == i else "")


def _short(s: Score) -> str:
    if not np.isfinite(s.value):
        return NO_SCORE
    half = "" if s.interval is None else f" ±{(s.interval[1] - s.interval[0]) / 2:.2f}"
    return f"{s.value:.2f}{half}"


def _legend(table: MetricTable) -> list[str]:
    failed = sum(s.n_failed for t in table.trusts for s in t.scores)
    return [
        f"{table.n_texts} texts; mean and half of the 95 % interval (bootstrap over texts). {board_words.held(table)} Chance: "
        "random orders; control: the model with randomised weights. The random row is the yardstick and has no marks.",
        *(words for words in (board_words.luck(table), board_words.paired(table)) if words),
        f"A star: better than every other method by a paired bootstrap with Holm's correction at {LEVEL}.",
        "Diagnosticity: how often the metric scores a method's explanation better than a random one (luck: one half).",
        *(f"{s.name}: {_short(s)} (n {s.n}); {s.verdict}." for s in (*table.agreement, *table.by_annotator)),
        f"{failed} scores could not be computed; {len(table.failures)} failures are listed with the result.",
    ]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def _tex(words: str) -> str:
    for mark in "&%$#_{}":
        words = words.replace(mark, "\\" + mark)
    return words


def _values(table: MetricTable) -> list[dict]:
    return [
        {"method": m, "metric": k, "text": t, "value": float(table.values[i, j, t])}
        for i, m in enumerate(table.methods)
        for j, k in enumerate(table.metrics)
        for t in range(table.n_texts)
    ]


def _scores(table: MetricTable) -> list[dict]:
    rows = []
    for name, trust in zip(table.methods, table.trusts):
        told = board_words.YARDSTICK if name == board_words.RANDOM else ""
        for metric, s in zip(table.metrics, trust.scores):
            low, high = s.interval or (None, None)
            rows.append(
                {"method": name, "metric": metric, "value": s.value, "low": low, "high": high, "better": s.better,
                 "chance": s.chance, "control": s.control, "control_name": s.control_name, "percentile": s.percentile,
                 "n": s.n, "n_failed": s.n_failed, "verdict": told or s.verdict, "forwards": trust.cost.forwards,
                 "backwards": trust.cost.backwards, "seconds": trust.cost.seconds}
            )  # fmt: skip
    return rows


def _parquet(path: Path, rows: list[dict]) -> str:
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    write_atomic(path, sink.getvalue().to_pybytes())
    return str(path)
