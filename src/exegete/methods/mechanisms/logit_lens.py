"""Logit lens: what would the model say if a layer were its last?

1. read the residual after every layer, and the model's own logits;
2. pass each through the model's own final norm and unembedding (scales, soft caps and biases included);
3. compare with the output: rank of the token finally said, entropy of the guess, KL(output || guess).

Control: the same with the token positions of the residuals shuffled (what the position's own residual adds to the guess).

Cost: one forward a text. Reference: nostalgebraist 2020, "interpreting GPT: the logit lens"; Belrose et al. 2023, sec. 2.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.lens import LensGrid
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.lensing import (
    from_where,
    grid,
    kl,
    log_probabilities,
    middle_row,
    read_layers,
)
from exegete.models.lab import Lab


@register
class LogitLens(Study):
    """What each layer would say if it were the last: its residual, read by the model's own unembedding."""

    id: ClassVar[str] = "logit_lens"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("E34",)
    verb: ClassVar[str] = "lens"
    asks: ClassVar[Any] = "texts"
    most: ClassVar[int | None] = 1
    finds: ClassVar[type] = LensGrid
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "seq2seq")
    reference: ClassVar[Reference] = Reference(
        authors="Belrose et al.", year=2023, title="Eliciting Latent Predictions from Transformers with the Tuned Lens",
        where="arXiv:2303.08112", equation="sec. 2",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "1 forward"
    seed: int = Field(0, description="seed of the shuffled control")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> LensGrid:
        """The grid of one text."""
        aim = lab.aim(items)
        resid, final = read_layers(lab, aim)
        guess = log_probabilities(lab.model.map.unembed(resid))
        order = torch.as_tensor(lab.rng("shuffle").permutation(resid.shape[1]))
        control = kl(final, guess[:, order])
        middle, where = middle_row(len(guess))
        score = Score(
            name=f"KL to the output after {where}",
            value=float(kl(final, guess)[middle].mean()),
            better="lower",
            control=float(control[middle].mean()),
            control_name="the lens on residuals of shuffled positions",
            n=resid.shape[1],
        )
        return LensGrid(
            title="What would each layer say next?",
            lede=from_where(lab, final, guess),
            kl_control=control.double().cpu().numpy(),
            trust=Trust(scores=(score,)),
            **grid(lab, aim, final, guess),
        )
