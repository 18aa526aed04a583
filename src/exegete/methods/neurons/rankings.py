"""Rankings of neurons as functions of their examples, so that studies that rank and studies that verify share them.

by_means     probeless: distance between class means
by_weights   elastic-net weights of a softmax probe: the share of a class's weight that heavier neurons hold
by_greed     greedy Gaussian probing: fitted on training rows, chosen on choosing rows
by_variance  no labels: the neurons that move most, in the model's own scale

Cost: no pass. Each returns all neurons, the best first. Reference: see the studies of these names.
"""

from typing import Literal

import numpy as np

from exegete.methods.neurons.examples import Examples
from exegete.methods.neurons.judged import Ranking
from exegete.ops import gaussian_probe
from exegete.ops.elastic_net import elastic_net
from exegete.ops.neuron_rank import by_mass, probeless

By = Literal["probeless", "linear", "gaussian", "variance"]


def by_means(ex: Examples, scaled: bool = False) -> Ranking:
    """By the sum of distances between class means."""
    train = ex.parts[0]
    score = probeless(ex.x[train], ex.y[train], len(ex.classes)) * (1.0 if scaled else ex.scale)
    return Ranking(_falling(score), score, ex.tells(), "sum of distances between class means")


def by_weights(ex: Examples, l1: float = 1e-2, l2: float = 1e-3) -> Ranking:
    """By learned weights; `made` is the probe they are of."""
    train = ex.parts[0]
    net = elastic_net(ex.x[train], ex.y[train], len(ex.classes), l1, l2)
    score = 1.0 - by_mass(net.weight)
    heavy = np.abs(net.weight).max(1)
    order = np.lexsort((-heavy, -score))
    how = "share of a class's weight not held by heavier neurons"
    return Ranking(order, score, np.abs(net.weight).argmax(1), how, net)


def by_greed(ex: Examples, n_greedy: int = 20, prior: float = 10.0) -> Ranking:
    """By what each tells beside those before it. Score: information gained, in bits."""
    train, choose, _ = ex.parts
    model = gaussian_probe.fit(ex.x[train], ex.y[train], len(ex.classes), prior)
    chosen = gaussian_probe.greedy(model, ex.x[choose], ex.y[choose], n_greedy)
    score = np.zeros(len(ex.places))
    score[chosen.order] = np.diff(chosen.told) / np.log(2)
    how = f"bits it adds to those before it, for the first {len(chosen.order)}"
    return Ranking(np.concatenate([chosen.order, chosen.rest]), score, ex.tells(), how)


def by_variance(ex: Examples) -> Ranking:
    """By standard deviation, in the model's own scale: no label is looked at."""
    return Ranking(_falling(ex.scale), ex.scale, ex.tells(), "standard deviation")


def rank_by(name: By, ex: Examples) -> Ranking:
    """The ranking of that name, with its usual settings."""
    if name == "linear":
        return by_weights(ex)
    if name == "gaussian":
        return by_greed(ex)
    return by_means(ex) if name == "probeless" else by_variance(ex)


def _falling(score: np.ndarray) -> np.ndarray:
    return np.argsort(-score, kind="stable")
