"""Workers in processes of their own on this machine: `python -m exegete.run.process FOLDER NAME PARENT WHERE`.

Each is started anew (nothing is inherited but the environment), loads its own model, and ends when its parent does. Letters come back
over its standard output; what else it writes goes to `log/NAME.err`.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from exegete.core import errors
from exegete.core.errors import ExegeteError
from exegete.run.crew import Crew, Ended
from exegete.run.folder import Folder
from exegete.run.worker import Here, work_off

MOST = 1500  # characters of a sentence of a letter: nobody reads the pipe before the end, and it holds 64 KB
LETTER = 3  # the exit code of a worker that ended with a letter


class Processes(Crew):
    """Workers as processes. `threads`: how many torch takes in each (0: as the environment says)."""

    module = "exegete.run.process"
    first: tuple[str, ...] = ()

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, folder: Folder, name: str) -> None:
        """Start a process."""
        env = dict(os.environ)
        where = json.dumps(self.where)
        if not {"", _current()} & set(sys.path):  # no file there stands in for a package that is imported
            env["PYTHONSAFEPATH"] = "1"
        if self.threads:
            env["OMP_NUM_THREADS"] = str(self.threads)
        with open(folder.log / f"{name}.err", "ab") as err:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.first, str(folder.path), name, str(os.getpid()), where],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, env=env, start_new_session=True,
            )  # fmt: skip
        self._errors = folder.log

    def ended(self, name: str) -> Ended | None:
        """What became of the process."""
        process = self.running[name]
        if process.poll() is None:
            return None
        said = b""
        if process.stdout:
            said = process.stdout.read()
            process.stdout.close()
        if process.returncode == 0:
            (self._errors / f"{name}.err").unlink(missing_ok=True)
            return Ended()
        if process.returncode == LETTER and said:
            return Ended(letter=letter_of(json.loads(said)))
        return Ended(died=self._cause(name, process.returncode))

    def stop(self, name: str) -> None:
        """A SIGTERM, after which it finishes its shard."""
        self.running[name].terminate()

    def kill(self, name: str) -> None:
        """A SIGKILL."""
        self.running[name].kill()
        self.running[name].wait()

    def close(self) -> None:
        """Close what the processes spoke into."""
        for process in self.running.values():
            if process.stdout:
                process.stdout.close()
        self.running.clear()

    def _cause(self, name: str, code: int) -> str:
        last = (self._errors / f"{name}.err").read_text(errors="replace").strip().splitlines()[-1:]
        known = {s.value: s.name for s in signal.Signals}
        sign = known.get(-code, f"signal {-code}") if code < 0 else f"exit code {code}"
        return f"{sign}{f' ({last[0]:.200})' if last else ''}"


def _current() -> str:
    """The current folder; "" where it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def told_letter(e: ExegeteError) -> dict[str, str]:
    """A letter as plain data, for another process."""
    return {"type": type(e).__name__, "asked": e.asked[:MOST], "found": e.found[:MOST], "do": e.do[:MOST]}


def letter_of(told: dict[str, str]) -> ExegeteError:
    """The letter that another process wrote."""
    kind: Any = getattr(errors, told["type"], ExegeteError)
    made = ExegeteError.__new__(kind)
    ExegeteError.__init__(made, told["asked"], told["found"], told["do"])
    return made


def main(argv: list[str]) -> int:
    """Work off a folder until nothing is left, the parent is gone, or SIGTERM comes."""
    path, name, parent, where = argv
    asked: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        asked.append(number)

    letters = os.dup(1)
    os.dup2(2, 1)  # what libraries print goes to the log: nobody reads the pipe before the end
    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        here = Here.of(Path(path), name, where=json.loads(where))
        work_off(here, here.job.open(), lambda: bool(asked) or os.getppid() != int(parent))
    except ExegeteError as e:
        os.write(letters, json.dumps(told_letter(e)).encode())
        return LETTER
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
