"""Second moment C = E[k k^T] of the hidden units of feed-forward parts, over the tokens of texts.

It says which keys a matrix is asked for, so that an edit can keep out of their way. Cost: one forward a text (one row
unembedded), whatever the number of parts. Reference: Meng et al. 2022, arXiv:2202.05262, sec. 3.1 (C, from Wikipedia).
"""

from collections.abc import Sequence

import numpy as np
import torch

from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.models.feedforward import FeedForward, units_of
from exegete.models.lab import Lab

_AT_ONCE = 16  # texts in a batch; fixed, so that sums do not depend on the token budget
ENOUGH = 5  # keys a unit: with fewer, C knows too little about directions to say which are free


def second_moments(
    lab: Lab, parts: Sequence[FeedForward], texts: Sequence[str]
) -> tuple[list[np.ndarray], int]:
    """([unit, unit] float64 of each part, number of tokens read). Raises `InputError` for too little text."""
    total = [torch.zeros(units_of(p), units_of(p), dtype=torch.float64) for p in parts]
    n = 0
    with lab.working(len(texts), "reading texts for the keys") as done:
        for i in range(0, len(texts), _AT_ONCE):
            reading = lab.read([Text(text=t, truncate=True) for t in texts[i : i + _AT_ONCE]])
            first = torch.zeros(len(reading.encoded), 1, dtype=torch.long, device=lab.model.device)
            seen = lab.run(lab.passed(reading), read=[p.act for p in parts], rows=first)
            for part, c in zip(parts, total):
                keys = seen[part.act][reading.mask].double().cpu()
                c += keys.T @ keys
            n += int(reading.mask.sum())
            done(len(reading.encoded))
    need = ENOUGH * max(len(c) for c in total)
    if n < need:
        raise InputError(
            f"You gave {len(texts)} texts to learn from which keys the layer is asked for.",
            f"They have {n:,} tokens; {len(total[0]):,} hidden units need at least {need:,}.",
            "Give a longer file (corpus=FILE), or read more of it (n_corpus=...).",
        )
    return [(c / n).numpy() for c in total], n
