"""Tiny models for tests: one of each family, built once, with short random inputs. Tests must leave them as they are."""

from functools import cache

import torch
from torch import Tensor, nn

from exegete.models.family import bind
from exegete.models.prove import probe_inputs
from exegete.models.tiny import tiny


@cache
def tiny_module(family: str, task: str | None = None, kernel: str = "", layers: int = 2) -> nn.Module:
    """The module of `tiny`, in the attention implementation asked for ("" is the family's own)."""
    chosen = {"attn_implementation": kernel} if kernel else None
    return tiny(family, task, layers=layers, overrides=chosen)[0]


def some_inputs(module: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Two random texts of six ordinary tokens (and decoder tokens where there is a decoder)."""
    return probe_inputs(bind(module), seed)


def padded_inputs(module: nn.Module, left: bool = False) -> dict[str, Tensor]:
    """The same with two tokens of the second text masked, on the right or on the left."""
    inputs = some_inputs(module)
    mask = torch.ones_like(inputs["input_ids"])
    mask[1, : 2 if left else None] = 0 if left else mask[1]
    if not left:
        mask[1, -2:] = 0
    return {**inputs, "attention_mask": mask}


def logits_of(module: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """Logits of the bare model."""
    with torch.no_grad():
        return module(**inputs).logits


def hook_count(module: nn.Module) -> int:
    """All hooks on all submodules, of every sort."""
    sorts = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(m, s)) for m in module.modules() for s in sorts)
