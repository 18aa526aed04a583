"""Descriptions of units, and how well each foretells its unit on texts that its writer never saw."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding
from exegete.core.value import Value

KINDS = ("simulation", "detection", "fuzzing", "intruder", "embedding")


class Described(Value):
    """One unit: its description in words, and by kind of score (`KINDS`) its own [kind] and the mean of the other units'
    descriptions on the same test texts, `swapped` [kind]; NaN where the test texts or the judge's answers do not allow the score.
    """

    name: str
    words: str
    own: np.ndarray
    swapped: np.ndarray


class Candidate(Value):
    """One description that a unit could have been given: log p(d | E) `given`, log p(d) `common`, and `value`, by which it is `chosen`."""

    words: str
    given: float
    common: float
    value: float
    chosen: bool


class NeuronDescriptions(Finding):
    """What a writer says that units do. `n_explain` texts were read by the writer, `n_test` others judge; `repeated` texts were left out.

    `told` are the same units as a language model, `teller`, writes and judges them; none where none was asked. Of its answers by
    kind of score, `asked`, those in `failed` could not be read. `needs`, where they were looked for: of each unit the patterns of words
    that it needs, with its mean activation in them. `embedder` says whose vectors the embedding score compares. `candidates`, where there were several: of each unit, the best first.
    """

    units: tuple[Described, ...]
    writer: str
    n_explain: int
    n_test: int
    repeated: int
    embedder: str = ""
    told: tuple[Described, ...] = ()
    teller: str = ""
    asked: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    needs: tuple[tuple[tuple[str, float], ...], ...] = ()
    candidates: tuple[tuple[Candidate, ...], ...] = ()

    def figures(self) -> tuple[AnyFigure, ...]:
        """The descriptions with their scores and those of swapped descriptions."""
        columns = ["unit", *(["writer", "description"] if self.told else [f"description ({self.writer})"])]
        for kind in KINDS:
            columns += [kind, "swapped"]
        rows: list[tuple[str | float | None, ...]] = []
        for i, u in enumerate(self.units):
            rows.append((u.name, *([self.writer] if self.told else []), *_row(u)))
            if self.told:
                rows.append((u.name, self.teller, *_row(self.told[i])))
        needed = (
            Table(
                title="Which words does each unit need?",
                caption="Contexts of its strongest tokens, cut from the left while it keeps more than half of its activation; named are the"
                " words that take half of it away when another word stands in their place. Equal contexts are one row.",
                columns=("unit", "needed", "activation"),
                rows=tuple(
                    (u.name, words, v) for u, rows in zip(self.units, self.needs) for words, v in rows
                ),
            ),
        )
        return (
            Table(
                title="What does each unit fire on, in words?",
                caption=f"Written from {self.n_explain} texts, judged on {self.n_test} others. Simulation: correlation with the"
                " true activations (0 by chance). Detection: which texts set it off; fuzzing: which marked token is the right"
                " one (balanced, 0.5 by chance). Intruder: which of three texts does not set it off (1/3 by chance). Embedding: is the description nearer to"
                f" texts that set it off than to others, in the vectors of {self.embedder or 'the model'} (AUROC, 0.5 by chance)? Swapped: the other units' descriptions on this unit's texts."
                + self._unread(),
                columns=tuple(columns),
                rows=tuple(rows),
            ),
            *(needed if self.needs else ()),
            *((self._candidates(),) if self.candidates else ()),
        )

    def _candidates(self) -> Table:
        """What each description was chosen from."""
        return Table(
            title="Which descriptions was each unit's chosen from?",
            caption="Fit: how probable the description is for what the unit does on the texts to explain. Given anyway: how probable it is"
            " over all units. Chosen is the largest fit less a share of the other: the description that says most about this unit alone."
            " Logarithms.",
            columns=("unit", "description", "fit", "given anyway", "value", "chosen"),
            rows=tuple(
                (
                    u.name,
                    c.words or "(nothing was found to say)",
                    c.given,
                    c.common,
                    c.value,
                    "yes" if c.chosen else "",
                )
                for u, of in zip(self.units, self.candidates)
                for c in of
            ),
        )

    def _unread(self) -> str:
        if not self.told:
            return ""
        lost = ", ".join(f"{f} of {a} in {k}" for k, a, f in zip(KINDS, self.asked, self.failed))
        return (
            " Both writers are judged on the same texts, each by its own reader of its words: clues by counting, sentences by the"
            f" language model that wrote them. Answers that could not be read: {lost}."
        )


def _row(u: Described) -> tuple[str | float | None, ...]:
    """Words and scores; nothing where there is no score."""
    cells = (_cell(x) for pair in zip(u.own, u.swapped) for x in pair)
    return (u.words or "(nothing was found to say)", *cells)


def _cell(x: float) -> float | None:
    return None if np.isnan(x) else float(x)
