"""What dictionaries of sparse features are: the dictionary itself, how good it is, and what its features stand for."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table
from exegete.core.results.finding import Finding
from exegete.core.sparse import SparseDictionary
from exegete.core.value import Value


class FeatureRow(Value):
    """One feature of the table: its number, the tokens it is strongest on, its strongest place, what it does to the logits."""

    feature: int
    tokens: tuple[str, ...]
    example: str
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


class KeptRow(Value):
    """What a way of reading a place keeps: share of the loss, share of the variance, mean number on a token, loss (nats).

    NaN where a number does not apply.
    """

    name: str
    recovered: float
    explained: float
    active: float
    loss: float


class SparseFeatures(Finding):
    """A dictionary of sparse features and what is known of it, on texts that its training never saw.

    `density` [feature] is the share of tokens a feature is on at, `largest` its largest value, `share` its part of the sum
    of squared feature values. `compared` are the dictionary and what stands beside it; `shown` the features that explain
    most. `history` [step, 3] is squared error (share of the variance), features on a token, share of dead features, in the
    training; empty for an opened one. `learned` are hashes of the texts of the training.
    """

    dictionary: SparseDictionary
    density: np.ndarray
    largest: np.ndarray
    share: np.ndarray
    compared: tuple[KeptRow, ...]
    shown: tuple[FeatureRow, ...]
    history: np.ndarray
    learned: np.ndarray
    n_tokens: int

    def figures(self) -> tuple[AnyFigure, ...]:
        """The features, what is kept beside the controls, how often features are on, and the training."""
        found: list[AnyFigure] = [self._kept(), self._table(), self._densities()]
        if len(self.history):
            found.append(self._training())
        return tuple(found)

    def _table(self) -> Table:
        effects = any(r.up for r in self.shown)
        columns = ("feature", "on at % of tokens", "largest", "strongest on", "strongest place")
        rows = [
            (
                r.feature, round(100 * float(self.density[r.feature]), 2), round(float(self.largest[r.feature]), 2),
                " ".join(r.tokens), r.example, *((" ".join(r.up), " ".join(r.down)) if effects else ()),
            )
            for r in self.shown
        ]  # fmt: skip
        return Table(
            title="What does each feature stand for?",
            caption="The features that carry most of the activations, strongest first. Tokens by mean value; the place of the "
            "largest value in « »."
            + (
                " Pushes: the tokens whose logit its direction raises and lowers most, on the direct way out."
                if effects
                else ""
            ),
            columns=(*columns, *(("pushes up", "pushes down") if effects else ())),
            rows=tuple(rows),
        )

    def _kept(self) -> Table:
        rows = tuple(
            (r.name, *(_percent(x) for x in (r.recovered, r.explained)), _number(r.active), _number(r.loss))
            for r in self.compared
        )
        return Table(
            title="What is kept when only the features are read?",
            caption="Loss recovered: 100 % is the model as it is, 0 % the place set to zero. All on texts that were held out.",
            columns=(
                "read through",
                "loss recovered %",
                "variance explained %",
                "on at a token",
                "loss (nats)",
            ),
            rows=rows,
        )

    def _densities(self) -> Curves:
        on = self.density[self.density > 0]
        low = np.floor(np.log10(1 / max(self.n_tokens, 10)))
        edges = np.linspace(low, 0, 25)
        count = np.histogram(np.log10(on), edges)[0] if len(on) else np.zeros(24)
        middle = (edges[1:] + edges[:-1]) / 2
        dead = int((self.density == 0).sum())
        return Curves(
            title="How often is a feature on?",
            caption=f"Features by the share of tokens they are on at; {dead:,} of {len(self.density):,} were never on in "
            f"{self.n_tokens:,} held-out tokens.",
            x=middle,
            x_axis="share of tokens, power of ten",
            y_axis="features",
            series=(Series(name="features", y=count.astype(np.float64)),),
        )

    def _training(self) -> Curves:
        x = np.arange(len(self.history), dtype=np.float64)
        keep = np.unique(np.linspace(0, len(x) - 1, min(200, len(x))).astype(int))
        return Curves(
            title="How did the training go?",
            caption="Share of the variance that is missing, and share of features that were off for the last batches.",
            x=x[keep],
            x_axis="step",
            y_axis="share",
            series=(
                Series(name="variance missing", y=self.history[keep, 0]),
                Series(name="dead features", y=self.history[keep, 2], control=True),
            ),
        )


def _percent(x: float) -> float | None:
    return round(100 * x, 1) if np.isfinite(x) else None


def _number(x: float) -> float | None:
    return round(float(x), 3) if np.isfinite(x) else None
