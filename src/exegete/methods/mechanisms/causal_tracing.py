"""Causal tracing: which hidden states, at which token, carry a fact from its subject to the answer?

1. clean run of each fact; facts whose answer is not the model's first choice are left out and counted;
2. noise of `noise` standard deviations makes the subject unreadable: the total effect is P(answer) clean less P*(answer)
   with noise. Deviations are those of the embeddings of all subject tokens, as published, or of the whole vocabulary, which
   is the same whatever the facts, so that these can be traced apart (`exegete run`);
3. one state at a time is put back (`traced_fact`): the residual after a layer, or what attention or the feed-forward parts
   added in a window of layers; its indirect effect is P*_restored - P*;
4. averaged by layer and role of the token (AIE), with an interval over facts.

Scored at the subject's last token, at the layer that is best on the other facts. Chance is a random place (of a single fact: a
random token at its best layer, since the layer is then its own best too); the control puts
back the same place of another subject's run, which restores a real state, but not this fact's.

Cost: 2 forwards a fact, and n_samples times (3 kinds * layers * tokens) passes that start at the layer, behind the prefix
they share, all of a fact in few batches (`models.cells`); for the control 1 + n_samples forwards and 3 n_samples halves (of
24 facts at every layer). Reference: Meng et al. 2022, "Locating and Editing Factual Associations in GPT"
(arXiv:2202.05262), sec. 2.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from exegete.core.errors import ExegeteError, InputError
from exegete.core.material import Fact
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.tracing import CausalTrace
from exegete.core.target import Target
from exegete.core.value import Value
from exegete.methods.contracts.failures import Unfit, fit
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.traced_fact import (
    Places,
    Read,
    Traced,
    ask_fact,
    control_fact,
    read_fact,
    state_of,
    trace_fact,
)
from exegete.methods.mechanisms.tracing_verdict import Known, asked_for, finding
from exegete.models.lab import Lab


@register
class CausalTracing(Divided):
    """Which hidden states bring a fact's answer back when its subject has been made unreadable."""

    id: ClassVar[str] = "causal_tracing"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H14",)
    verb: ClassVar[str] = "trace"
    asks: ClassVar[Any] = "facts"
    finds: ClassVar[type] = CausalTrace
    part: ClassVar[type[Value]] = Traced
    over_data: ClassVar[str] = "in shards with noise_from=vocabulary, else in one piece"
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
    noise: float = Field(3.0, gt=0, description="noise in standard deviations of embeddings")
    noise_from: Literal["subjects", "vocabulary"] = Field(
        "subjects",
        description="whose embeddings: of the subjects of all facts, as published, or of all tokens, so that facts can be traced apart",
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

    @property
    def whole(self) -> str:
        """Noise that is scaled by the subjects wants all of them."""
        if self.noise_from == "vocabulary":
            return ""
        return "noise is scaled by the subjects of all facts; noise_from=vocabulary lets them be traced apart"

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> CausalTrace:
        """Every fact read, the known ones traced."""
        places = self._places(lab)
        read = [self._read(lab, fact, places) for fact in items]
        known = [r.embedding.flatten() for r in read if isinstance(r, Read)]
        spread = float(torch.cat(known).double().std(correction=0)) if known else 0.0
        sigma = self.noise * (places.spread if self.noise_from == "vocabulary" else spread)
        return self._found(lab, items, self._traced(lab, read, len(read), places, sigma), places, sigma)

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Traced]:
        """Every fact traced that the model knows."""
        places = self._places(lab)
        read = (self._read(lab, fact, places) for fact in items)
        return self._traced(lab, read, len(items), places, self.noise * places.spread)

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Traced], target: Target, n_failed: int = 0
    ) -> CausalTrace:
        """Over facts; and the control of the places that each is judged by."""
        places = self._places(lab)
        return self._found(lab, items, parts, places, self.noise * places.spread, n_failed)

    def _places(self, lab: Lab) -> Places:
        """The places of the model. Raises `SiteError` where it lacks one."""
        places = Places(lab, tuple(dict.fromkeys(self.kinds)), 1)
        places = Places(lab, places.kinds, self.window or max(1, round(places.n_layers / 5)))
        places.check()
        return places

    def _read(self, lab: Lab, fact: Fact, places: Places) -> Read | Traced:
        """The clean run of a fact that can be traced; else why it cannot."""
        try:
            one = read_fact(lab, fact, places)
        except ExegeteError as letter:
            return Traced(unfit=Unfit.of(letter))
        if one.known or not self.known_only:
            return one
        return Traced(unknown=f"the model gives {fact.answer!r} {one.clean:.1%} and prefers another answer.")

    def _traced(
        self, lab: Lab, read: Iterable[Read | Traced], n: int, places: Places, sigma: float
    ) -> list[Traced]:
        found: list[Traced] = []
        with lab.working(n, "tracing facts") as step:
            for one in read:
                found.append(
                    one if isinstance(one, Traced) else trace_fact(lab, one, places, sigma, self.n_samples)
                )
                step()
        return found

    def _found(
        self, lab: Lab, facts: tuple[Fact, ...], parts: Sequence[Traced], places: Places, sigma: float, n_failed: int = 0
    ) -> CausalTrace:  # fmt: skip
        """What is found of facts. Raises `InputError` where none could be traced."""
        failed = [(fact, p.why) for fact, p in zip(facts, parts) if p.case is None]
        known = [
            Known(f, p.case, p.spots, p.start, p.checks) for f, p in zip(facts, parts) if p.case is not None
        ]
        if len(facts) == 1:
            fit([p.unfit for p in parts])  # raises what is wrong with it
        if not known:
            raise InputError(
                f"You asked to trace {len(facts)} facts.",
                f"None of them can be traced: of {failed[0][0].prompt!r}, {failed[0][1]}",
                "Give facts that the model completes rightly, or set known_only=False.",
            )
        other = self._controls(lab, known, places, sigma)
        return finding(known, other, places, sigma, failed, len(failed) + n_failed)

    def _controls(self, lab: Lab, known: Sequence[Known], places: Places, sigma: float) -> np.ndarray:
        """Effects [fact, kind, layer, spot] of another fact's states; NaN where not needed, or where there is no other."""
        found = np.full((len(known), len(places.kinds), places.n_layers, 2), np.nan)
        facts = [k.fact for k in known]
        asked = [ask_fact(lab, fact) for fact in facts]
        with lab.working(len(known), "making the control") as step:
            for i, at in enumerate(asked_for(known, places.kinds)):
                j = _other(facts, i)
                if j is not None:
                    state = state_of(lab, asked[j], places)
                    values = control_fact(lab, asked[i], places, sigma, self.n_samples, state, at)
                    found[(i, *zip(*at))] = values
                step()
        return found


def _other(facts: Sequence[Fact], i: int) -> int | None:
    """The next fact of another subject and another answer, whose states are the control."""
    mine, n = facts[i], len(facts)
    later = ((i + step) % n for step in range(1, n))
    return next(
        (j for j in later if facts[j].subject != mine.subject and facts[j].answer != mine.answer), None
    )
