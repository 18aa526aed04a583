"""Probeless ranking: neurons by how far apart the classes' mean activations are; no probe is trained.

1. the mean q(z) of every class over training rows, in the model's own scale;
2. the score of neuron i is the sum over pairs of classes of |q(z)_i - q(z')_i|.

Controls: random sets of as many neurons, a control task, the model with randomised weights. Cost: one forward a text, and
one of the twin. Shapes: activations [word, neuron].
Reference: Antverg & Belinkov 2022, "On the Pitfalls of Analyzing Individual Neurons in Language Models", eq. 2.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from exegete.core.material import Marked
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.finding import Finding
from exegete.core.results.ranked_neurons import NeuronRanking
from exegete.core.trust import Trust
from exegete.methods.neurons.examples import Examples
from exegete.methods.neurons.judged import Judged, Ranking, ranked
from exegete.methods.neurons.ranking_study import RankingStudy
from exegete.methods.neurons.rankings import by_means
from exegete.models.lab import Lab


@register
class Probeless(RankingStudy):
    """Neurons by the distance between the classes' means, without training a probe."""

    id: ClassVar[str] = "probeless"
    techniques: ClassVar[tuple[str, ...]] = ("F6",)
    finds: ClassVar[type] = NeuronRanking
    reference: ClassVar[Reference] = Reference(
        authors="Antverg, Belinkov", year=2022,
        title="On the Pitfalls of Analyzing Individual Neurons in Language Models",
        where="arXiv:2110.07483", equation="eq. 2",
    )  # fmt: skip
    scaled: bool = Field(
        False, description="whether neurons are brought to one scale first (the paper does not)"
    )

    def rank(self, lab: Lab, items: Sequence[Marked], ex: Examples) -> Ranking:
        """By the sum of distances."""
        return by_means(ex, self.scaled)

    def finding(self, lab: Lab, ex: Examples, found: Ranking, judged: Judged, trust: Trust) -> Finding:
        """The ranking and its curves."""
        return NeuronRanking(
            title="Which neurons differ most between the classes?",
            lede=self.lede(ex, judged, trust),
            classes=ex.classes,
            ranked=ranked(ex, found),
            curves=judged.curves,
            trust=trust,
        )
