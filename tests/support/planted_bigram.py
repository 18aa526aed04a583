"""Language models whose likelihoods are known by hand: what comes next depends on the token before it, by a table."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from exegete.models.model import Model
from exegete.models.tiny_tokenizer import tiny_tokenizer


class Table(nn.Module):
    """Logits [batch, tok, vocab] = the row of each token's own id, with the interface of a Hugging Face model."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(logits)
        self.config = PreTrainedConfig(vocab_size=len(logits))
        self.read: list[int] = []  # tokens a call

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def get_output_embeddings(self) -> None:
        return None

    def forward(self, input_ids: Tensor, attention_mask: Tensor, use_cache: bool = False) -> SimpleNamespace:
        self.read.append(input_ids.numel())
        return SimpleNamespace(logits=self.table(input_ids))


def bigram(follows: dict[str, dict[str, float]], kind: str = "llama") -> Model:
    """A decoder that says `follows[word][next]` after the last token of a word, by probability, and everything else alike.

    Words are such as the tokenizer reads as one token. Tokens of a row that name no probability share what is left.
    """
    tokenizer = tiny_tokenizer(kind)
    size = len(tokenizer)
    p = torch.full((size, size), 1.0 / size, dtype=torch.float64)
    for word, row in follows.items():
        at, given = one(tokenizer, word), {one(tokenizer, w): x for w, x in row.items()}
        p[at] = (1 - sum(given.values())) / (size - len(given))
        for i, x in given.items():
            p[at, i] = x
    return Model(Table(p.log().float()), tokenizer, "causal", name="bigram")


def one(tokenizer, word: str) -> int:
    """The id of a word of one token ("<s>" and its kin by name)."""
    if word in tokenizer.all_special_tokens:
        return tokenizer.convert_tokens_to_ids(word)
    (found,) = tokenizer(word, add_special_tokens=False)["input_ids"]
    return found
