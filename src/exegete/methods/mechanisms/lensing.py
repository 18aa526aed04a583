"""What lenses share: residuals after every layer, guesses made of them, and the grid that shows the guesses.

1. `read_layers` reads the residual entering layer 0 and leaving every layer, with the model's own log-probabilities;
2. a lens turns residuals [layer + 1, tok, d] into log-probabilities [layer + 1, tok, vocab];
3. `grid` compares them with the output: most probable token, rank of the token finally said, entropy, KL(output || guess).

Cost: one forward. Reference: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from typing import Any

import torch
from torch import Tensor

from exegete.core.site import Site
from exegete.models.lab import Aim, Lab


def lens_sites(lab: Lab) -> list[Site]:
    """Where the residuals of the main stack are read: before layer 0, and after every layer."""
    stack = lab.model.map.stacks[-1]
    after = [Site("resid_post", layer=i, stack=stack) for i in range(lab.model.map.n_layers)]
    return [Site("resid_pre", layer=0, stack=stack), *after]


def read_layers(lab: Lab, aim: Aim) -> tuple[Tensor, Tensor]:
    """Residuals [layer + 1, tok, d] and the model's log-probabilities [tok, vocab] of an aim at one text."""
    sites = lens_sites(lab)
    seen = lab.run(aim.inputs, read=sites)
    return torch.stack([seen[s][0] for s in sites]), log_probabilities(seen.logits[0])


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-probabilities in float32 at least: rounded to half precision they do not sum to 1, and a KL may be negative."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def middle_row(rows: int) -> tuple[int, str]:
    """The row of a lens that is scored, and its name: the middle one, never the last, which is the output itself."""
    middle = min(rows // 2, rows - 2)
    return middle, f"layer {middle - 1}" if middle else "the embedding"


def kl(final: Tensor, guess: Tensor) -> Tensor:
    """KL(final || guess) [layer, tok] of log-probabilities [tok, vocab] and [layer, tok, vocab]."""
    return (final.exp() * (final - guess)).sum(-1)


def grid(lab: Lab, aim: Aim, final: Tensor, guess: Tensor) -> dict[str, Any]:
    """The fields of a lens grid that come from the guesses [layer, tok, vocab] themselves."""
    said = final.argmax(-1)
    mine = guess.gather(-1, said.expand(len(guess), -1)[..., None])
    tops = guess.max(-1)
    return {
        "tokens": aim.tokens[0],
        "layers": ("embedding", *(f"layer {i}" for i in range(len(guess) - 1))),
        "top": tuple(lab.pieces(row.tolist()) for row in tops.indices),
        "probability": tops.values.exp().double().cpu().numpy(),
        "rank": (guess > mine).sum(-1).cpu().numpy(),
        "entropy": -(guess.exp() * guess.masked_fill(guess.isneginf(), 0.0)).sum(-1).double().cpu().numpy(),
        "kl": kl(final, guess).double().cpu().numpy(),
    }


def from_where(lab: Lab, final: Tensor, guess: Tensor) -> str:
    """From which layer on the guess at the last token is what the model finally says, in words."""
    said = final.argmax(-1)
    right = (guess[:, -1].argmax(-1) == said[-1]).tolist()
    first = next((k for k in range(len(right)) if all(right[k:])), len(right))
    word = lab.pieces([int(said[-1])])[0].strip()
    if first == len(right):
        return f"What the model says at the end ({word!r}) is not the first guess after any layer."
    where = "from the embedding" if first == 0 else f"after layer {first - 1}"
    return f"At the last token the guess is {word!r}, which the model finally says, {where} on."
