"""Greedy Gaussian probing (intrinsic probing): the shortest list of neurons that tells the label, and what it tells.

1. every class is a Gaussian over all neurons, fitted once on training rows (normal-inverse-Wishart prior);
2. neurons are added one by one: the one with the largest gain in mean log p(label | row) on the choosing rows; exact, by
   conditioning, without a fit a candidate (`ops.gaussian_probe`);
3. on test rows, what the first k tell about the label: 1 - (-mean log p(label | row)) / entropy, and the same of random lists.

Controls: random lists of as many neurons, a control task, the model with randomised weights. Cost: one forward a text, and
one of the twin. Shapes: activations [word, neuron].
Reference: Torroba Hennigen et al. 2020, "Intrinsic Probing through Dimension Selection", sections 3-5.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.material import Marked
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.finding import Finding
from exegete.core.results.ranked_neurons import GaussianNeurons
from exegete.core.trust import Score, Trust
from exegete.methods.neurons.examples import Examples
from exegete.methods.neurons.judged import Judged, Ranking, ranked
from exegete.methods.neurons.ranking_study import RankingStudy
from exegete.methods.neurons.rankings import by_greed
from exegete.models.lab import Lab
from exegete.ops.gaussian_probe import along, fit
from exegete.ops.stats import bootstrap_mean


@register
class GaussianProbe(RankingStudy):
    """The neurons that tell the most beside those before them, found greedily with Gaussian classes."""

    id: ClassVar[str] = "gaussian_probe"
    techniques: ClassVar[tuple[str, ...]] = ("F5",)
    finds: ClassVar[type] = GaussianNeurons
    reference: ClassVar[Reference] = Reference(
        authors="Torroba Hennigen et al.", year=2020, title="Intrinsic Probing through Dimension Selection",
        where="arXiv:2010.02812", equation="eq. 5-8",
    )  # fmt: skip
    n_greedy: int = Field(
        20, ge=1, le=500, description="neurons to choose greedily; the others follow unordered"
    )
    prior: float = Field(
        10.0, gt=0, le=1e6, description="rows that the prior (no correlation within classes) counts as"
    )

    def rank(self, lab: Lab, items: Sequence[Marked], ex: Examples) -> Ranking:
        """By what each tells beside those before it."""
        return by_greed(ex, self.n_greedy, self.prior)

    def finding(self, lab: Lab, ex: Examples, found: Ranking, judged: Judged, trust: Trust) -> Finding:
        """The list and its information curve."""
        n = min(self.n_greedy, len(ex.places))
        first = found.order[:n]
        rng = lab.rng("lists")
        lists = [first, *(rng.permutation(len(ex.places))[:n] for _ in range(self.n_random))]
        logs = [self._along(ex, chosen) for chosen in lists]
        entropy = float(-logs[0][0].mean())
        shares = [(log - log[0]) / max(entropy, 1e-12) for log in logs]
        own, random = shares[0], np.array([s.mean(1) for s in shares[1:]])
        k = min(self.k, n)
        interval = bootstrap_mean(own[k], self.seed)
        told = Score(
            name=f"share of the label's entropy told by the first {k} neurons",
            value=float(own[k].mean()),
            chance=0.0,
            control=float(random[:, k].max()),
            control_name=f"the best of {self.n_random} random lists",
            interval=interval,
            n=len(ex.parts[2]),
            n_failed=ex.n_failed,
        )
        trust = trust.model_copy(update={"scores": (told, *trust.scores)})
        words = (
            f"{k} neurons tell {own[k].mean():.0%} of the label's {entropy / np.log(2):.2f} bits (the best of {self.n_random} random "
            f"lists: {random[:, k].max():.0%}); the first alone tells {own[1].mean():.0%}."
        )
        return GaussianNeurons(
            title="What is the shortest list of neurons that tells the label?",
            lede=f"{words} {self.lede(ex, judged, trust)}",
            classes=ex.classes,
            ranked=ranked(ex, found),
            curves=judged.curves,
            information=own.mean(1),
            information_interval=np.array(
                [bootstrap_mean(s, n_resamples=500) or (np.nan, np.nan) for s in own]
            ),
            information_random=random,
            entropy=entropy / float(np.log(2)),
            trust=trust,
        )

    def _along(self, ex: Examples, order: np.ndarray) -> np.ndarray:
        """Log p(label | the first t of `order`) of test rows [t, row]; only the columns of the list are looked at."""
        train, _, test = ex.parts
        model = fit(ex.x[train][:, order], ex.y[train], len(ex.classes), self.prior)
        return along(model, ex.x[test][:, order], ex.y[test], np.arange(len(order)))
