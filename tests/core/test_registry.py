"""A look-up by name imports the file of that name alone; one that lives elsewhere is found all the same, and a miss names near ones."""

import subprocess
import sys

import pytest

from exegete.core.errors import UnknownName
from exegete.core.registry import METHODS

CODE = """
import sys
from exegete.core.registry import METHODS
assert METHODS.get("{name}").id == "{name}"
print(*(m for m in ("exegete.methods.attribution.lime", "exegete.methods.probing.layer_probe") if m in sys.modules))
"""


def imported(name):
    """Which of two other files come along when one method is looked up in a fresh process."""
    run = subprocess.run(
        [sys.executable, "-c", CODE.format(name=name)], capture_output=True, text=True, check=True
    )
    return run.stdout.split()


def test_a_method_is_found_without_the_others():
    assert imported("occlusion") == []
    assert "exegete.methods.attribution.lime" in imported("lime")


def test_a_miss_names_near_ones():
    with pytest.raises(UnknownName, match="occlusion"):
        METHODS.get("oclusion")
    assert "../attribution" not in METHODS
