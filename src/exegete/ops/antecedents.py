"""Antecedents by similarity: one matrix W of low rank under which a pronoun lies near what it stands for, and little else.

1. the probability of candidate c of a pronoun p is proportional to exp(W p . W c), or to exp(t cos(W p, W c)) with one number t;
2. values are centred by the mean of what a fold learns from (a mean over all would tell the fold what it is asked about);
3. W is trained so that the right candidates together have as much as they can, minus decay x |W|^2, full batch, by Adam from a
   small seeded start; several folds are trained at once, each on its own pronouns;
4. a pronoun is resolved to its likeliest candidate; candidates that tie share the hit.

Cost: O(steps x folds x mentions x width x rank), no model. Shapes: pronouns [pronoun, width], candidates [pronoun, most, width],
there and right [pronoun, most]; weights [fold, rank, width].
Reference: Sorodoc et al. 2020, "Probing for Referential Information in Language Models".
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from exegete.core.seed import generator

Similarity = Literal["bilinear", "cosine"]


@dataclass(frozen=True)
class Training:
    """Rank of W, steps, learning rate, weight decay, what is compared, and the seed of the start."""

    rank: int = 4
    n_steps: int = 200
    rate: float = 0.02
    decay: float = 0.01
    similarity: Similarity = "bilinear"
    seed: int = 0


def train(
    pronouns: Tensor, candidates: Tensor, there: Tensor, right: Tensor, learn: Tensor, how: Training
) -> Tensor:
    """Scores [fold, pronoun, most] of all candidates (-inf where there is none), trained on `learn` [fold, pronoun] each.

    Values should have about unit mean square; `right` marks at least one candidate of every pronoun.
    """
    n_folds, width = len(learn), pronouns.shape[1]
    start = generator(how.seed, "antecedents").normal(size=(1, how.rank, width)) / np.sqrt(width)
    w = torch.tensor(start, dtype=pronouns.dtype).repeat(n_folds, 1, 1).requires_grad_()
    heat = torch.zeros(n_folds, dtype=pronouns.dtype, requires_grad=True)  # log of what cosines are scaled by
    adam = torch.optim.Adam([w, heat], lr=how.rate)
    share = learn.to(pronouns.dtype) / learn.sum(1, keepdim=True)
    middle = _middle(pronouns, candidates, there, learn)
    with torch.enable_grad():
        for _ in range(how.n_steps):
            adam.zero_grad()
            logp = _scores(w, heat, middle, pronouns, candidates, there, how.similarity).log_softmax(2)
            lost = -logp.masked_fill(~right, -torch.inf).logsumexp(2)
            loss = (lost * share).sum() + how.decay * w.pow(2).sum()
            loss.backward()
            adam.step()
    return _scores(w.detach(), heat.detach(), middle, pronouns, candidates, there, how.similarity)


def cosines(pronouns: Tensor, candidates: Tensor, there: Tensor) -> Tensor:
    """Cosine of every pronoun with its candidates as they are [pronoun, most]; -inf where there is none."""
    found = torch.cosine_similarity(pronouns[:, None], candidates, dim=2)
    return found.masked_fill(~there, -torch.inf)


def hits(scores: Tensor, right: Tensor) -> np.ndarray:
    """1 where the likeliest candidate is right, 0 where it is not, the share of right ones where several tie [..., pronoun]."""
    best = scores >= scores.max(-1, keepdim=True).values - 1e-6
    return ((best & right).sum(-1) / best.sum(-1)).double().numpy()


def _middle(pronouns: Tensor, candidates: Tensor, there: Tensor, learn: Tensor) -> Tensor:
    """Mean of all mentions a fold learns from [fold, width]."""
    own = learn.to(pronouns.dtype)
    total = own @ (pronouns + (candidates * there[:, :, None]).sum(1))
    return total / (own @ (1.0 + there.sum(1).to(pronouns.dtype)))[:, None]


def _scores(
    w: Tensor, heat: Tensor, middle: Tensor, pronouns: Tensor, candidates: Tensor, there: Tensor, similarity: str
) -> Tensor:  # fmt: skip
    """[fold, pronoun, most]."""
    m = torch.einsum("frd,fd->fr", w, middle)
    p = torch.einsum("frd,pd->fpr", w, pronouns) - m[:, None]
    c = torch.einsum("frd,pcd->fpcr", w, candidates) - m[:, None, None]
    if similarity == "cosine":
        p, c = torch.nn.functional.normalize(p, dim=-1), torch.nn.functional.normalize(c, dim=-1)
        c = c * heat.exp()[:, None, None, None]
    return torch.einsum("fpr,fpcr->fpc", p, c).masked_fill(~there, -torch.inf)
