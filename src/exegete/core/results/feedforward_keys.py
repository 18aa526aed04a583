"""What sets feed-forward units off, and whether their values say what comes next there."""

import numpy as np

from exegete.core.figure import AnyFigure, Series, Table, banded, by_layer
from exegete.core.results.finding import Finding
from exegete.core.value import Value


class KeyUnit(Value):
    """One unit: its strongest triggers (the end of the text up to them, the coefficient there, the token that came next), the
    tokens its value pushes up (with the sign that the coefficient mostly has), how often the first of them came next, and the
    most common last token of its triggers with its share.
    """

    layer: int
    unit: int
    triggers: tuple[str, ...]
    coefficients: tuple[float, ...]
    nexts: tuple[str, ...]
    up: tuple[str, ...]
    agreement: float
    shared: str
    share: float


class FeedForwardKeys(Finding):
    """Units as detectors of patterns [layer], over `n_units` units a layer and their strongest triggers in the texts.

    `agreement`: how often the token that a unit's value pushes up most is the one that came next at its triggers;
    `last` and `pair`: the share of a unit's triggers that end in the same token, or in the same two. `*_interval`
    [layer, 2] are over units. Controls: `agreement_random` with the value of another unit of the layer, `last_random` and
    `pair_random` for as many random places of the texts. `keys` are the units that agree most; `silent` counts those that
    never fire; `n_texts` and `n_places` are what was read.
    """

    layers: tuple[int, ...]
    agreement: np.ndarray
    agreement_interval: np.ndarray
    agreement_random: np.ndarray
    last: np.ndarray
    last_interval: np.ndarray
    last_random: np.ndarray
    pair: np.ndarray
    pair_interval: np.ndarray
    pair_random: np.ndarray
    keys: tuple[KeyUnit, ...]
    n_units: int
    n_triggers: int
    silent: int
    n_texts: int
    n_places: int

    def figures(self) -> tuple[AnyFigure, ...]:
        """Agreement by layer, shared endings by layer, and the units that agree most."""
        agree = by_layer(
            layers=self.layers,
            title="Does the value say what comes next where the key fires?",
            caption=f"Share of the {self.n_triggers} strongest triggers of a unit at which the token that its value pushes up"
            f" most came next; mean over {self.n_units} units a layer, with its 95 % interval.",
            y_axis="share of triggers",
            series=(
                banded("a unit's own value", self.agreement, self.agreement_interval),
                Series(name="the value of another unit of the layer", y=self.agreement_random, control=True),
            ),
        )
        shared = by_layer(
            layers=self.layers,
            title="What do the triggers of a unit have in common?",
            caption="Share of a unit's triggers that end in its most common token, or pair of tokens; muted: as many random"
            " places of the same texts.",
            y_axis="share of triggers",
            series=(
                banded("same last token", self.last, self.last_interval),
                banded("same last two tokens", self.pair, self.pair_interval),
                Series(name="last token, random places", y=self.last_random, control=True),
                Series(name="last two, random places", y=self.pair_random, control=True),
            ),
        )
        return (agree, shared, self._table())

    def _table(self) -> Table:
        return Table(
            title="The units whose values say most often what comes next",
            caption="Of those looked at. A trigger is shown with the tokens before it; behind the arrow stands what came next.",
            columns=("layer", "unit", "strongest triggers", "value pushes up", "agreement", "ends in", "share"),
            rows=tuple(
                (
                    k.layer, k.unit,
                    " | ".join(f"{t.strip()} → {n.strip() or repr(n)}" for t, n in zip(k.triggers, k.nexts)),
                    " ".join(t.strip() or repr(t) for t in k.up),
                    k.agreement, k.shared.strip() or repr(k.shared), k.share,
                )
                for k in self.keys
            ),
        )  # fmt: skip
