"""The table of docs/scale.md is what its script prints, and the script's models are the published ones."""

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from support.data import ROOT

SCRIPT = ROOT / "docs" / "scale_paper.py"
# parameters as the checkpoints' own indices count them
PUBLISHED = {
    "Llama-2-7B": 6_738_415_616,
    "Llama-3-8B": 8_030_261_248,
    "Llama-3-70B": 70_553_706_496,
    "Llama-3.1-405B": 405_853_388_800,
}


@pytest.fixture(scope="module")
def paper() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale_paper", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale_paper"] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_holds_what_the_script_prints():
    said = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "scale.md").read_text().split("## A billion tokens")[1]
    assert said.strip() in page


def test_the_models_have_their_published_sizes(paper):
    assert {m.name: m.weights for m in paper.SIZES} == PUBLISHED


def test_numbers_that_can_be_checked_by_hand(paper):
    small = paper.SIZES[0]
    assert paper.one_layer(small).stored == 1e9 * 4096 * 2
    assert paper.all_layers(small).stored == 1e9 * 33 * 4096 * 2
    assert [m.devices for m in paper.SIZES] == [1, 1, 2, 8]
    # two FLOP a weight: all weights but the two tables of the vocabulary, and attention over 1,024 tokens
    products = 2 * (6_738_415_616 - 2 * 32_000 * 4096 - 4096)
    assert small.flop(1024) == pytest.approx(products + 2 * 32 * 1024 * 4096)
    # integrated gradients of docs/performance.md: two FLOP a weight, there and back, 50 points of 128 tokens
    reached = 4 * 6.74e9 * 50 * 128 / 0.439
    assert abs(paper.RATE / reached - 1) < 0.02
