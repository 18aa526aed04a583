"""Writing one fact as a rank-one change of a down projection W [unit, d]: which key, which value.

1. the prompt stands alone and after each of several beginnings; the key k* is the mean of the hidden units at the edited
   token over them;
2. the direction r = C^-1 k* / (k* C^-1 k*) is where other keys are disturbed least (`ops.rank_one`);
3. what is written along it, L [d], is found by gradient descent (Adam, falling rate) on the mean of -log p(new answer)
   over the prompts, plus `kl` times KL(before || after) of what the model says to "{subject} is a" (the essence), plus
   `decay` times |L|^2 / |v|^2, where |L| stays within `clamp` |v| and v is what the part wrote before;
4. W + r L^T is the edit.

While L is sought, every token of every prompt gets (act . r) L, as it will from the changed W: the published method changes
the edited token alone, which is not what the edited model then computes.

Cost: one forward, then a forward and a backward a step, each of the prompts, and from the layer on.
Reference: Meng et al. 2022, arXiv:2202.05262, sec. 3.1, eq. 3-4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from exegete.core.material import Fact
from exegete.core.results.edits import SiteEdit, WeightDelta
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.models.encode import Encoded
from exegete.models.feedforward import FeedForward
from exegete.models.lab import Aim, Lab
from exegete.ops.rank_one import direction

Token = Literal["subject", "last"]
Loss = Callable[
    [Tensor], tuple[Tensor, Tensor]
]  # of a value: (-log p of what is wanted, the rest of the objective)


@dataclass(frozen=True)
class Recipe:
    """How the value is sought; see the module."""

    n_steps: int
    rate: float
    kl: float
    decay: float
    clamp: float
    ridge: float
    enough: float = 0.05  # mean -log p(new) at which to stop: 95 % on the prompts


@dataclass(frozen=True, eq=False)
class Sheet:
    """The prompts of a fact, the last of them the essence; `at` [prompt] the edited token of each."""

    aim: Aim
    at: Tensor


@dataclass(frozen=True, eq=False)
class Written:
    """What is written into a part: r `along` [unit], L `value` [d], with the mean `key` [unit] and the steps it took."""

    part: FeedForward
    key: np.ndarray
    along: np.ndarray
    value: np.ndarray
    steps: int
    loss: float

    @property
    def delta(self) -> WeightDelta:
        """The change of W."""
        return self.part.delta(self.along[None], self.value[None])

    def blind(self) -> WeightDelta:
        """The same value for the same key, with no regard to other keys (C = I)."""
        return self.part.delta((self.key / (self.key @ self.key))[None], self.value[None])

    def unkeyed(self) -> SiteEdit:
        """The same value written at every token, whatever its key."""
        return SiteEdit(site=str(self.part.out), how="add", value=self.value)

    def random(self, rng: np.random.Generator) -> WeightDelta:
        """A rank-one change of the same size in random directions."""
        size = np.linalg.norm(self.along) * np.linalg.norm(self.value)
        a, b = (x / np.linalg.norm(x) for x in (rng.normal(size=len(v)) for v in (self.along, self.value)))
        return self.part.delta(size * a[None], b[None])


def sheet(lab: Lab, fact: Fact, prefixes: tuple[str, ...], essence: str, token: Token) -> Sheet:
    """The prompts of a fact, with its new answer as what is to be said."""
    starts = ["", *prefixes]
    texts = [*(s + fact.prompt for s in starts), essence.replace("{subject}", fact.subject)]
    aim = lab.aim(texts, [Target(label=fact.new, scale="logprob")] * len(texts))
    ends = [len(s) + fact.span[1] for s in starts] + [texts[-1].rindex(fact.subject) + len(fact.subject)]
    at = [rows[0].position if token == "last" else _last_before(e, end) for rows, e, end in zip(aim.rows, aim.encoded, ends)]  # fmt: skip
    return Sheet(aim, torch.tensor(at, device=lab.model.device))


def write(lab: Lab, part: FeedForward, moment: np.ndarray, given: Sheet, recipe: Recipe) -> Written:
    """The change of `part` that makes the model complete the sheet's prompts with its new answer."""
    entrance = Site("resid_pre", layer=part.layer, stack=part.act.stack)
    aim, rows = given.aim, given.aim.positions
    seen = lab.run(aim.inputs, read=[entrance, part.act, part.out], rows=rows)
    every = torch.arange(len(given.at), device=given.at.device)
    keys = seen[part.act][every, given.at][:-1].double().cpu().numpy()
    key = keys.mean(0)
    along = direction(moment, key, recipe.ridge)
    act = seen[part.act]
    share = (act.double() @ torch.from_numpy(along).to(act.device)).to(torch.float32)[..., None]
    size = float(seen[part.out][0, given.at[0]].float().norm())
    before = _essence(aim, seen.logits).detach()

    def loss(value: Tensor) -> tuple[Tensor, Tensor]:
        def add(out: Tensor) -> Tensor:
            return out + (share.to(out.device) * value).to(out.dtype)

        t = lab.resume(
            aim.inputs, part.layer, seen[entrance], stack=part.act.stack, edit={part.out: add}, keep_graph=True, rows=rows
        )  # fmt: skip
        wanted = -aim.measure(t.logits)[:-1].mean()
        kept = (before.exp() * (before - _essence(aim, t.logits))).nan_to_num(0.0).sum()
        return wanted, recipe.kl * kept + recipe.decay * (value.norm() / size) ** 2

    value, steps, reached = _descend(lab, loss, seen[part.out].shape[-1], size, recipe)
    lab.meter.backwards += steps * (len(aim) - 1)  # each went through all prompts
    return Written(part, key, along, value.double().cpu().numpy(), steps, reached)


def _descend(lab: Lab, loss: Loss, width: int, size: float, recipe: Recipe) -> tuple[Tensor, int, float]:
    """(L, steps taken, loss reached) of the descent from L = 0."""
    value = torch.zeros(1, width, device=lab.model.device, requires_grad=True)
    rate = recipe.rate * size / width**0.5  # in units of what one entry of v is
    optimiser, reached = torch.optim.Adam([value], lr=rate), float("inf")
    for step in range(recipe.n_steps):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / recipe.n_steps)
        with torch.enable_grad():
            wanted, rest = loss(value)
        reached = float(wanted.detach())
        if reached < recipe.enough:
            return value.detach()[0], step, reached
        (value.grad,) = lab.gradients(wanted + rest, [value])
        optimiser.step()
        with torch.no_grad():
            value *= min(1.0, recipe.clamp * size / max(float(value.norm()), 1e-12))
    with torch.no_grad():
        reached = float(loss(value)[0])
    return value.detach()[0], recipe.n_steps, reached


def _essence(aim: Aim, logits: Tensor) -> Tensor:
    """Log-probabilities [vocab] after the last text of the aim."""
    return aim.at_rows(logits)[-1, 0].float().log_softmax(-1)


def _last_before(encoded: Encoded, end: int) -> int:
    """The last token that begins before the character `end`."""
    return max(i for i, t in enumerate(encoded.tokens) if 0 <= t.start < end and not t.special)
