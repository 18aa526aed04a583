"""Real kills at random moments: of workers, of drivers with all their workers. Nothing is lost, nothing is there twice, same values.

A few kills are part of `make test`; twenty of each, the figure of docs/scale.md, are marked `scale`.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from exegete.run.drive import Engine, drive, prepare
from exegete.run.folder import Folder
from exegete.run.opened import Run
from exegete.run.verify import verify
from support.toy_job import environment, rows_of, toy

N = 640
TIMES = [3, pytest.param(20, marks=pytest.mark.scale)]


def driver_of(path: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "support.toy_job", "drive", str(path), str(N), "2"]
    return subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True)


def workers_of(driver: subprocess.Popen) -> list[int]:
    """The processes that a driver has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == driver.pid and fields[0] != "Z":
                    found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole")
    drive(prepare(toy(nap=0.01), rows_of(N), path, {}), Engine(), worker=toy().open())
    return Run(path)


def check(path: Path, whole: Run) -> None:
    run = Run(path)
    assert len(run) == N and run.n_failed == 0
    assert dict(run) == dict(whole)
    checked = verify(run.folder, sample=0)
    assert checked.ok, checked.rows
    same = [run.folder.shard(k).read_bytes() == whole.folder.shard(k).read_bytes() for k in run.shards()]
    assert all(same)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
@pytest.mark.parametrize("times", TIMES)
def test_killed_workers_are_replaced(times, tmp_path, whole):
    rng, killed = np.random.default_rng(times), 0
    driver = driver_of(tmp_path)
    while driver.poll() is None:
        time.sleep(float(rng.uniform(0.1, 0.7)))
        alive = workers_of(driver)
        if alive and killed < times and Folder.of(tmp_path).held():
            with suppress(ProcessLookupError):
                os.kill(int(rng.choice(alive)), signal.SIGKILL)
                killed += 1
    assert driver.returncode == 0
    assert killed >= min(times, 2)
    check(tmp_path, whole)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
@pytest.mark.parametrize("times", TIMES)
def test_a_killed_driver_is_resumed_by_the_same_call(times, tmp_path, whole):
    rng, killed = np.random.default_rng(100 + times), 0
    while killed < times:
        driver = driver_of(tmp_path)
        time.sleep(float(rng.uniform(0.4, 1.6)))
        if driver.poll() is not None:
            break
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        killed += 1
    assert killed >= min(times, 2)
    assert driver_of(tmp_path).wait(timeout=300) == 0
    check(tmp_path, whole)
