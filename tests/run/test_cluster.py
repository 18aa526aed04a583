"""Workers on a Ray cluster (two actors, one start for all tests): the same bytes, letters, replaced actors."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from exegete.core.errors import UsageError
from exegete.run.drive import Engine, drive, prepare
from exegete.run.opened import Run
from support.toy_job import environment, rows_of, toy

ray = pytest.importorskip("ray", reason="ray is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")
N = 60


@pytest.fixture(scope="session")
def cluster():
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = environment()["PYTHONPATH"]
    hook = {"env_vars": {"EXEGETE_TOY": "1"}, "worker_process_setup_hook": "support.toy_job.known"}
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error", runtime_env=hook
    )
    yield
    ray.shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def test_two_actors_make_the_same_bytes(cluster, tmp_path):
    for name, engine in (("local", Engine()), ("ray", Engine("ray", 2))):
        drive(prepare(toy(), rows_of(N), tmp_path / name, {}), engine)
    here, there = Run(tmp_path / "local"), Run(tmp_path / "ray")
    assert here.plan.hash == there.plan.hash
    for k in here.shards():
        assert here.folder.shard(k).read_bytes() == there.folder.shard(k).read_bytes()
    assert here.folder.manifest.read_bytes() == there.folder.manifest.read_bytes()


def test_a_killed_actor_is_replaced(cluster, tmp_path):
    place = prepare(toy(nap=0.03), rows_of(200), tmp_path, {})
    killed = []

    def kill():
        while not killed and not place.manifest.exists():
            for told in place.held().values():
                if told.get("pid") and place.done():
                    os.kill(int(told["pid"]), signal.SIGKILL)
                    killed.append(told["pid"])
                    return
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    drive(place, Engine("ray", 2))
    thread.join()
    assert killed and len(Run(tmp_path)) == 200
    events = [json.loads(line)["event"] for f in place.log.glob("*") for line in f.read_text().splitlines()]
    assert "died" in events


def test_whatever_ends_an_actor_is_a_death_and_no_end(cluster, tmp_path):
    from exegete.run.cluster import RayCrew

    crew = RayCrew()
    place = prepare(toy(), rows_of(N), tmp_path, {})
    crew.start(place, "w0")
    crew.ray = type(
        "",
        (),
        {**vars(ray), "get": lambda _: (_ for _ in ()).throw(ray.exceptions.OutOfMemoryError("too much"))},
    )
    while (end := crew.ended("w0")) is None:
        time.sleep(0.05)
    assert end.died == "too much"


def test_more_gpus_than_there_are_is_a_letter(cluster, tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})
    with pytest.raises(UsageError, match="The cluster has 0"):
        drive(place, Engine("ray", 2, gpus=0.5))


def test_an_address_where_nobody_answers_is_a_letter():
    from exegete.run.cluster import _answers

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with pytest.raises(UsageError, match="Nobody answers there"):
        _answers(f"127.0.0.1:{port}")
    with pytest.raises(UsageError, match="Nobody answers there"):
        _answers("127.0.0.1:port")


def test_the_command_begins_a_cluster_of_its_own_and_makes_the_same_bytes(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(f"the food was {w} and the room was small" for w in ("good", "bad", "rude")))
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    for name, more in (("local", []), ("ray", ["--engine", "ray", "--workers", "2"])):
        command = [
            sys.executable,
            "-m",
            "exegete.cli",
            "run",
            "saliency",
            "--data",
            str(path),
            "--trust",
            "none",
        ]
        out = subprocess.run(
            [*command, "--out", str(tmp_path / name), *more], env=env, capture_output=True, text=True
        )
        assert out.returncode == 0, out.stderr
    here, there = Run(tmp_path / "local"), Run(tmp_path / "ray")
    assert here.folder.manifest.read_bytes() == there.folder.manifest.read_bytes()
    assert here.folder.result.read_bytes() == there.folder.result.read_bytes()


def test_a_worker_that_the_cluster_has_no_room_for_keeps_nobody_waiting(cluster, tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})
    drive(place, Engine("ray", 3))  # on two CPUs
    assert len(Run(tmp_path)) == N


def test_a_cluster_that_asks_for_a_token_lets_us_in(tmp_path):
    """A cluster of its own, begun as a user begins one, with the token of a home folder; the driver knows nothing of either."""
    port = _free()
    home = {**environment(), "HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0", "EXEGETE_TOY": "1"}
    told = {**home, "RAY_AUTH_MODE": "token"}
    ray_at = [str(Path(sys.executable).parent / "ray")]
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("0123456789abcdef" * 4)
    temp = tempfile.mkdtemp(prefix="r")  # short: names of sockets have 108 letters
    head = ["--head", "--port", str(port), "--num-cpus", "2", "--include-dashboard", "false", "--block"]
    begun = subprocess.Popen(
        [*ray_at, "start", *head, "--temp-dir", temp], env=told, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for token_there, found in ((True, "token"), (False, "UsageError")):
            if not token_there:
                token.rename(token.with_suffix(".away"))
            done = subprocess.run(
                [sys.executable, "-c", ASKS, f"127.0.0.1:{port}"],
                env=home, capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
            assert found in done.stdout, done.stderr[-2000:]
    finally:
        begun.terminate()
        begun.wait(60)
        shutil.rmtree(temp, ignore_errors=True)


ASKS = """
import os, sys, time
from exegete.core.errors import UsageError
from exegete.run import cluster
cluster.DEADLINE = 20.0
for _ in range(60):
    try:
        cluster._answers(sys.argv[1])
        break
    except UsageError:
        time.sleep(0.5)
try:
    crew = cluster.RayCrew(sys.argv[1])
    print(os.environ["RAY_AUTH_MODE"], crew.ray.cluster_resources()["CPU"])
    crew.close()
except UsageError as e:
    assert "token" in e.do
    print("UsageError")
"""


def _free() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
