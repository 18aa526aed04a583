"""What coreference probes find: at which layers a pronoun lies near what it stands for."""

import numpy as np

from exegete.core.figure import AnyFigure, Series, Table, banded, by_layer
from exegete.core.results.finding import Finding


class Coreference(Finding):
    """Pronouns resolved by similarity, each by a probe that did not learn from it.

    `accuracy` [layer] of the learned similarity with `interval` [layer, 2], `cosine` [layer] of the vectors as they are, `twin`
    [layer] of the learned one on the model with randomised weights (NaN: skipped). `overall` is the accuracy when every fold
    reads the layer that was best on another one; `chosen` [fold] are these layers (0: the embeddings). `first`, `last` and
    `chance` are what the first mention, the last one and a guess get. `unseen`: no candidate stands in both what is learned
    from and what is asked. Of every pronoun [pronoun]: `texts`, `pronouns`, `said` and `right` words, `hit` (a share in ties).
    """

    layers: tuple[str, ...]
    accuracy: np.ndarray
    interval: np.ndarray
    cosine: np.ndarray
    twin: np.ndarray
    overall: float
    chosen: np.ndarray
    first: float
    last: float
    chance: float
    unseen: bool
    texts: tuple[str, ...]
    pronouns: tuple[str, ...]
    said: tuple[str, ...]
    right: tuple[str, ...]
    hit: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """Accuracy by layer, by pronoun, and every pronoun."""
        flat = np.ones(len(self.layers))
        series = [banded("learned similarity", self.accuracy, self.interval)]
        series.append(Series(name="cosine, nothing learned", y=self.cosine))
        if not np.isnan(self.twin).any():
            series.append(Series(name="randomised weights, learned", y=self.twin, control=True))
        series += [
            Series(name=name, y=flat * value, control=True)
            for name, value in (
                ("first mention", self.first),
                ("last mention", self.last),
                ("guess", self.chance),
            )
            if name == "guess"
            or abs(value - self.chance) > 0.005  # lines that lie on each other tell nothing
        ]
        other = "other candidates" if self.unseen else "other texts"
        curve = by_layer(
            range(len(self.layers)),
            "At which layers does a pronoun lie near what it stands for?",
            f"Share of pronouns whose nearest candidate is the right one, learned from {other}. Band: 95 %.",
            "accuracy",
            tuple(series),
        ).model_copy(update={"x_names": self.layers})
        return (curve, self._pronouns(), self._each())

    def _pronouns(self) -> Table:
        rows = []
        for word in sorted(set(self.pronouns)):
            mine = np.array([p == word for p in self.pronouns])
            rows.append((word, int(mine.sum()), round(float(self.hit[mine].mean()), 3)))
        return Table(
            title="Which pronouns are resolved?",
            caption="Share of each that is resolved rightly at the chosen layers.",
            columns=("pronoun", "asked", "right"),
            rows=tuple(rows),
        )

    def _each(self) -> Table:
        rows = zip(self.texts, self.pronouns, self.said, self.right)
        return Table(
            title="Pronoun by pronoun",
            caption="What the probe takes every pronoun for, and what it stands for (the first hundred).",
            columns=("text", "pronoun", "taken for", "stands for"),
            rows=tuple(rows)[:100],
        )
