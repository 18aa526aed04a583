"""Rows in memory, outputs in memory: the smallest run there is, in this process, without a folder.

Rows are worked on in stretches, by the same worker and with the same care for memory as in a run that has a folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from exegete.core.job import Output, Row, Worker
from exegete.run.worker import worked

STRETCH = 128


def worked_here(
    worker: Worker, rows: Sequence[Mapping[str, Any]], stretch: int = STRETCH
) -> Iterator[Output]:
    """An output a row, in order; a stretch of rows is worked on when its first output is asked for."""
    for start in range(0, len(rows), stretch):
        yield from worked(
            worker, [Row("", start + i, row) for i, row in enumerate(rows[start : start + stretch])]
        )
