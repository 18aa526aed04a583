"""LIME: a linear model of which units are there, fitted to the model's answers around the text.

1. the first sample is the whole text; each other removes a random number of random units;
2. a sample counts exp(-D^2 / kernel_width^2), D the cosine distance of its mask to the whole one;
3. a weighted ridge (or lasso) regression of the output on the mask gives the scores; `n_features` keeps only the largest.

Standard errors: sandwich for ridge, bootstrap where units are selected. The fit is reported as a self-check.
Cost: n_samples forwards, fewer where samples repeat.
Reference: Ribeiro, Singh & Guestrin 2016, eq. 2 and algorithm 1 (ridge in place of their selection by the lasso path).
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.attribution.removing import RemovingMethod, active
from exegete.methods.contracts.attribution import Scores
from exegete.models.question import Question
from exegete.ops.linear import r_squared
from exegete.ops.perturb import removals
from exegete.ops.surrogate import Penalty, Surrogate, cosine_weights

LEAST_FIT = 0.5


@register
class Lime(RemovingMethod):
    """Coefficients of a linear model fitted to the output around the text, near samples counting most."""

    id: ClassVar[str] = "lime"
    family: ClassVar[str] = "surrogate"
    techniques: ClassVar[tuple[str, ...]] = ("A16",)
    reference: ClassVar[Reference] = Reference(
        authors="Ribeiro, Singh & Guestrin",
        year=2016,
        title='"Why Should I Trust You?": Explaining the Predictions of Any Classifier',
        where="arXiv:1602.04938",
        equation="eq. 2, algorithm 1",
    )
    passes: ClassVar[str] = "n_samples forwards"

    n_samples: int = Field(512, ge=8, le=1_000_000, description="perturbed texts, the whole one included")
    kernel_width: float = Field(
        0.25, gt=0, le=100, description="cosine distance at which a sample counts 1/e"
    )
    penalty: Penalty = Field("ridge", description="ridge (squares) or lasso (sparse)")
    alpha: float = Field(0.01, ge=0, description="strength of the penalty, as in scikit-learn")
    n_features: int = Field(0, ge=0, description="how many units may have a score; 0: all")

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward a sample."""
        return min(self.n_samples, 2 ** min(units, 62)) * self.repeats, 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Coefficients [R, U], of the total [U], and their standard errors [U]."""
        game, how = self.game(q, units)
        rng = generator(self.seed, self.id)
        keep = removals(rng, self.n_samples, len(units))
        values = game(keep)
        weights = cosine_weights(keep, self.kernel_width)
        surrogate = Surrogate(self.penalty, self.alpha, self.n_features)
        fit = surrogate.fit(keep, values, weights, active(q, units))
        fitted = r_squared(values[:, -1], fit(keep)[:, -1], weights)
        words = "share of the output's variance around the text that the linear model explains (R2); below, scores mislead"
        return Scores(
            total=fit.coef[:, -1],
            each=fit.coef[:, :-1].T,
            stderr=surrogate.stderr(keep, values, weights, fit, rng),
            base_value=float(fit.intercept[-1]),
            checks=(
                Check(
                    name="linear fit",
                    value=fitted,
                    tolerance=LEAST_FIT,
                    passed=fitted >= LEAST_FIT,
                    words=words,
                ),
            ),
            notes=(how,),
        )
