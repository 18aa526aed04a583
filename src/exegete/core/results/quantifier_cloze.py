"""What quantifier clozes find: does the model put a noun's own properties first, and does it heed all, most, some and no?"""

import numpy as np

from exegete.core.figure import AnyFigure, Series, Table, curves_of
from exegete.core.results.finding import Finding

_TYPICAL = " Typical: pairs of a typical property and another of the same noun; both are true after some."


class QuantifierCloze(Finding):
    """Properties in blanks ("all soups are [MASK]").

    `nouns` and the `own` properties of each, `candidates` all properties of the set. By quantifier and noun [quantifier, noun]:
    `above` is the share of pairs in which an own property is likelier than one of other nouns, `other` the same pairs in
    prompts about other nouns (their mean), `twin` with randomised weights (NaN where skipped), `ranks` where the best own
    property stands among the candidates (1 best), `typical` the share of pairs in which a typical property of the noun is likelier
    than another of its own (NaN where the material does not say or has one kind only), `first` [quantifier][noun] the likeliest candidate.
    """

    quantifiers: tuple[str, ...]
    nouns: tuple[str, ...]
    own: tuple[tuple[str, ...], ...]
    candidates: tuple[str, ...]
    above: np.ndarray
    other: np.ndarray
    twin: np.ndarray
    typical: np.ndarray
    ranks: np.ndarray
    first: tuple[tuple[str, ...], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Shares by quantifier, ranks by quantifier, and every noun."""
        series = [Series(name="the noun's own prompts", y=self.above.mean(1))]
        series += [
            Series(name=name, y=values.mean(1), control=True)
            for name, values in (("prompts about other nouns", self.other), ("randomised weights", self.twin))
            if not np.isnan(values).any()
        ]
        told = ~np.isnan(self.typical).any(0)
        if told.any():
            series.append(Series(name="typical above others of the noun", y=self.typical[:, told].mean(1)))
        curve = curves_of(
            self.quantifiers,
            "Are a noun's own properties likelier than those of other nouns?",
            "Share of pairs (a property of the noun, one of others) in which its own is likelier. After no, a model that heeds "
            "the word has less than after all; 0.5 is a guess." + (_TYPICAL if told.any() else ""),
            "quantifier",
            "share of pairs",
            tuple(series),
        )
        return (curve, self._ranks(), self._nouns())

    def _ranks(self) -> Table:
        rows = tuple(
            (
                q,
                round(float(np.median(ranks)), 1),
                round(float((ranks <= 1).mean()), 3),
                round(float(above.mean()), 3),
                round(float(other.mean()), 3),
            )
            for q, ranks, above, other in zip(self.quantifiers, self.ranks, self.above, self.other)
        )
        return Table(
            title="By quantifier",
            caption=f"Where the best own property of a noun stands among {len(self.candidates)} candidates (median over "
            f"{len(self.nouns)} nouns), how often it is first, and the shares of the picture.",
            columns=("quantifier", "median rank", "is first", "own above others", "about other nouns"),
            rows=rows,
        )

    def _nouns(self) -> Table:
        rows = tuple(
            (
                noun,
                ", ".join(own),
                *(float(r[i]) for r in self.ranks),
                *(f[i] for f in self.first),
            )
            for i, (noun, own) in enumerate(zip(self.nouns, self.own))
        )
        return Table(
            title="Noun by noun",
            caption="Rank of the best own property, and the likeliest candidate, by quantifier.",
            columns=(
                "noun",
                "own properties",
                *(f"rank, {q}" for q in self.quantifiers),
                *(f"said, {q}" for q in self.quantifiers),
            ),
            rows=rows,
        )
