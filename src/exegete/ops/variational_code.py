"""The variational code: how many bits a Bayesian classifier and the labels under it cost together, for many problems at once.

1. weights have Gaussian posteriors; each input of a layer has a multiplicative scale with a posterior of its own and a
   log-uniform prior, so that inputs which do not pay for their bits are switched off (group sparsity);
2. minimised, over minibatches with noise on pre-activations (local reparametrisation): expected -log P(labels) + KL(posterior ||
   prior); 3. both in bits, the first as the mean of a few draws over all labels.

Problems (layers x label sets) share minibatches and are trained together. Cost: n_steps products [problem, batch, d] x [d, C].
Shapes: x [problem, n, d], y [problem, n], bits [problem, n] for the labels and [problem] for the classifier.
Reference: Voita & Titov 2020, section 2.2.1; Louizos et al. 2017, Bayesian Compression, eq. 8-11 (normal-Jeffreys prior).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

_K1, _K2, _K3 = 0.63576, 1.87320, 1.48695  # of the approximation of the divergence from the log-uniform prior
_LN2 = 0.6931471805599453


@dataclass
class Layer:
    """A Bayesian linear layer of many problems: means and log-variances of weights, biases and input scales."""

    weight: Tensor
    weight_log: Tensor
    bias: Tensor
    bias_log: Tensor
    scale: Tensor
    scale_log: Tensor

    @classmethod
    def make(cls, problems: int, d: int, out: int, draw: torch.Generator) -> "Layer":
        """A layer whose means are small and whose posteriors are narrow."""
        weight = torch.randn(1, d, out, generator=draw).expand(problems, -1, -1) / d**0.5
        parts = [
            weight.clone(),
            torch.full((problems, d, out), -9.0),
            torch.zeros(problems, 1, out),
            torch.full((problems, 1, out), -9.0),
            torch.ones(problems, 1, d),
            torch.full((problems, 1, d), -9.0),
        ]
        return cls(*(p.requires_grad_() for p in parts))

    @property
    def parameters(self) -> list[Tensor]:
        """What is learned."""
        return [self.weight, self.weight_log, self.bias, self.bias_log, self.scale, self.scale_log]

    def __call__(self, x: Tensor, draw: torch.Generator) -> Tensor:
        """One draw of the outputs [problem, n, out]; noise is shared by the problems."""
        scale = self.scale + (self.scale_log / 2).exp() * torch.randn(1, *x.shape[1:], generator=draw)
        x = x * scale
        mean = x @ self.weight + self.bias
        var = x**2 @ self.weight_log.exp() + self.bias_log.exp()
        return mean + (var + 1e-12).sqrt() * torch.randn(1, *mean.shape[1:], generator=draw)

    def divergence(self) -> Tensor:
        """KL(posterior || prior) [problem], nats."""
        log_alpha = self.scale_log - (self.scale**2 + 1e-12).log()
        scales = _K1 - _K1 * torch.sigmoid(_K2 + _K3 * log_alpha) + 0.5 * F.softplus(-log_alpha)
        total = scales.sum((1, 2))
        for mean, log in ((self.weight, self.weight_log), (self.bias, self.bias_log)):
            total = total + 0.5 * (log.exp() + mean**2 - 1 - log).sum((1, 2))
        return total


def variational_code(
    x: Tensor, y: Tensor, n_classes: int, seed: int, hidden: int = 0, n_steps: int = 1500, batch: int = 256
) -> tuple[Tensor, Tensor]:
    """Bits of the labels [problem, n] and of the classifier [problem]. `hidden` units in between, or none (linear)."""
    draw = torch.Generator().manual_seed(seed)
    problems, n, d = x.shape
    sizes = (d, hidden, n_classes) if hidden else (d, n_classes)
    layers = [Layer.make(problems, a, b, draw) for a, b in pairwise(sizes)]
    parameters = [p for layer in layers for p in layer.parameters]
    with torch.enable_grad():
        optimiser = torch.optim.Adam(parameters, lr=0.02)
        plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.02, total_steps=n_steps, pct_start=0.1)
        for _ in range(n_steps):
            rows = torch.randint(n, (min(batch, n),), generator=draw)
            logs = _logs(layers, x[:, rows], draw)
            nll = -logs.gather(2, y[:, rows, None])[..., 0].mean(1) * n
            kl = torch.stack([layer.divergence() for layer in layers]).sum(0)
            optimiser.zero_grad()
            ((nll + kl) / n).sum().backward()
            optimiser.step()
            plan.step()
    with torch.no_grad():
        draws = [-_logs(layers, x, draw).gather(2, y[..., None])[..., 0] for _ in range(8)]
        kl = torch.stack([layer.divergence() for layer in layers]).sum(0)
    return torch.stack(draws).mean(0) / _LN2, kl / _LN2


def _logs(layers: list[Layer], x: Tensor, draw: torch.Generator) -> Tensor:
    for layer in layers[:-1]:
        x = torch.relu(layer(x, draw))
    return layers[-1](x, draw).log_softmax(-1)
