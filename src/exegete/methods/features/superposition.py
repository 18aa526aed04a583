"""Superposition: when do a model's few dimensions hold more features than there are dimensions?

A toy model, x_hat = ReLU(W^T W x + b), is trained for a range of sparsities and seeds in one batch (`ops.superposition`):

1. features kept (|W_i|^2), and how much of a dimension each has (dimensionality);
2. a phase diagram: what becomes of a second feature in one dimension, by its importance and sparsity (lowest loss of the seeds);
3. check: dimensionalities add up to the number of dimensions at most, which is a theorem.

Control: the same without ReLU, which keeps as many features as there are dimensions, the most important ones. Chance: one
feature a dimension. The model that is named is not used: this shows why its neurons can be expected to mean several things.

Cost: no pass of the model; n_steps small products for all settings at once.
Reference: Elhage et al. 2022, "Toy Models of Superposition".
"""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.superposition import Superposition
from exegete.core.seed import derive
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.methods.contracts.study import Study
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean
from exegete.ops.superposition import KEPT, Toy, told_apart, train


@register
class SuperpositionStudy(Study):
    """When more features than dimensions are held: the toy model of superposition, its phases and dimensionalities."""

    id: ClassVar[str] = "superposition"
    family: ClassVar[str] = "features"
    techniques: ClassVar[tuple[str, ...]] = ("H3",)
    verb: ClassVar[str] = "features"
    asks: ClassVar[Any] = "nothing"
    finds: ClassVar[type] = Superposition
    reference: ClassVar[Reference] = Reference(
        authors="Elhage et al.",
        year=2022,
        title="Toy Models of Superposition",
        where="transformer-circuits.pub",
    )
    needs: ClassVar[tuple[Need, ...]] = ("weights",)
    passes: ClassVar[str] = "none: a toy model of its own"
    n_features: int = Field(20, ge=2, le=1000, description="features of the toy model")
    n_dimensions: int = Field(5, ge=1, le=999, description="dimensions they are held in")
    densities: tuple[float, ...] = Field(
        (1.0, 0.3, 0.1, 0.03, 0.01),
        min_length=1,
        description="shares of features that are on, from dense to sparse",
    )
    decay: float = Field(
        0.9, gt=0, le=1, description="importance of a feature, as a share of that of the one before"
    )
    n_seeds: int = Field(4, ge=2, le=100, description="models a setting")
    n_points: int = Field(8, ge=2, le=50, description="points a side of the phase diagram")
    n_steps: int = Field(1500, ge=1, le=1_000_000, description="training steps")
    batch: int = Field(128, ge=1, le=1 << 16, description="samples a step")
    seed: int = Field(0, description="seed of data and first weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Superposition:
        """Train the toy models; read off what they keep."""
        if self.n_dimensions >= self.n_features or not all(0 < d <= 1 for d in self.densities):
            raise UsageError(
                f"You asked for {self.n_features} features in {self.n_dimensions} dimensions, on in shares {self.densities}.",
                "Superposition needs fewer dimensions than features, and shares in (0, 1].",
                "Give a smaller n_dimensions, or other densities.",
            )
        s, r = len(self.densities), self.n_seeds
        density = torch.tensor(self.densities).repeat_interleave(r)
        importance = self.decay ** torch.arange(self.n_features).float().expand(s * r, -1)
        toy = self._train(density, importance, self.n_dimensions, "toy")
        plain = self._train(density, importance, self.n_dimensions, "linear", linear=True)
        kept, linear = (_kept(t).reshape(s, r) for t in (toy, plain))
        best = torch.arange(s) * r + toy.loss.reshape(s, r).argmin(1)
        dimensionality = toy.dimensionality()[best].double().numpy()
        score = self._score(kept[-1], linear[-1])
        worst = float(torch.cat([t.dimensionality().sum(1) for t in (toy, plain)]).max()) - self.n_dimensions
        held = "sum of dimensionalities less the number of dimensions: at most 0 in every matrix"
        phase, shares, ratios = self._phases()
        return Superposition(
            title="When are more features held than there are dimensions?",
            lede=_lede(self, kept, linear, score),
            context=(
                ("toy model", f"{self.n_features} features in {self.n_dimensions} dimensions, {r} seeds"),
            ),
            checks=(Check.at_most("capacity", worst, 1e-3, held),),
            dimensions=self.n_dimensions,
            density=np.array(self.densities, dtype=np.float64),
            kept=kept,
            kept_linear=linear,
            interval=np.array([bootstrap_mean(k, self.seed) for k in kept], dtype=np.float64),
            dimensionality=dimensionality,
            capacity=dimensionality.sum(1),
            phase=phase,
            phase_importance=ratios,
            phase_density=shares,
            trust=Trust(scores=(score,), seed=self.seed),
        )

    def _train(
        self, density: torch.Tensor, importance: torch.Tensor, m: int, name: str, linear: bool = False
    ) -> Toy:
        return train(
            density, importance.contiguous(), m, n_steps=self.n_steps, batch=self.batch, rate=1e-2,
            seed=derive(self.seed, "superposition", name), linear=linear,
        )  # fmt: skip

    def _phases(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Phase [importance, density] of the second of two features in one dimension; densities; importances."""
        n, r = self.n_points, self.n_seeds
        shares, ratios = np.geomspace(1.0, 0.01, n), np.geomspace(0.1, 10.0, n)
        grid = [(ratio, share) for ratio in ratios for share in shares for _ in range(r)]
        density = torch.tensor([share for _, share in grid], dtype=torch.float32)
        importance = torch.tensor([[1.0, ratio] for ratio, _ in grid], dtype=torch.float32)
        toy = self._train(density, importance, 1, "phase")
        best = toy.loss.reshape(-1, r).argmin(1) + torch.arange(n * n) * r
        return told_apart(toy, 1)[best].reshape(n, n).numpy(), shares, ratios

    def _score(self, kept: np.ndarray, linear: np.ndarray) -> Score:
        m = self.n_dimensions
        return Score(
            name=f"features kept a dimension, where {self.densities[-1]:.2g} of them are on",
            value=float(kept.mean() / m),
            chance=1.0,
            control=float(linear.mean() / m),
            control_name="the same without ReLU",
            interval=bootstrap_mean(kept / m, self.seed),
            n=len(kept),
        )


def _kept(toy: Toy) -> np.ndarray:
    return (toy.stored() > KEPT).sum(1).double().numpy()


def _lede(study: SuperpositionStudy, kept: np.ndarray, linear: np.ndarray, score: Score) -> str:
    first, last = kept[0].mean(), kept[-1].mean()
    words = (
        f"{study.n_dimensions} dimensions hold {first:.1f} of {study.n_features} features when {study.densities[0]:.0%} of them are "
        f"on at a time, and {last:.1f} when {study.densities[-1]:.0%} are; without ReLU {linear[-1].mean():.1f}."
    )
    if score.beats_chance and score.beats_control:
        return f"{words} Where features are rare a model can hold more of them than it has dimensions, so that a neuron means several things."
    return f"{words} This does not beat the control: here is no superposition to see."
