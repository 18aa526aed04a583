"""Removing heads for real, and what is lost: the task, the masks, the loss.

1. the task of a model on texts: a language model says the text's own next tokens; a masked model fills in tokens of the text
   that were masked (15 %, at least one); the others say their own answer again (or the target that is given). The loss is the
   mean of -log p(right answer), `right` the share of answers that are still the likeliest;
2. every set of removed heads is a row of a batch: z of the removed heads is put to zero, or to its mean over texts and
   tokens, or their attention is made even over what they see (scores all equal); nothing else is touched;
3. in models of one stack a batch starts at the first layer that loses a head; equal sets are run once.

Shapes: masks [set, head] bool, True where a head is kept; losses [set, text].
Cost: 1 forward a text, and at most one a set and text. Reference: Michel et al. 2019, sec. 2.3 (masked heads); Kovaleva et al.
2019, sec. 4.6 (disabled heads attend evenly).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.methods.attention.head_reading import Heads
from exegete.models.capture import Trace
from exegete.models.lab import Lab

How = Literal["zero", "mean", "even"]
MASKED = 0.15  # share of tokens that a masked model is asked for


@dataclass(frozen=True)
class Task:
    """One text's question: inputs of a pass, the rows that are read [1, row] (None: one output a text), the right ids [row]."""

    inputs: dict[str, Tensor]
    rows: Tensor | None
    right: Tensor

    @property
    def length(self) -> int:
        """Tokens that are read."""
        return int(self.inputs["input_ids"].shape[1])


@dataclass
class Removal:
    """Removes heads of one model on some tasks. `means` are those of z by site, where `how` is "mean"."""

    lab: Lab
    heads: Heads
    how: How = "zero"
    means: Mapping[Site, Tensor] = field(default_factory=dict)

    def __call__(self, tasks: Sequence[Task], masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and shares of right answers [set, text]."""
        sets, back = np.unique(masks, axis=0, return_inverse=True)
        loss, right = np.full((2, len(sets), len(tasks)), np.nan)
        with self.lab.working(len(tasks), "removing heads") as step:
            for i, task in enumerate(tasks):
                loss[:, i], right[:, i] = self._text(task, sets)
                step()
        return loss[back.reshape(-1)], right[back.reshape(-1)]

    def _text(self, task: Task, sets: np.ndarray) -> np.ndarray:
        """Loss and share of right answers [2, set]."""
        starts = np.array([self._first(s) for s in sets])
        found = np.full((2, len(sets)), np.nan)
        resid = self._residuals(task) if self._resumes and starts.max(initial=0) > 0 else {}
        for start in np.unique(starts):
            mine = np.flatnonzero(starts == start)
            for part in self.lab.chunks(len(mine), task.length):
                at = mine[part]
                found[:, at] = judged(task, self._run(task, sets[at], int(start), resid).logits)
        return found

    def _run(self, task: Task, sets: np.ndarray, start: int, resid: Mapping[int, Tensor]) -> Trace:
        n, edit = len(sets), self.edit(sets)
        rows = None if task.rows is None else task.rows.expand(n, -1)
        if start in resid:
            entering = resid[start].expand(n, -1, -1)
            return self.lab.resume(task.inputs, start, entering, edit=edit, rows=task.rows)
        inputs = {k: v.expand(n, *v.shape[1:]) for k, v in task.inputs.items()}
        return self.lab.run(inputs, edit=edit, rows=rows)

    def edit(self, sets: np.ndarray) -> dict[Site, Any]:
        """The edits that remove a set of heads in each row of a batch."""
        found = {}
        kind = "scores" if self.how == "even" else "z"
        for a in self.heads.attentions:
            for site in a.kin(kind):
                keep = sets[:, self.heads.slice(site.stack, int(site.layer or 0))]
                if not keep.all():
                    found[site] = Off(torch.from_numpy(np.ascontiguousarray(keep)), self.means.get(site))
        return found

    @property
    def _resumes(self) -> bool:
        return len(self.lab.model.map.stacks) == 1

    def _first(self, keep: np.ndarray) -> int:
        """The first layer that loses a head; the last where none does."""
        if not self._resumes:
            return 0
        lost = [k for s, k in self.heads.layers if not keep[self.heads.slice(s, k)].all()]
        return min(lost, default=self.heads.layers[-1][1])

    def _residuals(self, task: Task) -> dict[int, Tensor]:
        sites = [Site("resid_pre", layer=k, stack=s) for s, k in self.heads.layers if k]
        t = self.lab.run(task.inputs, read=sites, rows=task.rows)
        return {int(s.layer or 0): t[s] for s in sites}


@dataclass(frozen=True, eq=False)
class Off:
    """The edit of one site: heads that are not kept [row, head] get `fill` [head, 1, dh], or zero."""

    keep: Tensor
    fill: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        keep = self.keep.to(x.device)[:, :, None, None]
        return torch.where(keep, x, torch.zeros_like(x) if self.fill is None else self.fill.to(x))


def mean_z(lab: Lab, heads: Heads, tasks: Sequence[Task]) -> dict[Site, Tensor]:
    """Mean of z over texts and tokens [head, 1, dh] by site."""
    total: dict[Site, Tensor] = {}
    n: dict[Site, int] = {}
    sites = [s for a in heads.attentions for s in a.kin("z")]
    for task in tasks:
        t = lab.run(task.inputs, reduce={s: lambda z: z[0].double() for s in sites}, rows=task.rows)
        for s in sites:
            total[s] = total.get(s, 0) + t[s].sum(1, keepdim=True)
            n[s] = n.get(s, 0) + t[s].shape[1]
    return {s: x / n[s] for s, x in total.items()}


def posed(lab: Lab, items: Sequence[Text], target: Target) -> tuple[list[Text], list[Task], int]:
    """The texts that pose a question, their questions, and how many pose none. Raises `InputError` when none does."""
    both = [(text, task) for text, task in zip(items, tasks_of(lab, items, target)) if task is not None]
    if not both:
        raise InputError(
            f"You asked what {lab.model.name} loses without its heads, on {len(items)} texts.",
            "None of them has a token that the model could be asked for.",
            "Give texts of two words or more.",
        )
    return [text for text, _ in both], [task for _, task in both], len(items) - len(both)


def tasks_of(lab: Lab, items: Sequence[Text], target: Target) -> list[Task | None]:
    """The question of each text; None where it poses none (a single token)."""
    own = target.label is None and target.kind == "auto"
    if own and lab.model.task == "causal":
        return [_next_tokens(lab, t) for t in items]
    if own and lab.model.task == "masked":
        return [_masked(lab, t, i) for i, t in enumerate(items)]
    aim = lab.aim(items, target)
    return [_asked(aim.only(i)) for i in range(len(aim))]


def judged(task: Task, logits: Tensor) -> np.ndarray:
    """Mean -log p of the right answers, and the share of them that are the likeliest [2, set]."""
    found = answers(task, logits)
    right = (found.argmax(-1) == task.right).double().mean(-1)
    return torch.stack([losses(task, logits).double(), right]).detach().cpu().numpy()


def losses(task: Task, logits: Tensor) -> Tensor:
    """Mean -log p of the right answers [set], differentiable."""
    log = answers(task, logits).float().log_softmax(-1)
    at = task.right[None, :, None].expand(len(log), -1, 1)
    return -log.gather(-1, at)[..., 0].mean(-1)


def right_logits(task: Task, logits: Tensor) -> Tensor:
    """Sum of the logits of the right answers, differentiable."""
    found = answers(task, logits)
    return found.gather(-1, task.right[None, :, None].expand(len(found), -1, 1)).sum()


def answers(task: Task, logits: Tensor) -> Tensor:
    """Logits of the rows that are read [set, row, class]."""
    if logits.dim() == 2:
        return logits[:, None].expand(-1, len(task.right), -1)
    if task.rows is None or logits.shape[1] == task.rows.shape[1]:
        return logits
    return logits[:, task.rows[0].to(logits.device)]


def _next_tokens(lab: Lab, text: Text) -> Task | None:
    inputs = lab.read([text]).inputs
    ids = inputs["input_ids"]
    if ids.shape[1] < 2:
        return None
    rows = torch.arange(ids.shape[1] - 1, device=ids.device)[None]
    return Task(inputs, rows, ids[0, 1:].clone())


def _masked(lab: Lab, text: Text, i: int) -> Task | None:
    reading = lab.read([text])
    inputs, tokens = reading.inputs, reading.encoded[0].tokens
    mask = lab.model.tokenizer.mask_token_id
    able = [k for k, t in enumerate(tokens) if not t.special and t.id != mask]
    if not able or mask is None:
        return None
    n = max(1, round(MASKED * len(able)))
    chosen = torch.tensor(sorted(lab.rng("masked", i).choice(able, size=n, replace=False).tolist()))
    rows = chosen.to(lab.model.device)[None]
    ids = inputs["input_ids"]
    return Task({**inputs, "input_ids": ids.scatter(1, rows, mask)}, rows, ids[0, rows[0]].clone())


def _asked(aim: Any) -> Task:
    device = aim.inputs["input_ids"].device
    return Task(aim.inputs, aim.positions, torch.tensor([r.id for r in aim.rows[0]], device=device))
