"""A suite's folder: the plan and, text by text, what was scored, so that a run that was cut short goes on where it stopped.

    plan.json      what is judged: model, methods, metrics, texts, target, units, seed, version; its hash is the run's name
    texts/N.json   the sheet of text N, written whole or not at all

A folder of another plan is refused, with what differs. A text on which a method failed is not written, so that it is tried again.
Cost: a few kilobytes a text.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from exegete.core.errors import StoreError
from exegete.core.method import Method
from exegete.core.store import write_atomic
from exegete.evaluate.cases import Plan
from exegete.evaluate.sheet import Sheet

FORMAT = 1


@dataclass(frozen=True)
class Folder:
    """A folder that belongs to one plan."""

    path: Path

    @classmethod
    def of(
        cls, path: str, what: Plan, texts: Sequence[Any], metrics: Sequence[Method], judging: tuple[str, int]
    ) -> "Folder":
        """The folder at `path`, made where there is none. Raises `StoreError` for that of another plan, or one not writable."""
        home, plan = Path(path), _plan(what, texts, metrics, judging)
        try:
            (home / "texts").mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise StoreError(
                f"You asked to write to {path!r}.",
                f"The system refused ({e.strerror}).",
                "Choose another folder.",
            ) from e
        file = home / "plan.json"
        if not file.exists():
            write_atomic(file, json.dumps(plan, indent=1, ensure_ascii=False).encode())
            return cls(home)
        try:
            found = json.loads(file.read_text())
        except (OSError, ValueError) as e:
            raise StoreError(
                f"You asked to go on in {path!r}.",
                f"Its plan cannot be read ({e}).",
                "Choose another folder.",
            ) from e
        other = [k for k in plan if found.get(k) != plan[k]]
        if other:
            shown = "; ".join(f"{k}: {found.get(k)!r:.60} there, {plan[k]!r:.60} now" for k in other[:3])
            raise StoreError(
                f"You asked to write to {path!r}.",
                f"It belongs to another run ({shown}).",
                "Choose another folder.",
            )
        return cls(home)

    def read(self) -> dict[int, Sheet]:
        """The sheets that are there, by the place of their text. Raises `StoreError` for a broken one."""
        found = {}
        for file in (self.path / "texts").glob("*.json"):
            try:
                found[int(file.stem)] = Sheet.model_validate(json.loads(file.read_text()))
            except (OSError, ValueError) as e:
                raise StoreError(
                    f"You asked to go on in {str(self.path)!r}.",
                    f"{file.name} is broken ({e!s:.80}).",
                    "Delete that file.",
                ) from e
        return found

    def write(self, i: int, sheet: Sheet) -> None:
        """Keep the sheet of text i."""
        write_atomic(self.path / "texts" / f"{i:06}.json", json.dumps(sheet.model_dump()).encode())


def _plan(
    what: Plan, texts: Sequence[Any], metrics: Sequence[Method], judging: tuple[str, int]
) -> dict[str, Any]:
    """What identifies a run; plain data that compares equal after it was written and read."""
    made = what.provenance("evaluate")
    digest = sha256()
    for t in texts:
        digest.update((t.model_dump_json() if hasattr(t, "model_dump_json") else repr(t)).encode() + b"\0")
    plan = {
        "format": FORMAT,
        "model": made.fingerprint,
        "dtype": made.dtype,
        "methods": made.params["methods"],
        "metrics": [{"id": m.id} | m.params() for m in metrics],
        "texts": len(texts),
        "text hash": digest.hexdigest(),
        "target": made.params["target"],
        "unit": made.params["unit"],
        "prefix": made.params["prefix"],
        "trust": judging[0],
        "n_random": judging[1],
        "seed": what.seed,
        "version": made.versions,
    }
    return json.loads(json.dumps(plan, default=str))
