"""What all rankings of neurons have in common: reading, ranking, judging, and the untrained twin.

1. `examples.gather`: neurons on labelled words; 2. `rank` orders them (each method's own); 3. the same on the model with
randomised weights; 4. `judged.judge`: curves and scores on texts that no ranking saw.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from exegete.core.material import Marked
from exegete.core.method import Need
from exegete.core.results.finding import Finding
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Trust
from exegete.methods.contracts.harvested import Harvested
from exegete.methods.neurons.examples import Examples, gather, marked_of
from exegete.methods.neurons.judged import Judged, Ranking, judge, scores, told
from exegete.models.harvest import sites_at
from exegete.models.harvested import Tables
from exegete.models.lab import Lab

Place = Literal["resid_post", "resid_mid", "attn_out", "mlp_out", "mlp_act"]


class RankingStudy(Harvested):
    """Base of the studies that rank neurons by what they say of a label."""

    family: ClassVar[str] = "neurons"
    verb: ClassVar[str] = "neurons"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "word"
    least: ClassVar[int] = 3
    home: ClassVar[str] = "terrarium/encoder"
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = "1 a text, and 1 of the untrained twin"
    site: Place = Field("resid_post", description="what a neuron is: a dimension of this kind of place")
    layers: tuple[int, ...] = Field((), description="layers to look at, side by side; none: all")
    k: int = Field(10, ge=1, le=100_000, description="how many of the first neurons the scores are of")
    n_random: int = Field(20, ge=2, le=10_000, description="random sets of neurons to hold against")
    seed: int = Field(0, description="seed of the parts, the control task and the random sets")

    @abstractmethod
    def rank(self, lab: Lab, items: Sequence[Marked], ex: Examples) -> Ranking:
        """The order of the neurons. It may use the training and the choosing rows, not the test rows."""

    @abstractmethod
    def finding(self, lab: Lab, ex: Examples, found: Ranking, judged: Judged, trust: Trust) -> Finding:
        """The method's own finding."""

    def where(self, lab: Lab) -> tuple[Site, ...]:
        """The places of the kind in the layers."""
        return sites_at(lab.model, self.site, self.layers)

    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> Finding:
        """Rank, and judge the ranking."""
        marked = marked_of(items)
        sites, pool = self.where(lab), self.pooling(marked)
        ex = gather(lab, marked, sites, tables.own(marked, sites, pool))
        found = self.rank(lab, marked, ex)
        other = None
        if tables.twinned:
            theirs = gather(lab, marked, sites, tables.other(marked, sites, pool))
            other = theirs, self.rank(tables.twin or lab, marked, theirs).order
        judged = judge(ex, found.order, other, self.k, self.n_random, lab.rng("judge"))
        trust = Trust(scores=scores(ex, judged, self.seed, tables.why), seed=self.seed)
        return self.finding(lab, ex, found, judged, trust)

    def lede(self, ex: Examples, judged: Judged, trust: Trust) -> str:
        """What every ranking says first."""
        return told(ex, judged, trust.scores)
