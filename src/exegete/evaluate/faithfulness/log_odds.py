"""Log-odds: how far does the log-probability fall when the units an explanation puts first are removed?

    LO = log f(x without the first k units) - log f(x),   k = n * share rounded up, at least 1

1. order the units by descending signed score; 2. remove the first k at once; 3. the difference of the log-probabilities, in nats; its
mean over a set of texts is the published number. Lower (more negative) is better.

A probability is taken to its logarithm; what is judged on a scale without bounds (log-probabilities of a continuation, a contrast of
logits) is taken as it is. Unlike comprehensiveness it sees the difference between unlikely and impossible.
Cost: one forward a distinct set of leading units, and one; comprehensiveness with the same share has the same inputs.
Reference: Shrikumar et al. 2017, section 4; for texts Chen, Zheng & Ji 2020, section 4.2.1.
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Better, FaithfulnessMetric, Ranking, outcome, whole
from exegete.models.remove import Game
from exegete.ops.curves import bin_sizes, deletion_curve

LEAST = 1e-30  # a probability that single precision rounds to zero


@register
class LogOdds(FaithfulnessMetric):
    """The change of the log-probability when the units that an explanation puts first are removed."""

    id: ClassVar[str] = "log_odds"
    reference: ClassVar[Reference] = Reference(
        authors="Chen, Zheng & Ji",
        year=2020,
        title="Generating Hierarchical Explanations on Text Classification via Feature Interaction Detection",
        where="arXiv:2004.02015",
        equation="section 4.2.1",
    )
    passes: ClassVar[str] = "one forward a distinct set of leading units"
    better: ClassVar[Better] = "lower"

    share: float = Field(0.2, gt=0, le=1, description="share of the units that is removed")

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """LO [K]."""
        sizes = bin_sizes(game.n, (self.share,))
        left = deletion_curve(lambda keep: outcome(game, keep), ranking.order, sizes)[:, 0]
        before = outcome(game, whole(game))
        if game.question.scale == "prob" and game.question.against == "":
            left, before = np.log(left.clip(LEAST)), np.log(before.clip(LEAST))
        return left - before
