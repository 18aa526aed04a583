"""Replies that are kept on disk under the hash of the whole request, one small file each; never a key or a password.

Files are written under another name and renamed, so that two processes can share the folder. Cost: one file a reply.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from exegete.core.errors import StoreError
from exegete.core.store import write_atomic


@dataclass(frozen=True)
class Replies:
    """The folder that replies are kept in; `root` None keeps nothing."""

    root: Path | None

    def get(self, request: str) -> str | None:
        """What is kept for exactly this request, or None."""
        if self.root is None:
            return None
        try:
            held = json.loads(self._path(request).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None  # not there, or cut short by a crash: it is asked again
        return held["reply"] if held.get("request") == request else None

    def put(self, request: str, reply: str) -> None:
        """Keep a reply. Raises `StoreError` where the folder cannot be written."""
        if self.root is None:
            return
        path = self._path(request)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise StoreError(
                f"You asked to keep replies in {str(self.root)!r}.",
                f"The folder cannot be made ({e.strerror}).",
                "Set EXEGETE_CACHE to a folder that can be written, or to off.",
            ) from None
        write_atomic(path, json.dumps({"request": request, "reply": reply}, ensure_ascii=False).encode())

    def _path(self, request: str) -> Path:
        name = hashlib.sha256(request.encode()).hexdigest()[:40]
        return (self.root or Path()) / name[:2] / f"{name}.json"
