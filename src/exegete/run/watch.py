"""Watching a run: how far it is, how fast, how much failed, how long it will take. Reads the logs, so that anybody can.

Rates are those of the last `WINDOW` seconds of wall-clock time (of the last `SHARDS` shards of a worker, where these take longer), over
all workers. Nothing is asked of the workers.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from exegete.run import shard
from exegete.run.events import Reader
from exegete.run.folder import Folder
from exegete.run.plan import Plan

WINDOW = 30.0
SHARDS = 4


@dataclass(frozen=True)
class _Made:
    """A shard: when it was begun and committed, how many rows and tokens it has."""

    begun: float
    at: float
    rows: int
    tokens: int

    @property
    def middle(self) -> float:
        """When half of it was done."""
        return (self.begun + self.at) / 2


@dataclass
class Watch:
    """How far a run is. Make it with `Watch.of`, then `poll`."""

    folder: Folder
    plan: Plan
    reader: Reader
    seen: set[int] = field(default_factory=set)
    done: int = 0
    failed: int = 0
    spent: float = 0.0  # seconds of all workers
    recent: list[_Made] = field(default_factory=list)
    cut: bool = False  # whether earlier ones were left out of `recent`

    @classmethod
    def of(cls, folder: Folder, plan: Plan) -> "Watch":
        """From what is committed now; earlier events are read for what they cost."""
        found = cls(folder, plan, Reader(folder.log))
        for event in found.reader.new():
            found._hear(event, time.time())
        found.settle()
        return found

    def settle(self) -> None:
        """Count what was committed and not told: by somebody whose log is gone, or who was killed before a word of it."""
        for k in self.folder.done() - self.seen:
            told = shard.told(self.folder.shard(k))
            self._count(k, int(told["rows"]), int(told["failed"]))

    @property
    def total(self) -> int:
        """Rows of the run."""
        return self.plan.n_rows

    def poll(self) -> int:
        """Read what happened since the last time; how many rows were committed."""
        before = self.done
        for event in self.reader.new():
            self._hear(event, time.time())
        return self.done - before

    def rates(self) -> tuple[float, float]:
        """Rows and tokens a second, lately."""
        now = time.time()
        since = now - max([WINDOW, *(SHARDS * (m.at - m.begun) for m in self.recent)])
        kept = sorted((m for m in self.recent if m.middle >= since), key=lambda m: m.middle)
        self.cut |= len(kept) < len(self.recent)
        self.recent = kept
        if not kept:
            return 0.0, 0.0
        first = kept[0].middle if self.cut else min(m.begun for m in kept)
        span = max(now - first, 0.5)
        return sum(m.rows for m in kept) / span, sum(m.tokens for m in kept) / span

    def line(self) -> str:
        """Where it stands, in words."""
        return f"{self.done:,} of {self.total:,} rows, {self.pace()}"

    def pace(self) -> str:
        """How fast it goes, how long it will take, what failed and what it took, in words."""
        rows, tokens = self.rates()
        words = []
        if rows:
            words.append(f"{rows:,.3g} rows/s")
            words += [f"{tokens:,.0f} tokens/s"] if tokens else []
            words += [f"{_span((self.total - self.done) / rows)} left"] if self.done < self.total else []
        words.append(f"{self.failed:,} failed")
        if self.spent >= 1:
            words.append(f"{_span(self.spent)} of work")
        return ", ".join(words)

    def _hear(self, event: dict[str, Any], now: float) -> None:
        if event.get("event") not in ("shard", "lost"):
            return
        self.spent += float(event["seconds"])
        k, rows = int(event["shard"]), int(event["rows"])
        if k not in self.seen and self.folder.shard(k).exists():
            self._count(k, rows, int(event["failed"]))
            at, took = float(event["at"]), float(event["seconds"])
            if now - at < max(WINDOW, SHARDS * took):
                self.recent.append(_Made(at - took, at, rows, int(event["tokens"])))
            else:
                self.cut = True

    def _count(self, k: int, rows: int, failed: int) -> None:
        self.seen.add(k)
        self.done += rows
        self.failed += failed


def _span(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
