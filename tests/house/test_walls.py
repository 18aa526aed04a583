"""The walls hold: import-linter passes on the package, and a planted breach is caught."""

import re
import subprocess
import sys
from pathlib import Path

from support.data import ROOT


def lint(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as m; m()"]
    return subprocess.run(
        [*command, "--config", str(config), "--no-cache"], cwd=folder, capture_output=True, text=True
    )


def test_walls_hold():
    out = lint(ROOT / "src", ROOT / "pyproject.toml")
    assert out.returncode == 0, out.stdout


def test_a_breach_is_caught(tmp_path):
    package = tmp_path / "exegete"
    floors = ["cli", "front", "evaluate", "methods", "models", "ops", "show", "terrarium", "run", "core"]
    for floor in floors:
        (package / floor).mkdir(parents=True)
        (package / floor / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    for room in ("attribution", "attention", "mechanisms", "probing", "neurons", "features", "concepts"):
        (package / "methods" / room).mkdir()
        (package / "methods" / room / "__init__.py").write_text("")
    (package / "methods" / "attention" / "bad.py").write_text("import exegete.methods.attribution\n")
    (package / "core" / "bad.py").write_text("import exegete.methods\nimport torch\n")
    text = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(text[text.index("[tool.importlinter]") :])
    out = lint(tmp_path, tmp_path / "pyproject.toml")
    assert out.returncode != 0
    assert re.search(r"exegete\.methods\.attention\.bad\s+-> exegete\.methods\.attribution", out.stdout), (
        out.stdout
    )
    assert re.search(r"exegete\.core\.bad\s+-> exegete\.methods", out.stdout), out.stdout


def test_transformers_and_torch_stay_on_their_floors():
    """The plain reading of the rule, file by file, beside the linter's graph."""
    offenders = []
    for path in sorted((ROOT / "src" / "exegete").rglob("*.py")):
        floor = path.relative_to(ROOT / "src" / "exegete").parts[0]
        text = path.read_text()
        uses = {m for m in ("torch", "transformers") if re.search(rf"^\s*(import|from) {m}\b", text, re.M)}
        if floor in ("core", "show", "cli") and uses:
            offenders.append((path.name, uses))
        if "transformers" in uses and floor not in ("models", "terrarium"):
            offenders.append((path.name, uses))
    assert not offenders
