"""Profiles over layers: a score a layer, its interval over seeds and texts, and where on the way up the score is earned.

A score is 1 - lost / bar, summed over held-out rows: rows told wrong over rows (accuracy), or squared error over that of the
mean guess (R2). Rows of one text go together.

interval            seeds are drawn again and so are texts, each with the same weight in every seed that holds it out: rows of one
                    text are no independent witnesses, and neither is one text under several seeds (Owen 2007)
chosen              of each seed the layer that its development rows choose: what "the best layer" may honestly claim
centre of gravity   the expected layer: steps of the score that the best of layers 0..l (chosen on development rows) gains at l,
                    weighted by l; steps down count nothing. The embeddings are layer 0 and have no step (Tenney et al. 2019)

Cost: draws x seeds x texts. Shapes: a seed's `lost` [layer, text], `bar` [text], `dev` [layer], `texts` [text].
Reference: Owen 2007, "The Pigeonhole Bootstrap".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS, _TAILS = 1000, (0.025, 0.975)


@dataclass(frozen=True)
class Run:
    """One seed's split: lost and bar of held-out `texts` (their numbers), `dev` the score of every layer on development rows."""

    lost: np.ndarray
    bar: np.ndarray
    dev: np.ndarray
    texts: np.ndarray

    @property
    def best(self) -> int:
        """The layer that the development rows choose."""
        return int(self.dev.argmax())

    @property
    def rising(self) -> np.ndarray:
        """Lost [layer, text] of the layer chosen among 0..l."""
        return self.lost[[int(self.dev[: i + 1].argmax()) for i in range(len(self.dev))]]


@dataclass(frozen=True)
class Profile:
    """`score` and `interval` [layer(, 2)], the chosen layer's score and interval, the `best` layer by development rows, and
    the centre of gravity with its interval (NaN where no layer adds anything to the embeddings).
    """

    score: np.ndarray
    interval: np.ndarray
    chosen: float
    chosen_interval: tuple[float, float]
    best: int
    centre: float
    centre_interval: tuple[float, float]


def by_text(values: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Sums of `values` [..., row] over the rows of each text, [..., text]."""
    _, member = np.unique(texts, return_inverse=True)
    flat = np.asarray(values, dtype=np.float64).reshape(-1, len(member))
    sums = np.stack([np.bincount(member, row) for row in flat])
    return sums.reshape(*np.shape(values)[:-1], -1)


def profile(runs: Sequence[Run], rng: np.random.Generator) -> Profile:
    """The profile of several seeds."""
    chosen = [r.lost[r.best] for r in runs]
    stacked = [np.concatenate([r.lost, r.rising, c[None]]) for r, c in zip(runs, chosen)]
    n = len(runs[0].dev)
    point = 1 - np.sum([s.sum(1) for s in stacked], axis=0) / sum(r.bar.sum() for r in runs)
    draws = _draws(stacked, runs, rng)
    low, high = np.nanquantile(draws, _TAILS, axis=0)
    middle = centre(point[None, n : 2 * n])[0]
    spread = centre(draws[:, n : 2 * n])
    sure = np.isfinite(middle) and np.isfinite(spread).mean() > 0.975
    edges = np.nanquantile(spread, _TAILS) if sure else (np.nan, np.nan)
    return Profile(
        score=point[:n],
        interval=np.stack([low[:n], high[:n]], axis=1),
        chosen=float(point[-1]),
        chosen_interval=(float(low[-1]), float(high[-1])),
        best=int(np.mean([r.dev for r in runs], axis=0).argmax()),
        centre=float(middle) if sure else float("nan"),
        centre_interval=(float(edges[0]), float(edges[1])),
    )


def centre(scores: np.ndarray) -> np.ndarray:
    """Expected layer [draw] of rising scores [draw, layer]; NaN where the layers gain nothing."""
    steps = np.maximum(np.diff(scores, axis=1), 0)
    gain = steps.sum(1)
    layers = np.arange(1, scores.shape[1])
    return np.where(gain > 0, steps @ layers / np.where(gain > 0, gain, 1), np.nan)


def total(lost: Sequence[np.ndarray], bars: Sequence[np.ndarray]) -> float:
    """One score over seeds, from lost [text] and bar [text] of each."""
    return float(1 - sum(x.sum() for x in lost) / sum(b.sum() for b in bars))


def _draws(lost: Sequence[np.ndarray], runs: Sequence[Run], rng: np.random.Generator) -> np.ndarray:
    """Scores [draw, row of lost] with seeds and texts drawn again."""
    known, place = np.unique(np.concatenate([r.texts for r in runs]), return_inverse=True)
    times, seeds = (rng.multinomial(n, np.full(n, 1 / n), _DRAWS) for n in (len(known), len(runs)))
    over, under, start = np.zeros((_DRAWS, len(lost[0]))), np.zeros(_DRAWS), 0
    for x, run, often in zip(lost, runs, seeds.T):
        took = times[:, place[start : start + len(run.texts)]] * often[:, None]
        over, under, start = over + took @ x.T, under + took @ run.bar, start + len(run.texts)
    return 1 - over / np.where(under > 0, under, np.nan)[:, None]
