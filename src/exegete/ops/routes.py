"""Routes: a layered graph from the place where an output is read down to the input tokens, and what is carried along it.

Levels are numbered upwards: inputs have low numbers, the last level is where the output is read. A step [to, from] leads
from every place of a higher level to every place of a lower one; its rows say in which shares a place is made of others.

    carried   r_top = start;  r_lower += r_upper @ W for every step, from the top level down     [R, place] a level
    halved    1/2 A + 1/2 I: attention with the residual path beside it (Abnar & Zuidema 2020, sec. 3)
    whole     rows brought to sum 1 (a row of zeros stays)

Only the rows that are read are carried, so that a layer costs O(R n^2) rather than the O(n^3) of a product of matrices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Step:
    """A step from level `upper` to level `lower` (a smaller number), `weights` [place of upper, place of lower]."""

    upper: int
    lower: int
    weights: np.ndarray


@dataclass(frozen=True)
class Routes:
    """A layered graph: `sizes` [level] places a level, and its steps. The last level is the top."""

    sizes: tuple[int, ...]
    steps: tuple[Step, ...]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Levels that lead nowhere: those of the inputs."""
        left = {s.upper for s in self.steps}
        return tuple(i for i in range(len(self.sizes)) if i not in left)


def carried(routes: Routes, start: np.ndarray) -> list[np.ndarray]:
    """What every level holds, [R, place] a level, when the top holds `start` [R, place]."""
    held = [np.zeros((len(start), n)) for n in routes.sizes]
    held[-1] = np.asarray(start, dtype=np.float64)
    for step in sorted(routes.steps, key=lambda s: -s.upper):
        held[step.lower] = held[step.lower] + held[step.upper] @ step.weights
    return held


def whole(weights: np.ndarray) -> np.ndarray:
    """Rows [..., to, from] divided by their sum; a row of zeros stays."""
    w = np.asarray(weights, dtype=np.float64)
    total = w.sum(-1, keepdims=True)
    return np.where(total > 0, w / np.where(total > 0, total, 1.0), 0.0)


def halved(attention: np.ndarray) -> np.ndarray:
    """Attention [to, from] of a stack with itself, half of it, and half the residual path. A query that sees nothing stays."""
    return whole(whole(attention) + np.eye(len(attention)))


def single(patterns: Sequence[np.ndarray], residual: bool) -> Routes:
    """Routes of one stack from its attention [to, from] of every layer, first layer first."""
    n = len(patterns[0])
    steps = tuple(Step(i + 1, i, halved(a) if residual else whole(a)) for i, a in enumerate(patterns))
    return Routes((n,) * (len(patterns) + 1), steps)


def double(
    encoder: Sequence[np.ndarray],
    decoder: Sequence[np.ndarray],
    across: Sequence[np.ndarray],
    residual: bool,
) -> Routes:
    """Routes of an encoder-decoder: the encoder's levels first, then the decoder's input and a level or two a layer.

    With the residual path, a decoder layer is two parts after each other, each half attention and half residual. Without it,
    both attentions of a layer get the same weight, as its heads do.
    """
    (m, n), source = across[0].shape, len(encoder)
    sizes = [n] * (source + 1) + [m]
    steps = list(single(encoder, residual).steps) if source else []
    for own, cross in zip(decoder, across):
        now = len(sizes) - 1
        if residual:
            sizes += [m, m]
            steps += [Step(now + 1, now, halved(own)), Step(now + 2, now + 1, np.eye(m) / 2)]
            steps.append(Step(now + 2, source, whole(cross) / 2))
        else:
            sizes.append(m)
            steps += [Step(now + 1, now, whole(own) / 2), Step(now + 1, source, whole(cross) / 2)]
    return Routes(tuple(sizes), tuple(steps))
