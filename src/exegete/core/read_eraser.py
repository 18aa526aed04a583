"""Rationales of an ERASER folder: documents apart from annotations, evidence as token ranges.

    docs/ID or docs.jsonl     a document a file, or {"docid", "document"} a line; tokens are parted by blanks
    val.jsonl (test, train)   {"annotation_id", "classification", "evidences": [[{"docid", "start_token", "end_token"}]], "query",
                              "docids"?}

A text is its document, with the query as the second text of a pair where there is one; two documents (premise and hypothesis)
are a pair. Evidence of one annotation is one annotator's. Reference: DeYoung et al. 2020.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from exegete.core.errors import InputError
from exegete.core.rationale import Rationale
from exegete.core.request import Text
from exegete.core.rows import asked, fault, read_text, rows_of

WHAT = "rationales"
PARTS = ("val.jsonl", "test.jsonl", "train.jsonl")


def is_eraser(path: str) -> bool:
    """Whether a folder has documents and annotations, or a file is the annotations of such a folder."""
    at = Path(path)
    home = at if at.is_dir() else at.parent
    named = at.is_dir() or at.name in PARTS
    return named and ((home / "docs").is_dir() or (home / "docs.jsonl").exists())


def read_eraser(path: str) -> Iterable[tuple[str, Rationale | str]]:
    """Every annotation with its place, as a rationale or with the reason why it is none."""
    at = Path(path)
    if at.is_dir():
        parts = [at / p for p in PARTS if (at / p).exists()]
        if not parts:
            raise InputError(
                asked(path, WHAT), f"It has none of {', '.join(PARTS)}.", "Give the folder of one data set."
            )
        at = parts[0]
    docs = _docs(at.parent)
    for place, row in rows_of(str(at), WHAT):
        yield place, _made(row, docs, path, place)


def _made(row: dict[str, Any], docs: "Documents", path: str, place: str) -> Rationale | str:
    evidence = [e for group in row.get("evidences", ()) for e in group]
    ids = list(row.get("docids") or dict.fromkeys(e["docid"] for e in evidence)) or [row["annotation_id"]]
    if len(ids) > 2:
        return f"it spreads over {len(ids)} documents"
    texts = []
    for i in ids:
        text = docs.of(i)
        if text is None:
            return f"document {i!r} is missing"
        texts.append(text)
    spans = [_words(t) for t in texts]
    starts = [0, len(texts[0]) + 1]
    marks = []
    for e in evidence:
        if e["docid"] not in ids:
            return f"its evidence stands in document {e['docid']!r}, which it does not name"
        k = ids.index(e["docid"])
        a, b = int(e["start_token"]), int(e["end_token"])
        if not 0 <= a < b <= len(spans[k]):
            raise fault(path, WHAT, place, f"marks the tokens {a} to {b} of a document of {len(spans[k])}")
        marks.append((spans[k][a][0] + starts[k], spans[k][b - 1][1] + starts[k]))
    pair = texts[1] if len(texts) == 2 else (row.get("query") or None)
    return Rationale(
        text=Text(text=texts[0], pair=pair),
        label=row.get("classification"),
        marks=(tuple(sorted(marks)),),
        id=str(row["annotation_id"]),
    )


def _words(text: str) -> list[tuple[int, int]]:
    found, at = [], 0
    for token in text.split():
        start = text.index(token, at)
        at = start + len(token)
        found.append((start, at))
    return found


class Documents:
    """The documents of a folder, read when they are asked for."""

    def __init__(self, folder: Path, known: dict[str, str]) -> None:
        self.folder, self.known = folder, known

    def of(self, name: str) -> str | None:
        """The text of a document; None where there is none of that name."""
        if name not in self.known:
            file = self.folder / name
            if file.parent != self.folder or not file.is_file():
                return None
            self.known[name] = read_text(file, "a document")
        return self.known[name]


def _docs(home: Path) -> Documents:
    whole = home / "docs.jsonl"
    rows = rows_of(str(whole), "documents") if whole.exists() else []
    return Documents(home / "docs", {str(r["docid"]): str(r["document"]) for _, r in rows})
