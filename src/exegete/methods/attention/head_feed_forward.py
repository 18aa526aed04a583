"""What is lost without the feed-forward part of each layer, beside noise of the same length in its place.

Cost: 1 + 2 n_layers forwards a text. Reference: Bansal et al. 2022, "Rethinking the Role of Scale for In-Context Learning", sec.
4.3 (the oracle importance of a feed-forward part: the change of the loss without it).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.site import Site
from exegete.core.trust import Score
from exegete.methods.attention.bench import noise_like
from exegete.methods.attention.head_reading import Heads
from exegete.methods.attention.head_removal import Task, judged
from exegete.methods.attention.judged import mean_score
from exegete.models.edit import Ablate
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean


@dataclass(frozen=True)
class FeedForward:
    """`rise` of the loss without each part, and with `noise` in its place [layer, text]."""

    layers: tuple[str, ...]
    rise: np.ndarray
    noise: np.ndarray
    failed: int

    @property
    def band(self) -> np.ndarray:
        """The 95 % interval of the rise [2, layer]; NaN for a single text."""
        return np.array([bootstrap_mean(r) or (np.nan, np.nan) for r in self.rise]).T

    def score(self) -> Score:
        """The median layer of each text: the first often completes the embedding and would outweigh all others."""
        return mean_score(
            "rise of the loss without the feed-forward part of the median layer",
            np.median(self.rise, 0),
            "lower",
            control=np.median(self.noise, 0),
            control_name="noise of the same length in its place",
            failed=self.failed,
        )

    def words(self) -> str:
        """Which part is missed least."""
        least = int(np.argmin(self.rise.mean(1)))
        return f" The feed-forward part missed least is that of layer {self.layers[least]} ({self.rise[least].mean():+.2f} nats)."


def feed_forward(lab: Lab, heads: Heads, tasks: Sequence[Task], failed: int = 0) -> FeedForward:
    """Leave out each part in turn. Stacks are those of the heads."""
    sites = [Site("mlp_add", layer=k, stack=s) for s, k in heads.layers]
    rise, noise = np.zeros((2, len(sites), len(tasks)))
    for i, task in enumerate(tasks):
        base = _loss(lab, task, {})
        for k, site in enumerate(sites):
            rise[k, i] = _loss(lab, task, {site: Ablate("zero")}) - base
            noise[k, i] = _loss(lab, task, {site: _Noise(lab, i, k)}) - base
    return FeedForward(heads.rows, rise, noise, failed)


@dataclass(frozen=True, eq=False)
class _Noise:
    """Random vectors of the length of what the part adds."""

    lab: Lab
    text: int
    layer: int

    def __call__(self, x: Tensor) -> Tensor:
        return noise_like(x, self.lab.rng("feed-forward noise", self.text, self.layer))


def _loss(lab: Lab, task: Task, edit: dict[Site, Any]) -> float:
    with torch.no_grad():
        return float(judged(task, lab.run(task.inputs, edit=edit, rows=task.rows).logits)[0, 0])
