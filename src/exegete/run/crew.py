"""Watching over workers in other processes, whatever engine starts them.

1. as many workers as were asked for are started on the folder; they find their own work;
2. one that dies is replaced. The shard it held is tried again, after those that nobody died of; a shard that `TRIES` workers died of is
   given up and written down, so that one bad text costs three workers and not the night;
3. one that ends with a letter (a full disk, other weights, a model that cannot be loaded) stops all: it would meet the others too;
4. when nothing is left, nobody is waited for longer than `LEAVE` seconds: a worker that still stands in a cluster's queue, or loads
   its model, has nothing to do any more.

An engine is a `Crew`: it starts a worker by name and says what became of it. The rules are here, once.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exegete.core.errors import ExegeteError, ModelError
from exegete.run.events import Log
from exegete.run.folder import Folder, me

TRIES = 3
PATIENCE = 20  # workers that may die one after another while they start, once others have worked
POLL = 0.1
LEAVE = 5.0


@dataclass(frozen=True)
class Ended:
    """What became of a worker: `letter` it ended with, or `died` of what; neither when it went well."""

    letter: ExegeteError | None = None
    died: str = ""


class Crew(ABC):
    """Starts workers somewhere else. `where`: what they are told of the place of the model (`core.job.ModelRef.where`), in place of what
    the plan says.
    """

    where: Mapping[str, Any] | None = None

    @abstractmethod
    def start(self, folder: Folder, name: str) -> None:
        """Start the worker called `name`."""

    @abstractmethod
    def ended(self, name: str) -> Ended | None:
        """What became of it; None while it works."""

    @abstractmethod
    def stop(self, name: str) -> None:
        """Have it stop after its shard."""

    @abstractmethod
    def kill(self, name: str) -> None:
        """Have it stop now."""

    @abstractmethod
    def close(self) -> None:
        """The work is over."""


@dataclass
class Watchman:
    """Keeps `n` workers of a crew at work on a folder."""

    folder: Folder
    crew: Crew
    n: int
    left: Callable[[], bool]
    log: Log
    tries: Counter[int] = field(default_factory=Counter)
    idle: int = 0  # workers that died one after another before they had a shard, while nobody got on
    done: int = 0
    first: int = 0  # shards that were done when it began
    started: int = 0
    alive: list[str] = field(default_factory=list)

    def watch(self, stop: Callable[[], bool]) -> None:
        """Until nothing is left and all have ended, or `stop()`. Raises the letter that a worker ended with."""
        self.done = self.first = len(self.folder.done())
        try:
            for _ in range(self.n):
                self._start()
            asked, over = False, float("inf")
            while self.alive and time.monotonic() < over:
                if not asked and stop():
                    asked = True
                    for name in self.alive:
                        self.crew.stop(name)
                for name in list(self.alive):
                    self._look(name, asked)
                if over == float("inf") and not self.left():
                    over = time.monotonic() + LEAVE
                time.sleep(POLL)
        finally:
            for name in self.alive:
                self.crew.kill(name)
            self.crew.close()

    def _start(self) -> None:
        name = f"{me()}-w{self.started}"
        self.started += 1
        self.crew.start(self.folder, name)
        self.alive.append(name)

    def _look(self, name: str, asked: bool) -> None:
        end = self.crew.ended(name)
        if end is None:
            return
        self.alive.remove(name)
        if end.letter is not None:
            raise end.letter
        if end.died:
            self._died(name, end.died, asked)
            if not asked and self.left():
                self._start()

    def _died(self, name: str, why: str, asked: bool) -> None:
        held = self.folder.left_by(name)
        self.log.tell("died", {"who": name, "why": why, "shard": held[0] if held else -1})
        before, self.done = self.done, len(self.folder.done())
        self.idle = 0 if held or self.done > before else self.idle + 1
        for k in held:
            self.tries[k] += 1
            if self.tries[k] >= TRIES and not self.folder.shard(k).exists():
                self.log.tell("poison", {"shard": k})
                self.folder.poison(k, f"{TRIES} workers died of it, the last of: {why}")
            self.folder.put_last(k, self.tries[k])
            self.folder.release(k, of=name)
        patience = TRIES if self.done == self.first else PATIENCE
        if self.idle >= patience and not asked:  # else it was told to stop before it could listen
            raise ModelError(
                f"You asked for a run in {str(self.folder.path)!r}.",
                f"{patience} workers died before they had anything to do, the last of: {why}",
                "Try the same with --engine local, which shows what happens.",
            )
