"""Explanations held against one another by a language model, and how far its verdicts can be trusted."""

import numpy as np
from pydantic import Field, model_validator

from exegete.core.errors import InputError
from exegete.core.figure import AnyFigure, Grid, Table
from exegete.core.results.finding import Finding
from exegete.core.value import Given


class Candidate(Given):
    """An explanation: who wrote it, its words, and, where it is known, how good it is (more is better)."""

    writer: str
    text: str
    quality: float | None = Field(None, description="a number where it is known how good it is, else nothing")


class ExplainedText(Given):
    """A text, what the model answered, and explanations of that by different writers."""

    text: str
    answer: str
    explanations: tuple[Candidate, ...]

    @model_validator(mode="after")
    def _comparable(self) -> "ExplainedText":
        asked = f"You gave explanations of {self.text!r:.60}."
        writers = [c.writer for c in self.explanations]
        if len(writers) < 2 or len(set(writers)) < len(writers):
            raise InputError(
                asked,
                f"Their writers are {', '.join(writers) or 'none'}; two of different names are compared.",
                "Give at least two, each with its writer.",
            )
        if not self.text.strip() or not all(c.text.strip() for c in self.explanations):
            raise InputError(asked, "The text or an explanation is empty.", "Leave it out.")
        if any(c.quality is not None and not np.isfinite(c.quality) for c in self.explanations):
            raise InputError(asked, "A quality is no number.", "Leave it out where it is not known.")
        return self


class ExplanationJudging(Finding):
    """What a judge said of pairs of explanations.

    criteria   the rubric, one question each
    writers    their names
    wins       [writer, writer] share of pairs that the row won against the column, a tie one half; NaN where they never met
    pairs      (text, first writer, second writer, verdict in that order, verdict with places changed, what counts)
    by_criterion   [criterion] share of pairs in which the answer to it did not turn with the order
    exposed    which leanings of the judge were found
    """

    judge: str
    criteria: tuple[str, ...]
    writers: tuple[str, ...]
    wins: np.ndarray
    pairs: tuple[tuple[str, str, str, str, str, str], ...]
    by_criterion: np.ndarray
    exposed: tuple[str, ...]
    failures: tuple[str, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Wins by writers, the rubric, the pairs, and what failed."""
        found: list[AnyFigure] = [
            Grid(
                title="Whose explanations were preferred?",
                caption="Share of pairs that the row won against the column; a verdict that turns with the order is a tie.",
                values=self.wins,
                rows=self.writers,
                columns=self.writers,
                row_axis="writer",
                column_axis="against",
                unit="share of wins",
                signed=False,
                end=1.0,
            ),
            Table(
                title="The rubric",
                caption="How often the answer stayed when the two changed places.",
                columns=("question", "stayed"),
                rows=tuple(
                    (c, round(float(v), 3) if np.isfinite(v) else None)
                    for c, v in zip(self.criteria, self.by_criterion)
                ),
            ),
            Table(
                title="Pairs",
                caption="The verdicts name the writer that was preferred.",
                columns=("text", "first", "second", "verdict", "with places changed", "counts as"),
                rows=self.pairs,
            ),
        ]
        if self.failures:
            found.append(
                Table(
                    title="Verdicts that cannot be read",
                    caption="Each pair with one is counted as failed.",
                    columns=("what was answered",),
                    rows=tuple((f,) for f in self.failures),
                )
            )
        return tuple(found)
