"""What happens in a run, line by line: each worker writes its own file, whoever watches reads them all.

    {"at": 1717.2, "event": "shard", "worker": "0", "shard": 12, "rows": 64, "failed": 0, "tokens": 900, "seconds": 2.1}

events   begin (a worker is ready), shard (one is committed), lost (another was faster), memory (less is taken at a time), end, died,
poison. Terminal, web page and `jobs watch` show the same events. Times are here and nowhere else.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOTHING: Mapping[str, str | float] = {}


class Log:
    """Where one worker tells what it does. A line that cannot be written is lost, and no work with it."""

    def __init__(self, folder: Path, worker: str) -> None:
        self.path, self.worker = folder / f"{worker}.jsonl", worker

    def tell(self, event: str, what: Mapping[str, str | float] = NOTHING) -> None:
        """One line."""
        line = json.dumps({"at": round(time.time(), 3), "event": event, "worker": self.worker, **what}) + "\n"
        try:
            with open(self.path, "a") as f:
                f.write(line)
        except OSError:  # a full disk: committing will say so
            return


@dataclass
class Reader:
    """Reads on in all logs of a folder, from where it stopped."""

    folder: Path
    at: dict[Path, int] = field(default_factory=dict)

    def new(self) -> Iterator[dict[str, Any]]:
        """The events since the last time. A line that is still being written comes the next time."""
        for path in sorted(self.folder.glob("*.jsonl")):
            with open(path, "rb") as f:
                f.seek(self.at.get(path, 0))
                data = f.read()
            whole = data[: data.rfind(b"\n") + 1]
            self.at[path] = self.at.get(path, 0) + len(whole)
            for line in whole.splitlines():
                try:
                    yield json.loads(line)
                except ValueError:  # cut short by a kill, and written on by nobody
                    continue
