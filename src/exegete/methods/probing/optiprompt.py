"""OptiPrompt: a prompt of vectors, learned to bring out the answers of one relation.

1. `n_slots` vectors stand after the subject; they start as the embeddings of random tokens;
2. they are turned by Adam to make the answers of the facts searched on likely, over the whole vocabulary; the model stays;
3. facts of other subjects are then asked with them. Controls: `prompt_search`.

Cost: n_steps forwards and backwards a fact, twice (randomised weights). Shapes: vectors [slot, d].
Reference: Zhong, Friedman & Chen 2021, "Factual Probing Is [MASK]: Learning vs. Learning to Recall", sec. 3.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.methods.probing.prompt_search import PromptSearch, Relation
from exegete.models.lab import Lab
from exegete.models.soft_prompt import Slotted, learn, nearest, start_vectors


@register
class OptiPrompt(PromptSearch):
    """What the model knows when it is asked with the best prompt of vectors, beside what such a prompt learns by itself."""

    id: ClassVar[str] = "optiprompt"
    reference: ClassVar[Reference] = Reference(
        authors="Zhong, Friedman & Chen", year=2021, title="Factual Probing Is [MASK]: Learning vs. Learning to Recall",
        where="arXiv:2104.05240", equation="sec. 3",
    )  # fmt: skip
    passes: ClassVar[str] = "2 * n_steps forwards and backwards a fact searched on, 2 a fact"
    n_steps: int = Field(100, ge=1, le=10_000, description="steps of the search")
    rate: float = Field(0.03, gt=0, le=10, description="learning rate at the start; it falls to zero")
    batch: int = Field(32, ge=1, le=4096, description="facts a step")

    def search(self, lab: Lab, relation: Relation, cases: Slotted) -> tuple[Tensor, str]:
        """By gradient, on the vectors themselves."""
        start = start_vectors(lab, self.n_slots, relation.name)
        vectors = learn(lab, cases, start, self.n_steps, self.rate, self.batch)
        return vectors, " ".join(t.strip() or repr(t) for t in nearest(lab, vectors))
