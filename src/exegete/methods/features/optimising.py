"""Optimised inputs: what would a feature like to read best?

1. n starts: so many random tokens each, between the special tokens that the tokenizer puts round a text;
2. their input embeddings are moved along the gradient of the feature's value before it is cut off (the largest over the free
   tokens), by Adam, and brought back to the mean length of token embeddings after every step;
3. every embedding is replaced by the token of nearest direction, and these tokens are read by the model as any text.

Cost: one forward and backward a step and start, two forwards a start. Shapes: points [start, token, d].
Reference: Olah et al. 2017, "Feature Visualization"; Poerner et al. 2018 (for text).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.methods.contracts.dictionaries import flat
from exegete.models.encode import encode
from exegete.models.forward import replaced
from exegete.models.lab import Lab
from exegete.models.placement import need_here
from exegete.models.vocabulary import usual_ids
from exegete.ops.dictionary import Dictionary


@dataclass(frozen=True, eq=False)
class Wished:
    """By start: value of the soft input, of the nearest `tokens` [start, token] to it, and of the random tokens it began from."""

    soft: np.ndarray
    hard: np.ndarray
    start: np.ndarray
    tokens: np.ndarray


def wished(
    lab: Lab, d: Dictionary, feature: int, site: Site, n_tokens: int, n_starts: int, n_steps: int, rate: float
) -> Wished:
    """The inputs that a feature is driven to most."""
    ids = usual_ids(lab.model).to(lab.model.device)
    draw = torch.as_tensor(lab.rng("starts").integers(0, len(ids), (n_starts, n_tokens)), device=ids.device)
    start = ids[draw]
    frame = _frame(lab)
    embedding: Any = lab.model.embedding("")
    need_here(lab.model.module, "You asked for texts made by gradients through the table of tokens.")
    table = embedding.weight.detach().float()
    length = float(table[ids].norm(dim=1).mean())
    points = _sphere(table[start], length).requires_grad_(True)
    adam = torch.optim.Adam([points], lr=rate * length)
    with lab.working(n_steps, "optimising the input") as step, torch.enable_grad():
        for _ in range(n_steps):
            total = _wanted(lab, d, feature, site, frame, start, points).sum()
            points.grad = -lab.gradients(total, [points])[0]
            adam.step()
            with torch.no_grad():
                points.copy_(_sphere(points, length))
            step()
    final = points.detach()
    unit = table[ids] / table[ids].norm(dim=1, keepdim=True).clamp_min(1e-12)
    nearest = ids[(_sphere(final, 1.0) @ unit.T).argmax(-1)]
    return Wished(
        soft=_value(lab, d, feature, site, frame, start, final),
        hard=_value(lab, d, feature, site, frame, nearest, None),
        start=_value(lab, d, feature, site, frame, start, None),
        tokens=nearest.cpu().numpy(),
    )


def _frame(lab: Lab) -> tuple[list[int], list[int]]:
    """Special tokens that stand before and after a text."""
    tokens = encode(lab.model, Text(text="a")).tokens
    real = [i for i, t in enumerate(tokens) if not t.special]
    return [t.id for t in tokens[: real[0]]], [t.id for t in tokens[real[-1] + 1 :]]


def _read(
    lab: Lab,
    site: Site,
    frame: tuple[list[int], list[int]],
    tokens: Tensor,
    points: Tensor | None,
    graph: bool,
) -> Tensor:
    """Activations [start, token, width] at the free tokens, with `points` in the place of their embeddings."""
    first, n = len(frame[0]), tokens.shape[1]
    lead, end = (tokens.new_tensor(f).expand(len(tokens), -1) for f in frame)
    ids = torch.cat([lead, tokens, end], 1)
    inputs: dict[str, Tensor] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if lab.model.task == "seq2seq":
        begin = getattr(lab.model.config, "decoder_start_token_id", None) or 0
        inputs["decoder_input_ids"] = ids.new_full((len(ids), 1), begin)
    if points is None:
        seen = lab.run(inputs, read=[site], keep_graph=graph)
    else:
        with replaced(lab.model.embedding(""), points, first):
            seen = lab.run(inputs, read=[site], keep_graph=graph)
    return flat(seen[site], site)[:, first : first + n].float()


def _wanted(
    lab: Lab, d: Dictionary, feature: int, site: Site, frame: Any, tokens: Tensor, points: Tensor
) -> Tensor:
    """The largest value before the cut, over the free tokens [start], with its graph."""
    x = _read(lab, site, frame, tokens, points, True)
    read = x - d.offset if d.centred else x
    return (read @ d.encoder[:, feature] + d.bias[feature]).max(1).values


def _value(
    lab: Lab, d: Dictionary, feature: int, site: Site, frame: Any, tokens: Tensor, points: Tensor | None
) -> np.ndarray:
    """The largest value of the feature over the free tokens [start]."""
    x = _read(lab, site, frame, tokens, points, False)
    f = d.encode(x)[..., feature].max(1).values
    return f.double().cpu().numpy()


def _sphere(x: Tensor, length: float) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12) * length


def words(lab: Lab, rows: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Tokens as text, one string a row."""
    return tuple(str(lab.model.tokenizer.decode(list(map(int, r)))) for r in rows)
