"""`import exegete` is cheap, loads neither torch nor transformers, and opens no socket; the meter itself is tested."""

import subprocess
import sys

PROBE = """
import sys, time
sockets = []
sys.addaudithook(lambda event, args: sockets.append(event) if event.startswith("socket.") else None)
start = time.process_time()
{code}
cost = time.process_time() - start
heavy = sorted({{"torch", "transformers", "sklearn", "scipy", "pyarrow"}} & set(sys.modules))
print(cost, len(sockets), ",".join(heavy))
"""


def probe(code: str) -> tuple[float, int, list[str]]:
    out = subprocess.run(
        [sys.executable, "-c", PROBE.format(code=code)], capture_output=True, text=True, check=True
    )
    cost, sockets, *heavy = out.stdout.split()
    return float(cost), int(sockets), heavy[0].split(",") if heavy else []


def test_import_is_light_and_silent():
    seen = [probe("import exegete as xg; xg.Text; xg.Target; xg.Attribution") for _ in range(3)]
    assert min(cost for cost, _, _ in seen) < 0.4
    assert all(sockets == 0 and heavy == [] for _, sockets, heavy in seen)


def test_the_probe_can_fail():
    cost, _, heavy = probe("import torch")
    assert heavy == ["torch"]
    assert cost > 0.4
    _, sockets, _ = probe("import socket; socket.socket().close()")
    assert sockets > 0


def test_opening_a_result_opens_no_socket():
    _, sockets, heavy = probe("import exegete as xg\ntry: xg.open('/nowhere')\nexcept xg.ExegeteError: pass")
    assert sockets == 0
    assert "torch" not in heavy
