"""One text's sub-updates: read in one pass, projected on tokens, and changed in real runs.

1. `survey` reads coefficients m [neuron] and the down projection's output at the measured position, the residual before
   every layer, and what the way to the logits needs;
2. `Survey.shares` are m_i <v_i, direction> for chosen tokens: what each unit adds to their logits;
3. `Survey.changed` sets the coefficients of a layer anew, runs on from that layer, and measures the answer and its rival: the
   foil, or else the most probable other token.

Shapes: coefficients [row, neuron]; shares [id, neuron]; values measured [row, 2]. Cost: one forward, and (layers - l) / layers
of one for every row of changed coefficients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import TargetError
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.models.edit import Set
from exegete.models.feedforward import FeedForward, feed_forward, layers_with_units
from exegete.models.lab import Aim, Lab
from exegete.models.promote import Way, at_position, way_sites


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over one text told: its aim, parts and coefficients m [neuron] by layer, residuals [1, tok, d] before
    every layer, `gap` between the sum of sub-updates and the part's own output (relative), `tops` [layer, position], and the
    `values` [2] of the answer and of its rival.
    """

    lab: Lab
    aim: Aim
    parts: dict[int, FeedForward]
    act: dict[int, Tensor]
    resid: tuple[Tensor, ...]
    way: Way
    rival: int
    values: np.ndarray
    gap: float
    tops: np.ndarray

    @property
    def position(self) -> int:
        """Where the output is measured."""
        return position_of(self.aim)

    @property
    def id(self) -> int:
        """The token that is measured."""
        return self.aim.rows[0][0].id

    @property
    def foil(self) -> int | None:
        """The token that it is compared with, where there is one."""
        return self.aim.rows[0][0].foil

    def seen(self, drawn: Sequence[int]) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
        """By layer: what coefficient 1 of each unit adds to the logit of the answer (less the foil's) [neuron], of the rival
        [neuron], and of drawn tokens [draw, neuron].
        """
        ids = torch.tensor([self.id, self.rival, *drawn], device=self.resid[0].device)[:, None]
        found = {}
        for layer, u in self.way.directions(ids):
            if layer in self.parts:
                each = u[:, 0] @ self.parts[layer].weight.T
                mine = each[0] if self.foil is None else each[0] - each[1]
                found[layer] = (mine, each[1], each[2:])
        return found

    def changed(self, layer: int, coefficients: Tensor) -> np.ndarray:
        """Values [row, 2] of answer and rival with each row of coefficients [row, neuron] in the place of the layer's own."""
        lab, resid, found = self.lab, self.resid[layer], []
        site = self.parts[layer].act
        for rows in lab.chunks(len(coefficients), resid.shape[1]):
            new = Set(coefficients[rows][:, None], positions=[self.position])
            given = resid.expand(len(coefficients[rows]), -1, -1)
            out = lab.resume(
                self.aim.inputs, layer, given, stack=site.stack, edit={site: new}, rows=self.aim.positions
            )
            found.append(_values(self.aim, out.logits, self.rival))
        return np.concatenate(found)


def aimed(lab: Lab, item: object, target: Target) -> Aim:
    """The aim at one text. Raises `TargetError` for scales that are no sums, and for continuations of several tokens."""
    if target.scale not in ("auto", "logit", "logprob"):
        raise TargetError(
            f"You asked about feed-forward units on the scale {target.scale!r}.",
            "What a unit adds is added to logits.",
            "Leave the scale out, or give scale='logprob'; a foil (against=...) makes it log-odds.",
        )
    aim = lab.aim([Text.of(item)], target.model_copy(update={"scale": "logit"}))
    if len(aim.rows[0]) > 1:
        raise TargetError(
            "You asked which units wrote a continuation of several tokens.",
            "Each of its tokens is predicted at a position of its own.",
            "Give an answer of one token.",
        )
    return aim


def position_of(aim: Aim) -> int:
    """The one position at which an aim at a language model is measured."""
    row = aim.rows[0][0].position
    return 0 if row is None else row


def survey(lab: Lab, aim: Aim) -> Survey:
    """Read one text. Raises `SiteError` where no layer's hidden units can be seen."""
    bound = lab.model.map
    stack, n = bound.stacks[-1], bound.n_layers
    parts = {i: feed_forward(bound, i, stack) for i in layers_with_units(bound, stack)}
    whole = [Site("resid_pre", layer=i, stack=stack) for i in range(n)]
    whole.append(Site("resid_post", layer=n - 1, stack=stack))
    pick = at_position(torch.tensor([position_of(aim)]))
    units = [s for p in parts.values() for s in (p.act, p.out)]
    reduced = {s: pick for s in (*way_sites(bound, stack), *units) if s not in whole}
    seen = lab.run(aim.inputs, read=whole, reduce=reduced)
    rival = _rival(aim, seen.logits)
    at = {s: pick(seen[s]) if s in whole else seen[s] for s in (*whole, *reduced)}
    return Survey(
        lab,
        aim,
        parts,
        {i: at[p.act][0] for i, p in parts.items()},
        tuple(seen[s] for s in whole[:n]),
        Way(bound, stack, at),
        rival,
        _values(aim, seen.logits, rival)[0],
        max(_gap(p, at[p.act], at[p.out]) for p in parts.values()),
        _tops(lab, aim, torch.cat([seen[s] for s in whole[1:]])),
    )


def _measured(aim: Aim, logits: Tensor) -> Tensor:
    """Log-probabilities [row, vocab] where the output is measured, from logits of whole texts or of that position."""
    at = 0 if logits.shape[1] == 1 else position_of(aim)
    return logits[:, at].double().log_softmax(-1)


def _rival(aim: Aim, logits: Tensor) -> int:
    """The foil, or else the most probable token beside the answer."""
    row = aim.rows[0][0]
    if row.foil is not None:
        return row.foil
    logp = _measured(aim, logits)[0].clone()
    logp[row.id] = -torch.inf
    return int(logp.argmax())


def _values(aim: Aim, logits: Tensor, rival: int) -> np.ndarray:
    """Values [row, 2]: log-probability of the answer (log-odds with a foil), log-probability of the rival."""
    logp, row = _measured(aim, logits), aim.rows[0][0]
    mine = logp[:, row.id] - (logp[:, row.foil] if row.foil is not None else 0.0)
    return torch.stack([mine, logp[:, rival]], 1).cpu().numpy()


def _gap(part: FeedForward, act: Tensor, out: Tensor) -> float:
    """How far the sum of sub-updates and bias is from what the part writes, relative to the largest entry."""
    summed = (act[..., None].float() * part.weight).sum(-2) + part.bias
    return float((summed - out).abs().max() / out.abs().max().clamp_min(1e-6))


def _tops(lab: Lab, aim: Aim, after: Tensor) -> np.ndarray:
    """The most probable token after each layer [layer, position]: everywhere in a decoder's text, else where measured."""
    rows = after if lab.model.causal else after[:, [position_of(aim)]]
    return np.stack([lab.model.map.unembed(x).argmax(-1).cpu().numpy() for x in rows])
