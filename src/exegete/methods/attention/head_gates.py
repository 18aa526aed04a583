"""L0 gates on heads: learn which heads a frozen model can do without.

1. every head's output z is multiplied by a Hard-Concrete gate; all gates start open;
2. minimise the loss of the task plus `penalty` times the mean probability of an open gate, over the gates alone (Adam): the
   weights of the model are never touched;
3. heads are ordered by how closed their gate ended; a gate is closed where it is open with probability under 1/2.

Cost: `batch` forwards and backwards a step. Reference: Voita et al. 2019, "Analyzing Multi-Head Self-Attention", sec. 6.1 (there
the weights go on training with the gates; here they stay, so that it is the given model that is explained).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.site import Site
from exegete.methods.attention.head_reading import Heads
from exegete.methods.attention.head_removal import Task, losses
from exegete.models.lab import Lab
from exegete.ops.hard_concrete import open_probability, sampled

START = 2.0  # log-location of a gate at first: open with probability 0.98
RATE = 0.1


@dataclass(frozen=True)
class Gates:
    """`location` and probability of being `open` of each gate [head]; `history` [step] is the loss with its penalty."""

    location: np.ndarray
    open: np.ndarray
    history: np.ndarray

    @property
    def closed(self) -> np.ndarray:
        """Heads whose gate is closed [head] bool."""
        return self.open < 0.5


def train_gates(
    lab: Lab, heads: Heads, tasks: Sequence[Task], n_steps: int, batch: int, penalty: float
) -> Gates:
    """Gates learned on the tasks, `batch` of them a step in turn."""
    with torch.enable_grad():
        location = torch.full((len(heads),), START, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([location], lr=RATE)
        history = []
        with lab.working(n_steps, "training gates") as step:
            for k in range(n_steps):
                mine = [tasks[(k * batch + i) % len(tasks)] for i in range(min(batch, len(tasks)))]
                history.append(_step(lab, heads, mine, location, penalty, k))
                optimiser.step()
                step()
        probability = open_probability(location).detach().numpy()
    return Gates(location.detach().numpy().copy(), probability, np.array(history))


def gate_edit(heads: Heads, gates: Tensor) -> dict[Site, Any]:
    """The edit that multiplies z of every head by its gate [head]."""

    def times(site: Site) -> Any:
        mine = gates[heads.slice(site.stack, int(site.layer or 0))]
        return lambda z: z * mine.to(z)[None, :, None, None]

    return {s: times(s) for a in heads.attentions for s in a.kin("z")}


def _step(lab: Lab, heads: Heads, tasks: Sequence[Task], location: Tensor, penalty: float, k: int) -> float:
    """The loss of one step; leaves its gradient on `location`."""
    draw = lab.rng("gates", k)
    total = penalty * open_probability(location).mean()
    value = float(total.detach())
    (slope,) = torch.autograd.grad(total, [location])
    for task in tasks:
        u = torch.from_numpy(draw.uniform(1e-6, 1 - 1e-6, len(heads)))
        edit = gate_edit(heads, sampled(location, u))
        logits = lab.run(task.inputs, edit=edit, keep_graph=True, rows=task.rows).logits
        loss = losses(task, logits).sum() / len(tasks)
        slope = slope + lab.gradients(loss, [location])[0]
        lab.meter.backwards += 1 - len(location)  # one row, whatever the number of gates
        value += float(loss.detach())
    location.grad = slope
    return value
