"""Workers as actors of a Ray cluster (extra `scale`). Ray is imported in this file only.

1. connect to the cluster at `address` (one is begun on this machine where none is named), within `DEADLINE` seconds;
2. a worker is an actor with one CPU and `gpus` GPUs (a share of one is fine). It loads the model itself: no weights and no rows go
   through the object store, which carries a folder's name;
3. all machines must see the folder: it lies on storage that they share. A worker that does not see the plan says so in a letter.

An actor that dies, or whose machine does, is replaced elsewhere by the rules of `run.crew`.
"""

import logging
import os
import socket
import threading
from pathlib import Path
from typing import Any

from exegete.core.errors import ExegeteError, MissingExtra, StoreError, UsageError
from exegete.run.crew import Crew, Ended
from exegete.run.folder import Folder
from exegete.run.process import letter_of, told_letter
from exegete.run.worker import Here, work_off

DEADLINE = 30.0


class OnCluster:
    """What an actor does: a worker's loop in a thread that can be told to stop."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def work(self, path: str, name: str, where: dict[str, Any] | None = None) -> dict[str, str] | None:
        """Work off the folder; the letter it ended with, or None."""
        try:
            if not Path(path).exists():
                raise StoreError(
                    f"A worker on {socket.gethostname()} was to work in {path!r}.",
                    "That folder is not to be seen from this machine.",
                    "Choose a folder on storage that all machines of the cluster share.",
                )
            here = Here.of(Path(path), name, where=where)
            work_off(here, here.job.open(), self.over.is_set)
        except ExegeteError as e:
            return told_letter(e)
        return None

    def stop(self) -> None:
        """Stop after this shard."""
        self.over.set()


class RayCrew(Crew):
    """Workers as Ray actors. `address` as Ray takes it (`auto`, `host:port`, None: a cluster of this machine alone)."""

    def __init__(self, address: str | None = None, gpus: float = 0.0, cpus: float = 1.0) -> None:
        _show_token()
        try:
            import ray
        except ImportError:
            raise MissingExtra("ray", "scale", "The engine ray") from None
        self.ray: Any = ray
        self.mine = not ray.is_initialized()
        if self.mine:
            self._connect(address)
        self._fits(gpus)
        self.actor: Any = self.ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_concurrency=2)(
            OnCluster
        )
        self.running: dict[str, tuple[Any, Any]] = {}

    def start(self, folder: Folder, name: str) -> None:
        """Start an actor; Ray finds a machine with room for it."""
        actor = self.actor.remote()
        self.running[name] = actor, actor.work.remote(str(folder.path.resolve()), name, self.where)

    def ended(self, name: str) -> Ended | None:
        """What became of the actor."""
        _, promise = self.running[name]
        ready, _ = self.ray.wait([promise], timeout=0)
        if not ready:
            return None
        try:
            told = self.ray.get(promise)
        except self.ray.exceptions.RayError as e:  # the actor, its machine, its memory, or what it ran into
            return Ended(died=str(e).strip().splitlines()[-1][:300])
        self.ray.kill(
            self.running[name][0]
        )  # an actor keeps its CPU for as long as it lives, and another may wait for it
        return Ended(letter=letter_of(told)) if told else Ended()

    def stop(self, name: str) -> None:
        """Have the actor stop after its shard."""
        self.running[name][0].stop.remote()

    def kill(self, name: str) -> None:
        """Kill the actor."""
        self.ray.kill(self.running[name][0])

    def close(self) -> None:
        """Let the actors go, and the cluster where it was begun here."""
        for actor, _ in self.running.values():
            self.ray.kill(actor)
        self.running.clear()
        if self.mine:
            self.ray.shutdown()

    def _connect(self, address: str | None) -> None:
        if address and address != "auto" and "://" not in address:
            _answers(address)
        if address is None:
            self._begin(None)  # in this thread: what it starts is made to die with the thread that started it
            return
        failed: list[BaseException] = []

        def connect() -> None:
            try:
                self._begin(address)
            except Exception as e:  # noqa: BLE001 (told below, in the thread that asked)
                failed.append(e)

        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        thread.join(DEADLINE)
        if thread.is_alive() or failed:
            why = str(failed[0]).strip().splitlines()[0] if failed else f"no answer within {DEADLINE:.0f} s"
            raise UsageError(
                f"You asked for the Ray cluster at {address!r}.",
                f"It cannot be reached ({why:.200}).",
                "Start one with `ray start --head`, check the address, or leave --address out. A cluster that asks for a token "
                "(since Ray 2.60 all do) lets in who has its ~/.ray/auth_token, and the same version of Ray.",
            ) from (failed[0] if failed else None)

    def _begin(self, address: str | None) -> None:
        self.ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False
        )

    def _fits(self, gpus: float) -> None:
        """A worker that asks for more than any machine has would wait for ever. Raises `UsageError`."""
        there = self.ray.cluster_resources().get("GPU", 0.0)
        if gpus > there:
            if self.mine:
                self.ray.shutdown()
            raise UsageError(
                f"You asked for {gpus:g} GPUs a worker.",
                f"The cluster has {there:g}.",
                "Ask for fewer (a share such as 0.5 is fine), or add machines.",
            )


def _show_token() -> None:
    """Have Ray show the token that this user has, unless told how: a cluster begun by `ray start` asks for it, others do not mind.

    Read by Ray when it is imported.
    """
    known = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if known or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _answers(address: str) -> None:
    """Raises `UsageError` where nobody listens at host:port within the deadline."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host or "127.0.0.1", int(port)), timeout=DEADLINE):
            return
    except (OSError, ValueError) as e:
        raise UsageError(
            f"You asked for the Ray cluster at {address!r}.",
            f"Nobody answers there ({e}).",
            "Write host:port of its head (`ray start --head` tells it), or auto on a machine of the cluster.",
        ) from e
