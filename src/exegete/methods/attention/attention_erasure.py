"""Erasure of attention: how many tokens must lose their attention until the decision flips?

1. order the tokens by attention (mean over layers and heads, from the query whose output is measured), by
   |gradient x attention| and |gradient| with respect to the same weights, and at random;
2. erase the first 1, 2, 3 ... tokens of an order: every query in every layer and head gives them weight 0 and the rest is
   divided by its sum (a token keeps looking at itself);
3. the first number at which the decision (the most probable class or token) is another one, as a share of the tokens.

A good order flips the decision early. Control: the random order.

Cost a text: 2 forwards, 1 backward, at most tokens (3 + n_draws) forwards, in batches that end at the flip.
Reference: Serrano & Smith 2019, "Is Attention Interpretable?", sec. 3-5.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.debate import AttentionErasure
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Trust
from exegete.core.value import Value
from exegete.methods.attention.bench import Seen, each_text, gradients
from exegete.methods.attention.judged import beaten, mean_score
from exegete.methods.contracts.study import Divided
from exegete.models.lab import Lab
from exegete.ops.rank import descending, random_orders
from exegete.ops.reattend import erased

ORDERS = ("attention", "gradient x attention", "gradient", "random")


class ErasedText(Value):
    """Of one text, by order: the share of tokens that is erased at the flip, and of runs that never flip. `failed`: it has too few
    tokens to rank.
    """

    failed: bool = False
    name: str = ""
    fraction: tuple[float, ...] = ()
    never: tuple[float, ...] = ()


@register
class AttentionErasureStudy(Divided):
    """How many tokens must be erased from attention, in the order of attention, until the decision flips."""

    id: ClassVar[str] = "attention_erasure"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("B13",)
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = AttentionErasure
    home: ClassVar[str] = "terrarium/sentiment"
    reference: ClassVar[Reference] = Reference(
        authors="Serrano & Smith", year=2019, title="Is Attention Interpretable?",
        where="ACL; arXiv:1906.03731", equation="sec. 3-5",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "gradients")
    passes: ClassVar[str] = "2 + tokens (3 + n_draws) forwards + 1 backward a text"
    n_draws: int = Field(5, ge=1, le=1000, description="random orders a text")
    seed: int = Field(0, description="seed of the random orders")

    part: ClassVar[type[Value]] = ErasedText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[ErasedText]:
        """Each text in all orders, alone."""
        return each_text(lab, items, target, self.text, ErasedText(failed=True), "erasing attention")

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[ErasedText], target: Target, n_failed: int = 0
    ) -> AttentionErasure:
        """When decisions flip, over all texts."""
        found = [p for p in parts if not p.failed]
        failed = len(parts) - len(found) + n_failed
        fraction, never = (
            np.array([getattr(p, n) for p in found]).reshape(-1, len(ORDERS)).T for n in ("fraction", "never")
        )
        names = [f"share erased at the flip, by {o}" for o in ORDERS[:-1]]
        scores = tuple(
            mean_score(name, f, "lower", control=fraction[-1], control_name="a random order", failed=failed)
            for name, f in zip(names, fraction)
        )
        return AttentionErasure(
            title="How many tokens must be erased from attention?",
            lede=_words(scores, float(never.mean(1)[-1]) if len(found) else 0.0),
            texts=tuple(p.name for p in found),
            orders=ORDERS,
            fraction=fraction,
            never=never.mean(1) if len(found) else np.zeros(len(ORDERS)),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def text(self, text: Seen) -> ErasedText:
        """One text that was read."""
        at = np.flatnonzero(text.words)
        draws = random_orders(len(at), self.n_draws, text.lab.rng("orders", text.key))
        known: dict[bytes, float] = {}
        found = [flip(text, at[descending(s[at])], known) for s in importances(text)]
        rest = [flip(text, at[order], known) for order in draws]
        each = [*([f] for f in found), rest]
        fraction = tuple(float(np.minimum(e, 1.0).mean()) for e in each)
        never = tuple(float((np.array(e) > 1).mean()) for e in each)
        return ErasedText(name=text.name, fraction=fraction, never=never)


def importances(text: Seen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the tokens [tok] are ordered by: attention, |gradient x attention|, |gradient|."""
    _, slope = gradients(text)
    return text.weights(), np.abs(text.weights(slope * text.pattern)), np.abs(text.weights(slope))


def flip(text: Seen, order: np.ndarray, known: dict[bytes, float] | None = None) -> float:
    """Share of the tokens of `order` erased when the decision first flips; 2 where it never does. `known` remembers orders."""
    key = order.tobytes()
    known = {} if known is None else known
    if key not in known:
        known[key] = _flip(text, order)
    return known[key]


def _flip(text: Seen, order: np.ndarray) -> float:
    for part in text.lab.chunks(len(order), text.length):
        sizes = np.arange(1, len(order) + 1)[part]
        gone = torch.zeros((len(sizes), text.length), dtype=torch.bool, device=text.pattern.device)
        for row, size in enumerate(sizes):
            gone[row, order[:size].tolist()] = True
        said = text.outputs(erasing(text, gone), len(sizes))[:, 0].argmax(-1).cpu().numpy()
        turned = np.flatnonzero(said != text.label)
        if len(turned):
            return float(sizes[turned[0]]) / len(order)
    return 2.0


def erasing(text: Seen, gone: Tensor) -> dict[Site, Any]:
    """The edit that takes the keys `gone` [copy, key] from every query, a row a copy."""

    def edit(k: int) -> Any:
        return lambda pattern: erased(pattern, text.visible[k], gone[:, None])

    return {site: edit(k) for k, site in enumerate(text.sites("pattern"))}


def _words(scores: tuple[Any, ...], never: float) -> str:
    attention, product, gradient = scores
    random = attention.control if attention.control is not None else float("nan")
    won = "earlier than" if beaten(attention) else "no earlier than"
    first = f"In the order of attention, {attention.value:.0%} of the tokens must be erased until the decision flips, {won} at random ({random:.0%})"
    best = min((product, gradient), key=lambda s: s.value)
    name = "gradient x attention" if best is product else "gradient"
    tail = f"; {name} needs {best.value:.0%}"
    return f"{first}{tail}." + (f" At random {never:.0%} of the texts never flip." if never > 0.05 else "")
