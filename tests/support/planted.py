"""A classifier whose answer is known by construction: the logit of "yes" is the sum of one weight a token, "no" is zero.

Every token's relevance is its weight, whatever stands beside it; a masked or missing token adds nothing.
"""

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny import tiny


class Additive(nn.Module):
    """Logits (0, sum of token weights), with the interface of a Hugging Face classifier."""

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.tensor(weights, dtype=torch.float32)[:, None])
        self.config = PreTrainedConfig(num_labels=2, id2label={0: "no", 1: "yes"}, vocab_size=len(weights))

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        total = (self.table(input_ids)[..., 0] * attention_mask).sum(1)
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(total), total], 1))


def additive(seed: int = 0, weights: dict[int, float] | None = None) -> Model:
    """The planted model over the tiny WordPiece vocabulary; special tokens weigh nothing. `weights` sets some by id."""
    tokenizer = tiny("bert", "sequence")[1]
    table = np.random.default_rng(seed).normal(size=len(tokenizer))
    table[tokenizer.all_special_ids] = 0
    for i, w in (weights or {}).items():
        table[i] = w
    return load((Additive(table).eval(), tokenizer), task="sequence")


def weights_of(model: Model, ids: np.ndarray) -> np.ndarray:
    """The planted weight of each token id."""
    return model.module.table.weight[torch.as_tensor(ids), 0].numpy()


def some_ids(model: Model, n: int, seed: int = 0) -> tuple[int, ...]:
    """`n` different ordinary tokens."""
    special = set(model.tokenizer.all_special_ids)
    usable = [i for i in range(len(model.tokenizer)) if i not in special]
    return tuple(int(i) for i in np.random.default_rng(seed).choice(usable, size=n, replace=False))
