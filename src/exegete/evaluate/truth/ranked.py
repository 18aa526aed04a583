"""`ranked_row`: scores that a study gives to parts, held against the parts that are known to matter; `overlap`: sets of them.

AUROC of the gold parts among all parts of a case (a guess: 0.5, ties one half), mean over cases, interval over cases and their gold
parts. Control: what the best 2.5 % of random orders reach, of the same cases together: with few parts a single case may be won by
luck. Random orders decide for chance too, as a permutation test: the interval counts a case as one answer, and so cannot.
Cost: no pass. Reference: Conmy et al. 2023 (arXiv:2304.14997), sec. 4.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from exegete.core.method import Method
from exegete.core.results.truth import TruthRow
from exegete.core.seed import generator
from exegete.core.trust import Cost
from exegete.evaluate.truth.study_truth import Draw, truth_row
from exegete.ops.circuit import auroc

ORDERS = "the best 2.5 % of random orders"
_DRAWS = 200


@dataclass(frozen=True)
class Ranked:
    """One case: `scores` [part] and which parts are `gold` [part]; NaN is a part that the study left out, and ranks last."""

    name: str
    scores: np.ndarray
    gold: np.ndarray
    cost: Cost = field(default_factory=Cost)
    items: int = 1

    @property
    def strength(self) -> np.ndarray:
        """Scores with those left out below all others."""
        return np.nan_to_num(self.scores.astype(float), nan=-np.inf)


def ranked_row(method: Method, truth: str, measure: str, cases: Sequence[Ranked], seed: int) -> TruthRow:
    """The mean AUROC over cases, beside the best of random orders of the same cases."""
    rng = generator(seed, "ranked", method.id, truth)
    luck = np.array([[auroc(rng.permutation(c.strength), c.gold) for c in cases] for _ in range(_DRAWS)])
    low, bar = (float(x) for x in np.quantile(np.nanmean(luck, axis=1), [0.025, 0.975]))
    found = [auroc(c.strength, c.gold) for c in cases]
    draws = [
        Draw(x, bar, c.cost, c.items, parts=((c.name, x),), trials=int(c.gold.sum()))
        for x, c in zip(found, cases)
    ]
    mean = float(np.nanmean(found))
    over = (mean - bar, mean - low)
    return truth_row(method, truth, measure, draws, 0.5, ORDERS, over, over)


def overlap(found: Collection[object], gold: Collection[object]) -> float:
    """F1 of what was found and what is gold: 1 the same, 0 nothing in common; two empty sets are the same."""
    mine, own = set(found), set(gold)
    if not mine and not own:
        return 1.0
    return 2 * len(mine & own) / (len(mine) + len(own))
