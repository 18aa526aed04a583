"""Two models that can be compared head by head: the other one loaded and checked, and copies moved at random as a control.

1. the other model is loaded by name or path, or made by shuffling the weights of the first;
2. it must have the same architecture (family, layers, heads, widths) and read a text as the same tokens;
3. a moved copy: every weight tensor of the first model's body gets Gaussian noise exactly as long as its difference from the
   other model's.

Cost: memory of one model more, and one for a moved copy; no pass.
"""

import copy

import numpy as np
import torch
from torch import nn

from exegete.core.errors import ModelError
from exegete.core.request import Text
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.placement import laid_off
from exegete.models.randomise import MOST_PARAMETERS, Randomiser


def other_model(lab: Lab, name: str, seed: int) -> Model:
    """The model to compare with: `name`, or the first with shuffled weights. Raises `ModelError` where they do not fit."""
    if not name:
        return Randomiser(seed)(lab.model)
    other = load(name, device=lab.model.device)
    a, b = _shape(lab.model), _shape(other)
    apart = [f"{key} {a[key]} against {b[key]}" for key in a if a[key] != b[key]]
    if apart:
        raise ModelError(
            f"You asked to compare the attention of {lab.model.name} and {other.name}.",
            f"They are not of one architecture: {', '.join(apart)}.",
            "Compare a model with one that was trained on from it.",
        )
    return other


def same_tokens(lab: Lab, other: Lab, text: Text, ids: torch.Tensor) -> None:
    """Refuse a text that the two models do not read as the same tokens."""
    theirs = other.read([text]).inputs["input_ids"]
    if theirs.shape == ids.shape and bool((theirs == ids).all()):
        return
    raise ModelError(
        f"You asked to compare the attention of {lab.model.name} and {other.model.name}.",
        "Their tokenizers split a text into other tokens, so that attention cannot be compared place by place.",
        "Compare models with one tokenizer.",
    )


def moved_copy(model: Model, other: Model, rng: np.random.Generator) -> tuple[Model | None, str]:
    """`model` with its body moved at random as far as `other` is away, tensor by tensor; or None and the reason."""
    if sum(p.numel() for p in model.module.parameters()) > MOST_PARAMETERS:
        return None, "the model is too large for another copy"
    if laid_off(model.module):
        return None, "some of its weights lie in main memory or on disk, so that no copy of them can be moved"
    module = copy.deepcopy(model.module)
    theirs = dict(_body(other.module).named_parameters())
    with torch.no_grad():
        for name, weight in _body(module).named_parameters():
            target = theirs.get(name)
            if target is not None and target.shape == weight.shape and weight.is_floating_point():
                noise = torch.from_numpy(rng.standard_normal(tuple(weight.shape))).to(weight)
                weight += noise * ((target.to(weight) - weight).norm() / noise.norm().clamp_min(1e-30))
    twin = Model(module, model.tokenizer, model.task, name=f"{model.name} moved at random")
    twin.token_budget = model.token_budget
    return twin, ""


def _body(module: nn.Module) -> nn.Module:
    """The model without its head."""
    return getattr(module, "base_model", module)


def _shape(model: Model) -> dict[str, object]:
    tower = model.map.tower(model.map.stacks[0])
    return {
        "family": model.family,
        "layers": len(tower.layers),
        "heads": tower.n_heads,
        "width": tower.d_model,
        "width of a head": tower.d_head,
    }
