"""Causal tracing: which hidden states, at which token, carry a fact from its subject to the answer?

1. clean run of each fact; facts whose answer is not the model's first choice are left out and counted;
2. noise of `noise` standard deviations of the embeddings of all subject tokens makes the subject unreadable: the total
   effect is P(answer) clean less P*(answer) with noise;
3. one state at a time is put back (`traced_fact`): the residual after a layer, or what attention or the feed-forward parts
   added in a window of layers; its indirect effect is P*_restored - P*;
4. averaged by layer and role of the token (AIE), with an interval over facts.

Scored at the subject's last token, at the layer that is best on the other facts. Chance is a random place (of a single fact: a
random token at its best layer, since the layer is then its own best too); the control puts
back the same place of another subject's run, which restores a real state, but not this fact's.

Cost: 3 forwards a fact, and n_samples times (3 kinds * layers * tokens) passes that start at the layer, behind the prefix
they share, all of a fact in few batches (`models.cells`). Reference: Meng et al. 2022, "Locating and Editing Factual
Associations in GPT" (arXiv:2202.05262), sec. 2.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from exegete.core.errors import ExegeteError, InputError
from exegete.core.material import Fact
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.tracing import CausalTrace
from exegete.core.target import Target
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.traced_fact import Places, Read, Traced, read_fact, trace_fact
from exegete.methods.mechanisms.tracing_verdict import finding
from exegete.models.lab import Lab


@register
class CausalTracing(Study):
    """Which hidden states bring a fact's answer back when its subject has been made unreadable."""

    id: ClassVar[str] = "causal_tracing"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H14",)
    verb: ClassVar[str] = "trace"
    asks: ClassVar[Any] = "facts"
    finds: ClassVar[type] = CausalTrace
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "seq2seq")
    reference: ClassVar[Reference] = Reference(
        authors="Meng et al.", year=2022, title="Locating and Editing Factual Associations in GPT",
        where="arXiv:2202.05262", equation="sec. 2.1",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "about n_samples * 3 * n_layers * n_tokens / 4 forwards a fact"
    kinds: tuple[Literal["residual", "attention", "mlp"], ...] = Field(
        ("residual", "attention", "mlp"), min_length=1, description="what is put back"
    )
    noise: float = Field(
        3.0, gt=0, description="noise in standard deviations of the embeddings of the subjects"
    )
    n_samples: int = Field(10, ge=1, description="draws of noise a fact")
    window: int = Field(
        0, ge=0, description="layers whose attention or feed-forward parts are put back together; 0: a fifth"
    )
    known_only: bool = Field(
        True,
        description="trace only facts whose answer is the model's first choice; the others count as failed",
    )
    seed: int = Field(0, description="seed of the noise")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> CausalTrace:
        """Every fact read, the known ones traced."""
        places = Places(lab, tuple(dict.fromkeys(self.kinds)), 1)
        places = Places(lab, places.kinds, self.window or max(1, round(places.n_layers / 5)))
        read, failed = self._read(lab, items, places)
        sigma = self.noise * float(
            torch.cat([r.embedding.flatten() for r in read]).double().std(correction=0)
        )
        found: list[Traced] = []
        with lab.working(len(read), "tracing facts") as step:
            for i, one in enumerate(read):
                found.append(trace_fact(lab, one, places, sigma, self.n_samples, _other(read, i)))
                step()
        return finding(found, places, sigma, failed)

    def _read(
        self, lab: Lab, facts: tuple[Fact, ...], places: Places
    ) -> tuple[list[Read], list[tuple[Fact, str]]]:
        """The facts that can be traced, and those that cannot, with the reason."""
        places.check()
        read: list[Read] = []
        failed: list[tuple[Fact, str]] = []
        for fact in facts:
            try:
                one = read_fact(lab, fact, places)
            except ExegeteError as letter:
                if len(facts) == 1:
                    raise
                failed.append((fact, letter.found))
                continue
            if one.known or not self.known_only:
                read.append(one)
            else:
                failed.append(
                    (fact, f"the model gives {fact.answer!r} {one.clean:.1%} and prefers another answer.")
                )
        if not read:
            raise InputError(
                f"You asked to trace {len(facts)} facts.",
                f"None of them can be traced: of {failed[0][0].prompt!r}, {failed[0][1]}",
                "Give facts that the model completes rightly, or set known_only=False.",
            )
        return read, failed


def _other(read: list[Read], i: int) -> Read | None:
    """The next fact of another subject and another answer, whose states are the control."""
    mine = read[i].fact
    later = [*read[i + 1 :], *read[:i]]
    return next((r for r in later if r.fact.subject != mine.subject and r.fact.answer != mine.answer), None)
