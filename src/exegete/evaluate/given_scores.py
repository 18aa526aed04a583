"""Scores that a user brings in a file, judged like those of any method.

    {"text": ..., "tokens": [...], "scores": [...], "method"?: ...}      one line a text and method; `pair`: its second text

1. tokens are found in the text in order (marks of subword tokenizers are passed over);
2. the score of a token goes to the units whose characters it holds, by shares, so that the sum stays;
3. a text without a row is a failure that is counted, a token that does not stand in its text is a letter.

There is no control: nobody can ask the file about a model with randomised weights. Cost: no pass beside judging.
"""

import math
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, PrivateAttr

from exegete.core.errors import InputError
from exegete.core.method import Need
from exegete.core.reference import Reference
from exegete.core.rows import fault, rows_of
from exegete.core.text import Span, Unit
from exegete.methods.contracts.attribution import AttributionMethod, Scores
from exegete.models.question import Question

WHAT = "scores"
MARKS = ("##", "▁", "Ġ", "</w>", "Ċ")


class GivenScores(AttributionMethod):
    """The scores of one method in a file."""

    id: ClassVar[str] = "given"
    family: ClassVar[str] = "given"
    needs: ClassVar[tuple[Need, ...]] = ()
    passes: ClassVar[str] = "none"
    reference: ClassVar[Reference] = Reference(authors="", year=2026, title="scores from a file", where="")

    path: str = Field(description="a JSONL file of texts, tokens and scores")
    name: str = Field(description="which method of the file")
    digest: str = Field(
        "", description="hash of the file's content, so that a run is of these scores and no others"
    )
    _rows: dict[str, tuple[list[Span], np.ndarray]] = PrivateAttr(default_factory=dict)

    @classmethod
    def read(cls, path: str) -> "tuple[GivenScores, ...]":
        """One method for each name in the file. Raises `InputError` naming the line that does not fit."""
        found: dict[str, dict[str, tuple[list[Span], np.ndarray]]] = {}
        for place, row in rows_of(path, WHAT):
            name = str(row.get("method") or Path(path).stem)
            text, spans, scores = _row(row, path, place)
            if text in found.setdefault(name, {}):
                raise fault(path, WHAT, place, f"scores a text again for {name!r}: {text[:40]!r}")
            found[name][text] = spans, scores
        digest = sha256(Path(path).read_bytes()).hexdigest()
        made = []
        for name, rows in found.items():
            method = cls(path=path, name=name, digest=digest)
            method._rows.update(rows)
            made.append(method)
        return tuple(made)

    @property
    def row(self) -> str:
        """The name in the file."""
        return self.name

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """The scores of the file [U]."""
        text = q.encoded.text
        if text not in self._rows:
            raise InputError(
                f"You asked to judge the scores of {self.name!r} on {text[:40]!r}.",
                f"{self.path} has no row for this text.",
                "Give one, with the text exactly as it is judged.",
            )
        spans, scores = self._rows[text]
        owner = np.full(len(text), -1)
        for i, u in enumerate(units):
            owner[u.start : u.end] = i
        total = np.zeros(len(units))
        for (start, end), score in zip(spans, scores):
            held = owner[start:end]
            held = held[held >= 0]
            np.add.at(total, held, score / max(len(held), 1))
        return Scores(total=total)

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """No pass."""
        return 0, 0


def _row(row: dict[str, Any], path: str, place: str) -> tuple[str, list[Span], np.ndarray]:
    text, tokens, scores = row.get("text"), row.get("tokens"), row.get("scores")
    if not isinstance(text, str) or not text.strip():
        raise fault(path, WHAT, place, "has no text")
    if not isinstance(tokens, list) or not isinstance(scores, list) or not tokens:
        raise fault(path, WHAT, place, 'has no lists "tokens" and "scores"')
    if len(tokens) != len(scores):
        raise fault(path, WHAT, place, f"has {len(tokens)} tokens and {len(scores)} scores")
    wrong = [
        s for s in scores if isinstance(s, bool) or not isinstance(s, (int, float)) or not math.isfinite(s)
    ]
    if wrong:
        raise fault(path, WHAT, place, f"has the score {wrong[0]!r}, which is no finite number")
    if isinstance(row.get("pair"), str):
        text = f"{text}\n{row['pair']}"
    spans, at, low = [], 0, text.lower()
    for token in map(str, tokens):
        bare = token
        for mark in MARKS:
            bare = bare.replace(mark, "")
        bare = bare.strip()
        start = low.find(bare.lower(), at) if bare else at
        if start < 0:
            raise fault(
                path,
                WHAT,
                place,
                f"has the token {token!r}, which does not stand in the text after the one before",
            )
        at = start + len(bare)
        spans.append((start, at))
    return text, spans, np.array(scores, dtype=np.float64)
