"""Where results go: a file, a page, JSON or the terminal. Paths are refused before any work when they cannot be written."""

import json
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exegete.core.errors import UsageError


@dataclass(frozen=True)
class Output:
    """What the user asked for: `--out`, `--html`, `--open`, `--json`."""

    out: str | None = None
    html: str | None = None
    open: bool = False
    json: bool = False

    def check(self, n: int = 1) -> None:
        """Refuse, before any work on `n` results, what cannot be written. Raises `StoreError` and `UsageError`."""
        from exegete.core.store import check_writable

        for path in (*self._files(n), *([self.html] if self.html else [])):
            check_writable(path)
        if self.out and self.html and Path(self.out).absolute() == Path(self.html).absolute():
            raise UsageError(
                f"You gave {self.out!r} to --out and to --html.",
                "One would overwrite the other.",
                "Use two names.",
            )

    def emit(self, results: Sequence, many: bool = False) -> None:
        """Write the results where they were asked for. `many` makes JSON an array also for one result."""
        for result, path in zip(results, self._files(len(results))):
            result.save(path)
            say(f"saved {path}")
        if self.html or self.open:
            self._page(results)
        if self.json:
            data = [r.to_dict() for r in results]
            print(json.dumps(data if many else data[0], ensure_ascii=False, allow_nan=False))
        else:
            _terminal(results)

    def _files(self, n: int) -> list[str]:
        """One name a result: FILE.exg, or FILE-1.exg, FILE-2.exg, ... for several."""
        if not self.out:
            return []
        path = Path(self.out)
        if n == 1:
            return [str(path)]
        width = len(str(n))
        return [str(path.with_name(f"{path.stem}-{i:0{width}}{path.suffix}")) for i in range(1, n + 1)]

    def _page(self, results: Sequence) -> None:
        from exegete.core.store import write_atomic
        from exegete.show.render import page

        path = (
            Path(self.html) if self.html else Path(tempfile.mkdtemp(prefix="exegete-")) / "explanation.html"
        )
        write_atomic(path, page(*results).encode("utf-8"))
        say(f"wrote {path}")
        if self.open and not webbrowser.open(path.absolute().as_uri()):
            say(f"No browser could be started; open {path} yourself.")


def say(words: str) -> None:
    """A line for the reader that is not part of the answer: on stderr."""
    print(words, file=sys.stderr, flush=True)


def _terminal(results: Sequence) -> None:
    from rich.console import Console

    from exegete.show.render import terminal

    console = Console()
    for i, result in enumerate(results):
        if i:
            console.rule(style="dim")
        console.print(terminal(result))
