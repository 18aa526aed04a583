"""The feed-forward part of a layer as keys and values: its hidden units, and the matrix that writes them into the residual.

A feed-forward part computes out = act(x) @ W + b with hidden units act(x) [neuron] (gated or not) and a down projection W
[neuron, d]: unit i fires on its key and writes its value, row i of W (Geva et al. 2021, arXiv:2012.14913, eq. 2). `feed_forward`
finds the site of the units, the site where the down projection's own output can be read and edited, and the parameter W.

No pass of the model. Families whose experts are fused and routed have no such matrix, and are refused.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from exegete.core.errors import SiteError
from exegete.core.results.edits import WeightDelta
from exegete.core.site import Site, Stack
from exegete.models.family import ModelMap
from exegete.models.matrix import linear_map


@dataclass(frozen=True, eq=False)
class FeedForward:
    """One layer's part: `act` site of the units, `out` site of the projection's output, its `module` at `path`; `home` as the
    map's.
    """

    layer: int
    act: Site
    out: Site
    path: str
    module: nn.Module
    home: torch.device | None = None

    @property
    def weight(self) -> Tensor:
        """W [neuron, d], a view of the live parameter where it is a plain one; row i is the value of unit i."""
        return linear_map(self.module, self.home)[0].detach()

    @property
    def bias(self) -> Tensor:
        """b [d]; zeros where there is none."""
        return linear_map(self.module, self.home)[1].detach()

    def delta(self, key: np.ndarray, value: np.ndarray) -> WeightDelta:
        """The change key [rank, neuron]^T @ value [rank, d] of W, in the orientation of the parameter.

        Raises `SiteError` for an adapter or a quantised matrix, whose weight is not a parameter that can be added to.
        """
        flipped = isinstance(self.module, nn.Linear)
        weight = getattr(self.module, "weight", None)
        plain = type(weight) is nn.Parameter and weight.is_floating_point() and weight.ndim == 2
        if not plain or not (flipped or type(self.module).__name__ == "Conv1D"):
            raise SiteError(
                f"You asked to rewrite the down projection {self.path!r}.",
                f"It is a {type(self.module).__name__}, whose weight is no plain matrix.",
                "Merge the adapter, or load the model without quantisation.",
            )
        left, right = (value.T, key) if flipped else (key.T, value)
        return WeightDelta(
            parameter=f"{self.path}.weight",
            left=np.ascontiguousarray(left),
            right=np.ascontiguousarray(right),
        )


def feed_forward(model_map: ModelMap, layer: int, stack: Stack | None = None) -> FeedForward:
    """The part of a layer of a stack (the main one when None). Raises `SiteError` where its units cannot be seen."""
    name = model_map.stacks[-1] if stack is None else stack
    act = Site("mlp_act", layer=layer, stack=name)
    model_map.port(act)
    path = model_map.part_path(name, layer, "mlp", "proj")
    add, out = (Site(kind, layer=layer, stack=name) for kind in ("mlp_add", "mlp_out"))
    # Some modules add the residual or a norm before they return: there the projection itself is what is added.
    own = model_map.port(add).path == path
    return FeedForward(layer, act, add if own else out, path, model_map.at(path), model_map.home)


def units_of(part: FeedForward) -> int:
    """How many hidden units the part has."""
    return int(part.weight.shape[0])


def sub_updates(act: Tensor, weight: Tensor) -> Tensor:
    """What each unit writes [..., neuron, d] from units [..., neuron]; they sum to the output less its bias."""
    return act[..., None] * weight


def layers_with_units(model_map: ModelMap, stack: Stack | None = None) -> tuple[int, ...]:
    """Layers whose hidden units can be seen. Raises `SiteError` when there is none."""
    name = model_map.stacks[-1] if stack is None else stack
    layers = range(len(model_map.tower(name).layers))
    found = tuple(i for i in layers if model_map.has(Site("mlp_act", layer=i, stack=name)))
    if not found:
        model_map.port(Site("mlp_act", layer=0, stack=name))  # says why
    return found
