"""Discretised integrated gradients: the gradient summed up along a path of real words instead of a straight line.

1. for each token, walk from its word to the baseline over neighbours in the embedding space, `n_steps` words; each stop is
   bent so that no coordinate turns back (`ops.paths.word_path`); strategy "greedy" takes the neighbour closest to its bent
   copy, "maxcount" the one with most coordinates that need no bending;
2. all tokens walk together: stop k of the path is the text of every token's stop k; other slots (specials) stay;
3. score of token i = sum over legs k of gradient . (stop k+1 - stop k). rule="riemann_left" takes `factor` equal steps a leg,
   each with the gradient at its beginning (the paper's sum); "gauss_legendre" gives n_steps x factor points to the legs in
   proportion to their length, by Gauss's rule on each;
4. self-check: the scores sum to f(x) - f(x') within `tolerance`.

Cost: about n_steps x factor forwards and backwards and one forward; no pass for the walk (n_steps x tokens searches of the
vocabulary). Memory is bounded by the token budget, beside the stops [n_steps, S, d] and one copy of the embedding table.
Reference: Sanyal & Ren 2021, eq. 4 and sec. 3.2 (arXiv:2108.13654).
"""

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.attribution.path import WORDS, wide
from exegete.methods.contracts.attribution import AttributionMethod, Scores, by_unit
from exegete.models.question import Question
from exegete.models.remove import Baseline, fill
from exegete.ops.paths import nodes, scale, shares, word_path

Strategy = Literal["greedy", "maxcount"]
LegRule = Literal["gauss_legendre", "riemann_left"]


@register
class DiscretizedIG(AttributionMethod):
    """Integrated gradients along a path of neighbouring words from the baseline to the text."""

    id: ClassVar[str] = "discretized_ig"
    family: ClassVar[str] = "gradient"
    techniques: ClassVar[tuple[str, ...]] = ("A13",)
    reference: ClassVar[Reference] = Reference(
        authors="Sanyal & Ren",
        year=2021,
        title="Discretized Integrated Gradients for Explaining Language Models",
        where="arXiv:2108.13654",
        equation="eq. 4",
    )
    needs: ClassVar = ("gradients", "weights")
    passes: ClassVar[str] = "about n_steps x factor forwards and backwards + 1 forward"

    strategy: Strategy = Field("greedy", description="how the next word is chosen: greedy or maxcount")
    n_steps: int = Field(
        30, ge=1, le=10_000, description="words on the path between the text and the baseline"
    )
    factor: int = Field(2, ge=1, le=1000, description="gradient points a step")
    rule: LegRule = Field(
        "gauss_legendre", description="how a leg is summed: gauss_legendre, or riemann_left (the paper)"
    )
    n_neighbors: int = Field(
        50, ge=1, le=10_000, description="nearest words among which the next one is chosen"
    )
    baseline: Baseline = Field(
        "auto",
        description="what stands for no text: mask, pad, unk, eos, zero, mean; auto: the first there is",
    )
    tolerance: float = Field(
        0.05, gt=0, le=1, description="completeness gap allowed, as a share of f(input) - f(baseline)"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward and one backward a point; every leg of the path has at least one."""
        points = self.n_steps * self.factor + self.n_steps + 1
        return points + 1, points

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Scores [U] that sum to f(x) - f(x') as closely as the completeness check says."""
        stops = self.path(q, units)
        leg, t, weight = self._points(stops)
        slots = np.zeros(len(q.ids))
        for part in q.chunks(len(leg)):
            here, move = stops[leg[part]], stops[leg[part] + 1] - stops[leg[part]]
            share = torch.as_tensor(t[part], dtype=here.dtype, device=here.device)[:, None, None]
            slope = (q.gradients(here + share * move)[1] * move).sum(-1)
            slots += weight[part] @ slope.double().cpu().numpy()
        start = float(q.total(q.ask_points(lambda part: stops[:1][part], 1))[0])
        end = float(q.total(q.value()))
        gap = abs(slots.sum() - (end - start)) / scale(np.array([start]), np.array([end]))
        check = Check.at_most("completeness", gap, self.tolerance, f"{WORDS}; here n_steps or factor")
        note = f"{len(leg)} gradient steps over {self.n_steps} words."
        return Scores(total=by_unit(slots, units), base_value=start, checks=(check,), notes=(note,))

    def path(self, q: Question, units: tuple[Unit, ...]) -> Tensor:
        """The stops [n_steps + 2, S, d], from the baseline to the input; slots in no unit stay where they are."""
        own, goal = wide(q.embeddings()), wide(fill(q, units, self.baseline))
        stops = own.repeat(self.n_steps + 2, 1, 1)
        slots = sorted({i for u in units for i in u.tokens})
        for stack in sorted({q.tokens[i].stack for i in slots}):
            words = _Words(q, stack, self.n_neighbors)
            for i in (i for i in slots if q.tokens[i].stack == stack):
                end = goal[i].cpu().numpy()
                walk, _ = word_path(int(q.ids[i]), end, words.table, words.near, self.n_steps, self.strategy)
                stops[:, i] = torch.as_tensor(walk[::-1].copy(), device=stops.device)
        return stops

    def _points(self, stops: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Leg, position on it and weight of every gradient point [N]."""
        legs = len(stops) - 1
        if self.rule == "riemann_left":
            t = np.tile(np.arange(self.factor) / self.factor, legs)
            return np.repeat(np.arange(legs), self.factor), t, np.full(legs * self.factor, 1 / self.factor)
        lengths = (stops[1:] - stops[:-1]).norm(dim=(1, 2)).cpu().numpy()
        counts = shares(lengths, self.n_steps * self.factor)
        t, weight = (np.concatenate(x) for x in zip(*(nodes("gauss_legendre", int(n)) for n in counts)))
        return np.repeat(np.arange(legs), counts), t, weight


class _Words:
    """The words of one stack: their embeddings `table` [V, d], and the neighbours of each (special tokens are none)."""

    def __init__(self, q: Question, stack: str, n: int) -> None:
        ids = torch.arange(len(q.model.embedding(stack).get_parameter("weight")), device=q.model.device)
        with torch.no_grad():
            self.table: np.ndarray = wide(q.model.embedding(stack)(ids[None])[0]).cpu().numpy()
        self._squares = np.einsum("vd,vd->v", self.table, self.table)
        special = set(getattr(q.model.tokenizer, "all_special_ids", []) or [])
        self._closed = np.array(sorted(i for i in special if i < len(self.table)), dtype=np.int64)
        self._n = n
        self._memo: dict[int, np.ndarray] = {}

    def near(self, word: int) -> np.ndarray:
        """Ids of the nearest words, itself and special tokens left out."""
        if word not in self._memo:
            distance = self._squares - 2 * self.table @ self.table[word]
            distance[self._closed] = np.inf
            distance[word] = np.inf
            n = min(self._n, len(distance) - 1)
            nearest = np.argpartition(distance, n - 1)[:n]
            self._memo[word] = nearest[np.isfinite(distance[nearest])]
        return self._memo[word]
