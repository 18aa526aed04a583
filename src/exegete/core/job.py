"""The contract of a job: work on many rows that can be cut into shards, done anywhere, and put together again.

    split    rows are independent of each other: any shard of them can be worked on alone (`whole` says why not)
    work     `open` loads what is needed, once a worker; `Worker.work` gives an `Output` a row, in order
    merge    outputs of all rows, in the order of the rows -> one result

A job is plain data: written to a plan, read by a worker elsewhere, it does the same. Where it is done is nobody's business here
(`exegete.run`). What an `Output` holds may not depend on the clock, the machine or the worker: the same rows give the same bytes.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from exegete.core.errors import ExegeteError, UnknownName
from exegete.core.result import Result
from exegete.core.value import Given, Value

# kind of a job -> where it is defined; a plan names the kind and nothing that could be made to import anything else
KINDS = {
    "attributing": "exegete.evaluate.attributing:Attributing",
    "judging": "exegete.evaluate.judging:Judging",
    "studying": "exegete.methods.contracts.studying:Studying",
    "harvesting": "exegete.methods.contracts.harvesting:Harvesting",
}


WHERE = ("device", "device_map", "folder")


class ModelRef(Given):
    """How a worker loads the model: what `xg.load` is told. The fields of `WHERE` say where, and are no part of what is computed."""

    source: str = Field(description="a name or a folder")
    task: str | None = None
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None
    device_map: str | dict[str, str | int] | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    folder: str | None = None  # where `source` lies, when it is a folder

    def where(self) -> dict[str, Any]:
        """Where the model is loaded from and to: no part of what is computed."""
        return {k: v for k, v in self.model_dump().items() if k in WHERE}


class Row(NamedTuple):
    """One row: its id, its place in the input (from 0 on), what it holds."""

    id: str
    n: int
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Output:
    """What one row gave: `value` (a `Value`, or JSON data with numpy arrays in it), or the error it failed with.

    `flat` are plain columns for tables, `arrays` dense numbers that are kept apart, `tokens` how many the row has.
    """

    value: Any = None
    flat: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    tokens: int = 0
    error: Exception | None = None


class Worker(ABC):
    """What works on rows: holds the model. `fingerprint` says which weights."""

    fingerprint: str = ""

    @property
    def identity(self) -> str:
        """What all workers of a run must have the same: weights, and whatever reads the rows."""
        return self.fingerprint

    @abstractmethod
    def work(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Output]:
        """An output a row, in order. A row that fails is an output with its error; want of memory is raised."""

    def halve(self) -> bool:
        """Take less memory at a time, after there was not enough. False where that cannot be."""
        return False


class Job(Given, ABC):
    """Base of all jobs. `kind` is its name in plans. `flat`: merging reads the flat columns alone, and values are not opened for it."""

    kind: ClassVar[str] = ""
    flat: ClassVar[bool] = False
    shard_tokens: ClassVar[int] = 2048  # of a shard, about: what is lost when a worker dies
    shard_rows: ClassVar[int] = 64

    model: ModelRef
    seed: int = 0

    @property
    def shard(self) -> tuple[int, int]:
        """The tokens and rows of a shard at most. Nothing but the job decides: the same shards on a laptop and on a cluster."""
        return self.shard_tokens, self.shard_rows

    @property
    def whole(self) -> str:
        """Why the rows cannot be cut into shards; "" where they can."""
        return ""

    @property
    def part(self) -> type[Value] | None:
        """The type of its outputs' values, where their bytes do not say it."""
        return None

    @property
    def words(self) -> str:
        """What it does, for people."""
        return self.kind

    @abstractmethod
    def open(self, model: Any = None) -> Worker:
        """A worker. `model` is one that is loaded already; else the worker loads its own."""

    @abstractmethod
    def merge(self, outputs: Iterable[tuple[Row, Output]], worker: Callable[[], Worker]) -> Result | None:
        """The result of all outputs, which come with their rows; failed rows are among them, with their errors.
        `worker()` is one, for what asks the model again.
        """

    def identity(self) -> dict[str, Any]:
        """Everything that the outputs depend on, as JSON data."""
        told = {"kind": self.kind, **self.model_dump(mode="json")}
        told["model"] = {k: v for k, v in told["model"].items() if k not in WHERE}
        return told


def job_of(told: Mapping[str, Any]) -> Job:
    """The job that `{"kind": ..., ...}` describes. Raises `UnknownName` and `UsageError`."""
    kind = str(told.get("kind", ""))
    if kind not in KINDS:
        raise UnknownName("kind of job", kind, KINDS)
    module, name = KINDS[kind].split(":")
    return getattr(importlib.import_module(module), name)(**{k: v for k, v in told.items() if k != "kind"})


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is want of memory, on whatever device."""
    while error is not None:
        told = str(error).lower()
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, RuntimeError) and (
            "out of memory" in told or "can't allocate memory" in told or "not enough memory" in told
        ):
            return True
        error = error.__cause__
    return False


class RowFailed(ExegeteError):
    """A row that failed in an earlier run or another process: its error, as it was written down."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(found=message)
