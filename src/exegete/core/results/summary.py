"""Summaries of what modules (units, outputs, any function of texts) answer to, and how much each raises its module on other texts."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, Tokens, curves_of
from exegete.core.results.finding import Finding
from exegete.core.value import Value


class CandidateSummary(Value):
    """One candidate: what it says, its score on the texts it was chosen by (in standard errors) and on the others (in sigma), how many of
    these fit it and do not, and whether it was taken.
    """

    words: str
    chosen_by: float
    score: float
    n_plus: int
    n_minus: int
    best: bool


class Tried(Value):
    """A text that a summary was tested on: its words, 1 where the summary's words stand [word], and the module's value in sigma
    above its mean over the texts that the summary does not fit.
    """

    words: tuple[str, ...]
    marks: np.ndarray
    value: float


class Summarised(Value):
    """One module: its summary ("" where no candidate could be judged), score, interval, the two controls and what they rest on.

    `n_grams` are the highest with their values in standard deviations over all n-grams; `n_grams_in` says in how many texts
    each stands.
    """

    name: str
    words: str
    score: float
    interval: tuple[float, float] | None
    random: float
    swapped: float
    candidates: tuple[CandidateSummary, ...]
    n_grams: tuple[str, ...]
    n_gram_values: np.ndarray
    n_grams_in: tuple[int, ...]
    plus: tuple[Tried, ...]
    minus: tuple[Tried, ...]


class Summaries(Finding):
    """What raises each module, in words. `n_ngrams` n-grams of `n_explain` texts were read, `n_test` other texts give sigma;
    `n_unused` candidates or answers of the writer could not be used; `repeated` texts were left out.
    """

    modules: tuple[Summarised, ...]
    writer: str
    written: bool
    n_ngrams: int
    n_explain: int
    n_test: int
    n_unused: int
    repeated: int

    def figures(self) -> tuple[AnyFigure, ...]:
        """The summaries, all candidates, the n-grams they sum up, and texts they were tested on."""
        shown = [f for m in self.modules for f in self._texts(m)]
        return (self._best(), *self._scores(), self._candidates(), self._ngrams(), *shown)

    def _best(self) -> Table:
        test = (
            "texts that the language model wrote for it" if self.written else f"{self.n_test} held-out texts"
        )
        return Table(
            title="How much do texts that fit a summary raise its module?",
            caption=f"Score: how much higher the module is on texts that fit the summary than on others, in standard deviations (0 by"
            f" chance); judged on {test}, other ones than the summary was chosen by. Random n-grams: the best of as many random"
            " candidates, chosen and judged the same way. Other modules: what the same texts do to them.",
            columns=("module", f"summary ({self.writer})", "score", "95 % from", "to", "random n-grams", "other modules"),
            rows=tuple(
                (
                    m.name, m.words or "(no candidate could be judged)", _cell(m.score),
                    m.interval[0] if m.interval else None, m.interval[1] if m.interval else None,
                    _cell(m.random), _cell(m.swapped),
                )
                for m in self.modules
            ),
        )  # fmt: skip

    def _scores(self) -> tuple[Curves, ...]:
        told = [m for m in self.modules if m.interval is not None]
        if len(told) < 2:
            return ()
        ends = np.array([m.interval for m in told], dtype=np.float64)
        score, random, swapped = (
            np.array([getattr(m, f) for m in told]) for f in ("score", "random", "swapped")
        )
        return (
            curves_of(
                (m.name for m in told),
                "Does each summary raise its own module alone?",
                "In standard deviations of the module; the band is the 95 % interval. A summary that says something lies above both"
                " controls.",
                "module",
                "score",
                (
                    Series(name="its summary", y=score, low=ends[:, 0], high=ends[:, 1]),
                    Series(name="random n-grams", y=random, control=True),
                    Series(name="its summary, other modules", y=swapped, control=True),
                ),
            ),
        )

    def _candidates(self) -> Table:
        return Table(
            title="Which candidates were there?",
            caption=f"Taken is what raises the module most surely on the texts it is chosen by (in standard errors); its score on other texts is what counts. {self.n_unused} candidates or"
            " answers could not be used: too few texts, or nothing that can be read.",
            columns=("module", "candidate", "chosen by", "score", "texts that fit", "others", "taken"),
            rows=tuple(
                (m.name, c.words, c.chosen_by, c.score, c.n_plus, c.n_minus, "yes" if c.best else "")
                for m in self.modules
                for c in m.candidates
            ),
        )

    def _ngrams(self) -> Table:
        return Table(
            title="Which n-grams are highest?",
            caption=f"Of {self.n_ngrams} n-grams of {self.n_explain} texts, each read alone; value in standard deviations over all of"
            " them.",
            columns=("module", "n-gram", "value", "stands in texts"),
            rows=tuple(
                (m.name, g, float(v), n)
                for m in self.modules
                for g, v, n in zip(m.n_grams, m.n_gram_values, m.n_grams_in)
            ),
        )

    def _texts(self, m: Summarised) -> tuple[Tokens, ...]:
        fits, others = ("texts that fit", m.plus), ("other texts", m.minus)
        return tuple(
            Tokens(
                title=f"What does {m.name} do on {kind}?",
                caption=f"Summary: {m.words}. Words of the summary are marked.",
                label=f"{t.value:+.2f} standard deviations",
                tokens=t.words,
                values=t.marks,
                unit="word of the summary",
            )
            for kind, texts in (fits, others)
            for t in texts
            if t.words
        )


def _cell(x: float) -> float | None:
    return None if np.isnan(x) else float(x)
