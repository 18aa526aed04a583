"""Workers on a Ray cluster (two actors, one start for all tests): the same bytes, letters, replaced actors."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

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
