"""Linguistic correlation analysis: neurons by the weights that a linear probe with an elastic net gives them.

1. softmax regression on training rows: mean cross-entropy + l1 |W|_1 + l2 |W|^2, on standardised neurons;
2. for each class, the heaviest neurons that hold the share `mass` of its |weight| are its salient ones;
3. the order of all: a neuron comes in where, with a growing share, it first becomes salient for some class;
4. the probe is trained again on the salient neurons alone, and on as many random ones.

Controls: random sets of as many neurons (also for the retrained probe), a control task, the model with randomised weights.
Cost: one forward a text, and one of the twin. Shapes: activations [word, neuron], weights [neuron, class].
Reference: Dalvi et al. 2019, "What Is One Grain of Sand in the Desert? Analyzing Individual Neurons in Deep NLP Models".
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.material import Marked
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.finding import Finding
from exegete.core.results.ranked_neurons import SalientNeurons
from exegete.core.trust import Score, Trust
from exegete.methods.neurons.examples import Examples
from exegete.methods.neurons.judged import Judged, Ranking, ranked
from exegete.methods.neurons.ranking_study import RankingStudy
from exegete.methods.neurons.rankings import by_weights
from exegete.models.lab import Lab
from exegete.ops.elastic_net import ElasticNet, elastic_net
from exegete.ops.neuron_rank import heaviest
from exegete.ops.stats import share_interval

NAMED = 5  # neurons named for each class
RETRAINED = 5  # random sets that a probe is trained on


@register
class LinguisticCorrelation(RankingStudy):
    """Neurons by the weights of a probe with an elastic net, and the probe trained again on the heaviest."""

    id: ClassVar[str] = "linguistic_correlation"
    techniques: ClassVar[tuple[str, ...]] = ("F3",)
    finds: ClassVar[type] = SalientNeurons
    reference: ClassVar[Reference] = Reference(
        authors="Dalvi et al.", year=2019, title="What Is One Grain of Sand in the Desert? Analyzing Individual Neurons in Deep NLP Models",
        where="arXiv:1812.09355", equation="section 3",
    )  # fmt: skip
    l1: float = Field(1e-2, ge=0, le=10, description="penalty on |weight|; larger: fewer neurons")
    l2: float = Field(
        1e-3, ge=0, le=10, description="penalty on squared weights; larger: alike neurons share"
    )
    mass: float = Field(
        0.5, gt=0, le=1, description="share of a class's weights that its salient neurons hold"
    )

    def rank(self, lab: Lab, items: Sequence[Marked], ex: Examples) -> Ranking:
        """By the share of a class's weight that heavier neurons hold."""
        return by_weights(ex, self.l1, self.l2)

    def finding(self, lab: Lab, ex: Examples, found: Ranking, judged: Judged, trust: Trust) -> Finding:
        """The classes' salient neurons, and the probe trained again on them."""
        net: ElasticNet = found.made
        chosen = heaviest(net.weight, self.mass)
        kept = np.unique(np.concatenate(chosen))
        rng = lab.rng("retrained")
        n = min(self.n_random, RETRAINED)
        hits = self._again(ex, kept)
        random = np.array(
            [self._again(ex, rng.permutation(len(ex.places))[: len(kept)]).mean() for _ in range(n)]
        )
        whole = float(net.hits(ex.x[ex.parts[2]], ex.y[ex.parts[2]]).mean())
        again = Score(
            name=f"accuracy of the probe trained again on the {len(kept)} salient neurons",
            value=float(hits.mean()),
            chance=ex.majority,
            control=float(random.max()),
            control_name=f"the best of {n} random sets of {len(kept)}",
            interval=share_interval(hits, self.seed),
            n=len(hits),
            n_failed=ex.n_failed,
        )
        trust = trust.model_copy(update={"scores": (*trust.scores, again)})
        salient = (
            f"{len(kept)} of {len(ex.places):,} neurons hold {self.mass:.0%} of the weights of every class; a probe trained on "
            f"them alone keeps {hits.mean():.2f} of {whole:.2f} ({random.max():.2f} on as many random ones)."
        )
        return SalientNeurons(
            title="Which neurons does a linear probe lean on?",
            lede=f"{salient} {self.lede(ex, judged, trust)}",
            classes=ex.classes,
            ranked=ranked(ex, found),
            curves=judged.curves,
            mass=self.mass,
            needed=np.array([len(c) for c in chosen]),
            salient=tuple(tuple(ex.places.name(int(i)) for i in c[:NAMED]) for c in chosen),
            kept=len(kept),
            accuracy=whole,
            retrained=float(hits.mean()),
            retrained_random=random,
            trust=trust,
        )

    def _again(self, ex: Examples, columns: np.ndarray) -> np.ndarray:
        """Hits on test rows of the probe trained on these neurons alone."""
        train, _, test = ex.parts
        net = elastic_net(ex.x[train][:, columns], ex.y[train], len(ex.classes), self.l1, self.l2)
        return net.hits(ex.x[test][:, columns], ex.y[test])
