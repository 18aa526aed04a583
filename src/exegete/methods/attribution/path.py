"""What the methods that integrate a gradient along a path share: their fields, the slope along a line, the check.

f changes along a path as fast as its gradient times the direction of the path. `Lines` asks a question for that at any
points, split over the slots, in passes that fit the token budget; what stays of a point is one number a slot, so memory
does not grow with the number of points. `PathMethod.integrate` adds it up by the rule that the user chose.

Cost: one forward and one backward a point (with `per_output` one backward a point and output).
Shapes: N points, L lines, S slots, R outputs, d embedding width, U units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.attribution.gradient import total_weights
from exegete.methods.contracts.attribution import AttributionMethod, Scores, by_unit
from exegete.models.question import Question
from exegete.models.remove import Baseline, fill
from exegete.ops.paths import Integral, Rule, Sample, fixed, refine, scale

WORDS = (
    "the scores sum to f(input) - f(baseline), as a share of that difference; above it, take more n_steps "
    "(a model that jumps, as routed experts do, has a gap that no steps close)"
)


@dataclass(frozen=True)
class Lines:
    """Straight lines from `start` [S, d] to `end` [S, d].

    Without `slots` one line moves every slot; with them line i moves only slot `slots[i]`, the others stay at `end`.
    `each`: parts for every output and, last, for the total [N, R + 1, S], instead of the total alone [N, S].
    `end_value`: f at `end`, where it is known.
    """

    q: Question
    start: Tensor
    end: Tensor
    slots: Sequence[int] | None = None
    each: bool = False
    end_value: float | None = None

    @property
    def n(self) -> int:
        """L: how many lines."""
        return 1 if self.slots is None else len(self.slots)

    def points(self, line: np.ndarray, t: np.ndarray) -> Tensor:
        """Embedded inputs [N, S, d] at positions t [N] of lines [N]."""
        at = torch.as_tensor(t, dtype=self.end.dtype, device=self.end.device)[:, None]
        if self.slots is None:
            return torch.lerp(self.start, self.end, at[..., None])
        slot = torch.as_tensor(np.asarray(self.slots)[line], device=self.end.device)
        out = self.end.repeat(len(t), 1, 1)
        out[torch.arange(len(t), device=out.device), slot] = torch.lerp(self.start[slot], self.end[slot], at)
        return out

    def values(self, line: np.ndarray, t: np.ndarray) -> np.ndarray:
        """f [N] at points, by forwards alone."""
        return self.q.total(self.q.ask_points(lambda part: self.points(line[part], t[part]), len(t)))

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """f [L] where the lines start and where they end."""
        every = np.arange(self.n)
        last = self.values(every[:1], np.ones(1))[0] if self.end_value is None else self.end_value
        return self.values(every, np.zeros(self.n)), np.full(self.n, last)

    def __call__(self, line: np.ndarray, t: np.ndarray) -> Sample:
        """f, its slope and the slots' parts of it at points, chunk by chunk."""
        f, parts = [], []
        for part in self.q.chunks(len(t)):
            values, grads = self.q.gradients(self.points(line[part], t[part]), self.each)
            f.append(values)
            parts.append(self._parts(grads, line[part]).double().cpu().numpy())
        values, slots = np.concatenate(f), np.concatenate(parts)
        if self.each:
            total = np.einsum("nr,nrs->ns", total_weights(self.q, values), slots)
            return Sample(self.q.total(values), total.sum(-1), np.concatenate([slots, total[:, None]], 1))
        return Sample(self.q.total(values), slots.sum(-1), slots)

    def _parts(self, grads: Tensor, line: np.ndarray) -> Tensor:
        """Gradients [N, (R,) S, d] times the direction of the line -> [N, (R,) S], or of the one slot that moves [N, (R,) 1]."""
        move = self.end - self.start
        if self.slots is None:
            return (grads * move).sum(-1)
        slot = torch.as_tensor(np.asarray(self.slots)[line], device=grads.device)
        mine = grads.gather(-2, _spread(slot, grads))
        return (mine * _spread(slot, mine, move[slot])).sum(-1)


def _spread(slot: Tensor, like: Tensor, values: Tensor | None = None) -> Tensor:
    """One slot (or its `values` [N, d]) a point, in the shape [N, (1,) 1, d] of gradients [N, (R,) S, d]."""
    shape = (len(slot), *(1,) * (like.dim() - 2))
    if values is not None:
        return values.reshape(*shape, -1)
    return slot.reshape(*shape, 1).expand(*like.shape[:-2], 1, like.shape[-1])


class PathMethod(AttributionMethod):
    """Base of the methods that integrate along straight lines from a baseline."""

    baseline: Baseline = Field(
        "auto",
        description="what stands for no text: mask, pad, unk, eos, zero, mean; auto: the first there is",
    )
    n_steps: Annotated[int, Field(ge=2, le=100_000)] | Literal["auto"] = Field(
        "auto",
        description="gradient steps a path (2 to 100000); auto: refined until the completeness gap is under tolerance",
    )
    rule: Rule = Field(
        "gauss_legendre", description="quadrature of a fixed n_steps: gauss_legendre, riemann_trapezoid"
    )
    tolerance: float = Field(
        0.01, gt=0, le=1, description="completeness gap allowed, as a share of f(input) - f(baseline)"
    )
    max_steps: int = Field(512, ge=17, le=100_000, description="most gradient steps a path of n_steps='auto'")

    def path_passes(self, outputs: int) -> tuple[int, int]:
        """Most forwards and backwards of one path; "auto" is counted at the steps that mostly suffice."""
        steps = min(65, self.max_steps) if self.n_steps == "auto" else self.n_steps
        return steps + 1, steps * outputs

    def integrate(self, lines: Lines) -> Integral:
        """Integrals of the slots' parts over the lines, by the rule of the fields."""
        if self.n_steps == "auto":
            return refine(
                lines, self.tolerance, self.max_steps, lines.n, first=4 if lines.slots is None else 2
            )
        return fixed(lines, lines.ends, self.rule, self.n_steps, lines.n)

    def complete(self, found: Integral, words: str = WORDS) -> Check:
        """The completeness check: the largest gap, as a share of the largest change of f."""
        return Check.at_most(
            "completeness", float(found.gap.max()) / scale(found.start, found.end), self.tolerance, words
        )


def line_to(q: Question, units: Sequence[Unit], baseline: str, each: bool = False) -> Lines:
    """The straight line from the baseline (in the slots of `units`; all others stay) to the input, in float32 at least."""
    start, end = wide(fill(q, units, baseline)), wide(q.embeddings())
    return Lines(q, start, end, each=each, end_value=float(q.total(q.value())))


def wide(x: Tensor) -> Tensor:
    """float32 or wider: points of a path in half precision would fall on top of each other."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def path_scores(
    units: Sequence[Unit], lines: Lines, integral: Integral, parts: np.ndarray, check: Check, note: str = ""
) -> Scores:
    """`Scores` from slot parts [S], or, for lines with `each`, [R + 1, S] with the total last."""
    got = by_unit(parts, units)
    total, each = (got[-1], got[:-1]) if lines.each else (got, None)
    notes = (f"{integral.points} gradient steps.", *filter(None, [note]))
    return Scores(total=total, each=each, base_value=float(integral.start[0]), checks=(check,), notes=notes)
