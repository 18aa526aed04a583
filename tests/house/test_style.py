"""House rules that no tool checks: files open with their idea, stay short, hide no errors, take no `**kwargs`."""

import ast
from pathlib import Path

import pytest

from support.data import ROOT

FILES = sorted((ROOT / "src" / "exegete").rglob("*.py"))
MOST_LINES = 400


def faults(path: Path) -> list[str]:
    """What breaks a rule in one file."""
    text = path.read_text()
    tree = ast.parse(text)
    found = []
    if not ast.get_docstring(tree) and text.strip():
        found.append("no module docstring")
    if text.count("\n") > MOST_LINES:
        found.append(f"{text.count(chr(10))} lines")
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and (node.type is None or _silent(node)):
            found.append(f"line {node.lineno}: silent or naked except")
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.args.kwarg:
            found.append(f"line {node.lineno}: {node.name}(**{node.args.kwarg.arg})")
        if isinstance(node, ast.Assert):
            found.append(f"line {node.lineno}: bare assert")
    return found


def _silent(handler: ast.ExceptHandler) -> bool:
    wide = isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")
    return wide and all(isinstance(s, (ast.Pass, ast.Continue)) for s in handler.body)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_house_rules(path):
    assert faults(path) == []


@pytest.mark.parametrize(
    "code",
    [
        "x = 1",
        '"""Doc."""\ndef f(**kwargs): ...',
        '"""Doc."""\ntry:\n    x = 1\nexcept Exception:\n    pass',
        '"""Doc."""\ntry:\n    x = 1\nexcept:\n    raise',
        '"""Doc."""\nassert 1',
        '"""Doc."""\n' + "x = 1\n" * 401,
    ],
)
def test_the_rules_can_fail(tmp_path, code):
    path = tmp_path / "bad.py"
    path.write_text(code)
    assert faults(path)
