"""The docs tell the truth: their code runs, their floor plan is the tree, their commands and methods exist."""

import re
from pathlib import Path

import pytest

from exegete.core.registry import METHODS, METRICS
from support.data import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


def run_blocks(text: str) -> int:
    """Run all Python blocks of a page in one namespace, in order; how many there were."""
    scope: dict = {"__name__": "docs"}
    blocks = BLOCK.findall(text)
    for block in blocks:
        exec(compile(block, "docs", "exec"), scope)
    return len(blocks)


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCK.search(p.read_text())], ids=lambda p: p.name)
def test_code_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = dict(METHODS)
    try:
        assert run_blocks(page.read_text())
    finally:
        METHODS._things = before


def test_a_broken_block_is_caught():
    with pytest.raises(NameError):
        run_blocks("```python\nno_such_name\n```\n")


def test_the_floor_plan_is_the_tree():
    plan = (ROOT / "README.md").read_text().split("src/exegete/\n")[1].split("```")[0]
    named = set(re.findall(r"^\s{2,4}(\w+)(?:/|\.py)\s", plan, re.M))
    package = ROOT / "src" / "exegete"
    rooms = {p.name for p in package.iterdir() if p.is_dir() and p.name != "__pycache__"} | {"front"}
    for floor in ("methods", "evaluate"):
        rooms |= {p.name for p in (package / floor).iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert named == rooms


def test_every_link_leads_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_method_and_metric_is_in_the_table():
    text = (ROOT / "docs" / "methods.md").read_text()
    missing = [name for book in (METHODS, METRICS) for name in book.ids() if f"`{name}`" not in text]
    assert not missing, "run `make docs`"


def test_nothing_points_outside_the_repository():
    for path in [*PAGES, ROOT / "DESIGN.md", ROOT / "CHANGELOG.md"]:
        assert not re.search(r"(?<![\w.])(\.\./|/work/|/root/)", Path(path).read_text()), path
