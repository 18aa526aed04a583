"""The cells of TCAV: every concept vector of every set, at every layer, and the test of each against random sets.

See `tcav` for the steps. Cost: no pass; the fits of a layer in one batch.
Shapes: values [row, d] and gradients [text, d] a layer; shares and effects [concept, layer, unit] and [layer, pair].
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from exegete.methods.concepts.concept_sets import Dealt
from exegete.ops.concept_vectors import Fit, concept_vectors, gaps, held_out_accuracy, mean_cosine, shares
from exegete.ops.set_test import holm, set_test


@dataclass(frozen=True)
class How:
    """How a vector is made."""

    fit: Fit = "ridge"
    strength: float = 1.0


@dataclass
class Cells:
    """Numbers of every unit: of concepts [concept, layer, unit] and of random pairs [layer, unit]."""

    share: np.ndarray
    effect: np.ndarray
    accuracy: np.ndarray
    stability: np.ndarray
    random: np.ndarray
    random_effect: np.ndarray
    random_accuracy: np.ndarray
    random_stability: np.ndarray
    p: np.ndarray = field(default_factory=lambda: np.zeros(0))
    p_corrected: np.ndarray = field(default_factory=lambda: np.zeros(0))
    p_effect: np.ndarray = field(default_factory=lambda: np.zeros(0))
    p_effect_corrected: np.ndarray = field(default_factory=lambda: np.zeros(0))
    refused: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    vectors: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def empty(cls, n_concepts: int, n_layers: int, n_sets: int, n_random: int) -> "Cells":
        """Room for all of them."""
        own, pairs, cell = (n_concepts, n_layers, n_sets), (n_layers, n_random), (n_concepts, n_layers)
        return cls(
            share=np.zeros(own), effect=np.zeros(own), accuracy=np.zeros(own), stability=np.zeros(cell),
            random=np.zeros(pairs), random_effect=np.zeros(pairs), random_accuracy=np.zeros(n_layers),
            random_stability=np.zeros(n_layers),
        )  # fmt: skip

    @property
    def least(self) -> np.ndarray:
        """The smaller of both corrected p values [concept, layer]."""
        return np.minimum(self.p_corrected, self.p_effect_corrected)

    def stand(self, alpha: float) -> np.ndarray:
        """Cells [concept, layer] that stand out from random sets, by share or effect, and are not refused."""
        return (self.least < alpha) & ~self.refused

    def strongest(self, concept: int, alpha: float) -> int:
        """The layer that speaks loudest: the largest effect among those that stand out by share, then by effect."""
        size = np.abs(self.effect[concept].mean(1))
        rank = 2 - (self.p_effect_corrected[concept] < alpha) * 1 - (self.p_corrected[concept] < alpha) * 2
        return int(np.lexsort((-size, rank, self.refused[concept]))[0])


def all_cells(dealt: Dealt, layers: Sequence[tuple[np.ndarray, np.ndarray]], how: How) -> Cells:
    """Every unit of every concept at every layer; a layer is (values [row, d], gradients [text, d])."""
    n_sets = len(dealt.against)
    labels = np.repeat([1.0, -1.0], dealt.size)
    found = Cells.empty(len(dealt.concepts), len(layers), n_sets, len(dealt.pairs[0]))
    vectors = []
    for j, (values, gradient) in enumerate(layers):
        there = np.concatenate([values[dealt.pairs[0]], values[dealt.pairs[1]]], 1)
        unit = _units(there, labels, gradient, how)
        found.random[j], found.random_effect[j] = unit.share, unit.effect
        found.random_accuracy[j], found.random_stability[j] = unit.accuracy.mean(), unit.stability
        for i, rows in enumerate(dealt.concepts.values()):
            unit = _units(np.concatenate([values[rows], values[dealt.against]], 1), labels, gradient, how)
            found.share[i, j], found.effect[i, j] = unit.share, unit.effect
            found.accuracy[i, j], found.stability[i, j] = unit.accuracy, unit.stability
            whole = np.concatenate([values[rows.ravel()], values[dealt.against.ravel()]])[None]
            vectors.append(
                concept_vectors(whole, np.repeat([1.0, -1.0], rows.size), how.fit, how.strength)[0]
            )
    found.vectors = np.array(vectors).reshape(len(layers), len(dealt.concepts), -1).swapaxes(0, 1)
    return found


def judged(
    cells: Cells, alpha: float, least_accuracy: float, rng: np.random.Generator, n_permutations: int
) -> None:
    """p of every cell, by share and by effect, corrected over all of both; which cells are refused.

    The exact test gets as many draws as the correction needs to be able to find anything.
    """
    c, n_layers, k = cells.share.shape
    n = c * n_layers
    draws = max(n_permutations, int(np.ceil(4 * n / alpha)))
    both = []
    for own, random in ((cells.share, cells.random), (cells.effect, cells.random_effect)):
        spread = np.broadcast_to(random, (c, *random.shape)).reshape(n, -1)
        both.append(set_test(own.reshape(n, k), spread, rng, draws)[0])
    corrected = holm(np.concatenate(both)).reshape(2, c, n_layers)
    cells.p, cells.p_effect = (p.reshape(c, n_layers) for p in both)
    cells.p_corrected, cells.p_effect_corrected = corrected
    told = cells.accuracy.mean(2)
    cells.refused = (told < least_accuracy) | (told <= cells.random_accuracy)


@dataclass(frozen=True)
class _Units:
    share: np.ndarray
    effect: np.ndarray
    accuracy: np.ndarray
    stability: float


def _units(rows: np.ndarray, labels: np.ndarray, gradient: np.ndarray, how: How) -> _Units:
    """Of sets of rows [unit, row, d]: shares and effects [unit], accuracies [unit], the stability of all."""
    normals = concept_vectors(rows, labels, how.fit, how.strength)
    slopes = gradient @ normals.T
    effect = slopes.mean(0) * gaps(normals, rows, labels)
    return _Units(shares(slopes), effect, held_out_accuracy(normals, rows, labels), mean_cosine(normals))
