"""Reading on behind a run: keys and values of the positions before a change come from the run that has not changed.

A change at position p leaves every position before p of a causal model as it was. So:

1. the base run keeps its keys and values, in a plain cache (also where a layer would keep a window only);
2. a pass whose changes start at position s reads tokens s.. alone, after the first s entries of that cache, and starts at
   the layer of the first change (see `models.resume`);
3. the caller compares one such pass with reading everything, and does without where they differ.

Nothing of the model is written anew: its own modules read its own cache. Shapes: keys and values [batch, kvhead, tok, dh].
Cost of a pass: (layers - l) / layers x (tok - s) / tok of a whole one.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from exegete.models.model import Model


def recording(model: Model) -> dict[str, Any]:
    """What to add to the inputs of a run so that its keys and values are kept; nothing for models that read no cache."""
    if not model.causal or "past_key_values" not in inspect.signature(model.module.forward).parameters:
        return {}
    return {"past_key_values": DynamicCache(), "use_cache": True}


@dataclass(frozen=True)
class Suffix:
    """Keys and values of a base run, a pair a layer, and whether its model takes positions."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    places: bool

    def inputs(self, inputs: dict[str, Any], start: int, layer: int, copies: int) -> dict[str, Any]:
        """Inputs of one text [1, tok] or of several [batch, tok] for passes from token `start` and layer `layer` on.

        Every row of the base run is read by `copies` rows of the pass, in turn. Layers before `layer` are never read, only
        asked for their length.
        """
        ids = inputs["input_ids"]
        cut = {**inputs, "input_ids": ids[:, start:], "use_cache": True}
        cut["past_key_values"] = DynamicCache(
            [
                (k[:1, :, :start], v[:1, :, :start])
                if i < layer
                else (k[:, :, :start].repeat(copies, 1, 1, 1), v[:, :, :start].repeat(copies, 1, 1, 1))
                for i, (k, v) in enumerate(self.layers)
            ]
        )
        if self.places:
            cut["position_ids"] = torch.arange(start, ids.shape[1], device=ids.device)[None]
        return cut


def suffix_of(model: Model, cache: Any) -> Suffix | None:
    """What a base run has kept, when it is one pair of keys and values a layer over the whole text; else None."""
    layers: Sequence[Any] = getattr(cache, "layers", ())
    kept = [(getattr(x, "keys", None), getattr(x, "values", None)) for x in layers]
    pairs = tuple(
        (k, v) for k, v in kept if isinstance(k, Tensor) and isinstance(v, Tensor) and k.ndim == v.ndim == 4
    )
    if len(pairs) != len(kept) or len(pairs) != model.map.n_layers:
        return None
    return Suffix(pairs, "position_ids" in inspect.signature(model.module.forward).parameters)
