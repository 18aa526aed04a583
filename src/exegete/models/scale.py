"""From logits to the values that are explained: logit, log-probability, probability, loss, entropy, and contrasts.

Half-precision logits are widened first. A contrast is the difference of two entries on the same scale; NaN and infinity
are refused with a letter instead of passed on. Shapes: [batch, row, vocab] -> [batch, row].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from exegete.core.errors import ModelError


@dataclass(frozen=True)
class Row:
    """One output: where it is read (index in its stack; None for a pooled classifier), the id scored, the foil, its name."""

    position: int | None
    id: int
    foil: int | None = None
    label: str = ""


def score(
    logits: Float[Tensor, "batch row vocab"], rows: Sequence[Row], scale: str
) -> Float[Tensor, "batch output"]:
    """Values [batch, row] on a scale, from logits [batch, row, vocab]; float32 at least."""
    x = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    if scale == "entropy":
        log = x.log_softmax(-1)
        return -(log.exp() * log.masked_fill(log.isneginf(), 0.0)).sum(-1)  # 0 log 0 = 0
    if scale == "prob":
        x = x.softmax(-1)
    elif scale in ("logprob", "loss"):
        x = x.log_softmax(-1)
    ids = torch.tensor([r.id for r in rows], device=x.device)
    values = _at(x, ids)
    if rows[0].foil is not None:
        values = values - _at(x, torch.tensor([r.foil for r in rows], device=x.device))
    return -values if scale == "loss" else values


def _at(x: Tensor, ids: Tensor) -> Tensor:
    x = x.expand(-1, len(ids), -1)  # several classes may be read from one pooled row
    return x.gather(-1, ids[None, :, None].expand(len(x), -1, 1))[..., 0]


def finite(values: Tensor, what: str) -> None:
    """Refuse NaN and infinity with a letter instead of passing them on; logits of minus infinity rule an answer out."""
    inside = values.isnan() | values.isposinf() if what == "output" else ~values.isfinite()
    if bool(inside.any()):
        raise ModelError(
            "You asked to explain a model's output.",
            f"The model returns NaN or infinite values (in its {what}).",
            "Its weights may be damaged, or its precision too low: try dtype='float32'.",
        )
