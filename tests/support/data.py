"""Where real data for tests may lie; a test that needs it skips with a word when it is absent."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shared_data(name: str) -> Path:
    """Path of a shared data file or folder; skips the calling test when it is not on this machine.

    Looked for under `EXEGETE_DATA`, then in the folder `shared/data` beside the checkout.
    """
    for base in filter(None, (os.environ.get("EXEGETE_DATA"), ROOT.parent / "shared" / "data")):
        path = Path(base) / name
        if path.exists():
            return path
    pytest.skip(f"real data {name!r} is not on this machine (set EXEGETE_DATA)")
