"""What feed-forward layers say: sub-updates in the vocabulary, units as detectors of patterns."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, banded, by_layer
from exegete.core.results.finding import Finding
from exegete.core.value import Value


class SubUpdate(Value):
    """One unit's write m v: its mean coefficient m and share of the logit (with interval over texts), the tokens that it
    pushes up and down most, and the median rank (0 best) of the answers among what it pushes up.
    """

    layer: int
    unit: int
    coefficient: float
    share: float
    interval: tuple[float, float] | None = None
    up: tuple[str, ...]
    down: tuple[str, ...]
    rank: float


class FeedForwardValues(Finding):
    """What hidden units write towards a prediction, means over texts; `layers` are those whose units can be seen.

    `units` are the sub-updates with the largest shares. `promotion` and `elimination` [layer] are the sums of positive and of
    negative shares in the answer's logit (less the foil's), `promotion_random` and `elimination_random` those of random
    tokens. Interventions: `lost` [layer] is what the answer loses in log-probability (log-odds with a foil) when the units that
    promote it most are switched off, `gained` [layer] what its rival (`rivals`: the foil, or the runner-up) gains in
    log-probability when the units whose values promote that one most are switched fully on;
    `lost_random` and `gained_random` [layer, draw] for other units; `*_interval` [layer, 2] over texts (NaN for one text).
    `agrees` [every layer] is the share of positions at which the guess after a layer is the final one, `settled` [every
    layer] the share at which it stays so from there on, `depth` names the layers.
    """

    answers: tuple[str, ...]
    foils: tuple[str, ...] = ()
    rivals: tuple[str, ...]
    layers: tuple[int, ...]
    units: tuple[SubUpdate, ...]
    promotion: np.ndarray
    elimination: np.ndarray
    promotion_random: np.ndarray
    elimination_random: np.ndarray
    lost: np.ndarray
    lost_random: np.ndarray
    lost_interval: np.ndarray
    gained: np.ndarray
    gained_random: np.ndarray
    gained_interval: np.ndarray
    changed: int
    agrees: np.ndarray
    settled: np.ndarray
    depth: tuple[str, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """The sub-updates, promotion by layer, the two interventions, and where the guess settles."""
        return (
            self._table(),
            self._balance(),
            self._intervention(
                "What is lost without the promoters",
                f"The {self.changed} units of a layer that promote the answer most, switched off; muted: other strong writers"
                " of the same layer.",
                (self.lost, self.lost_random, self.lost_interval),
            ),
            self._intervention(
                "What the rival gains by the values that promote it",
                f"The {self.changed} units of a layer whose values promote {self._rival()} most, set to the largest coefficient"
                " that the layer takes here; muted: random units of the same layer, likewise.",
                (self.gained, self.gained_random, self.gained_interval),
            ),
            self._exits(),
        )

    def _table(self) -> Table:
        columns = ("layer", "unit", "coefficient", "share", "95 % interval", "pushes up", "pushes down", "rank of answer")  # fmt: skip
        rows = tuple(
            (
                u.layer, u.unit, u.coefficient, u.share, _interval(u.interval),
                _words(u.up), _words(u.down), u.rank,
            )
            for u in self.units
        )  # fmt: skip
        return Table(
            title="The sub-updates with the largest shares in the logit",
            caption="Tokens as the unit's write (coefficient times value) moves them on its direct way to the logits, with"
            " every norm at the scale that it has at the measured position of the first text.",
            columns=columns,
            rows=rows,
        )

    def _balance(self) -> Curves:
        return by_layer(
            layers=self.layers,
            title="Promotion and elimination of the answer",
            caption="Sums of the positive and of the negative shares of a layer's units.",
            y_axis="share of the logit",
            series=(
                Series(name="promotion", y=self.promotion),
                Series(name="elimination", y=self.elimination),
                Series(name="promotion of random tokens", y=self.promotion_random, control=True),
                Series(name="elimination of random tokens", y=self.elimination_random, control=True),
            ),
        )

    def _rival(self) -> str:
        return repr(self.rivals[0].strip()) if len(self.rivals) == 1 else "the rival of each answer"

    def _intervention(
        self, title: str, caption: str, found: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> Curves:
        mine, random, interval = found
        control = Series(
            name="other units", y=random.mean(1), low=random.min(1), high=random.max(1), control=True
        )
        return by_layer(
            layers=self.layers,
            title=title,
            caption=caption,
            y_axis="log-probability",
            series=(banded("chosen units", mine, interval), control),
        )

    def _exits(self) -> Curves:
        return Curves(
            title="Where the guess settles",
            caption="The guess after a layer, read by the final norm and unembedding (logit lens).",
            x=np.arange(len(self.depth), dtype=np.float64),
            x_axis="layer",
            x_names=self.depth,
            y_axis="share of positions",
            series=(
                Series(name="guess is the final one", y=self.agrees),
                Series(name="and stays so", y=self.settled),
            ),
        )


def _interval(x: tuple[float, float] | None) -> str:
    return "" if x is None else f"[{x[0]:.3g}, {x[1]:.3g}]"


def _words(tokens: tuple[str, ...]) -> str:
    """Tokens side by side, blanks at their ends made visible where nothing else is there."""
    return " ".join(t.strip() or repr(t) for t in tokens)
