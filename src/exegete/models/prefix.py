"""Reusing what a causal model has already read.

A change at position p leaves positions before p of a causal model untouched. `ask_with_prefix` sorts variants by their
first changed position, cuts them into chunks, runs the part that a chunk has in common once, and only the rest for each
variant. `cache_gap` checks, on one probe, that reading on from a cache gives the logits of reading everything at once
(a model or a cache that does not is caught before its scores are believed).

Cost: sum over chunks of (common prefix + variants x rest) instead of variants x everything.
"""

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.models.forward import Runner, pick
from exegete.models.model import Model, still


def cache_gap(model: Model, ids: np.ndarray) -> float:
    """Largest difference, relative to the largest logit, between cached and whole reading of `ids` [S]; NaN if S < 2."""
    if len(ids) < 2:
        return float("nan")
    cut = len(ids) // 2
    x = torch.as_tensor(ids, device=model.device)[None]
    with torch.inference_mode(), still(model.module):
        whole = model.module(input_ids=x, use_cache=False).logits[0, cut:]
        rest = read_on(model, read(model, x[:, :cut]), x[:, cut:], cut)[0]
    return float((whole - rest).abs().max() / whole.abs().max().clamp_min(1e-9))


def read(model: Model, ids: Tensor) -> Any:
    """The model's cache after reading `ids` [1, S]."""
    keep = {"logits_to_keep": 1} if _takes(model, "logits_to_keep") else {}
    return model.module(input_ids=ids, use_cache=True, **keep).past_key_values


def read_on(model: Model, cache: Any, ids: Tensor, start: int) -> Tensor:
    """Logits [batch, tok, vocab] of `ids` [batch, tok] read after a cache of `start` tokens."""
    mask = torch.ones(ids.shape[0], start + ids.shape[1], dtype=torch.long, device=ids.device)
    place: dict[str, Tensor] = {}
    if _takes(model, "position_ids"):
        place["position_ids"] = torch.arange(start, start + ids.shape[1], device=ids.device)[None].expand(
            ids.shape[0], -1
        )
    return model.module(
        input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **place
    ).logits


def ask_with_prefix(runner: Runner, variants: np.ndarray, rows: np.ndarray) -> Tensor:
    """Logits [V, row, vocab] of `variants` [V, S] (equal length, one model, no padding) at positions `rows` [row].

    Equal to running every variant whole; the twin test says so for every causal family.
    """
    model = runner.model
    x = torch.as_tensor(np.ascontiguousarray(variants), device=model.device)
    same = (variants == variants[:1]).all(0)
    start = min(int(np.argmin(same)) if not same.all() else len(same) - 1, int(rows.min()))
    with torch.inference_mode(), still(model.module):
        if start == 0:
            logits = model.module(input_ids=x, use_cache=False).logits
        else:
            cache = read(model, x[:1, :start])
            cache.batch_repeat_interleave(len(x))
            logits = read_on(model, cache, x[:, start:], start)
    runner.meter.forwards += len(x) + (start > 0)
    runner.meter.tokens += start + len(x) * (x.shape[1] - start)
    where = torch.as_tensor(rows - start, device=model.device)[None].expand(len(x), -1)
    return pick(logits, where)


def _takes(model: Model, name: str) -> bool:
    return name in inspect.signature(model.module.forward).parameters
