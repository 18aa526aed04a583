"""Reading texts for what sets units off: the places that count, and each unit's strongest triggers among them.

1. `places_of` lists the places with a next token whose own token is no special one, with a key of the prefix up to each;
2. `read_triggers` reads the texts in batches, and keeps the chosen units at those places alone, streamed into the strongest.

Shapes: places [n]; units [unit] by layer. Cost: 1 forward a text; memory O(unit * t) beside one batch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError
from exegete.models.feedforward import FeedForward
from exegete.models.lab import Lab, Reading
from exegete.ops.triggers import Triggers


@dataclass(frozen=True)
class Places:
    """Every place [n] that counts: text, position, its token, the pair it ends, the token that comes next, a key of its prefix."""

    text: np.ndarray
    position: np.ndarray
    token: np.ndarray
    pair: np.ndarray
    next: np.ndarray
    key: np.ndarray


def read_triggers(
    lab: Lab,
    reading: Reading,
    places: Places,
    parts: Mapping[int, FeedForward],
    units: Mapping[int, np.ndarray],
    t: int,
) -> dict[int, Triggers]:
    """The t strongest triggers of the units chosen of every layer."""
    kept = {i: Triggers.empty(len(units[i]), t) for i in parts}
    n = len(reading.encoded)
    with lab.working(n, "reading texts") as step:
        for rows in lab.chunks(n, max(reading.lengths)):
            here = np.flatnonzero((places.text >= rows.start) & (places.text < rows.stop))
            width = max(reading.lengths[rows])
            inputs = {k: v[rows, :width] for k, v in reading.inputs.items()}
            at = torch.from_numpy(np.stack([places.text[here] - rows.start, places.position[here]]))
            reduce = {p.act: _picked(at, torch.from_numpy(units[i])) for i, p in parts.items()}
            # no logits are wanted: one row is unembedded
            none = torch.zeros(len(inputs["input_ids"]), 1, dtype=torch.long)
            seen = lab.run(inputs, reduce=reduce, rows=none)
            for i, p in parts.items():
                kept[i].add(seen[p.act], places.key[here], here)
            step(rows.stop - rows.start)
    return kept


def standing(places: Places, value: np.ndarray, key: np.ndarray) -> Triggers:
    """Triggers of values and keys [unit, t] (value 0: none), each at the first place of its prefix."""
    keys, first = np.unique(places.key, return_index=True)
    at = first[np.searchsorted(keys, key).clip(max=len(keys) - 1)]
    return Triggers(value, key, np.where(value != 0, at, -1))


def _picked(at: Tensor, units: Tensor) -> Callable[[Tensor], np.ndarray]:
    """A reducer of [batch, tok, neuron]: the values [n, unit] of units at places [2, n]."""

    def pick(x: Tensor) -> np.ndarray:
        row, tok = at.to(x.device)
        return x[row, tok][:, units.to(x.device)].double().cpu().numpy()

    return pick


def places_of(reading: Reading, some: bool = True) -> Places:
    """The places that count, in order. Raises `InputError` when there is none but should be `some`."""
    rows = [x for i, e in enumerate(reading.encoded) for x in _of_text(i, e.tokens)]
    if some and not rows:
        raise InputError(
            "You asked what sets units off in texts.",
            "No text has a word with another token behind it.",
            "Give longer texts.",
        )
    text, position, token, before, after, key = np.array(rows, dtype=np.int64).reshape(-1, 6).T
    return Places(text, position, token, before * (1 << 32) + token, after, key)


def _of_text(i: int, tokens: Any) -> Iterator[tuple[int, int, int, int, int, int]]:
    prefix = blake2b(digest_size=8)
    for p, t in enumerate(tokens[:-1]):
        prefix.update(int(t.id).to_bytes(4, "little"))
        if not t.special:
            key = int.from_bytes(prefix.copy().digest(), "little") >> 1
            yield i, p, t.id, tokens[p - 1].id if p else -1, tokens[p + 1].id, key
