"""Finished work that is kept on disk under the hash of everything it depends on, within a bound.

The folder is `$EXEGETE_CACHE` (default ~/.cache/exegete; "off" keeps nothing), its bound `$EXEGETE_CACHE_GB` (default 10) for each kind
of thing in it. What was used longest ago goes first. A thing is a folder that appears by one rename, so that readers of other processes
see all of it or none; what another process holds open stays readable to it when it is removed.
"""

import os
import shutil
import time
from pathlib import Path

FORGOTTEN = 7 * 86400.0  # seconds


def root(kind: str) -> Path | None:
    """Where things of a kind are kept; None where nothing is."""
    named = os.environ.get("EXEGETE_CACHE", "")
    if named == "off":
        return None
    return Path(named or "~/.cache/exegete").expanduser() / kind


def shrink(folder: Path, newest: str, sign: str) -> None:
    """Remove what was used longest ago until the folder is under its bound. Only folders with the file `sign` are finished, and may go,
    and others that nobody has touched for a week; the newest stays whatever its size.
    """
    limit = float(os.environ.get("EXEGETE_CACHE_GB", "10")) * 2**30
    now = time.time()
    found = [p for p in folder.iterdir() if (p / sign).exists() or now - _used(p) > FORGOTTEN]
    sizes = {p: _size(p) for p in found}
    total = sum(sizes.values())
    for p in sorted(found, key=_used):
        if total <= limit:
            return
        if p.name != newest:
            shutil.rmtree(p, ignore_errors=True)
            total -= sizes[p]


def _size(folder: Path) -> int:
    """Bytes of its files; another process may be removing them."""
    total = 0
    for f in folder.rglob("*"):
        try:
            total += f.stat().st_size if f.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _used(folder: Path) -> float:
    """When anything was put into it, or into a folder of it, or it was touched."""
    try:
        return max(p.stat().st_mtime for p in (folder, *(folder.iterdir() if folder.is_dir() else ())))
    except FileNotFoundError:  # another process was faster
        return 0.0
