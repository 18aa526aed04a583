"""A classifier that is attention and little else, with or without a task-scaled score beside every weight.

    h_i = tanh(W e_i),   a = softmax_i(v . tanh(Q h_i)),   logits = O sum_i a_i s_i h_i

e_i are embeddings of whole words; s_i = 1 in the plain form, else it is learned with everything else:
    lin     s_i = sum_d u_w e_id             one number u_w a word of the vocabulary
    feat    s_i = sum_d u_wd e_id            a vector u_w a word
    conv    s_i = sum_c of a convolution over three neighbours of u_wd e_id

Shapes: ids [batch, tok]; a and s [batch, tok]. Cost: one small pass.
Reference: Chrysostomou & Aletras 2021 (arXiv:2105.02657), section 3 (Lin-, Feat- and Conv-TaSc, on the encoder "MLP").
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

Scaling = Literal["plain", "lin", "feat", "conv"]
NEIGHBOURS = 3


class AttentionClassifier(nn.Module):
    """Called as a Hugging Face classifier is; `attend` gives the weights and the scores beside them."""

    def __init__(self, vocabulary: int, labels: Sequence[str], width: int, scaling: Scaling) -> None:
        super().__init__()
        self.scaling = scaling
        config: Any = PreTrainedConfig(
            id2label=dict(enumerate(labels)), label2id={x: i for i, x in enumerate(labels)}
        )
        config.vocab_size = vocabulary
        self.config = config
        self.table = nn.Embedding(vocabulary, width)
        self.hidden = nn.Linear(width, width)
        self.look = nn.Linear(width, width)
        self.ask = nn.Linear(width, 1, bias=False)
        self.score = nn.Linear(width, len(labels))
        if scaling != "plain":
            self.task = nn.Embedding(vocabulary, 1 if scaling == "lin" else width)
        if scaling == "conv":
            self.near = nn.Conv1d(width, width, NEIGHBOURS, padding=NEIGHBOURS // 2)

    def get_input_embeddings(self) -> nn.Module:
        """The table of words."""
        return self.table

    def attend(
        self, input_ids: Tensor, attention_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states [batch, tok, width], attention [batch, tok], and scores [batch, tok]."""
        seen = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        e = self.table(input_ids)
        h = torch.tanh(self.hidden(e))
        weight = self.ask(torch.tanh(self.look(h)))[..., 0].masked_fill(seen == 0, -torch.inf).softmax(-1)
        return h, weight, self._scores(input_ids, e * seen[..., None])

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SimpleNamespace:
        """Logits [batch, class]."""
        h, weight, score = self.attend(input_ids, attention_mask)
        return SimpleNamespace(logits=self.score(((weight * score)[..., None] * h).sum(1)))

    def _scores(self, ids: Tensor, e: Tensor) -> Tensor:
        if self.scaling == "plain":
            return torch.ones_like(e[..., 0])
        scaled = self.task(ids) * e
        if self.scaling == "conv":
            scaled = self.near(scaled.transpose(1, 2)).transpose(1, 2)
        return scaled.sum(-1)
