"""CoNLL-U to parsed sentences.

A sentence is a block of lines of ten columns separated by tabs; comments start with #. Ranges of multi-word tokens (1-2)
and empty nodes (1.1) are left out: what counts are syntactic words. Every fault is named with its line.

Reference: universaldependencies.org/format.html
"""

from collections.abc import Iterator, Sequence
from os import PathLike

from exegete.core.errors import InputError
from exegete.core.material import Parsed
from exegete.core.rows import read_text

_ID, _FORM, _TAG, _FEATURES, _HEAD, _RELATION = 0, 1, 3, 5, 6, 7


def read_conllu(path: str | PathLike[str], most: int | None = None) -> tuple[Parsed, ...]:
    """The first `most` sentences of a file (all when None). Raises `InputError` naming the line that is wrong."""
    where = str(path)
    text = read_text(path, "a treebank")
    found = []
    for block in _blocks(text):
        found.append(_sentence(block, where, str(len(found) + 1)))
        if len(found) == most:
            break
    if not found:
        raise InputError(
            f"You asked to read the treebank {where!r}.", "It holds no sentence.", "Give a CoNLL-U file."
        )
    return tuple(found)


def _blocks(text: str) -> Iterator[list[tuple[int, str]]]:
    """Lines of each sentence with their numbers."""
    block: list[tuple[int, str]] = []
    for n, line in enumerate(text.split("\n"), 1):
        if line.strip():
            block += [] if line.startswith("#") else [(n, line)]
        elif block:
            yield block
            block = []
    if block:
        yield block


def _sentence(block: Sequence[tuple[int, str]], where: str, name: str) -> Parsed:
    rows = []
    for n, line in block:
        columns = line.rstrip("\r").split("\t")
        if len(columns) != 10:
            raise _fault(where, n, f"has {len(columns)} columns separated by tabs; CoNLL-U has 10")
        if columns[_ID].isdigit():
            rows.append((n, columns))
    for want, (n, columns) in enumerate(rows, 1):
        if int(columns[_ID]) != want:
            raise _fault(where, n, f"has the id {columns[_ID]}, where {want} comes next")
        if not columns[_HEAD].isdigit() or int(columns[_HEAD]) > len(rows):
            raise _fault(where, n, f"has the head {columns[_HEAD]!r}, which is no word of this sentence")
    heads = [int(c[_HEAD]) - 1 for _, c in rows]
    _acyclic(heads, [n for n, _ in rows], where)
    return Parsed(
        words=tuple(c[_FORM] for _, c in rows),
        heads=tuple(heads),
        relations=tuple(c[_RELATION] for _, c in rows),
        tags=tuple(c[_TAG] for _, c in rows),
        features=tuple(c[_FEATURES].strip("_") for _, c in rows),
        id=name,
    )


def _acyclic(heads: Sequence[int], lines: Sequence[int], where: str) -> None:
    for i in range(len(heads)):
        at, steps = i, 0
        while at >= 0 and steps <= len(heads):
            at, steps = heads[at], steps + 1
        if at >= 0:
            raise _fault(where, lines[i], "stands in a circle of heads, which never reaches the root")


def _fault(where: str, line: int, found: str) -> InputError:
    return InputError(f"You asked to read the treebank {where!r}.", f"Line {line} {found}.", "Mend the line.")
