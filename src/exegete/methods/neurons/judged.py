"""Judging a ranking of neurons: probes of its first k, its last k and k random neurons, on words and on a control task.

1. moments of the training rows are taken once for the labels and once for the control task (every word type gets a label
   drawn at random with the same shares); a probe of any subset is then one small solve (`ops.subset_probe`);
2. for k = 1, 2, 5, 10, ... : accuracy on test rows of the first k, the last k and `n_random` random sets, on the labels and
   on the control task; accuracy less control is selectivity;
3. the same ranking made on the model with randomised weights, with its own first k.

The ranking never sees the test rows. Random sets are as large as what they are held against; the bar is the best of them.
Cost: no pass but that of the untrained twin, one a text. Reference: Antverg & Belinkov 2022; Hewitt & Liang 2019.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from exegete.core.results.ranked_neurons import NeuronCurves, RankedNeurons
from exegete.core.trust import Score
from exegete.methods.neurons.examples import Examples
from exegete.ops.control_labels import control_labels
from exegete.ops.stats import bootstrap_mean, share_interval
from exegete.ops.subset_probe import fit

UNTRAINED = "the same on the model with randomised weights"
POINTS = (1, 2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True)
class Ranking:
    """Columns, the best first: `order` [neuron]; `score` [column] and `tells` [column] (a class) by column; `how` in words.

    `made` is what the method learned on the way and its finding needs.
    """

    order: np.ndarray
    score: np.ndarray
    tells: np.ndarray
    how: str
    made: Any = None


@dataclass(frozen=True)
class Judged:
    """Curves, and row by row [row] at k = `k`: `hits` of the first k, `all_hits` of all neurons, `remembered` of the first k on
    the control task; the names `classes`.
    """

    curves: NeuronCurves
    k: int
    at: int
    hits: np.ndarray
    all_hits: np.ndarray
    remembered: np.ndarray

    @property
    def best_random(self) -> float:
        """Accuracy of the best random set of k."""
        return float(self.curves.random[:, self.at].max())


def judge(
    ex: Examples, order: np.ndarray, untrained: tuple[Examples, np.ndarray] | None, k: int, n_random: int, rng: np.random.Generator
) -> Judged:  # fmt: skip
    """Curves of an order of columns; `untrained` are the twin's examples and its order."""
    n, c = len(ex.places), len(ex.classes)
    k = min(k, n)
    points = np.array(sorted({p for p in (*POINTS, k) if p <= n}))
    train, _, test = ex.parts
    x, y = ex.x[test], ex.y[test]
    heard = control_labels(ex.words, ex.y, rng)
    probe = fit(ex.x[train], ex.y[train], c)
    memory = fit(ex.x[train], heard[train], c)
    draws = [rng.permutation(n) for _ in range(n_random)]
    top = np.stack([probe.hits(x, y, order[:p]) for p in points])
    bottom = np.stack([probe.hits(x, y, order[::-1][:p]) for p in points])
    learnt = np.stack([memory.hits(x, heard[test], order[:p]) for p in points])
    random = np.array([[probe.hits(x, y, d[:p]).mean() for p in points] for d in draws])
    random_learnt = np.array([[memory.hits(x, heard[test], d[:p]).mean() for p in points] for d in draws])
    blind = np.full(len(points), np.nan)
    if untrained is not None:
        other, first = untrained
        twin = fit(other.x[other.parts[0]], other.y[other.parts[0]], c)
        at = other.parts[2]
        blind = np.array([twin.hits(other.x[at], other.y[at], first[:p]).mean() for p in points])
    place = int(np.searchsorted(points, k))
    curves = NeuronCurves(
        k=points,
        top=top.mean(1),
        top_interval=_intervals(top),
        bottom=bottom.mean(1),
        bottom_interval=_intervals(bottom),
        random=random,
        remembered=learnt.mean(1),
        remembered_random=random_learnt,
        untrained=blind,
        majority=ex.majority,
    )
    return Judged(curves, k, place, top[place], probe.hits(x, y, np.arange(n)), learnt[place])


def _intervals(hits: np.ndarray) -> np.ndarray:
    """95 % intervals [point, 2] of means of hits [point, row]."""
    return np.array([share_interval(h) or (np.nan, np.nan) for h in hits])


def scores(ex: Examples, judged: Judged, seed: int, why: str) -> tuple[Score, ...]:
    """Accuracy of the first k against random neurons, against the untrained twin, and its selectivity.

    `why` says why there is no twin.
    """
    curves, k, at = judged.curves, judged.k, judged.at
    name = f"accuracy of a probe of the first {k} neurons"
    interval = share_interval(judged.hits, seed)
    n, failed = len(judged.hits), ex.n_failed
    selective = judged.hits - judged.remembered
    blind = float(curves.untrained[at])
    return (
        Score(
            name=name,
            value=float(judged.hits.mean()),
            chance=curves.majority,
            control=judged.best_random,
            control_name=f"the best of {len(curves.random)} random sets of {k}",
            interval=interval,
            n=n,
            n_failed=failed,
        ),
        Score(
            name=f"selectivity of the first {k} neurons",
            value=float(selective.mean()),
            chance=0.0,
            control=float((curves.random - curves.remembered_random)[:, at].mean()),
            control_name=f"the mean of {len(curves.random)} random sets of {k}",
            interval=bootstrap_mean(selective, seed),
            n=n,
            n_failed=failed,
        ),
        Score(
            name=f"{name}, trained against untrained",
            value=float(judged.hits.mean()),
            chance=curves.majority,
            control=None if why else blind,
            control_name="" if why else UNTRAINED,
            interval=interval,
            n=n,
            n_failed=failed,
            skipped=why,
        ),
    )


def ranked(ex: Examples, found: Ranking) -> RankedNeurons:
    """The ranking with names."""
    order = found.order
    return RankedNeurons(
        names=tuple(ex.places.name(int(i)) for i in order),
        layer=ex.places.layer[order],
        unit=ex.places.unit[order],
        score=found.score[order],
        tells=tuple(ex.classes[v] for v in found.tells[order]),
        how=found.how,
    )


def told(ex: Examples, judged: Judged, tested: tuple[Score, ...]) -> str:
    """What was found, in two sentences, and what is not beaten."""
    k, curves = judged.k, judged.curves
    words = (
        f"A probe of the first {k} of {len(ex.places):,} neurons tells {len(ex.classes)} classes with accuracy "
        f"{judged.hits.mean():.2f} (all: {judged.all_hits.mean():.2f}; the best of {len(curves.random)} random sets of {k}: "
        f"{judged.best_random:.2f}; most frequent class: {curves.majority:.2f}). Its accuracy is "
        f"{(judged.hits - judged.remembered).mean():.2f} above that on labels without sense (selectivity)."
    )
    lost = [s.control_name for s in tested if s.beats_control is False]
    return words + (f" It does not beat {' nor '.join(dict.fromkeys(lost))}." if lost else "")
