"""Activations as parts: what is read of one text, kept apart, and the table of many texts made of such parts.

A vector at a mark depends on the text, the stretches of the mark and the model alone, so that texts can be read anywhere, and what
is asked of them all (which classes are too rare, which texts are drawn) be decided when the parts are together.

    vectors      one part a text: its marks at all sites, of the model and of its twin
    Here         tables by reading (`models.harvest`)
    Gathered     the same tables from parts, without reading; marks that no part has count as failed

Cost: as harvesting; a table from parts copies its rows. Shapes: as `models.harvest.Table`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from exegete.core.material import Marked
from exegete.core.site import Site
from exegete.core.value import Value
from exegete.models.harvest import NothingRead, Table, harvest
from exegete.models.lab import Lab

Spans = tuple[tuple[int, int], ...]


class Vectors(Value):
    """Marks of one text that could be read. `values` and, of the randomised `twin`, the same (none: `why`), one array a site:
    [mark, width], of pairs [mark, 2, width], for pool "all" [token, width] with `lengths` [stretch] of the stretches.
    `cut`: whole texts of which the context leaves the beginning only [mark].
    """

    text: str = ""
    spans: tuple[Spans, ...] = ()
    values: tuple[np.ndarray, ...] = ()
    twin: tuple[np.ndarray, ...] = ()
    lengths: np.ndarray | None = None
    cut: tuple[bool, ...] = ()
    why: str = ""


class Tables(ABC):
    """Where tables come from. `twinned`: there are also those of a twin with randomised weights, else `why` not; `twin` is the lab with it
    where it is at hand.
    """

    twin: Lab | None = None
    twinned: bool = False
    why: str = ""

    @abstractmethod
    def own(self, items: Sequence[Marked], sites: Sequence[Site], pool: str) -> Table:
        """The table of the model. Raises `InputError` where nothing can be read."""

    @abstractmethod
    def other(self, items: Sequence[Marked], sites: Sequence[Site], pool: str) -> Table:
        """That of its twin, where `twinned`."""


class Here(Tables):
    """Tables by reading with `lab`, and with its twin. `keep`: on disk, for the next time they are asked for."""

    def __init__(self, lab: Lab, twin: Lab | None = None, why: str = "", keep: bool = True) -> None:
        self.lab, self.twin, self.twinned, self.why, self.keep = lab, twin, twin is not None, why, keep

    def own(self, items: Sequence[Marked], sites: Sequence[Site], pool: str) -> Table:
        """Read now."""
        return harvest(self.lab, items, sites, pool, self.keep)

    def other(self, items: Sequence[Marked], sites: Sequence[Site], pool: str) -> Table:
        """Read now."""
        return harvest(self.twin or self.lab, items, sites, pool, self.keep)


class Gathered(Tables):
    """Tables of parts. They are asked for at the sites, and with the pooling, that the parts were read with."""

    def __init__(self, parts: Sequence[Vectors]) -> None:
        self.at = {(p.text, spans): (p, k) for p in parts for k, spans in enumerate(p.spans)}
        self.why = next((p.why for p in parts if p.why), "")
        self.twinned = any(p.twin for p in parts)

    def own(self, items: Sequence[Marked], sites: Sequence[Site], pool: str) -> Table:
        """Put together."""
        return self._table(items, sites, pool, "values")

    def other(self, items: Sequence[Marked], sites: Sequence[Site], pool: str) -> Table:
        """Put together."""
        return self._table(items, sites, pool, "twin")

    def _table(self, items: Sequence[Marked], sites: Sequence[Site], pool: str, which: str) -> Table:
        asked = [(i, m) for i, item in enumerate(items) for m in range(len(item.marks))]
        rows = [(i, m, *self.at[key]) for i, m in asked if (key := _key(items[i], m)) in self.at]
        if not rows:
            raise NothingRead.of(items)
        cut = np.array([p.cut[k] for *_, p, k in rows])
        where = [(p, _where(p, k)) for *_, p, k in rows]
        values = {
            s: np.concatenate([getattr(p, which)[j][at] for p, at in where]) for j, s in enumerate(sites)
        }
        offsets = None
        if pool == "all":
            lengths = np.concatenate([_lengths(p, k) for *_, p, k in rows])
            offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        return Table(
            values=values,
            labels=tuple(items[i].marks[m].label for i, m, *_ in rows),
            item=np.array([i for i, *_ in rows], dtype=np.int64),
            mark=np.array([m for _, m, *_ in rows], dtype=np.int64),
            words=tuple(items[i].words[m] for i, m, *_ in rows),
            offsets=offsets,
            n_failed=len(asked) - len(rows) + int(cut.sum()),
            n_cut=int(cut.sum()),
            cut=cut,
        )


def vectors(tables: Here, items: Sequence[Marked | None], sites: Sequence[Site], pool: str) -> list[Vectors]:
    """What is read of each text; of None, and of a text without a mark that can be read, nothing."""
    found = [Vectors(why=tables.why)] * len(items)
    at = [i for i, m in enumerate(items) if m is not None]
    some = [m for m in items if m is not None]
    if not some:
        return found
    try:
        own = tables.own(some, sites, pool)
        other = tables.other(some, sites, pool) if tables.twinned else None
    except NothingRead:
        return found  # its marks count as failed in the table made of the parts
    for k, i in enumerate(at):
        found[i] = _part(some[k], k, own, other, tables.why)
    return found


def _part(item: Marked, k: int, own: Table, other: Table | None, why: str) -> Vectors:
    """What two tables have of their text `k`."""
    low, high = (int(x) for x in np.searchsorted(own.item, [k, k + 1]))
    rows, lengths = slice(low, high), None
    if own.offsets is not None:
        each = (len(own.offsets) - 1) // len(own)  # stretches a mark
        offsets = own.offsets[low * each : high * each + 1]
        rows, lengths = slice(int(offsets[0]), int(offsets[-1])), np.diff(offsets)
    return Vectors(
        text=item.text,
        spans=tuple(item.marks[m].spans for m in own.mark[low:high]),
        values=tuple(np.asarray(v[rows]) for v in own.values.values()),
        twin=() if other is None else tuple(np.asarray(v[rows]) for v in other.values.values()),
        lengths=lengths,
        cut=(False,) * (high - low) if own.cut is None else tuple(map(bool, own.cut[low:high])),
        why=why,
    )


def _key(item: Marked, mark: int) -> tuple[str, Spans]:
    return item.text, item.marks[mark].spans


def _lengths(part: Vectors, k: int) -> np.ndarray:
    """Tokens of the stretches of mark `k`."""
    every = np.zeros(0, dtype=np.int64) if part.lengths is None else part.lengths
    each = len(every) // len(part.spans)
    return every[k * each : (k + 1) * each]


def _where(part: Vectors, k: int) -> slice:
    """Where mark `k` stands in the arrays of its part."""
    if part.lengths is None:
        return slice(k, k + 1)
    each = len(part.lengths) // len(part.spans)
    start = int(part.lengths[: k * each].sum())
    return slice(start, start + int(_lengths(part, k).sum()))
