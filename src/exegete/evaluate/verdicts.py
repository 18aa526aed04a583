"""What a whole table says: whether a metric can tell explanations from noise, and which methods differ.

    diagnosticity  D = Pr[metric puts an explanation before a random one], ties one half: over the methods of one text the mean of
                   the percentiles among random orders, over texts a bootstrap. Chance is one half; the control is the random row
                   held against other random orders. D says something of the metric only where some methods are good; where the rationale
                   is the truth (the terrarium), the percentile of its own row says it of the truth.
    differences    all pairs of methods by each metric: paired bootstrap over texts, Holm's correction over the pairs.

References: Chan et al. 2022, section 3 (diagnosticity); Koehn 2004 (paired bootstrap).
"""

from collections.abc import Sequence

import numpy as np

from exegete.core.result import Difference
from exegete.core.trust import Score
from exegete.ops.paired import paired_bootstrap
from exegete.ops.stats import bootstrap_mean

Rows = Sequence[Sequence[Score | None]]


def diagnosticity(
    texts: Sequence[Rows], metrics: Sequence[str], n_methods: int, seed: int
) -> tuple[Score, ...]:
    """A score a metric, from the scores of every text (a row a method, the random row last)."""
    return tuple(_diagnosed(texts, k, name, n_methods, seed) for k, name in enumerate(metrics))


def _diagnosed(texts: Sequence[Rows], k: int, name: str, n_methods: int, seed: int) -> Score:
    each = [[_share(row[k]) for row in rows[:n_methods]] for rows in texts]
    means = np.array([np.mean(known) for row in each if (known := [v for v in row if v is not None])])
    noise = [v for rows in texts if rows and (v := _share(rows[-1][k])) is not None]
    nothing = len(means) == 0
    return Score(
        name=f"diagnosticity of {name}",
        value=float("nan") if nothing else float(means.mean()),
        chance=0.5,
        control=float(np.mean(noise)) if noise else None,
        control_name="the random row",
        interval=None if nothing else bootstrap_mean(means, seed),
        n=len(means),
        n_failed=len(texts) - len(means),
        skipped="no text could be scored" if nothing else "",
    )


def _share(score: Score | None) -> float | None:
    if score is None or score.percentile is None or not np.isfinite(score.value):
        return None
    return score.percentile / 100


def differences(
    values: np.ndarray, methods: Sequence[str], metrics: Sequence[str], seed: int
) -> tuple[Difference, ...]:
    """Every pair of methods by every metric, from values [method, metric, text]."""
    found = []
    for k, metric in enumerate(metrics):
        pairs = paired_bootstrap(values[:, k], seed)
        found += [
            Difference(
                metric=metric,
                first=methods[int(a)],
                second=methods[int(b)],
                mean=float(m),
                p=float(p),
                n=int(n),
            )
            for a, b, m, p, n in zip(pairs.first, pairs.second, pairs.mean, pairs.adjusted, pairs.n)
        ]
    return tuple(found)
