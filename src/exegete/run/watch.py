"""Watching a run: how far it is, how fast, how much failed, how long it will take. Reads the logs, so that anybody can.

Rates are those of the last `WINDOW` seconds of wall-clock time, over all workers. Nothing is asked of the workers.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from exegete.run import shard
from exegete.run.events import Reader
from exegete.run.folder import Folder
from exegete.run.plan import Plan

WINDOW = 30.0


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
    workers: set[str] = field(default_factory=set)
    recent: deque[tuple[float, int, int]] = field(default_factory=deque)  # at, rows, tokens

    @classmethod
    def of(cls, folder: Folder, plan: Plan) -> "Watch":
        """From what is committed now; earlier events are read for what they cost."""
        found = cls(folder, plan, Reader(folder.log))
        for event in found.reader.new():
            found._hear(event, time.time())
        for k in folder.done() - found.seen:  # committed by somebody whose log is gone
            told = shard.told(folder.shard(k))
            found._count(k, int(told["rows"]), int(told["failed"]))
        found.workers.clear()
        return found

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
        while self.recent and self.recent[0][0] < now - WINDOW:
            self.recent.popleft()
        if not self.recent:
            return 0.0, 0.0
        span = max(now - self.recent[0][0], 0.5)
        return sum(r for _, r, _ in self.recent) / span, sum(t for _, _, t in self.recent) / span

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
        self.workers.add(str(event.get("worker")))
        if event.get("event") in ("end", "died"):
            self.workers.discard(str(event.get("worker")))
        if event.get("event") not in ("shard", "lost"):
            return
        self.spent += float(event["seconds"])
        k, rows = int(event["shard"]), int(event["rows"])
        if k not in self.seen and self.folder.shard(k).exists():
            self._count(k, rows, int(event["failed"]))
            if now - float(event["at"]) < WINDOW:
                self.recent.append(
                    (float(event["at"]) - float(event["seconds"]) / 2, rows, int(event["tokens"]))
                )

    def _count(self, k: int, rows: int, failed: int) -> None:
        self.seen.add(k)
        self.done += rows
        self.failed += failed


def _span(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
