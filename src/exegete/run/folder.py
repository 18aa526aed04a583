"""The folder of a run: files that are there whole or not at all, written once, by whoever comes first.

    plan.json, rows-HASH.parquet  what is to be done
    shards/000012.parquet         what came of shard 12 (and 000012.safetensors for dense arrays)
    claims/000012.json            who works on it; touched while it is worked on
    poison/000012.json            a shard that three workers died of
    log/WORKER.jsonl              what happened, with times
    stop.json                     everybody is to stop, and why
    manifest.json                 written last: all shards are there, with their hashes

1. `commit`: write to a name nobody reads, flush to disk, then link to the final name. A link never overwrites, so that of two who made
   the same shard one is told so, and readers see a whole file or none;
2. `claim`: a file that only one can create. It saves work, nothing depends on it: a claim whose holder is dead (same machine) or silent
   for `LEASE` seconds (any machine, by the clock of the file system) is taken away;
3. no lock is held anywhere, so that any process may be killed at any time.

Cost: two small writes and two flushes a shard.
"""

import errno
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from exegete.core.errors import StoreError

ROOMS = ("shards", "claims", "poison", "log")
LEASE = 60.0  # seconds without a touch after which a claim counts for nothing
_COUNT = count()  # two threads of one process never write to one name
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


@dataclass(frozen=True)
class Folder:
    """The files of one run."""

    path: Path

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> "Folder":
        """The folder at `path`; nothing is made."""
        return cls(Path(path))

    @property
    def plan(self) -> Path:
        """What is to be done."""
        return self.path / "plan.json"

    @property
    def manifest(self) -> Path:
        """The only sign that all is done."""
        return self.path / "manifest.json"

    @property
    def result(self) -> Path:
        """What all shards were merged to."""
        return self.path / "result.exg"

    @property
    def log(self) -> Path:
        """Where workers tell what they do."""
        return self.path / "log"

    def shard(self, k: int, kind: str = "parquet") -> Path:
        """The file of shard k; it is done when the Parquet file is there."""
        return self.path / "shards" / f"{k:06}.{kind}"

    def make(self) -> None:
        """Make what is missing. Raises `StoreError` where that cannot be, or where other things are."""
        try:
            strange = [] if self.plan.exists() or not self.path.exists() else self._strange()
            if strange and not self.plan.exists():  # else another driver wrote its plan meanwhile
                raise StoreError(
                    f"You asked to run a job in {str(self.path)!r}.",
                    f"The folder holds other things ({', '.join(sorted(strange)[:3])}).",
                    "Choose another folder; nothing was computed yet.",
                )
            for name in ROOMS:
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise StoreError(
                f"You asked to run a job in {str(self.path)!r}.",
                f"The system refused ({e.strerror}).",
                "Choose another folder.",
            ) from e

    @property
    def begun(self) -> bool:
        """Whether a worker ever had its model, or anything was committed."""
        return (self.path / "weights.txt").exists() or bool(self.done() or self.poisoned())

    def forget(self) -> None:
        """Take a plan back that nobody has worked by, and the folder where nothing else is in it."""
        for file in (self.plan, *self.path.glob("rows-*.parquet"), *self.log.glob("*"), *self.leftovers()):
            file.unlink(missing_ok=True)
        for folder in (*(self.path / name for name in ROOMS), self.path):
            try:
                folder.rmdir()
            except OSError:  # something is in it
                continue

    def _strange(self) -> list[str]:
        """What is none of ours; another driver may be planning here."""
        ours = (*ROOMS, "weights.txt")
        names = [f.name for f in self.path.iterdir()]
        others = [n for n in names if n not in ours and not n.endswith(".part") and not n.startswith("rows-")]
        return others + (["shards of a run whose plan is gone"] if self.done() else [])

    def done(self) -> set[int]:
        """The shards that are committed."""
        return _numbers(self.path / "shards", ".parquet")

    def poisoned(self) -> set[int]:
        """The shards that were given up."""
        return _numbers(self.path / "poison", ".json")

    # ---- files that appear once --------------------------------------------------------------------------------------

    def commit(self, path: Path, data: bytes, over: bool = False) -> bool:
        """Put `data` at `path`, whole, unless something is there: then False (`over`: in its place). Raises `StoreError` where it cannot be
        written.
        """
        part = self.part(path)
        try:
            part.unlink(missing_ok=True)  # it may be the other name of a file that a dead process committed
            with open(part, "xb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            try:
                os.replace(part, path) if over else os.link(part, path)
            except FileExistsError:
                return False
            except OSError as e:
                if e.errno not in NO_LINKS:
                    raise
                if path.exists():
                    return False
                os.rename(
                    part, path
                )  # a file system without links: the name may be there twice, with the same bytes
            flush(path.parent)
            return True
        except OSError as e:
            raise StoreError(
                f"A part of a run was to be written to {str(path)!r}.",
                f"The system refused ({e.strerror or e}). What was committed before is safe.",
                "Make room or mend the permissions there; the same command then goes on.",
            ) from e
        finally:
            with suppress(
                OSError
            ):  # it may have been renamed, or the disk be gone: `jobs gc` removes what stays
                part.unlink(missing_ok=True)

    def part(self, path: Path) -> Path:
        """The name under which this process, and nobody else, makes what is to stand at `path`."""
        return path.with_name(f".{path.name}.{next(_COUNT)}.{me()}.part")

    def write_stop(self, why: str) -> None:
        """Tell every worker of this folder to stop after its shard."""
        self.commit(self.path / "stop.json", json.dumps({"why": why, "by": me(), "at": time.time()}).encode())

    def stopped(self) -> str:
        """Why everybody is to stop; "" where nobody said so."""
        try:
            return str(json.loads((self.path / "stop.json").read_text("utf-8"))["why"])
        except FileNotFoundError:
            return ""

    def unstop(self) -> None:
        """Take back what `write_stop` said, and try again what was given up."""
        deaths = (self.path / "claims").glob("*.deaths")
        for path in (self.path / "stop.json", *(self.path / "poison").glob("*.json"), *deaths):
            path.unlink(missing_ok=True)

    # ---- claims ------------------------------------------------------------------------------------------------------

    def claim(self, k: int, worker: str) -> bool:
        """Whether shard k is this worker's now."""
        path = self._claim(k)
        told = json.dumps({"worker": worker, "by": me(), "pid": os.getpid()}).encode()
        for _ in range(2):
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                if not self._abandoned(path):
                    return False
                with suppress(FileNotFoundError):  # somebody else took it away
                    path.rename(self.part(path))  # kept for the driver of the dead: `left_by`
                continue
            except OSError as e:
                raise StoreError(
                    f"A shard was to be claimed in {str(path.parent)!r}.",
                    f"The system refused ({e.strerror}). What was committed before is safe.",
                    "Make room or mend the permissions there; the same command then goes on.",
                ) from e
            with (
                os.fdopen(handle, "wb") as f,
                suppress(OSError),
            ):  # a full disk: the claim holds without its words
                f.write(told)
            return True
        return False

    def touch(self, k: int) -> None:
        """Say that shard k is still being worked on."""
        with suppress(OSError):  # it was taken away, or the disk is gone: the work itself will say so
            os.utime(self._claim(k))

    def release(self, k: int, of: str = "") -> None:
        """Give shard k back; `of`: only where that worker holds it."""
        if of and _told(self._claim(k)).get("worker") != of:
            return
        with suppress(OSError):
            self._claim(k).unlink(missing_ok=True)

    def held(self) -> dict[int, dict[str, Any]]:
        """Who works on what, by shard."""
        return {k: _told(self._claim(k)) for k in _numbers(self.path / "claims", ".json")}

    def working(self) -> dict[int, dict[str, Any]]:
        """`held`, by those only who are not dead."""
        return {k: told for k, told in self.held().items() if not self._abandoned(self._claim(k))}

    def left_by(self, worker: str) -> list[int]:
        """The shards that a dead worker held, also where another has taken its claim away meanwhile."""
        held = {k for k, told in self.held().items() if told.get("worker") == worker}
        for taken in (self.path / "claims").glob(".*.json.*.part"):
            if _told(taken).get("worker") == worker:
                held.add(int(taken.name.split(".")[1]))
        return sorted(held)

    def put_last(self, k: int, deaths: int) -> None:
        """Have shard k, that some have died of, taken up after all others."""
        with suppress(OSError):  # a full disk: the order is not kept
            (self.path / "claims" / f"{k:06}.{deaths}.deaths").touch()

    def deaths(self) -> dict[int, int]:
        """How many died of a shard, for those that some have died of."""
        found: dict[int, int] = {}
        for path in (self.path / "claims").glob("*.deaths"):
            k, n, _ = path.name.split(".")
            found[int(k)] = max(int(n), found.get(int(k), 0))
        return found

    def poison(self, k: int, why: str) -> None:
        """Give shard k up."""
        self.commit(self.path / "poison" / f"{k:06}.json", json.dumps({"why": why}).encode())

    def leftovers(self) -> list[Path]:
        """Files that nobody will finish: parts, and claims, of those who are dead or silent."""
        parts = [p for p in self.path.rglob(".*.part") if self._dead(p)]
        return parts + [c for c in (self.path / "claims").glob("*.json") if self._abandoned(c)]

    def _dead(self, part: Path) -> bool:
        lives = _lives(part.name.removesuffix(".part").rsplit(".", 1)[-1])
        try:
            return lives is False or (lives is None and self._now() - part.stat().st_mtime > LEASE)
        except OSError:  # it is gone
            return False

    def _claim(self, k: int) -> Path:
        return self.path / "claims" / f"{k:06}.json"

    def _abandoned(self, path: Path) -> bool:
        by = str(_told(path).get("by", ""))
        if by and _lives(by) is False:
            return True
        try:
            age = self._now() - path.stat().st_mtime
        except OSError:  # it is gone
            return False
        return age > LEASE and _lives(by) is not True

    def _now(self) -> float:
        """The time by the clock of the file system, which all machines share."""
        clock = self.path / "claims" / f".clock.{me()}.part"
        clock.touch()
        try:
            return clock.stat().st_mtime
        finally:
            clock.unlink(missing_ok=True)


@cache
def _host() -> str:
    """This machine since it was started and, in a container, this container: process numbers mean something within it alone. Names of
    machines come twice.
    """
    try:
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        space = ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        boot = ""
    return f"{socket.gethostname()}~{space}~{boot}".replace("/", "_").replace(".", "_")


def me() -> str:
    """This process among all of all machines: host, number, and when it began (numbers are given again)."""
    pid = os.getpid()
    return f"{_host()}-{pid}-{_began(pid)}"


def _lives(who: str) -> bool | None:
    """Whether that process lives; None where this machine cannot know."""
    host, pid, began = [*who.rsplit("-", 2), "", ""][:3]
    if host != _host() or not pid.isdecimal():
        return None
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = _stat(int(pid))
    return state[:1] not in (["Z"], ["X"]) and _began(int(pid)) == began  # a zombie works no more


def _began(pid: int) -> str:
    """When a process began, in ticks since the machine did; "0" where the system does not tell."""
    return next(iter(_stat(pid)[19:20]), "0")


def _stat(pid: int) -> list[str]:
    """What the system says of a process, its state first; nothing where it does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _told(path: Path) -> dict[str, Any]:
    """What a small file says; nothing where it is gone or was cut short."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _numbers(folder: Path, suffix: str) -> set[int]:
    try:
        with os.scandir(folder) as found:
            names = [f.name for f in found]
    except FileNotFoundError:
        return set()
    return {int(n.removesuffix(suffix)) for n in names if n.endswith(suffix) and n[0] != "."}


def flush(folder: Path) -> None:
    """Have the names in a folder written to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
