"""`import exegete` is cheap, by what it loads (never by the clock), and opens no socket; the meter itself is tested."""

import subprocess
import sys

PROBE = """
import sys
sockets = []
sys.addaudithook(lambda event, args: sockets.append(event) if event.startswith("socket.") else None)
before = set(sys.modules)
{code}
new = set(sys.modules) - before
packages = {{name.partition(".")[0] for name in new if not name.startswith("_sysconfigdata")}} - set(sys.stdlib_module_names)
rooms = {{".".join(name.split(".")[:2]) for name in new if name.startswith("exegete.")}}
print(len(sockets), ",".join(sorted(packages)) or "-", ",".join(sorted(rooms)) or "-")
"""

# What the words themselves are made of: about 0.1 s of CPU together. torch alone costs twenty times that.
LIGHT = {
    "exegete",
    "numpy",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_extensions",
    "typing_inspection",
}


def probe(code: str) -> tuple[int, set[str], set[str]]:
    """Sockets opened, packages outside the standard library loaded, and rooms of exegete loaded by `code`."""
    out = subprocess.run(
        [sys.executable, "-c", PROBE.format(code=code)], capture_output=True, text=True, check=True
    )
    sockets, packages, rooms = out.stdout.split()
    return int(sockets), set(packages.split(",")) - {"-"}, set(rooms.split(",")) - {"-"}


def test_import_is_light_and_silent():
    sockets, packages, rooms = probe("import exegete as xg; xg.Text; xg.Target; xg.Attribution")
    assert sockets == 0
    assert "exegete" in packages and packages <= LIGHT
    assert rooms == {"exegete.core"}


def test_the_probe_can_fail():
    _, packages, _ = probe("import torch")
    assert "torch" in packages and not packages <= LIGHT
    sockets, _, _ = probe("import socket; socket.socket().close()")
    assert sockets > 0
    _, _, rooms = probe("import exegete.front")
    assert rooms - {"exegete.core"}


def test_opening_a_result_opens_no_socket():
    sockets, packages, _ = probe(
        "import exegete as xg\ntry: xg.open('/nowhere')\nexcept xg.ExegeteError: pass"
    )
    assert sockets == 0
    assert "torch" not in packages
