"""A finding with its numbers dealt out anew: what a method would say that knows nothing."""

import numpy as np
from pydantic import BaseModel

from exegete.evaluate.truth import study_truth


class Kept:
    """`told`, which asks every study once; with a seed, what it hands out is spoilt."""

    def __init__(self):
        self.found, self.seed = {}, None

    def __call__(self, kind, study, model, items=None, target=None):
        key = (study.id, repr(study.params()), id(model), repr(items), repr(target))
        if key not in self.found:
            self.found[key] = (
                study_truth.told(kind, study, model, items, target),
                model,
            )  # the model stays alive
        found = self.found[key][0]
        return found if self.seed is None else spoilt(found, self.seed)


def blind(row_of, kept, n=3):
    """The mean value of a row over `n` ways of spoiling what the studies said, and the row as it is."""
    (row,) = row_of(0)
    values = []
    for seed in range(n):
        kept.seed = seed
        values.append(row_of(0)[0].score.value)
    kept.seed = None
    return row, float(np.mean(values))


def spoilt(found, seed=0):
    """The same finding, every array of floats and every tuple of scores in another order; scores of trust stay."""
    rng = np.random.default_rng(seed)
    return _dealt(found, rng)


def _dealt(x, rng):
    if isinstance(x, np.ndarray):
        flat = x.ravel().copy()
        there = np.flatnonzero(np.isfinite(flat)) if flat.dtype.kind == "f" else np.arange(len(flat))
        flat[there] = flat[rng.permutation(there)]
        return flat.reshape(x.shape)
    if isinstance(x, BaseModel):
        left = {"trust", "checks", "cost", "provenance", "shown"}
        return x.model_copy(
            update={n: _dealt(getattr(x, n), rng) for n in type(x).model_fields if n not in left}
        )
    if isinstance(x, tuple) and x and isinstance(x[0], BaseModel):
        return tuple(_dealt(y, rng) for y in x)
    return x
