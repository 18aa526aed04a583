"""Reusing what a causal model has already read.

A change at position p leaves positions before p of a causal model untouched. `plan` sorts variants by their first
changed position and cuts them into chunks; `read_with_prefix` runs the part that a chunk has in common once, and only the
rest for each variant. `cache_gap` checks, on one probe, that reading on from a cache gives the logits of reading everything at once
(a model or a cache that does not is caught before its scores are believed).

Cost: sum over chunks of (common prefix + variants x rest) instead of variants x everything.
"""

import inspect
import time
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.models.forward import Runner, gathered, logits_in, pick
from exegete.models.model import Model, still


def cache_gap(
    model: Model, ids: np.ndarray, rows: np.ndarray, whole: Tensor, source: np.ndarray | None = None
) -> float:
    """Largest difference, relative to the largest logit, between reading `ids` [S] at once and on from a cache.

    `whole` [row, vocab] are the logits of reading at once at positions `rows`. `source` is what the encoder reads, when
    `ids` are the decoder's. NaN where nothing is read on, or the model keeps no cache.
    """
    start = max(min(len(ids) // 2, int(rows.min())), 1)
    late = np.flatnonzero(rows >= start)
    if not late.size:
        return float("nan")
    x = torch.as_tensor(ids, device=model.device)[None]
    with torch.inference_mode(), still(model.module):
        if source is None:
            cache = read(model, x[:, :start])
            rest = None if cache is None else read_on(model, cache, x[:, start:], start)
        else:
            rest = _decode_on(model, torch.as_tensor(source, device=model.device)[None], x, start)
    if rest is None:
        return float("nan")
    picked, after = (torch.as_tensor(at, device=whole.device) for at in (late, rows[late] - start))
    gap = (whole[picked] - rest[0][after]).abs().max()
    return float(gap / whole.abs().max().clamp_min(1e-9))


def _decode_on(model: Model, source: Tensor, ids: Tensor, start: int) -> Tensor | None:
    """Logits of a decoder's `ids` [1, T] from `start` on, read after a cache of the first `start`."""
    first = model.module(input_ids=source, decoder_input_ids=ids[:, :start], use_cache=True)
    cache = getattr(first, "past_key_values", None)
    if cache is None:
        return None
    return model.module(
        encoder_outputs=(first.encoder_last_hidden_state,),
        attention_mask=torch.ones_like(source),
        decoder_input_ids=ids[:, start:],
        past_key_values=cache,
        use_cache=True,
    ).logits


def read(model: Model, ids: Tensor) -> Any:
    """The model's cache after reading `ids` [1, S]; None from a model that keeps none."""
    keep = {"logits_to_keep": 1} if _takes(model, "logits_to_keep") else {}
    out = model.module(input_ids=ids, use_cache=True, **keep)
    return getattr(out, "past_key_values", None)


def read_on(model: Model, cache: Any, ids: Tensor, start: int) -> Tensor:
    """Logits [batch, tok, vocab] of `ids` [batch, tok] read after a cache of `start` tokens."""
    mask = torch.ones(ids.shape[0], start + ids.shape[1], dtype=torch.long, device=ids.device)
    place: dict[str, Tensor] = {}
    if _takes(model, "position_ids"):
        place["position_ids"] = torch.arange(start, start + ids.shape[1], device=ids.device)[None].expand(
            ids.shape[0], -1
        )
    return logits_in(
        model.module(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **place)
    )


def read_with_prefix(runner: Runner, variants: np.ndarray, rows: np.ndarray, start: int) -> Tensor:
    """Logits [V, row, vocab] of `variants` [V, S] that share their first `start` tokens, at positions `rows` [row] >= start.

    Equal to running every variant whole; the twin test says so for every causal family.
    """
    model, started = runner.model, time.perf_counter()
    x = torch.as_tensor(np.ascontiguousarray(variants), device=model.device)
    where = torch.as_tensor(rows - start, device=model.device)[None].expand(len(x), -1)
    with torch.inference_mode(), still(model.module):
        cache = read(model, x[:1, :start])
        cache.batch_repeat_interleave(len(x))
        head = model.unembedding()
        width = x.shape[1] - start
        with gathered(head, where, width) if head is not None and len(rows) < width else nullcontext():
            logits = read_on(model, cache, x[:, start:], start)
    runner.meter.forwards += len(x)
    runner.meter.tokens += start + len(x) * width
    runner.meter.seconds += time.perf_counter() - started
    return logits if logits.shape[1] == len(rows) < width else pick(logits, where)


def _takes(model: Model, name: str) -> bool:
    return name in inspect.signature(model.module.forward).parameters


def plan(
    variants: np.ndarray, original: np.ndarray, first_row: int, budget: int
) -> list[tuple[np.ndarray, int]]:
    """Chunks of variants [V, S] and the length each has in common with the original [S]: (indices, start).

    Variants are taken in order of the first position where they differ from the original; a chunk holds as many as fit
    `budget` tokens after its common part.
    """
    width = variants.shape[1]
    differs = variants != original
    start = np.where(differs.any(1), differs.argmax(1), width - 1).clip(max=first_row)
    order = np.argsort(start, kind="stable")
    chunks, at = [], 0
    while at < len(order):
        common = int(start[order[at]])
        size = max(1, budget // max(width - common, 1))
        chunks.append((order[at : at + size], common))
        at += size
    return chunks


def saving(chunks: list[tuple[np.ndarray, int]], width: int) -> float:
    """The share of tokens that need not be read again under a plan (0 = nothing gained)."""
    whole = sum(len(c) for c, _ in chunks) * width
    spent = sum(start + len(c) * (width - start) for c, start in chunks)
    return 1 - spent / whole if whole else 0.0
