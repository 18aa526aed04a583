"""The contract of studies that can be divided: stretches of items, in any order and written down in between, give the finding of
all items at once; a row that is no item is counted and told.
"""

import re
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel

from exegete.core.job import ModelRef, Row
from exegete.core.registry import METHODS
from exegete.core.results.finding import Finding
from exegete.core.target import Target
from exegete.core.value import Value
from exegete.methods.contracts.study import Divided, Study
from exegete.methods.contracts.studying import Student, Studying
from exegete.run.shard import decode, encode
from support.light import light
from support.studies import home, material

DIVIDED = {name: cls for name, cls in METHODS if issubclass(cls, Divided)}
APART = {"cost", "provenance"}


def rows_of(study: Study, request: Any) -> list[dict]:
    return [i.model_dump(mode="json", exclude_defaults=True) for i in study.items(request)]


def merged(study: Divided, model: Any, rows: list[dict], cuts: list[int], folder: Any) -> Finding:
    """The finding of rows that were worked on in stretches, last first, each written to a file and read again."""
    student = Student(model, study, Target())
    numbered = [Row(str(n), n, row) for n, row in enumerate(rows)]
    found = []
    for low, high in reversed(list(zip([0, *cuts], [*cuts, len(rows)]))):
        some = numbered[low:high]
        table, _ = encode(some, student.work([r.data for r in some]), {})
        path = folder / f"{low}.parquet"
        path.write_bytes(table)
        found += [(row, output) for row, (_, output) in zip(some, decode(path, study.part))]
    job = Studying(model=ModelRef(source="tiny"), method=study.id, params=study.params())
    return job.merge(found, lambda: student)


def same(a: Any, b: Any, where: str = "") -> None:
    """Equal but for rounding; words are compared without the numbers in them."""
    if isinstance(a, BaseModel):
        assert type(a) is type(b), where
        for f in type(a).model_fields:
            if f not in APART:
                same(getattr(a, f), getattr(b, f), f"{where}.{f}")
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for k in a:
            same(a[k], b[k], f"{where}.{k}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)):
            same(x, y, f"{where}[{i}]")
    elif isinstance(a, (float, np.ndarray)) and np.asarray(a).dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4, err_msg=where)
    elif isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, err_msg=where)
    elif isinstance(a, str):
        assert re.sub(r"[-\d.e+%]+", "", a) == re.sub(r"[-\d.e+%]+", "", b), where
    else:
        assert a == b, where


@pytest.mark.parametrize("name", sorted(DIVIDED))
def test_stretches_give_the_whole(name, tmp_path):
    cls = DIVIDED[name]
    model = home(cls)
    study: Any = light(cls)
    request = material(model, cls)
    rows = rows_of(study, request)
    assert len(rows) > 1
    same(study(model, request), merged(study, model, rows, [len(rows) // 2], tmp_path), name)


@pytest.mark.parametrize("name", sorted(DIVIDED))
def test_a_row_that_is_no_item_is_counted(name, tmp_path):
    cls = DIVIDED[name]
    model = home(cls)
    study: Any = light(cls)
    rows = rows_of(study, material(model, cls))
    found = merged(study, model, [*rows, {"nonsense": 1}], [], tmp_path)
    told = next(c for c in found.checks if c.name == "rows that failed")
    assert told.value == 1 and not told.passed


class Counts(Value):
    """How many items a stretch had."""

    n: int


class Crooked(Divided):
    """Looks at how many items it is given with: no study that may be divided."""

    id: ClassVar[str] = "crooked"
    part: ClassVar[type[Value]] = Counts

    def work(self, lab, items, target):
        return [Counts(n=len(items)) for _ in items]

    def merge(self, lab, items, parts, target, n_failed=0):
        return Finding(title="crooked", lede="", context=tuple(("n", "x" * p.n) for p in parts))


def test_the_suite_can_fail(tmp_path):
    model = home(Crooked)
    request = material(model, Crooked)
    whole = Crooked()(model, request)
    with pytest.raises(AssertionError):
        same(whole, merged(Crooked(), model, rows_of(Crooked(), request), [1], tmp_path))
