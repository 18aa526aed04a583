"""The layer that a study names: the first at which its curve is more than half-way from a guess to what is perfect.

A row asks a study about several planted properties, each known to be absent below its layer: the share of them whose layer it
names. Chance: one of the layers at random. Control: the same where nothing is there to be found (labels or trees dealt anew), in which
a study that is right names no layer, or not that one.

Cost: none beside the study's. Reference: Tenney et al. 2019, "BERT Rediscovers the Classical NLP Pipeline".
"""

from collections.abc import Callable, Sequence

import numpy as np

from exegete.core.method import Method
from exegete.core.results.truth import TruthRow
from exegete.core.trust import Cost
from exegete.evaluate.truth.study_truth import Draw, truth_row

MEASURE = "properties whose first layer is named"
NOTHING_THERE = "the same where labels are dealt anew"

Curve = tuple[Sequence[float] | np.ndarray, float, float, Cost]  # by layer, a guess, perfect, cost


def first_layer(curve: Sequence[float] | np.ndarray, guess: float, best: float) -> int | None:
    """The first place of `curve` [layer] past the middle between a guess and perfect (which may be the lower one); None: nowhere."""
    past = (np.asarray(curve, float) - guess) / (best - guess) > 0.5
    return int(past.argmax()) if past.any() else None


def layer_row(
    method: Method,
    truth: str,
    planted: Sequence[tuple[str, int]],
    ask: Callable[[int, int, bool], Curve],
    items: int,
    seed: int,
    measure: str = MEASURE,
    control_name: str = NOTHING_THERE,
) -> TruthRow:
    """One row. `planted` are (name, layer); `ask` takes which of them, a seed, and whether the labels are dealt anew."""
    draws = []
    for i, (name, layer) in enumerate(planted):
        draw = 1000 * seed + i
        curve, guess, best, cost = ask(i, draw, False)
        hit = float(first_layer(curve, guess, best) == layer)
        blind, low, high, _ = ask(i, draw, True)
        miss = float(first_layer(blind, low, high) == layer)
        draws.append(Draw(hit, miss, cost, items, 1 / len(curve), ((name, hit),)))
    return truth_row(method, truth, measure, draws, None, control_name)
