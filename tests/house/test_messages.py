"""Every letter has its three sentences: read off the source, call by call, and off the classes themselves.

An error is raised with what was asked, what was found, and what to do; classes that build the three themselves are made once.
"""

import ast
from pathlib import Path

import pytest

from exegete.core import errors
from exegete.core.errors import ExegeteError
from support.data import ROOT

OWN_LETTER = {"UnknownName", "MissingExtra"}
KINDS = {
    name
    for name, thing in vars(errors).items()
    if isinstance(thing, type) and issubclass(thing, ExegeteError) and name not in OWN_LETTER
}
FILES = sorted((ROOT / "src" / "exegete").rglob("*.py"))


def letters(text: str) -> list[ast.Call]:
    """Calls that make a letter of three sentences."""
    return [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS
    ]


def faults(call: ast.Call) -> list[str]:
    """What is missing in one letter."""
    parts: list[ast.expr | None] = [*call.args, *(k.value for k in call.keywords)]
    if len(parts) != 3:
        return [f"line {call.lineno}: {len(parts)} of 3 sentences"]
    said = [(name, fixed(part)) for name, part in zip(("asked", "found", "do"), parts)]
    empty = [f"line {call.lineno}: {name} is empty" for name, words in said if words == ""]
    asked = said[0][1]
    ends = asked is None or asked.rstrip().endswith((".", "?", "!"))
    return empty + ([] if ends else [f"line {call.lineno}: asked is no sentence: {asked!r}"])


def fixed(part: ast.expr | None) -> str | None:
    """The words of a part that stand in the source, gaps filled with a sign; None when it is all computed."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    if isinstance(part, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "·" for v in part.values)
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
        left, right = fixed(part.left), fixed(part.right)
        return None if left is None or right is None else left + right
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_every_letter_has_three_sentences(path: Path):
    found = [f for call in letters(path.read_text()) for f in faults(call)]
    assert found == []


def test_there_are_letters_to_read():
    assert sum(len(letters(p.read_text())) for p in FILES) > 100


@pytest.mark.parametrize(
    "code",
    [
        'raise InputError("You asked.", "", "Do this.")',
        'raise ModelError("You asked.", "Found.")',
        'raise UsageError("you asked", "Found.", "Do.")',
        'raise StoreError("", f"{x}", "Do.")',
    ],
)
def test_the_reading_can_fail(code):
    assert faults(letters(code)[0])


def test_letters_that_build_themselves():
    for e in (
        errors.UnknownName("method", "lmie", ["lime"]),
        errors.MissingExtra("pandas", "frames", "to_frame()"),
    ):
        assert e.asked and e.found and e.do
        assert e.letter().count("\n") == 2


def test_nothing_raises_a_bare_builtin_towards_users():
    """`raise ValueError(...)` and its kin stand only in the pure mathematics of `ops`: what a user meets is a letter."""
    wrong = []
    for path in (p for p in FILES if "ops" not in p.parts):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Raise)
                and isinstance(node.exc, ast.Call)
                and isinstance(node.exc.func, ast.Name)
            ):
                name = node.exc.func.id
                if name in (
                    "ValueError",
                    "TypeError",
                    "RuntimeError",
                    "Exception",
                    "KeyError",
                    "NotImplementedError",
                ):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} raises {name}")
    assert wrong == []
