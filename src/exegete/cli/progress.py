"""Progress on stderr, shown only for work that takes over a second: a bar on a terminal, plain lines elsewhere.

Used as a context (`with RichProgress() as progress:`) it also shows, on a terminal, that something goes on where the number of
steps is not known: while libraries and the model are loaded, and between the pieces of work.
"""

import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PATIENCE = 1.0  # seconds before anything is shown
EVERY = 5.0  # seconds between plain lines


class RichProgress:
    """Told the total once, then each step. `clock` is replaced in tests."""

    def __init__(self, console: Console | None = None, clock=time.monotonic) -> None:
        self._console = console or Console(file=sys.stderr)
        self._clock = clock
        self._bar: Progress | None = None
        self._waiting: Progress | None = None
        self._inside = False
        self._total, self._done, self._words = 0, 0, ""
        self._lines = 0  # plain lines that were written for this piece of work
        self._begun = self._said = 0.0

    def __enter__(self) -> "RichProgress":
        self._inside = self._console.is_terminal
        self._wait("loading")
        return self

    def __exit__(self, *_: object) -> None:
        self._inside = False
        self.stop()
        self._rest()

    def start(self, total: int, words: str) -> None:
        """Begin a piece of work of `total` steps."""
        self.stop()
        self._wait(words)
        self._total, self._done, self._words, self._lines = total, 0, words, 0
        self._begun = self._said = self._clock()

    def advance(self, n: int = 1) -> None:
        """`n` more steps are done."""
        self._done += n
        now, over = self._clock(), self._done >= self._total
        if self._console.is_terminal:
            if self._bar is not None or (now - self._begun >= PATIENCE and not over):
                self._show()
        elif self._lines and over:  # what was begun to be told is told to its end
            self._line()
        elif not over and now - self._begun >= PATIENCE and (not self._lines or now - self._said >= EVERY):
            self._said = now
            self._line()

    def tell(self, words: str) -> None:
        """What is to be said beside the numbers from now on: rates, failures."""
        self._words = words
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=words)

    def stop(self) -> None:
        """The work is over: the bar goes away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._wait("working")

    def _wait(self, words: str) -> None:
        """Show that `words` goes on, for how long nobody knows."""
        if not self._inside:
            return
        if self._waiting is None:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._waiting = Progress(*columns, console=self._console, transient=True)
            self._waiting.start()
            self._waiting.add_task(words, total=None)
        self._waiting.update(self._waiting.task_ids[0], description=words)

    def _rest(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None

    def _line(self) -> None:
        self._lines += 1
        print(f"{self._words}: {self._done} of {self._total}", file=self._console.file, flush=True)

    def _show(self) -> None:
        if self._bar is None:
            self._rest()
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
            self._bar.add_task(self._words, total=self._total)
        self._bar.update(self._bar.task_ids[0], completed=self._done)
