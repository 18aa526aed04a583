"""A classifier on one text without Exegete: plain torch modules over what other packages take for an input, and a plain gradient.

`Masks` reads which tokens between the text's ends are left, `Points` their embeddings, `Ids` their ids; each returns [B, class].
Shapes: B inputs, U tokens between the ends, d embedding width.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Masks(nn.Module):
    """[..., U] numbers -> logits; where a number is below a half the mask token is read."""

    def __init__(self, module: nn.Module, ids: np.ndarray, mask: int) -> None:
        super().__init__()
        self.module, self.ids, self.mask = module, torch.as_tensor(ids), mask
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        keep = torch.ones(len(x), len(self.ids), dtype=torch.bool)
        keep[:, 1:-1] = x.reshape(len(x), -1) > 0.5
        ids = torch.where(keep, self.ids, self.mask)
        return self.module(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


class Points(nn.Module):
    """[B, d, U] embeddings -> logits."""

    def __init__(self, module: nn.Module, first: Tensor, last: Tensor) -> None:
        super().__init__()
        self.module, self.ends = module, (first, last)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        first, last = (end.expand(len(x), 1, -1) for end in self.ends)
        return self.module(inputs_embeds=torch.cat([first, x.transpose(1, 2), last], 1)).logits


class Ids(nn.Module):
    """[..., U] ids, as whatever number -> logits."""

    def __init__(self, module: nn.Module, first: int, last: int) -> None:
        super().__init__()
        self.module, self.ends = module, (first, last)
        self.eval()

    def whole(self, x: Any) -> Tensor:
        """The ids with the text's ends [B, U + 2]."""
        return nn.functional.pad(
            nn.functional.pad(
                torch.as_tensor(np.asarray(x)).reshape(len(x), -1).long(), (1, 0), value=self.ends[0]
            ),
            (0, 1),
            value=self.ends[1],
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.module(input_ids=self.whole(x)).logits


def slope_of_points(model: Points, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    """Gradient x input of the class's logit, summed over the coordinates [B, 1, U]."""
    x = torch.as_tensor(np.asarray(inputs)).float().requires_grad_(True)
    slope = torch.autograd.grad(model(x)[:, int(targets[0])].sum(), x)[0]
    return (slope * x).sum(1, keepdim=True).detach().numpy()


def slope_of_ids(model: Ids, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    """The same of ids [..., U], at the model's own embeddings [B, 1, U]."""
    x = model.module.get_input_embeddings()(model.whole(inputs)).detach().requires_grad_(True)
    slope = torch.autograd.grad(model.module(inputs_embeds=x).logits[:, int(targets[0])].sum(), x)[0]
    return (slope * x).sum(-1)[:, None, 1:-1].detach().numpy()
