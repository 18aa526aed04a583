"""Many patched passes of one text, made cheaply: every cell a row of a batch.

A cell is a set of spots, each a site (with a head or without) at some positions or at all of them, that takes its values
from a source run while everything else is computed from the base run. For all cells of a text together:

1. identical cells are run once; cells that cannot change what is measured (a spot before the first token in which the two
   runs differ, or behind the last one that is measured, in a causal model) are not run at all;
2. cells are rows of one batch under the token budget, sorted by the layer of their first spot;
3. a batch starts at that layer, from the residual of the base run (`models.resume`);
4. in causal models it starts at the first changed position too, after the keys and values of the base run
   (`models.suffix`), and where one row is measured its last layer writes to that row alone (`models.tail`); one probe
   compares this with reading everything, and where they differ all is read;
5. only the rows that are measured are unembedded.

Values equal those of one pass a cell (1e-5). The base run may hold several rows (samples of noise): every cell is then
run once a row. Cost: a base run, and about half a pass a cell (a quarter with 4), less what 1 saves.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.site import Site, Stack
from exegete.core.trust import Check
from exegete.models.capture import EditMap
from exegete.models.lab import Aim, Lab
from exegete.models.scale import finite, score
from exegete.models.suffix import Suffix, recording, suffix_of
from exegete.models.tail import cuts, only_row

TOLERANCE = 1e-4  # of the largest value: how far reading on may differ from reading everything
OVERHEAD = 48  # tokens whose reading costs as much as starting a pass
WORTH_IT = 0.05  # share of the work that reading less must save
TAIL_SAVES = 0.7  # of a layer, where the last one is cut to a row


@dataclass(frozen=True)
class Spot:
    """A place that takes its values from the source run: a whole site, one head of it or all, positions or all (None)."""

    site: Site
    head: int | None = None
    positions: tuple[int, ...] | None = None


Cell = tuple[Spot, ...]
Sources = Mapping[Site, Tensor]


def sites_of(cells: Iterable[Cell]) -> tuple[Site, ...]:
    """The sites that the source run must be read at."""
    return tuple(dict.fromkeys(s.site for cell in cells for s in cell))


@dataclass
class Base:
    """The run that cells change: `resid[l]` [row, tok, d] enters layer l, `values` [row] is what is measured unchanged.

    `same` counts the tokens at the start in which base and source do not differ (0 where unknown), `suffix` holds the keys
    and values where they can be used; `checks` say whether they agreed with reading everything.
    """

    lab: Lab
    aim: Aim
    stack: Stack
    resid: tuple[Tensor, ...]
    values: Tensor
    same: int = 0
    suffix: Suffix | None = None
    checks: list[Check] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of the base run."""
        return len(self.values)

    @property
    def length(self) -> int:
        """Tokens of the text in the stack that is patched."""
        return self.resid[0].shape[1]

    @property
    def last(self) -> int:
        """The last position that can change what is measured."""
        at = self.aim.positions
        return int(at.max()) if self.lab.model.causal and at is not None else self.length - 1


def base_run(
    lab: Lab, aim: Aim, stack: Stack, *, edit: EditMap | None = None, rows: int = 1, same: int = 0
) -> Base:
    """Run the text of an aim at one text, in several rows where wanted. Costs a forward a row.

    `edit` changes the base run at its entrance (noise on the embeddings); `same` promises that so many tokens at the start
    are alike in the base and in every source.
    """
    bound = lab.model.map
    sites = [Site("resid_pre", layer=i, stack=stack) for i in range(len(bound.tower(stack).layers))]
    given = {k: v.expand(rows, *v.shape[1:]) for k, v in aim.inputs.items()}
    at = None if aim.positions is None else aim.positions.expand(rows, -1)
    seen = lab.run({**given, **recording(lab.model)}, read=sites, edit=edit, rows=at)
    kept = suffix_of(lab.model, getattr(seen.output, "past_key_values", None))
    values = _measure(aim, seen.logits)
    return Base(lab, aim, stack, tuple(seen[s] for s in sites), values, same, kept)


def run_cells(base: Base, cells: Sequence[Cell], sources: Sources) -> np.ndarray:
    """What is measured with each cell patched [cell, row]. `sources` [1 or row, ...] are values of whole sites of the source
    run, at the positions of the base text.
    """
    wanted = [_effective(base, cell) for cell in cells]
    distinct = list(dict.fromkeys(c for c in wanted if c))
    found: dict[Cell, Tensor] = {(): base.values}
    jobs = plan(base, distinct)
    if base.suffix is not None and not base.checks:
        jobs = _probed(base, jobs, distinct, sources)
    with base.lab.working(len(distinct), "patching") as step:
        for job in jobs:
            values = _run(base, job, sources).unflatten(0, (len(job.cells), base.rows))
            found.update(zip(job.cells, values))
            step(len(job.cells))
    return (
        torch.stack([found[c] for c in wanted]).double().cpu().numpy() if cells else np.zeros((0, base.rows))
    )


@dataclass(frozen=True)
class Job:
    """One batch: its cells, the layer and the position at which it starts, and whether its last layer is cut to one row."""

    cells: tuple[Cell, ...]
    layer: int
    start: int
    tail: bool = False


def plan(base: Base, cells: Sequence[Cell]) -> list[Job]:
    """Cells in batches, by first layer and, where reading on is possible, by first position."""
    layers: dict[int, list[Cell]] = {}
    for cell in cells:
        layers.setdefault(_layer(cell), []).append(cell)
    jobs = []
    for layer, members in sorted(layers.items()):
        members = sorted(members, key=lambda c: _start(base, c))
        while members:
            start = _start(base, members[0])
            size = _size(base, [_start(base, c) for c in members])
            jobs.append(Job(tuple(members[:size]), layer, start, _tail(base, members[:size])))
            members = members[size:]
    return jobs


def _size(base: Base, starts: Sequence[int]) -> int:
    """How many of the cells (sorted by start) go in one batch.

    All read from the first start on, so that later ones read tokens for nothing: a batch ends where these tokens cost as
    much as another pass, or where the token budget is spent.
    """
    width = max(base.length - starts[0], 1)
    most = max(1, base.lab.model.token_budget // (width * base.rows))
    wasted = np.cumsum([(s - starts[0]) * base.rows for s in starts[:most]])
    return max(1, int(np.searchsorted(wasted, OVERHEAD, side="right")))


def _probed(base: Base, jobs: list[Job], cells: Sequence[Cell], sources: Sources) -> list[Job]:
    """The plan, after one cell of it agreed with reading everything; else the plan without reading on."""
    spent = sum(
        len(j.cells) * (base.length - j.start) * (_depth(base, j) - TAIL_SAVES * j.tail) for j in jobs
    )
    whole = sum(len(j.cells) * base.length * _depth(base, j) for j in jobs)
    reads_on = [j for j in jobs if j.start] or [j for j in jobs if j.tail]
    if not reads_on or 1 - spent / whole < WORTH_IT:
        return _without(base, cells)
    job = replace(reads_on[0], cells=reads_on[0].cells[:1])
    plain = _run(base, replace(job, start=0, tail=False), sources)
    gap = float((_run(base, job, sources) - plain).abs().max() / plain.abs().max().clamp_min(1.0))
    agreed = gap <= TOLERANCE
    words = "one patched pass that reads only what its change can reach, against reading everything"
    if not agreed:
        words += f": they differ by {gap:.1e}, so everything was read"
    base.checks.append(Check.at_most("reading on", gap if agreed else 0.0, TOLERANCE, words))
    return jobs if agreed else _without(base, cells)


def _without(base: Base, cells: Sequence[Cell]) -> list[Job]:
    base.suffix = None
    return plan(base, cells)


def _depth(base: Base, job: Job) -> int:
    return len(base.resid) - job.layer


def _run(base: Base, job: Job, sources: Sources) -> Tensor:
    """Values [cell * row] of one batch."""
    n = len(job.cells)
    inputs: dict[str, Any] = {
        k: v.repeat(n * base.rows, *[1] * (v.ndim - 1)) for k, v in base.aim.inputs.items()
    }
    rows = base.aim.positions
    if job.start and base.suffix is not None:
        inputs = base.suffix.inputs(inputs, job.start, job.layer, n)
        rows = None if rows is None else rows - job.start
    resid = base.resid[job.layer][:, job.start :].repeat(n, 1, 1)
    edit = {s: _Take(job, base, s, sources[s]) for s in sites_of(job.cells)}
    bound = base.lab.model.map
    cut = only_row(bound, base.stack, int(rows)) if job.tail and rows is not None else nullcontext()
    with cut:
        seen = base.lab.resume(inputs, job.layer, resid, stack=base.stack, edit=edit, rows=rows)
    return _measure(base.aim, seen.logits, rows)


@dataclass(frozen=True, eq=False)
class _Take:
    """The edit of one site in one batch: every row takes the spots of its cell from the source."""

    job: Job
    base: Base
    site: Site
    source: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        n, rows = len(self.job.cells), self.base.rows
        axis = self.site.axes.split()
        tok = next(i for i, a in enumerate(axis) if a in ("tok", "key"))
        shift = self.base.length - x.shape[tok]  # tokens that this pass does not read anew
        source = self.source.to(x).narrow(tok, shift, x.shape[tok])
        source = source.repeat(n * rows // len(source), *[1] * (x.ndim - 1))
        return torch.where(self._mask(x, tok, shift), source, x)

    def _mask(self, x: Tensor, tok: int, shift: int) -> Tensor:
        """Which entries are taken [cell * row, head (or 1), tok, 1]."""
        heads = x.shape[1] if tok == 2 else 1
        mask = torch.zeros(len(self.job.cells), heads, x.shape[tok] + shift, dtype=torch.bool)
        for i, cell in enumerate(self.job.cells):
            for spot in cell:
                if spot.site == self.site:
                    at = slice(None) if spot.positions is None else list(spot.positions)
                    mask[i, slice(None) if spot.head is None else spot.head, at] = True
        mask = mask[..., shift:].repeat_interleave(self.base.rows, 0).to(x.device)[..., None]
        return mask if tok == 2 else mask[:, 0]


def _measure(aim: Aim, logits: Tensor, at: Tensor | None = None) -> Tensor:
    """Values [batch] of the aim's one text in every row of a batch."""
    (rows,) = aim.rows
    if logits.dim() == 2:
        logits = logits[:, None]
    elif logits.shape[1] != len(rows) and not aim.pooled:
        places: Any = (
            aim.positions if at is None else at
        )  # this text's rows are the same in every row of the batch
        logits = logits[:, places[0].to(logits.device)]
    values = score(logits, rows, aim.scale)
    finite(values, "output")
    return values.prod(-1) if aim.scale == "prob" else values.sum(-1)


def _tail(base: Base, cells: Sequence[Cell]) -> bool:
    """Whether the last layer may be cut to the measured row: one row, and no place inside that layer is patched."""
    at, last = base.aim.positions, len(base.resid) - 1
    sites = [s for s in sites_of(cells) if s.layer == last and s.kind != "resid_pre"]
    one = base.suffix is not None and at is not None and at.numel() == 1
    return one and not sites and cuts(base.lab.model.map, base.stack)


def _layer(cell: Cell) -> int:
    return min(s.site.layer or 0 for s in cell)


def _start(base: Base, cell: Cell) -> int:
    """The first position that a batch must read for this cell; 0 where everything is read."""
    if base.suffix is None or base.aim.positions is None:
        return 0
    first = min(base.same if s.positions is None else min(s.positions) for s in cell)
    return min(max(first, base.same), int(base.aim.positions.min()), base.length - 1)


def _effective(base: Base, cell: Cell) -> Cell:
    """The spots that can change what is measured, in an order of their own; none when no spot can."""
    found = []
    for spot in dict.fromkeys(cell):
        at = range(base.length) if spot.positions is None else spot.positions
        kept = tuple(sorted({p for p in at if base.same <= p <= base.last}))
        if kept:
            found.append(replace(spot, positions=kept))
    return tuple(
        sorted(found, key=lambda s: (str(s.site), -1 if s.head is None else s.head, s.positions or ()))
    )
