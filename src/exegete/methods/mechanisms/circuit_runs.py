"""`Judge`: what a model says when only the edges of a circuit carry the clean text, exactly, for many circuits at once.

1. what every part writes on the corrupt text (or zero, or the mean over texts and tokens) is read once;
2. a circuit is a mask keep [R, W]: kept edges carry what this run writes, all others what was read in step 1;
3. circuits go into the batch, one row a circuit and pair, under a token and a memory budget;
4. a circuit that was run before is remembered.

`Recorder` measures in two ways at once, the answer less the foil and the answer alone: which of both is looked at depends on
all pairs. `Replay` is a judge of pairs that were run elsewhere.

Shapes: keep [circuit, R, W] bool; values [circuit, pair]. Cost: 1 forward a pair for step 1, 1 edge run a circuit and pair.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError
from exegete.methods.mechanisms.circuit_pairs import Pairs
from exegete.models.edge_run import EdgeRun
from exegete.models.edges import EdgeGraph
from exegete.models.lab import Aim, Lab
from exegete.models.scale import finite

Ablation = Literal["corrupt", "mean", "zero"]
Measure = Callable[[Aim, Tensor], Tensor]
_NUMBERS = 1 << 25  # numbers that the writes of one run may take


@dataclass
class Ground:
    """A batch of pairs with what cut edges carry, `given` [W, pair, tok, d], and the target of the pass it is from [pair]."""

    pairs: Pairs
    given: Tensor
    told: Tensor


@dataclass
class Judge:
    """Runs circuits on pairs; counts through the lab and remembers what it ran."""

    lab: Lab
    graph: EdgeGraph
    pairs: Pairs
    ablation: Ablation = "corrupt"
    grounds: list[Ground] = field(default_factory=list)
    known: dict[bytes, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.grounds = grounds(self.lab, self.graph, self.pairs, self.ablation)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def full(self) -> np.ndarray:
        """The target of the whole model [pair]."""
        return self.values(self.graph.allowed[None])[0]

    @property
    def empty(self) -> np.ndarray:
        """The target with every edge cut [pair]."""
        return self.values(np.zeros((1, *self.graph.shape), dtype=bool))[0]

    def values(self, keep: np.ndarray) -> np.ndarray:
        """The target [circuit, pair] of circuits keep [circuit, R, W]."""
        keep = keep & self.graph.allowed
        keys = [
            blake2b(np.packbits(k).tobytes(), digest_size=16).digest() for k in keep
        ]  # a mask of GPT-2 small: 9 kB
        fresh = {key: i for i, key in enumerate(keys) if key not in self.known}
        if fresh:
            self.learn(list(fresh), keep[list(fresh.values())])
        return np.stack([self.known[k] for k in keys]) if keys else np.zeros((0, len(self)))

    @property
    def described(self) -> tuple[np.ndarray, np.ndarray]:
        """The target of the pass that cut edges carry, and with every edge cut [pair]: equal where every edge is described."""
        return np.concatenate([g.told.double().cpu().numpy() for g in self.grounds]), self.empty

    def learn(self, keys: Sequence[bytes], keep: np.ndarray) -> None:
        """Run circuits and remember them."""
        self.known |= dict(zip(keys, self.measured(keep, lambda aim, logits: aim.measure(logits))))

    def measured(self, keep: np.ndarray, measure: Measure) -> np.ndarray:
        """`measure(aim, logits)` [..., circuit, pair] of circuits; logits [circuit * pair, row, vocab], or pooled."""
        found = []
        for ground in self.grounds:
            size = self._circuits_at_once(ground)
            parts = [self._some(ground, keep[i : i + size], measure) for i in range(0, len(keep), size)]
            found.append(np.concatenate(parts, axis=-2))
        return np.concatenate(found, axis=-1)

    def _some(self, ground: Ground, keep: np.ndarray, measure: Measure) -> np.ndarray:
        aim, n, p = ground.pairs.aim, len(keep), len(ground.pairs)
        cut = torch.from_numpy(self.graph.allowed & ~keep).to(ground.given.device)
        if n > 1:
            cut = cut.repeat_interleave(p, 0)
        given = ground.given.repeat(1, n, 1, 1) if n > 1 else ground.given
        inputs = {k: v.repeat(n, *[1] * (v.dim() - 1)) for k, v in aim.inputs.items()}
        rows = aim.positions
        logits = EdgeRun(self.lab, self.graph, cut, given)(
            inputs, None if rows is None else rows.repeat(n, 1)
        ).logits
        values = measure(aim, logits)
        finite(values, "output")
        return values.detach().double().cpu().numpy().reshape(*values.shape[:-1], n, p)

    def _circuits_at_once(self, ground: Ground) -> int:
        tokens = len(ground.pairs) * ground.pairs.length
        numbers = tokens * ground.given.shape[0] * ground.given.shape[-1]
        return max(1, min(self.lab.model.token_budget // tokens, _NUMBERS // numbers))


@dataclass
class Recorder(Judge):
    """Remembers circuits in two ways: `known`, as the aim says, and `alone`, without foils."""

    alone: dict[bytes, np.ndarray] = field(default_factory=dict)

    def learn(self, keys: Sequence[bytes], keep: np.ndarray) -> None:
        """Run circuits once, and measure them twice."""
        for known, found in zip((self.known, self.alone), self.measured(keep, two_ways)):
            known.update(zip(keys, found))


@dataclass
class Replay(Judge):
    """Knows the circuits that were run elsewhere, and what `described` was there. No pass."""

    there: tuple[np.ndarray, np.ndarray] = (np.zeros(0), np.zeros(0))

    def __post_init__(self) -> None:
        pass  # nothing is read

    @property
    def described(self) -> tuple[np.ndarray, np.ndarray]:
        """As it was there."""
        return self.there

    def learn(self, keys: Sequence[bytes], keep: np.ndarray) -> None:
        """Circuits that nobody ran cannot be known. Raises `InputError`."""
        raise InputError(
            f"You asked to put together what {len(keep)} circuits do on {len(self)} pairs.",
            "They were not run: the pairs were judged with other circuits.",
            "Start again in another folder; the file of the circuit may have changed.",
        )


def two_ways(aim: Aim, logits: Tensor) -> Tensor:
    """The answer less the foil, and the answer alone [way, batch]."""
    alone = tuple((replace(r[0], foil=None),) for r in aim.rows)
    return torch.stack([aim.measure(logits), replace(aim, rows=alone).measure(logits)])


def grounds(lab: Lab, graph: EdgeGraph, pairs: Pairs, ablation: Ablation) -> list[Ground]:
    """Batches of pairs with what cut edges carry. Cost: 1 forward a pair."""
    tokens = min(lab.model.token_budget, max(1, _NUMBERS // (graph.shape[1] * lab.model.map.d_model)))
    other = ablation == "corrupt"
    read = [
        (b, *writes(lab, graph, b.corrupt if other else b.aim.inputs, b.aim)) for b in pairs.batches(tokens)
    ]
    if ablation == "corrupt":
        return [Ground(*r) for r in read]
    if ablation == "zero":
        return [Ground(b, torch.zeros_like(w), told) for b, w, told in read]
    masks = [b.aim.inputs["attention_mask"].to(w) for b, w, _ in read]
    total = [torch.einsum("wbtd,bt->wd", w, m) for (_, w, _), m in zip(read, masks)]
    mean = torch.stack(total).sum(0) / sum(float(m.sum()) for m in masks)
    return [Ground(b, mean[:, None, None].expand_as(w), told) for b, w, told in read]


def writes(lab: Lab, graph: EdgeGraph, inputs: dict[str, Tensor], aim: Aim) -> tuple[Tensor, Tensor]:
    """What every part writes on some inputs [W, batch, tok, d], and what the aim measures there [batch]."""
    run = EdgeRun(lab, graph)
    told = aim.measure(run(inputs, aim.positions).logits)
    return run.writes, told


def without(keep: np.ndarray, edges: np.ndarray) -> Iterator[np.ndarray]:
    """`keep` [R, W] without each of `edges` [n, 2] (writer, reader) in turn."""
    for w, r in edges:
        less = keep.copy()
        less[r, w] = False
        yield less
