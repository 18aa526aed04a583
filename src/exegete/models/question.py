"""`Question`: one text, one target, one model, ready to be asked: "what is the output if the input were this?"

Slots are the tokens the model reads, in order: the prompt (for an encoder-decoder the source, then the decoder's
start), then, for a target of several tokens, all of the target but its last token (role "prefix"). Rows are the outputs
that are read, one a target token. A contrast of two texts of several tokens has two branches, each with its own tail
after the slots, and one output, their difference.

Asking is economical: inputs already asked are remembered, duplicates are evaluated once, inputs are run in buckets of
like length under the model's token budget, and only the asked rows are unembedded.

Shapes: S slots, R outputs, V variants, P points, U units, d embedding width.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from exegete.core.errors import TargetError
from exegete.core.text import Token, Unit, units
from exegete.models import prefix
from exegete.models.encode import Encoded
from exegete.models.forward import Batch, Meter, Runner, buckets, empty_id
from exegete.models.model import Model, still
from exegete.models.scale import Row, finite, score
from exegete.models.turns import Points, shared

PREFIX_FROM = 2048  # tokens of a request below which reusing a prefix is not worth its own pass
PREFIX_SAVING = 0.2  # least share of tokens saved
CACHE_TOLERANCE = 1e-4  # float32; a cache that is wrong is off by far more
Found = tuple[np.ndarray, np.ndarray]  # output values [V, R] and the model's own answers [V]


@dataclass(frozen=True)
class Branch:
    """A continuation after the slots (`tail`, read but not explained), its rows, and its sign in the total."""

    rows: tuple[Row, ...]
    tail: tuple[int, ...] = ()
    sign: float = 1.0


@dataclass
class Question:
    """See the module. Made by `models.ask.ask`."""

    model: Model
    encoded: Encoded
    tokens: tuple[Token, ...]
    branches: tuple[Branch, ...]
    scale: str
    target: str
    against: str = ""
    notes: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    meter: Meter = field(default_factory=Meter)
    tick: Callable[[int], None] | None = None
    _memo: dict[bytes, np.ndarray] = field(default_factory=dict, repr=False)
    untouched: list[Tensor] | None = field(default=None, init=False, repr=False)
    _answers: dict[bytes, int] = field(default_factory=dict, repr=False)
    fills: dict[Any, np.ndarray] = field(default_factory=dict, repr=False)  # drawn by `models.remove`

    def __post_init__(self) -> None:
        ids = [[r.id for r in b.rows] for b in self.branches]
        if any(r.id == r.foil for b in self.branches for r in b.rows) or (len(ids) == 2 and ids[0] == ids[1]):
            raise TargetError(
                f"You asked for {self.target!r} rather than {self.against!r}.",
                "Both are the same output, so there is nothing between them.",
                "Choose another `against`.",
            )

    # ---- what is asked about -------------------------------------------------------------------------------------

    @cached_property
    def ids(self) -> Int[np.ndarray, "slot"]:
        """Token ids of the slots [S]."""
        return np.array([t.id for t in self.tokens], dtype=np.int64)

    @cached_property
    def dec(self) -> Bool[np.ndarray, "slot"]:
        """Which slots belong to the decoder of an encoder-decoder model [S] bool."""
        return np.array([t.stack == "dec" for t in self.tokens], dtype=bool)

    @cached_property
    def parts(self) -> Int[np.ndarray, "slot"]:
        """Which text of a pair the model is told that each slot belongs to [S]; all 0 where it is told nothing."""
        return np.array([t.part for t in self.tokens], dtype=np.int64)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, one a row."""
        first, *more = self.branches
        if more:
            return (f"{self.target} rather than {self.against}",)
        return tuple(r.label for r in first.rows)

    @property
    def n_outputs(self) -> int:
        """R: how many outputs are read."""
        return len(self.outputs)

    def units(self, level: str = "token", prefix: bool = False) -> tuple[Unit, ...]:
        """The units of the prompt at `level`; with `prefix` also the target tokens read before each output."""
        roles = ("prompt", "prefix") if prefix else ("prompt",)
        text, parts = self.encoded.text, self.encoded.segments
        return units(self.tokens, text, level, spans=self.spans, segments=parts, roles=roles)

    def available(self, us: Sequence[Unit]) -> np.ndarray:
        """[R, U] bool: whether a unit was read before an output was made (prefix tokens come one by one)."""
        seen = np.ones((self.n_outputs, len(us)), dtype=bool)
        late = [i for i, t in enumerate(self.tokens) if t.role == "prefix"]
        for j, u in enumerate(us):
            if u.role == "prefix":
                first = late.index(u.tokens[0])
                seen[: first + 1, j] = False
        return seen

    # ---- asking by tokens ----------------------------------------------------------------------------------------

    def total(self, values: np.ndarray) -> np.ndarray:
        """The explained scalar from output values [..., R] -> [...]: the sum, for probabilities the joint probability."""
        return np.asarray(values.prod(-1) if self.scale == "prob" else values.sum(-1))

    def value(self) -> Float[np.ndarray, "output"]:
        """Output values of the untouched input [R]."""
        return self.ask(self.ids[None])[0]

    def reference(self) -> list[Tensor]:
        """Logits [row, vocab] of the untouched input, one tensor a branch, from a pass of their own.

        The values they give are remembered, so that asking for the untouched input again costs nothing.
        """
        whole = np.ones((1, len(self.ids)), dtype=bool)
        # given once: the pass in which the model chose its target
        logits, self.untouched = self.untouched, None
        for given in logits or ():
            finite(given, "output")
        with torch.inference_mode(), still(self.model.module):
            if logits is None:
                logits = [self._logits(b, self.ids[None], whole, None) for b in self.branches]
            values = self._combined([score(x, b.rows, self.scale) for x, b in zip(logits, self.branches)])
        key = _key(self.ids, whole[0])
        self._memo[key], self._answers[key] = values[0].double().cpu().numpy(), int(logits[0][0, 0].argmax())
        self.__dict__.setdefault("_first_logits", logits[0][0])
        return [x[0] for x in logits]

    def pace(self, n: int = 16) -> float:
        """Seconds that one input takes in a pass of `n` (less where the token budget allows less); uncounted."""
        size = min(n, next(self.chunks(n)).stop)
        ids = np.broadcast_to(self.ids, (size, len(self.ids)))
        quiet = replace(self, meter=Meter(), tick=None, _memo={}, _answers={})
        started = time.perf_counter()
        quiet._run_ids(ids, np.ones(ids.shape, dtype=bool))
        return (time.perf_counter() - started) / size

    def ask(self, ids: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
        """Output values [V, R] float64 of inputs with other token ids [V, S], leaving out slots where `keep` is False.

        Every distinct input is run once in the life of the question.
        """
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        keep = np.ones(ids.shape, dtype=bool) if keep is None else np.ascontiguousarray(keep, dtype=bool)
        keys = [_key(i, k) for i, k in zip(ids, keep)]
        first = {key: v for v, key in reversed(list(enumerate(keys)))}
        todo = [first[key] for key in dict.fromkeys(keys) if key not in self._memo]
        self.meter.asked += len(keys)
        self.meter.distinct += len(todo)
        for picked, (rows, answers) in self._run_all(ids, keep, todo):
            self._memo.update(zip((keys[v] for v in picked), rows))
            self._answers.update(zip((keys[v] for v in picked), map(int, answers)))
            self._progress(len(picked))
        return np.stack([self._memo[key] for key in keys]) if keys else np.zeros((0, self.n_outputs))

    def argmax(self, ids: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
        """The model's own answer [V] int64 at the first output (class or token id) for inputs as `ask` takes them.

        Values and answers come from the same passes: what was asked either way is never run again.
        """
        self.ask(ids, keep)
        keep = np.ones(ids.shape, dtype=bool) if keep is None else np.asarray(keep, dtype=bool)
        ids = np.asarray(ids, dtype=np.int64)
        return np.array([self._answers[_key(i, k)] for i, k in zip(ids, keep)], dtype=np.int64)

    def _run_all(
        self, ids: np.ndarray, keep: np.ndarray, todo: list[int]
    ) -> Iterator[tuple[list[int], Found]]:
        """Run the inputs `todo` in the cheaper of two ways: after what they have in common, or in buckets of like length."""
        chunks = self._prefix_plan(ids[todo], keep[todo])
        for chunk, start in chunks or []:
            picked = [todo[c] for c in chunk]
            yield picked, self._run_prefix(ids[picked], start)
        if chunks is None:
            tail = max(len(b.tail) for b in self.branches)
            for bucket in buckets([int(keep[v].sum()) + tail for v in todo], self.model.token_budget):
                picked = [todo[c] for c in bucket]
                yield picked, self._run_ids(ids[picked], keep[picked])

    def _prefix_plan(self, ids: np.ndarray, keep: np.ndarray) -> list[tuple[np.ndarray, int]] | None:
        """How to reuse what variants have in common; None where it is not possible or gains too little."""
        whole = self.model.causal and len(self.branches) == 1 and keep.all() and ids.size > PREFIX_FROM
        if not whole or not self.reads_on:
            return None
        first = min(r.position or 0 for r in self.branches[0].rows)
        chunks = prefix.plan(ids, self.ids, first, self.model.token_budget)
        return chunks if prefix.saving(chunks, ids.shape[1]) >= PREFIX_SAVING else None

    @cached_property
    def cache_gap(self) -> float:
        """Relative difference between logits read at once and read on from a cache (see `prefix.cache_gap`)."""
        first = self.branches[0]
        if self.model.task not in ("causal", "seq2seq"):
            return float("nan")
        ids = np.concatenate(
            [self.ids[self.dec] if self.dec.any() else self.ids, np.array(first.tail, dtype=np.int64)]
        )
        rows = np.array([r.position or 0 for r in first.rows])
        source = self.ids[~self.dec] if self.dec.any() else None
        self.meter.forwards += 1
        self.meter.tokens += len(self.ids)
        return prefix.cache_gap(self.model, ids, rows, self._first_logits, source)

    @cached_property
    def _first_logits(self) -> Tensor:
        return self.reference()[0]

    @property
    def reads_on(self) -> bool:
        """Whether reading on from a cache was checked and is right for this model and text."""
        return self.cache_gap <= CACHE_TOLERANCE

    def _run_prefix(self, ids: np.ndarray, start: int) -> Found:
        rows = self.branches[0].rows
        at = np.array([r.position or 0 for r in rows])
        if start == 0:
            return self._run_ids(ids, np.ones(ids.shape, dtype=bool))
        logits = prefix.read_with_prefix(Runner(self.model, self.meter), ids, at, start)
        finite(logits, "output")
        return score(logits, rows, self.scale).double().cpu().numpy(), logits[:, 0].argmax(-1).cpu().numpy()

    def _run_ids(self, ids: np.ndarray, keep: np.ndarray, points: Tensor | None = None) -> Found:
        """Output values [V, R] and answers [V], from the same logits."""
        with torch.inference_mode(), still(self.model.module):
            values, first = self._values(ids, keep, points)
        return values.double().cpu().numpy(), first[:, 0].argmax(-1).cpu().numpy()

    # ---- asking by embeddings ------------------------------------------------------------------------------------

    def embeddings(self, ids: Int[np.ndarray, "slot"] | None = None) -> Float[Tensor, "slot d"]:
        """What the input embedding returns for the slots' own ids, or for other ids [S] -> [S, d], detached."""
        ids = self.ids if ids is None else np.asarray(ids)
        out: list[Tensor] = []
        with torch.no_grad(), still(self.model.module):
            for stack, here in (("", ~self.dec), ("dec", self.dec)):
                if here.any():
                    part = torch.as_tensor(ids[here], device=self.model.device)
                    out.append(self.model.embedding(stack)(part[None])[0])
        return torch.cat(out).detach()

    def run(self, points: Float[Tensor, "point slot d"]) -> Float[Tensor, "point output"]:
        """Output values [P, R] of embedded inputs `points` [P, S, d], differentiable. Runs all points in one pass.

        Call it inside `still(model.module)`, as the gradient helpers here do; methods that tap the model use it directly.
        """
        ids = np.broadcast_to(self.ids, (len(points), len(self.ids)))
        return self._values(ids, np.ones(ids.shape, dtype=bool), points)[0]

    def ask_points(self, points: Callable[[slice], Tensor], n: int) -> np.ndarray:
        """Output values [n, R] float64 of embedded inputs, made slice by slice so that memory stays bounded."""
        return self.answer_points(points, n)[0]

    def answer_points(self, points: Callable[[slice], Tensor], n: int) -> Found:
        """The same, and the model's own answers [n] int64, from the same passes."""
        rows, answers = [np.zeros((0, self.n_outputs))], [np.zeros(0, dtype=np.int64)]
        for part in self.chunks(n):
            ids = np.broadcast_to(self.ids, (part.stop - part.start, len(self.ids)))
            with torch.inference_mode():
                values, found = self._run_ids(ids, np.ones(ids.shape, dtype=bool), points(part))
            rows, answers = [*rows, values], [*answers, found]
            self.meter.asked += len(values)
            self.meter.distinct += len(values)
            self._progress(len(values))
        return np.concatenate(rows), np.concatenate(answers)

    def gradients(self, points: Tensor, each: bool = False) -> tuple[np.ndarray, Tensor]:
        """Values [P, R] and gradients of the total [P, S, d], or with `each` of every output [P, R, S, d].

        One forward and one backward a point (R backwards with `each`); the caller slices by `chunks`.
        """
        lane = None if each else shared(self.model)
        found = self.gradients_alone(points, each) if lane is None else lane.wait(Points(self, points))
        self.meter.backwards += len(points) * (self.n_outputs if each else 1)
        self._progress(len(points))
        finite(found[1], "gradient")
        return found

    def gradients_alone(self, points: Tensor, each: bool = False) -> tuple[np.ndarray, Tensor]:
        """What `gradients` returns, in a pass of its own."""
        with still(self.model.module), torch.enable_grad():
            points = points.detach().requires_grad_(True)
            values = self.run(points)
            started = time.perf_counter()
            sums = values.sum(0) if each else self.total_of(values).sum()[None]
            grads = [
                torch.autograd.grad(s, points, retain_graph=k + 1 < len(sums))[0] for k, s in enumerate(sums)
            ]
            self.meter.seconds += time.perf_counter() - started
        return values.detach().double().cpu().numpy(), torch.stack(grads, 1) if each else grads[0]

    def chunks(self, n: int) -> Iterator[slice]:
        """Slices of n copies of this input that fit the token budget."""
        length = len(self.ids) + max(len(b.tail) for b in self.branches)
        size = max(1, self.model.token_budget // max(length, 1))
        return (slice(i, min(i + size, n)) for i in range(0, n, size))

    def total_of(self, values: Tensor) -> Tensor:
        """`total` of a tensor, differentiable."""
        return values.prod(-1) if self.scale == "prob" else values.sum(-1)

    # ---- one pass ------------------------------------------------------------------------------------------------

    def _values(self, ids: np.ndarray, keep: np.ndarray, points: Tensor | None) -> tuple[Tensor, Tensor]:
        """Output values [V, R], every branch run and combined, and the first branch's logits."""
        logits = [self._logits(b, ids, keep, points) for b in self.branches]
        values = self._combined([score(x, b.rows, self.scale) for x, b in zip(logits, self.branches)])
        return values, logits[0]

    def scored(self, logits: Tensor) -> Tensor:
        """Output values [V, R] from the logits [V, row, vocab] of a question of one branch. Raises `ModelError` for NaN."""
        finite(logits, "output")
        return score(logits, self.branches[0].rows, self.scale)

    def _combined(self, parts: list[Tensor]) -> Tensor:
        """Output values [V, R] from the branches' row values: as they are, or their signed totals."""
        if len(parts) == 1:
            return parts[0]
        return sum((b.sign * self.total_of(v) for b, v in zip(self.branches, parts)))[:, None]  # type: ignore[index]

    def _logits(self, branch: Branch, ids: np.ndarray, keep: np.ndarray, points: Tensor | None) -> Tensor:
        """Logits [V, row, vocab] of one branch, in one pass."""
        tail = np.array(branch.tail, dtype=np.int64)
        two = bool(self.dec.any())
        main, dec, types = [], [], []
        for i, k, bare in zip(ids, keep, self._bare(branch, keep)):
            left = i[k & ~self.dec]
            left = np.concatenate([[empty_id(self.model)], left]) if bare or not len(left) else left
            main.append(left if two else np.concatenate([left, tail]))
            dec.append(np.concatenate([i[k & self.dec], tail]))
            part = self.parts[k & ~self.dec]
            types.append(np.pad(part, (len(left) - len(part), len(main[-1]) - len(left))))
        split = int((~self.dec).sum())
        batch = Batch(
            main,
            self._positions(branch, keep),
            dec if two else None,
            points if points is None or not two else points[:, :split],
            points[:, split:] if points is not None and two else None,
            types if self.parts.any() else None,
        )
        logits = Runner(self.model, self.meter)(batch)
        finite(logits, "output")
        return logits

    def _positions(self, branch: Branch, keep: np.ndarray) -> np.ndarray | None:
        """Where each row is read after slots were left out [V, R]; rows in the tail move with the length."""
        if branch.rows[0].position is None:
            return None
        alive = keep[:, self.dec] if self.dec.any() else keep
        width = alive.shape[1]
        before = np.cumsum(alive, 1) + self._bare(branch, keep)[:, None]
        out = np.empty((len(keep), len(branch.rows)), dtype=np.int64)
        for r, row in enumerate(branch.rows):
            p = row.position or 0
            out[:, r] = before[:, p] - 1 if p < width else before[:, -1] + (p - width)
        return out.clip(min=0)

    def _bare(self, branch: Branch, keep: np.ndarray) -> np.ndarray:
        """[V] bool: whether nothing is left up to the first row, so that a stand-in for an empty text is put before the rest.

        Without it the first output would be read from a later slot, such as an earlier target token.
        """
        first = branch.rows[0].position
        if first is None or self.dec.any():
            return np.zeros(len(keep), dtype=bool)
        return ~np.any(keep[:, : first + 1], axis=1)

    def _progress(self, n: int) -> None:
        if self.tick is not None:
            self.tick(n)


def _key(ids: np.ndarray, keep: np.ndarray) -> bytes:
    return ids[keep].tobytes() + np.packbits(keep).tobytes()
