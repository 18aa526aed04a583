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
from torch import Tensor

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.lens import LensGrid
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
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
        model_map = lab.model.map
        stack = model_map.stacks[-1]
        layers = range(model_map.n_layers)
        aim = lab.aim(items)
        sites = [
            Site("resid_pre", layer=0, stack=stack),
            *(Site("resid_post", layer=i, stack=stack) for i in layers),
        ]
        seen = lab.run(aim.inputs, read=sites)
        final = seen.logits[0].log_softmax(-1)
        resid = torch.stack([seen[s][0] for s in sites])
        guess = model_map.unembed(resid).log_softmax(-1)
        order = torch.as_tensor(lab.rng("shuffle").permutation(resid.shape[1]))
        control = _kl(final, guess[:, order])
        kl, said = _kl(final, guess), final.argmax(-1)
        mine = guess.gather(-1, said.expand(len(guess), -1)[..., None])
        tops = guess.max(-1)
        middle = len(sites) // 2
        score = Score(
            name=f"KL to the output after layer {middle}",
            value=float(kl[middle].mean()),
            better="lower",
            control=float(control[middle].mean()),
            control_name="the lens on residuals of shuffled positions",
            n=resid.shape[1],
        )
        return LensGrid(
            title="What would each layer say next?",
            lede=_found(guess, said, lab),
            tokens=aim.tokens[0],
            layers=("embedding", *(f"layer {i}" for i in layers)),
            top=tuple(lab.pieces(row.tolist()) for row in tops.indices),
            probability=tops.values.exp().double().cpu().numpy(),
            rank=(guess > mine).sum(-1).cpu().numpy(),
            entropy=-(guess.exp() * guess.masked_fill(guess.isneginf(), 0.0)).sum(-1).double().cpu().numpy(),
            kl=kl.double().cpu().numpy(),
            kl_control=control.double().cpu().numpy(),
            trust=Trust(scores=(score,)),
        )


def _kl(final: Tensor, guess: Tensor) -> Tensor:
    """KL(final || guess) [layer, tok] of log-probabilities [tok, vocab] and [layer, tok, vocab]."""
    return (final.exp() * (final - guess)).sum(-1)


def _found(guess: Tensor, said: Tensor, lab: Lab) -> str:
    """From which layer on the guess at the last token is what the model finally says."""
    right = (guess[:, -1].argmax(-1) == said[-1]).tolist()
    first = next((k for k in range(len(right)) if all(right[k:])), len(right))
    word = lab.pieces([int(said[-1])])[0].strip()
    if first == len(right):
        return f"What the model says at the end ({word!r}) is not the first guess after any layer."
    where = "from the embedding" if first == 0 else f"after layer {first - 1}"
    return f"At the last token the guess is {word!r}, which the model finally says, {where} on."
