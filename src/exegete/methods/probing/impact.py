"""Impact between words: how far what a masked model makes of one word changes when another is masked as well.

1. the tokens of word i are masked, and those of i and j: F_ij compares what stands at the first token of i in the two inputs;
   distance     |h_i(without i) - h_i(without i and j)| after every layer
   probability  log p(x_i | without i) - log p(x_i | without i and j), in nats, at the output alone
2. the input without i and j serves F_ij and F_ji, so that n (n + 1) / 2 inputs are run instead of n^2; they are batched under the
   token budget, and a sentence that was read before is not read again;
3. words that do not count (punctuation) stay in the sentence and are never masked.

Cost: n (n + 1) / 2 forwards for n words that count. Shapes: impact [layer, word, word] of the words that count.
Reference: Wu et al. 2020, "Perturbed Masking: Parameter-free Probing for Analyzing and Interpreting BERT", sec. 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import ModelError
from exegete.core.material import Parsed
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.models.encode import Encoded, encode
from exegete.models.lab import Lab

Metric = Literal["distance", "probability"]


@dataclass
class Impact:
    """Reads impact of one model at `sites` (none for the probability, which is read at the output)."""

    lab: Lab
    sites: tuple[Site, ...]
    metric: Metric
    _known: dict[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]], np.ndarray] = field(default_factory=dict)  # fmt: skip

    @property
    def mask(self) -> int:
        """The id of the mask. Raises `ModelError` where the tokenizer has none."""
        found = getattr(self.lab.model.tokenizer, "mask_token_id", None)
        if found is None:
            raise ModelError(
                f"You asked for perturbed masking on {self.lab.model.name}.",
                "Its tokenizer has no mask: a model that reads from left to right has never seen a word left out.",
                "Use a masked model, such as terrarium/encoder.",
            )
        return int(found)

    def of(self, tree: Parsed, counts: np.ndarray) -> np.ndarray | None:
        """Impact [layer, word, word] between the words that count; None where one of them has no token of its own."""
        encoded = encode(self.lab.model, Text(text=tree.text, truncate=True))
        groups = tuple(_tokens(encoded, tree.spans[i]) for i in np.flatnonzero(counts))
        if not all(groups) or len({g[0] for g in groups}) < len(groups):
            return None
        key = tuple(int(t.id) for t in encoded.tokens), groups
        if key not in self._known:
            self._known[key] = self._read(encoded, groups)
        return self._known[key]

    def _read(self, encoded: Encoded, groups: Sequence[tuple[int, ...]]) -> np.ndarray:
        n = len(groups)
        pairs = np.array([(i, j) for i in range(n) for j in range(i, n)])
        inputs = self.lab.batch_of([encoded]).inputs
        first = torch.tensor([g[0] for g in groups])
        at = first[torch.from_numpy(pairs)]
        told: list[Tensor] = []
        for part in self.lab.chunks(len(pairs), len(encoded.tokens)):
            some = pairs[part]
            batch = {k: v.expand(len(some), -1).clone() for k, v in inputs.items()}
            for row, pair in zip(batch["input_ids"], some):
                row[[p for w in set(pair.tolist()) for p in groups[w]]] = self.mask
            told.append(self._run(batch, at[part]))
        values = torch.cat(told, 1)  # [layer, pair, (at i, at j), width]
        place = np.zeros((n, n), dtype=np.int64)
        place[pairs[:, 0], pairs[:, 1]] = place[pairs[:, 1], pairs[:, 0]] = np.arange(len(pairs))
        i, j = np.indices((n, n))
        side = torch.from_numpy((i > j).astype(np.int64))  # in the pair (j, i) word i stands second
        seen = values[
            :, torch.from_numpy(place), side
        ]  # [layer, word, other, width]: at the word, without it and the other
        alone = seen[:, torch.arange(n), torch.arange(n)][:, :, None]
        if self.metric == "distance":
            return (seen - alone).norm(dim=-1).double().numpy()
        real = torch.tensor([encoded.tokens[g[0]].id for g in groups])[None, :, None, None]
        logs = seen.log_softmax(-1).gather(-1, real.expand(*seen.shape[:3], 1))[..., 0]
        return (torch.diagonal(logs, dim1=1, dim2=2)[:, :, None] - logs).double().numpy()

    def _run(self, batch: dict[str, Tensor], at: Tensor) -> Tensor:
        """What stands at two tokens of every input: [layer, input, 2, width]."""
        if self.metric == "probability":
            logits = self.lab.run(batch, rows=at).logits
            whole = logits.shape[1] != at.shape[1]  # a head that unembeds all rows
            found = logits[torch.arange(len(at))[:, None], at] if whole else logits
            return found.float().cpu()[None]

        def pick(x: Tensor) -> Tensor:
            return x[torch.arange(len(at))[:, None], at].float().clone()

        rows = torch.zeros(len(at), 1, dtype=torch.int64)
        trace = self.lab.run(batch, reduce=dict.fromkeys(self.sites, pick), rows=rows)
        return torch.stack([trace[s].cpu() for s in self.sites])


def _tokens(encoded: Encoded, span: tuple[int, int]) -> tuple[int, ...]:
    """Positions of the tokens that a stretch of characters touches."""
    start, end = span
    return tuple(k for k, t in enumerate(encoded.tokens) if not t.special and t.start < end and start < t.end)
