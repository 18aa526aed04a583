"""Many texts, shared passes: what several explanations ask of one model at the same time is run in one batch.

1. each text is worked on by a function that knows nothing of the others; `lanes` of them are under way at a time, on
   threads of which only one runs at any moment (they take turns like coroutines, so nothing depends on timing);
2. where one would run the model, it hands in its inputs and waits, and the turn goes to the next;
3. when all wait, everything handed in is run in buckets of like length under the token budget, and each gets its rows.

Values are those of running alone, to rounding (batch and padding change them by less than 1e-5 of the largest). Which inputs meet in a
batch depends on the texts and on nothing else, so that the same set gives the same bits.
Cost: the same rows through the model, in fewer and fuller passes.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from exegete.models.forward import Batch, Meter, Runner, buckets
from exegete.models.model import Model, still
from exegete.models.question import Question
from exegete.models.turns import Ids, Lane, Points

T = TypeVar("T")
R = TypeVar("R")
LANES = 32


class Pool:
    """Works on many items of one model with shared passes. `lanes`: how many are under way at a time."""

    def __init__(self, model: Model, lanes: int = LANES) -> None:
        self.model, self.lanes = model, lanes

    def map(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """`work(item)` for every item, in order. The first exception ends the rest and is raised here."""
        wave = 4 * self.lanes
        for start in range(0, len(items), wave):
            part = list(enumerate(items[start : start + wave]))
            found: dict[int, Any] = {}
            turn = threading.Semaphore(0)
            lanes = [Lane(self.model, part[i :: self.lanes], work, turn, found) for i in range(self.lanes)]
            with still(self.model.module), self.model.settled():
                self._run([lane for lane in lanes if lane.items])
            yield from (found[place] for place, _ in part)

    def _run(self, lanes: list[Lane]) -> None:
        threads = [threading.Thread(target=lane.run, daemon=True) for lane in lanes]
        try:
            for thread in threads:
                thread.start()
            alive = lanes
            while alive:
                for lane in alive:
                    lane.let()
                    if lane.error is not None:
                        raise lane.error
                alive = [lane for lane in alive if not lane.done]
                answer(self.model, alive)
        finally:
            for lane, thread in zip(lanes, threads):
                lane.stop = True
                while thread.is_alive() and not lane.done:
                    lane.let()
                lane.go.release()  # for a thread whose start was interrupted
            for thread in threads:
                if thread.ident is not None:
                    thread.join()


def answer(model: Model, lanes: Sequence[Lane]) -> None:
    """Run what the lanes have handed in, together; after a failure each by itself, so that it reaches only those it is of."""
    for kind, run in ((Ids, _run_ids), (Points, _run_points)):
        group = [lane for lane in lanes if isinstance(lane.asked, kind)]
        if not _answered(model, run, group) and len(group) > 1:
            for lane in group:
                _answered(model, run, [lane])
    for lane in lanes:
        lane.asked = None


def _answered(model: Model, run: Callable[[Model, list[Any]], list[Any]], group: Sequence[Lane]) -> bool:
    """Answer the group from one run; when it fails, with the failure, which is raised on each lane. Whether it went well."""
    try:
        found = run(model, [lane.asked for lane in group])
    except Exception as e:  # noqa: BLE001 (raised again on each lane)
        found = [e] * len(group)
    for lane, answer in zip(group, found):
        lane.answer = answer
    return not any(isinstance(answer, Exception) for answer in found)


def _run_ids(model: Model, asked: list[Ids]) -> list[Tensor]:
    """Logits for each, from shared passes over all their inputs. Inputs with and without rows or decoder go apart."""
    out: list[Tensor | None] = [None] * len(asked)
    for pooled in (True, False):
        group = [a for a, job in enumerate(asked) if (job.batch.rows is None) is pooled]
        where = [(a, i) for a in group for i in range(len(asked[a]))]
        if not where:
            continue
        most = 0 if pooled else max(asked[a].batch.rows.shape[1] for a in group)  # type: ignore[union-attr]
        rows: dict[tuple[int, int], Tensor] = {}
        started = time.perf_counter()
        with torch.inference_mode(), still(model.module):
            for chunk in buckets([_length(asked[a], i) for a, i in where], model.token_budget):
                logits = Runner(model, Meter(), alone=True)(_merged(asked, [where[c] for c in chunk], most))
                rows.update(zip((where[c] for c in chunk), logits))
        each = (time.perf_counter() - started) / len(where)
        for a in group:
            got = torch.stack([rows[a, i] for i in range(len(asked[a]))])
            out[a] = got if pooled else got[:, : asked[a].batch.rows.shape[1]]  # type: ignore[union-attr]
            _count(
                asked[a].meter, len(asked[a]), sum(_length(asked[a], i) for i in range(len(asked[a]))), each
            )
    return out  # type: ignore[return-value]


def _merged(asked: list[Ids], members: list[tuple[int, int]], most: int) -> Batch:
    """One batch of inputs of several; row lists are filled up to the same length with their last position."""
    rows = None
    if most:
        each = [asked[a].batch.rows[i] for a, i in members]  # type: ignore[index]
        rows = np.stack([np.pad(r, (0, most - len(r)), mode="edge") for r in each])
    dec = None
    if asked[members[0][0]].batch.dec is not None:
        dec = [asked[a].batch.dec[i] for a, i in members]  # type: ignore[index]
    main = [asked[a].batch.main[i] for a, i in members]
    return Batch(main, rows, dec, types=_types([(asked[a].batch.types, i) for a, i in members], main))


def _types(
    given: Sequence[tuple[Sequence[np.ndarray] | None, int]], main: Sequence[np.ndarray]
) -> list[np.ndarray] | None:
    """`Batch.types` of texts of which some are pairs; None when none is."""
    if all(types is None for types, _ in given):
        return None
    return [np.zeros_like(ids) if types is None else types[i] for (types, i), ids in zip(given, main)]


def _length(asked: Ids, i: int) -> int:
    dec = asked.batch.dec
    return len(asked.batch.main[i]) + (len(dec[i]) if dec is not None else 0)


def _run_points(model: Model, asked: list[Points]) -> list[tuple[np.ndarray, Tensor]]:
    """Values and gradients for each. Points of one-stack questions without tails share passes, others run by themselves."""
    out: dict[int, tuple[np.ndarray, Tensor]] = {}
    shared = [a for a, job in enumerate(asked) if _simple(job.question)]
    for a, job in enumerate(asked):
        if a not in shared:
            out[a] = job.question.gradients_alone(job.points)
    sizes = [len(asked[a]) for a in shared]
    for chunk in _fitting(sizes, [asked[a].points.shape[1] for a in shared], model.token_budget):
        members = [shared[c] for c in chunk]
        out.update(zip(members, _together(model, [asked[a] for a in members])))
    return [out[a] for a in range(len(asked))]


def _simple(q: Question) -> bool:
    return len(q.branches) == 1 and not q.branches[0].tail and not q.dec.any() and not q.model.rereads


def _fitting(sizes: list[int], widths: list[int], budget: int) -> Iterator[list[int]]:
    """Whole requests in order of width, as many together as fit the budget when padded to the widest."""
    chunk: list[int] = []
    inputs = 0
    for i in sorted(range(len(sizes)), key=lambda v: widths[v]):
        if chunk and (inputs + sizes[i]) * widths[i] > budget:
            yield chunk
            chunk, inputs = [], 0
        chunk.append(i)
        inputs += sizes[i]
    if chunk:
        yield chunk


def _together(model: Model, asked: list[Points]) -> list[tuple[np.ndarray, Tensor]]:
    """One forward and one backward of all points, padded to the longest."""
    width = max(job.points.shape[1] for job in asked)
    leaves = [job.points.detach().requires_grad_(True) for job in asked]
    padded = torch.cat([torch.nn.functional.pad(x, (0, 0, 0, width - x.shape[1])) for x in leaves])
    main = [job.question.ids for job in asked for _ in range(len(job))]
    types = [job.question.parts for job in asked for _ in range(len(job))]
    single = asked[0].question.branches[0].rows[0].position is None
    rows = None if single else _row_table(asked)
    started = time.perf_counter()
    with still(model.module), torch.enable_grad():
        logits = Runner(model, Meter(), alone=True)(
            Batch(main, rows, points=padded, types=types if any(t.any() for t in types) else None)
        )
        values, at = [], 0
        for job in asked:
            mine = logits[at : at + len(job), : len(job.question.branches[0].rows)]
            values.append(job.question.scored(mine))
            at += len(job)
        total = sum(job.question.total_of(v).sum() for job, v in zip(asked, values))
        grads = torch.autograd.grad(total, leaves)  # type: ignore[arg-type]
    each = (time.perf_counter() - started) / len(main)
    for job in asked:
        _count(job.question.meter, len(job), len(job) * len(job.question.ids), each)
    return [(v.detach().double().cpu().numpy(), g) for v, g in zip(values, grads)]


def _count(meter: Meter, inputs: int, tokens: int, seconds: float) -> None:
    meter.forwards += inputs
    meter.tokens += tokens
    meter.seconds += inputs * seconds


def _row_table(asked: list[Points]) -> np.ndarray:
    lists = [
        [r.position or 0 for r in job.question.branches[0].rows] for job in asked for _ in range(len(job))
    ]
    most = max(map(len, lists))
    return np.array([r + [r[-1]] * (most - len(r)) for r in lists])
