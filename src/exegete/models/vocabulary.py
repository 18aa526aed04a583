"""Both ends of a decoder as tables over the vocabulary: what a token puts into the residual, and what a residual says.

    entering    [token, d] what a token alone puts into the residual of layer 0: embedding, scale, projection and norm of the
                embedding included, the position's share taken off. One look-up; the pass stops where layer 0 begins
    leaving     [token, d] and constant [token]: logit = <x, leaving> / (scale of the final norm at x) + constant, before a
                soft cap; final norm (gain and centring), projections, factors on residual and logits included

Cost: no pass of the layers; the head on one residual. Memory: two tables [vocabulary, d]; both take a slice of ids, so that
what is made of them can be summed chunk by chunk. Reference: Elhage et al. 2021 (W_E and W_U, with the norm's scale apart).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from exegete.core.errors import ModelError
from exegete.core.site import Site
from exegete.models.capture import run
from exegete.models.edit import Set
from exegete.models.family import ModelMap
from exegete.models.model import Model
from exegete.models.norms import freeze
from exegete.models.readout import readout

_CHUNK = 4096


class _EnoughError(Exception):
    """Layer 0 has been reached."""

    def __init__(self, resid: Tensor) -> None:
        self.resid = resid


@dataclass(frozen=True, eq=False)
class Leaving:
    """`direction` [token, d] and `constant` [token] of the logits of some tokens; `cap` of the soft cap that follows, if any."""

    direction: Tensor
    constant: Tensor
    cap: float | None = None

    def logits(self, resid: Tensor, scale: Tensor) -> Tensor:
        """Logits [n, token] as the model gives them, of residuals [n, d] at scales [n] of the final norm."""
        found = scale[:, None] * (resid @ self.direction.T) + self.constant
        return found if self.cap is None else torch.tanh(found / self.cap) * self.cap


def entering(model: Model, ids: Tensor) -> Tensor:
    """What each of `ids` [n] puts into the residual of layer 0, [n, d], less the share of its position."""
    parts = [_first(model, some) for some in ids.to(model.device).split(_CHUNK)]
    nothing = _first(model, ids[:1].to(model.device), blank=True)
    return torch.cat(parts) - nothing


def leaving(bound: ModelMap, ids: Tensor) -> Leaving:
    """The direction in the last residual that speaks for each of `ids` [n], at scale 1 of the final norm."""
    scale = 1.0
    like = next(p for p in bound.module.parameters() if p.is_floating_point())
    home = bound.home or like.device
    x = torch.randn(1, bound.d_model, generator=torch.Generator().manual_seed(0)).to(home)
    norm = bound.at(bound.tower().norm) if bound.tower().norm else None
    if norm is not None:
        scale = float(freeze(norm.forward, x.to(like.dtype)).scale)
    found = readout(bound, x.to(like.dtype), ids.to(home)[:, None])
    return Leaving(found.direction[:, 0] / scale, found.constant[:, 0], found.cap)


def final_scale(bound: ModelMap, resid: Tensor) -> Tensor:
    """The scale of the final norm at residuals [..., d]: [...]; ones where there is no norm."""
    if not bound.tower().norm:
        return torch.ones_like(resid[..., 0])
    return freeze(bound.at(bound.tower().norm).forward, resid).scale[..., 0]


def usual_ids(model: Model) -> Tensor:
    """Ids of ordinary tokens: in the vocabulary of tokenizer and model, and not special."""
    special = set(model.tokenizer.all_special_ids)
    size = min(len(model.tokenizer), model.vocabulary)
    found = [i for i in range(size) if i not in special]
    if not found:
        raise ModelError(
            f"You asked for ordinary tokens of {model.name}.",
            "Its tokenizer has none but special ones.",
            "Load the model with its own tokenizer.",
        )
    return torch.tensor(found)


def opening(model: Model) -> list[int]:
    """Ids that the tokenizer puts in front of a text: the beginning-of-text token, or none."""
    first = getattr(model.tokenizer, "bos_token_id", None)
    empty = list(model.tokenizer("")["input_ids"])
    return [int(first)] if first is not None and empty[:1] == [first] else []


def _first(model: Model, ids: Tensor, blank: bool = False) -> Tensor:
    """The residual [n, d] that enters layer 0 on texts of one token; `blank`: with an embedding of zeros."""
    site = Site("resid_pre", layer=0, stack=model.map.stacks[-1])

    def stop(resid: Tensor) -> None:
        raise _EnoughError(resid[:, 0].detach().clone())

    edit = {Site("embed", stack=model.map.stacks[-1]): Set(0.0)} if blank else {}
    try:
        run(model, {"input_ids": ids[:, None], "use_cache": False}, edit=edit, reduce={site: stop})
    except _EnoughError as reached:
        return reached.resid
    raise ModelError(
        f"You asked what tokens put into the residual of {model.name}.",
        "Its first layer was never reached.",
        "Use a model whose layers run in order.",
    )
