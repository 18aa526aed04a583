"""AutoPrompt: a prompt of real tokens, searched by gradient to bring out the answers of one relation.

1. `n_slots` random tokens stand after the subject;
2. at each step, the gradient of the loss by one slot's embedding (slots in turn) ranks the vocabulary: -gradient . embedding is
   what swapping would gain, to first order; the best `n_candidates` are tried, and the best of them stays if the loss falls;
3. facts of other subjects are then asked with the prompt. Controls: `prompt_search`.

Special tokens are never chosen. Cost: n_steps * (1 + n_candidates) forwards and n_steps backwards a fact of the batch, twice.
Reference: Shin et al. 2020, "AutoPrompt: Eliciting Knowledge from Language Models with Automatically Generated Prompts", eq. 2.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.methods.probing.prompt_search import PromptSearch, Relation
from exegete.models.lab import Lab
from exegete.models.soft_prompt import Slotted, embeddings, says


@register
class AutoPrompt(PromptSearch):
    """What the model knows when it is asked with the best prompt of real tokens, beside what such a prompt learns by itself."""

    id: ClassVar[str] = "autoprompt"
    reference: ClassVar[Reference] = Reference(
        authors="Shin et al.", year=2020, title="AutoPrompt: Eliciting Knowledge from Language Models",
        where="arXiv:2010.15980", equation="eq. 2",
    )  # fmt: skip
    passes: ClassVar[str] = (
        "2 * n_steps * (1 + n_candidates) forwards and 2 * n_steps backwards a fact of the batch"
    )
    soft: ClassVar[bool] = False
    n_steps: int = Field(30, ge=1, le=10_000, description="swaps that are tried")
    n_candidates: int = Field(10, ge=1, le=1000, description="tokens tried a swap")
    batch: int = Field(16, ge=1, le=4096, description="facts a swap is judged on")

    def search(self, lab: Lab, relation: Relation, cases: Slotted) -> tuple[Tensor, str]:
        """By swaps of single tokens that lower the loss."""
        table = embeddings(lab)
        rng = lab.rng("tokens", relation.name)
        usual = torch.tensor(_usual(lab), device=table.device)
        ids = usual[torch.from_numpy(rng.integers(0, len(usual), self.n_slots)).to(table.device)]
        for step in range(self.n_steps):
            some = cases.some(rng.permutation(len(cases))[: self.batch])
            ids = self._swapped(lab, some, ids, step % self.n_slots, usual, table)
        return table[ids].float(), " ".join(t.strip() or repr(t) for t in lab.pieces(ids.tolist()))

    def _swapped(
        self, lab: Lab, some: Slotted, ids: Tensor, slot: int, usual: Tensor, table: Tensor
    ) -> Tensor:  # fmt: skip
        """The prompt with the best token in one slot, or as it was."""
        vectors = table[ids].float().requires_grad_(True)
        with torch.enable_grad():
            loss = cross_entropy(says(lab, some, vectors, graph=True).float(), some.wanted)
            (slope,) = lab.gradients(loss, [vectors])
        gain = -(table[usual].float() @ slope[slot])
        best, held = float(loss.detach()), ids
        for candidate in usual[gain.topk(min(self.n_candidates, len(usual))).indices]:
            tried = ids.clone()
            tried[slot] = candidate
            value = float(cross_entropy(says(lab, some, table[tried].float()).float(), some.wanted))
            if value < best:
                best, held = value, tried
        return held


def _usual(lab: Lab) -> list[int]:
    """Ids of the vocabulary that are no special tokens."""
    special = set(lab.model.tokenizer.all_special_ids)
    return [i for i in range(min(lab.model.vocabulary, len(lab.model.tokenizer))) if i not in special]
