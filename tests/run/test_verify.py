"""What `verify` finds: files that are missing, changed, doubled or of others, and values that come out otherwise."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from exegete.core.errors import InputError
from exegete.core.job import Output
from exegete.core.trust import Check, Cost
from exegete.run.alike import Alike
from exegete.run.drive import Engine, drive, prepare
from exegete.run.opened import Run
from exegete.run.verify import verify
from support.toy_job import ToyWorker, rows_of, toy

N = 50


@pytest.fixture
def run(tmp_path):
    drive(prepare(toy(), rows_of(N), tmp_path, {}), Engine())
    return Run(tmp_path)


def extra(run):
    run.folder.shard(99).write_bytes(run.folder.shard(1).read_bytes())


def without_arrays(run):
    run.folder.shard(1, "safetensors").unlink()


def other_arrays(run):
    path = run.folder.shard(1, "safetensors")
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")


def other_rows(run):
    """The text of a row, in the file that holds what was asked."""
    path = run.plan.file(run.folder)
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(k) for k in range(file.num_row_groups)]
    first = groups[0].to_pylist()
    first[0]["data"] = first[0]["data"].replace("text", "test")
    groups[0] = type(groups[0]).from_pylist(first, groups[0].schema)
    with pq.ParquetWriter(path, groups[0].schema, compression="zstd") as out:
        for group in groups:
            out.write_table(group, row_group_size=len(group))


def other_result(run):
    path = run.folder.result
    path.write_bytes(path.read_bytes().replace(b"r33", b"r44"))


def one_row_less(run):
    path = run.folder.shard(1)
    table = pq.ParquetFile(path).read()
    pq.write_table(table.slice(1), path)


def broken(run):
    path = run.folder.shard(1)
    path.write_bytes(path.read_bytes()[:-1] + b"x")


HARMS = [extra, without_arrays, other_arrays, other_rows, other_result, one_row_less, broken]


@pytest.mark.parametrize("harm", HARMS)
def test_harm_is_found_without_computing_anything_again(run, harm):
    assert verify(run.folder, sample=0).ok
    harm(run)
    found = verify(run.folder, sample=0)
    assert not found.ok and any(line[1] == "FAILED" for line in found.rows[:2]), found.rows


@pytest.mark.parametrize("harm", [without_arrays, other_arrays, one_row_less, broken])
def test_harm_is_found_by_computing_again(run, harm):
    harm(run)
    found = verify(run.folder, sample=7, worker=ToyWorker(0, 1000))
    assert [line[0] for line in found.rows if line[1] == "FAILED" and "again" in line[0]] == ["shard 1 again"]


class Other(ToyWorker):
    """Works out something else of every row: `change` makes it of the output."""

    def __init__(self, change):
        super().__init__(0, 1000)
        self.change = change

    def _one(self, row):
        return self.change(super()._one(row))


CHANGES = {
    "another word in the value": lambda o: Output({"hash": "0" * 64}, o.flat, o.arrays, o.tokens),
    "another word in a column": lambda o: Output(o.value, {**o.flat, "text": "no"}, o.arrays, o.tokens),
    "a column less": lambda o: Output(o.value, {"text": o.flat["text"]}, o.arrays, o.tokens),
    "a column more": lambda o: Output(o.value, {**o.flat, "more": 1}, o.arrays, o.tokens),
    "an array less": lambda o: Output(o.value, o.flat, {}, o.tokens),
    "another failure": lambda o: Output(error=InputError("You asked.", "It fails.", "Change it.")),
    "numbers far off": lambda o: Output(o.value, o.flat, {"vector": o.arrays["vector"] * 1.01}, o.tokens),
}


@pytest.mark.parametrize("change", CHANGES)
def test_values_that_come_out_otherwise_are_found(run, change):
    assert verify(run.folder, worker=ToyWorker(0, 1000)).ok
    assert not verify(run.folder, worker=Other(CHANGES[change])).ok


def test_rounding_is_told_and_let_pass(run):
    def rounded(o):
        return Output(o.value, o.flat, {"vector": o.arrays["vector"] * np.float32(1.000001)}, o.tokens)

    found = verify(run.folder, worker=Other(rounded))
    assert found.ok and "numbers differ by" in found.rows[-1][2]


def alike(new, was):
    found = Alike()
    found.add(new, was)
    return found


@pytest.mark.parametrize(
    ("new", "was", "same"),
    [
        ({"a": [1, "b"]}, {"a": [1, "b"]}, True),
        ({"a": 1}, {"b": 1}, False),
        ([1.0, 2.0], [1.0], False),
        ("drop of 0.123", "drop of 0.124", True),
        ("drop of 0.123", "drop of 0.133", False),
        ("in 1984", "in 1985", False),
        ("1.5e-7 off", "1.5e-3 off", False),
        (None, 0.0, False),
        (True, False, False),
        (np.array([1, 2]), np.array([1, 3]), False),  # ids are no measurements
        (np.zeros((2, 3)), np.zeros((3, 2)), False),
        (Cost(forwards=3), Cost(forwards=4), True),
        (Check.at_most("a", 1e-9, 1e-5, ""), Check.at_most("a", 3e-9, 1e-5, ""), True),
    ],
)
def test_what_is_alike(new, was, same):
    assert alike(new, was).same is same


def test_gaps_are_relative_to_the_largest_of_their_kind():
    assert alike({"x": [1.0, 1e-9], "y": 5.0}, {"x": [1.0, 3e-9], "y": 5.0}).gap == pytest.approx(2e-9)
    assert alike(np.array([np.nan, np.inf, 2.0]), np.array([np.nan, np.inf, 1.0])).gap == 1.0
    assert not alike(1.0, float("nan")).gap <= 1.0
    assert alike({"x": 3}, {"x": 3}).gap == 0.0


@pytest.mark.parametrize("text", ["text number 0 ", "fail"])
def test_arrays_that_a_dead_worker_left_are_not_kept_beside_a_table_of_others(tmp_path, text):
    rows = {f"i{i}": f"{text}{i}" for i in range(8)}
    there = prepare(toy(), rows_of(8), tmp_path / "there", {})
    drive(there, Engine())
    place = prepare(toy(), rows_of(8, **rows), tmp_path / "here", {})
    place.shard(0, "safetensors").write_bytes(there.shard(0, "safetensors").read_bytes())
    drive(place, Engine(), allowed=1.0)
    assert verify(place, worker=ToyWorker(0, 1000)).rows[-1][2] == "8 rows, the same bytes"
