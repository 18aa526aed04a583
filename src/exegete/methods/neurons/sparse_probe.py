"""Sparse probing: how few neurons tell one class from all others, by three ways of choosing them.

For each class, on training rows, and F1 on test rows for k = 1, 2, 4, ... :

    mean difference     the k neurons with the largest |mean in the class - mean outside|
    L1                  the k largest weights of a softmax regression with an L1 penalty
    adaptive            a probe of many neurons, of its heaviest half, of their heaviest half, ... down to one

each followed by a balanced logistic probe of the k neurons.

Controls: the same probe of k random neurons; saying yes always (2 p / (1 + p)); for the ranking that results (a neuron counts
by the least k at which adaptive thresholding keeps it for some class) random sets, a control task, randomised weights.
Cost: one forward a text, and one of the twin. Shapes: activations [word, neuron].
Reference: Gurnee et al. 2023, "Finding Neurons in a Haystack: Case Studies with Sparse Probing".
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.material import Marked
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.finding import Finding
from exegete.core.results.ranked_neurons import SparseNeurons
from exegete.core.trust import Score, Trust
from exegete.methods.neurons.examples import Examples
from exegete.methods.neurons.judged import Judged, Ranking, ranked
from exegete.methods.neurons.ranking_study import RankingStudy
from exegete.models.lab import Lab
from exegete.ops.elastic_net import elastic_net
from exegete.ops.neuron_rank import contrast
from exegete.ops.sparse_probe import adaptive, always_yes, f1, logistic

RESAMPLES = 500


@register
class SparseProbe(RankingStudy):
    """How few neurons tell a class, one class at a time: F1 by number of neurons."""

    id: ClassVar[str] = "sparse_probe"
    techniques: ClassVar[tuple[str, ...]] = ("F10",)
    finds: ClassVar[type] = SparseNeurons
    reference: ClassVar[Reference] = Reference(
        authors="Gurnee et al.", year=2023, title="Finding Neurons in a Haystack: Case Studies with Sparse Probing",
        where="arXiv:2305.01610", equation="section 3",
    )  # fmt: skip
    n_random: int = Field(8, ge=2, le=10_000, description="random sets of neurons to hold against")
    largest: int = Field(32, ge=1, le=512, description="the largest k; k doubles from 1 up to it")
    l1: float = Field(3e-3, ge=0, le=10, description="penalty of the L1 choice; larger: fewer neurons")

    def rank(self, lab: Lab, items: Sequence[Marked], ex: Examples) -> Ranking:
        """By the least k at which adaptive thresholding keeps a neuron, then by the largest mean difference."""
        train = ex.parts[0]
        x, y = ex.x[train], ex.y[train]
        apart = contrast(x, y, len(ex.classes))
        least = np.full(apart.shape, np.inf)
        for v in range(len(ex.classes)):
            for k, side in sorted(self._adaptive(ex, apart, v).items(), reverse=True):
                least[side.dims, v] = k
        score, most = 1.0 / least.min(1), apart.max(1)
        tells = np.where(np.isfinite(least).any(1), least.argmin(1), apart.argmax(1))
        how = "1 / the least number of neurons among which it is kept for some class"
        return Ranking(np.lexsort((-most, -score)), score, tells, how)

    def finding(self, lab: Lab, ex: Examples, found: Ranking, judged: Judged, trust: Trust) -> Finding:
        """F1 by k, and the one neuron of each class."""
        train, _, test = ex.parts
        x, y, c = ex.x[train], ex.y[train], len(ex.classes)
        sizes = self._sizes(len(ex.places))
        apart = contrast(x, y, c)
        weight = np.abs(elastic_net(x, y, c, self.l1, 0.0).weight)
        rng = lab.rng("sparse")
        draws = [rng.permutation(len(ex.places)) for _ in range(self.n_random)]
        ways = {"mean_difference": np.argsort(-apart, 0, "stable"), "l1": np.lexsort((-apart, -weight), 0)}
        says: dict[str, list[np.ndarray]] = {name: [] for name in (*ways, "adaptive", "random")}
        best = []
        for v in range(c):
            own = y == v

            def of(order: np.ndarray, own: np.ndarray = own) -> np.ndarray:
                """What probes of the first k say of the test rows [k, row]."""
                return np.stack([logistic(x, own, order[:k]).says(ex.x[test]) for k in sizes])

            for name, order in ways.items():
                says[name].append(of(order[:, v]))
            sides = self._adaptive(ex, apart, v)
            says["adaptive"].append(np.stack([sides[k].says(ex.x[test]) for k in sizes]))
            says["random"].append(np.stack([of(d) for d in draws], 1))  # [k, draw, row]
            best.append(ex.places.name(int(sides[1].dims[0])))
        told = {n: np.moveaxis(np.stack(s), -1, 0) for n, s in says.items()}  # [row, class, k, ...]
        own = ex.y[test][:, None] == np.arange(c)
        values = {n: f1(t, own[:, :, None] if n != "random" else own[:, :, None, None]) for n, t in told.items()}  # fmt: skip
        guess = always_yes(own)
        random = np.moveaxis(values["random"], 2, 0)
        score = self._score(told["adaptive"][:, :, 0], own, random[:, :, 0], guess, lab, ex)
        trust = trust.model_copy(update={"scores": (score, *trust.scores)})
        last = sizes[-1]
        words = (
            f"One neuron a class gives a mean F1 of {score.value:.2f} (the best random draw of neurons: {score.control:.2f}; a guess: "
            f"{score.chance:.2f}), {last} give {values['adaptive'][:, -1].mean():.2f}."
        )
        return SparseNeurons(
            title="Is one neuron enough for a class?",
            lede=f"{words} {self.lede(ex, judged, trust)}",
            classes=ex.classes,
            ranked=ranked(ex, found),
            curves=judged.curves,
            k=np.array(sizes),
            mean_difference=values["mean_difference"],
            l1=values["l1"],
            adaptive=values["adaptive"],
            random=random,
            guess=guess,
            best=tuple(best),
            trust=trust,
        )

    def _sizes(self, n: int) -> tuple[int, ...]:
        most = min(self.largest, n)
        return tuple(2**i for i in range(most.bit_length()) if 2**i <= most)

    def _adaptive(self, ex: Examples, apart: np.ndarray, v: int) -> dict:
        """Probes of class v against the others, by size."""
        train, sizes = ex.parts[0], self._sizes(len(ex.places))
        start = np.argsort(-apart[:, v], kind="stable")[: 4 * sizes[-1]]
        wider = tuple(k for k in (2 * sizes[-1],) if k < len(start))
        found = adaptive(ex.x[train], ex.y[train] == v, start, (*sizes, *wider))
        return {k: found[k] for k in sizes}

    def _score(
        self, says: np.ndarray, own: np.ndarray, random: np.ndarray, guess: np.ndarray, lab: Lab, ex: Examples
    ) -> Score:
        """Mean F1 over classes of one neuron each, with its interval over test rows."""
        n = len(own)
        drawn = lab.rng("interval").multinomial(n, np.full(n, 1 / n), RESAMPLES)
        spread = f1(says, own, drawn).mean(1)
        low, high = np.quantile(spread, (0.025, 0.975))
        return Score(
            name="mean F1 of one neuron a class",
            value=float(f1(says, own).mean()),
            chance=float(guess.mean()),
            control=float(random.mean(1).max()),
            control_name=f"the best of {len(random)} draws of random neurons",
            interval=(float(low), float(high)),
            n=n,
            n_failed=ex.n_failed,
        )
