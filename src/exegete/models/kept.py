"""Arrays that are kept on disk under the hash of everything they depend on.

1. `kept(identity)` hashes what is given; `open()` returns the arrays that are kept under it, memory-mapped, or None;
2. `make` gives an empty array, on disk where it is large, `commit` puts the arrays under the hash: they are written to a folder
   of another name which is then renamed, so that a reader sees all of them or none;
3. the folder `activations` in `$EXEGETE_CACHE` (default ~/.cache/exegete; "off" keeps nothing) is held under
   `$EXEGETE_CACHE_GB` (default 10): what was used longest ago goes first.

Memory: arrays above 64 MB lie on disk also where nothing is kept (a temporary folder, removed with the process).
"""

import errno
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exegete.core.errors import StoreError
from exegete.run.cache import root, shrink

LARGE = 1 << 26
FORMAT = "1"


def kept(identity: object) -> "Kept":
    """The place of what `identity` (anything JSON can say) determines."""
    told = json.dumps([FORMAT, identity], default=str, ensure_ascii=False)
    return Kept(hashlib.sha256(told.encode()).hexdigest()[:32], root("activations"))


@dataclass
class Kept:
    """One set of arrays. `root` is None where nothing is kept."""

    key: str
    root: Path | None
    _work: tempfile.TemporaryDirectory | None = None
    _made: int = 0

    def open(self) -> tuple[np.ndarray, ...] | None:
        """The arrays kept here, read-only, or None."""
        if self.root is None or not (self.root / self.key / "done").exists():
            return None
        folder = self.root / self.key
        try:
            os.utime(folder)
            n = int((folder / "done").read_text())
            return tuple(np.load(folder / f"{i}.npy", mmap_mode="r") for i in range(n))
        except FileNotFoundError:  # another process has just made room
            return None

    def make(self, rows: int, width: int) -> np.ndarray:
        """An array of zeros, float32 [rows, width], to be filled. Raises `StoreError` where the disk is full."""
        if rows * width * 4 < LARGE and self.root is None:
            return np.zeros((rows, width), dtype=np.float32)
        try:
            if self._work is None:
                if self.root is not None:
                    self.root.mkdir(parents=True, exist_ok=True)
                self._work = tempfile.TemporaryDirectory(
                    prefix="making-", dir=self.root, ignore_cleanup_errors=True
                )
            path = Path(self._work.name) / f"{self._made}.npy"
            self._made += 1
            return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, width))
        except OSError as e:
            raise StoreError(
                f"You asked for activations of {rows:,} rows of {width} numbers.",
                f"They cannot be written to {self.root or tempfile.gettempdir()} ({e.strerror}).",
                "Make room there, or name another folder: EXEGETE_CACHE=/path (or off).",
            ) from None

    def commit(self, arrays: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Keep the arrays, and return them read-only."""
        if self.root is None or self._work is None:
            held = self._work
            for a in arrays:
                a.flags.writeable = False
                if held is not None and isinstance(a, np.memmap):
                    a._exegete_folder = held  # type: ignore[attr-defined]  # the folder lives as long as the array
            return tuple(arrays)
        for a in arrays:
            a.flush()  # type: ignore[attr-defined]
        folder = Path(self._work.name)
        (folder / "done").write_text(str(len(arrays)))
        try:
            folder.rename(self.root / self.key)
        except OSError as e:
            if e.errno not in (
                errno.EEXIST,
                errno.ENOTEMPTY,
            ):  # else another process was faster, with the same arrays
                self._work.cleanup()
                raise StoreError(
                    "You asked for activations to be kept.",
                    f"They cannot be put into {self.root} ({e.strerror}).",
                    "Name another folder: EXEGETE_CACHE=/path (or off).",
                ) from None
        else:
            shrink(self.root, self.key, "done")
        found = self.open()
        self._work.cleanup()
        return found if found is not None else tuple(arrays)
