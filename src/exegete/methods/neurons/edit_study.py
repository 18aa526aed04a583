"""What studies that change ranked neurons have in common: the ranking, the test texts, a probe of the last layer, the orders.

1. neurons of the chosen places and the residual after the last layer are read at the marked words, once;
2. the ranking is made on training (and choosing) texts, a probe of the classes is fitted on the last layer's training rows;
3. changes are made on `n_texts` of the test texts, in the ranked order, in the reversed order, and in random orders.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.material import Marked
from exegete.core.method import Need
from exegete.core.results.neuron_edits import EditCurve
from exegete.core.site import Site
from exegete.methods.contracts.study import Study
from exegete.methods.neurons.examples import Examples, gather, marked_of
from exegete.methods.neurons.interventions import Interventions, prepare
from exegete.methods.neurons.judged import Ranking
from exegete.methods.neurons.ranking_study import Place
from exegete.methods.neurons.rankings import By, rank_by
from exegete.models.harvest import layer_sites, sites_at
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean
from exegete.ops.subset_probe import SubsetProbe, fit


@dataclass(frozen=True)
class Setting:
    """What is changed (`ex`, `found`), what is run (`runs`), and what is read: a probe of the last layer (`out`, `probe`) at
    the words `rows` [word] of the examples, each in the text `text` [word] of `runs`.
    """

    ex: Examples
    found: Ranking
    runs: Interventions
    out: Examples
    probe: SubsetProbe
    rows: np.ndarray
    text: np.ndarray

    def says(self, words: np.ndarray) -> np.ndarray:
        """The class that the probe takes each word for [word], from vectors [word, d]."""
        x = (words.astype(np.float64) - self.out.mean) / self.out.scale
        return self.probe.scores(x, np.arange(x.shape[1])).argmax(1)


class EditStudy(Study):
    """Base of the studies that change ranked neurons."""

    family: ClassVar[str] = "neurons"
    verb: ClassVar[str] = "neurons"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "word"
    least: ClassVar[int] = 3
    home: ClassVar[str] = "terrarium/encoder"
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "sequence")
    ranking: By = Field(
        "probeless", description="what orders the neurons: class means, a linear probe, greedy Gaussians, or no label"
    )  # fmt: skip
    site: Place = Field("resid_post", description="what a neuron is: a dimension of this kind of place")
    layers: tuple[int, ...] = Field((), description="layers to change, side by side")
    n_texts: int = Field(100, ge=2, le=100_000, description="test texts that are run with changes")
    n_random: int = Field(5, ge=2, le=1000, description="random orders to hold against")
    seed: int = Field(0, description="seed of the parts, the masked tokens and the random orders")

    def setting(self, lab: Lab, items: Sequence[Any], layers: Sequence[int], hide: bool) -> Setting:
        """Everything that is there before the first change."""
        marked = marked_of(items)
        sites = sites_at(lab.model, self.site, layers)
        last = layer_sites(lab.model, first=False)[-1]
        whole = gather(lab, marked, tuple(dict.fromkeys((*sites, last))))
        ex, out = only(whole, sites), only(whole, (last,))
        found = rank_by(self.ranking, ex)
        train, _, test = ex.parts
        probe = fit(out.x[train], out.y[train], len(out.classes))
        chosen = np.unique(ex.item[test])[: self.n_texts]
        rows = np.flatnonzero(np.isin(ex.item, chosen))
        text = np.searchsorted(chosen, ex.item[rows])
        texts: list[Marked] = [marked[i] for i in chosen]
        marks = [ex.mark[rows[text == t]].tolist() for t in range(len(chosen))]
        changed = [s.layer for s in sites if s.layer is not None]
        runs = prepare(lab, texts, marks, changed, last, hide)
        return Setting(ex, found, runs, out, probe, rows, text)

    def points(self, n: int) -> np.ndarray:
        """Numbers of neurons to change, up to half of all."""
        return np.array([k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500) if k <= max(1, n // 2)])

    def orders(self, lab: Lab, found: Ranking) -> list[np.ndarray]:
        """The ranked order, the reversed one, and random ones."""
        rng = lab.rng("orders")
        return [found.order, found.order[::-1], *(rng.permutation(found.order) for _ in range(self.n_random))]


def only(ex: Examples, sites: Sequence[Site]) -> Examples:
    """The examples at some of their sites."""
    wanted = [ex.places.sites.index(s) for s in sites]
    columns = np.flatnonzero(np.isin(ex.places.place, wanted))
    place = np.searchsorted(sorted(wanted), ex.places.place[columns])
    kept = tuple(ex.places.sites[i] for i in sorted(wanted))
    places = replace(ex.places, sites=kept, place=place, unit=ex.places.unit[columns])
    return replace(ex, places=places, x=ex.x[:, columns], mean=ex.mean[columns], scale=ex.scale[columns])


def measured(
    orders: Sequence[np.ndarray], points: np.ndarray, run: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """What `run(columns)` -> [measure, text] gives for the first k of every order [order, point, measure, text]."""
    return np.array([[run(order[:k]) for k in points] for order in orders])


def curve(name: str, base: np.ndarray, found: np.ndarray) -> EditCurve:
    """One measure's curve, from its values without changes [text] and under all orders [order, point, text]; NaN: no value."""
    means = np.nanmean(found, 2)
    ranges = [bootstrap_mean(v[~np.isnan(v)], n_resamples=500) or (np.nan, np.nan) for v in found[0]]
    return EditCurve(
        name=name,
        base=float(np.nanmean(base)),
        ranked=means[0],
        interval=np.array(ranges),
        reversed=means[1],
        random=means[2:],
    )
