"""One training step of a topk dictionary against hand-written steps in plain torch.

    python bench/dictionary.py [rounds]          JSON lines: one an arm, with its ratio to the plain step

`plain` is what one writes by hand: encode, topk, scatter, decode, mean squared error, backward, Adam. `plain, sparse` adds up
only the decoder rows that are on, by indexing. `exegete` is the trainer's whole step: gradients in closed form, the decoder's
made orthogonal to its rows, Adam, rows of length 1, count of dead features. All start from the same weights; after one step
the errors are compared.
"""

import sys

import numpy as np
import torch

from exegete.ops.dictionary_training import Recipe, Trainer
from timing import agree, compare

SIZES = {
    "256 x 2048, k 16, 1024 rows": (256, 2048, 16, 1024),
    "512 x 4096, k 32, 1024 rows": (512, 4096, 32, 1024),
}


class Plain:
    """The step written by hand; `sparse`: the decoder by indexing."""

    def __init__(self, trainer: Trainer, sparse: bool) -> None:
        w = trainer.weights
        named = (w.encoder.T.contiguous(), w.decoder, w.bias, w.offset)
        self.p = [t.clone().requires_grad_(True) for t in named]
        self.k, self.sparse = w.k, sparse
        self.adam = torch.optim.Adam(self.p, lr=1e-3)

    def step(self, x: torch.Tensor) -> float:
        """One step; the error before it."""
        encoder, decoder, bias, offset = self.p
        pre = (x - offset) @ encoder + bias
        values, at = pre.topk(self.k, dim=-1)
        values = values.relu()
        if self.sparse:
            found = (decoder[at] * values[..., None]).sum(1) + offset
        else:
            found = torch.zeros_like(pre).scatter(-1, at, values) @ decoder + offset
        error = (found - x).square().sum(-1).mean()
        self.adam.zero_grad()
        error.backward()
        self.adam.step()
        with torch.no_grad():
            decoder /= decoder.norm(dim=1, keepdim=True)
        return float(error.detach())


def case(name: str, d: int, m: int, k: int, rows: int, rounds: int) -> None:
    """One line an arm; the goal is 1.2 of the plain step."""
    x = torch.randn(rows, d, generator=torch.Generator().manual_seed(0))
    recipe = Recipe("topk", n_features=m, k=k, n_steps=10**6)
    ours = Trainer(recipe, x)
    normal = (x - ours.mean_in) / ours.scale_in
    plain, sparse = Plain(ours, False), Plain(ours, True)
    ours.step(x)
    truth = plain.step(normal)
    agree(name, "exegete", np.array(ours.history[0][0]), truth)
    agree(name, "plain, sparse", np.array(sparse.step(normal)), truth)
    arms = {
        "plain": lambda: plain.step(normal),
        "plain, sparse": lambda: sparse.step(normal),
        "exegete": lambda: ours.step(x),
    }
    compare(name, arms, "plain", rounds=rounds, goal={"exegete": 1.2})


def main() -> None:
    """All sizes."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    for name, size in SIZES.items():
        case(f"topk step {name}", *size, rounds)


if __name__ == "__main__":
    main()
