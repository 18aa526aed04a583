"""Layer-wise relevance propagation through any Hugging Face model, without touching or re-implementing it.

1. For the length of the model's forward, a torch-function mode sees every tensor operation. Those that relevance cannot
   cross by plain gradients (norms, activations, products of activations, softmax, attention) get the stand-ins of
   `relevance_rules`: same value bit for bit, another derivative. Activation modules are taken whole, by hooks.
2. The gradient of the output then is the modified gradient, and embedding x gradient, summed over the width, the
   relevance of a slot.
3. Constants that enter sums on the way (biases, position embeddings, masks) absorb relevance; the ledger counts it, and
   relevance + absorbed = output closes only if every operation met was crossed by a rule. `Propagation.gap` is what is
   left open: an operation without a rule shows there, whatever the architecture.

Covered products are counted by their weight matrices (`Linear`, `Conv1D` and bare parameters alike).
Cost: one forward (attention computed twice, once as the model does and once by the rules) and one backward an output.
Reference: Achtibat et al. 2024 (arXiv:2402.05602); "cp": Ali et al. 2022 (arXiv:2202.07304).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from exegete.core.trust import Check
from exegete.models.model import still
from exegete.models.question import Question
from exegete.models.relevance_mode import RelevanceMode
from exegete.models.relevance_rules import Ledger, Rules, carries, identity

_ACTIVATION = re.compile(r"gelu|silu|swish|relu|tanh|mish|elu|activation", re.IGNORECASE)


@dataclass(frozen=True)
class Propagation:
    """Relevance of the slots for one explained scalar.

    `slots` [S] float64; `value` the scalar; `absorbed` what constants took, by kind; `covered` of `matrices` weight
    matrices were met by the rules, `missed` names some that were not.
    """

    value: float
    slots: np.ndarray
    absorbed: dict[str, float]
    covered: int
    matrices: int
    missed: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """|value - slots - absorbed| over the largest of these: 0 when every operation was crossed by a rule."""
        parts = [float(self.slots.sum()), *self.absorbed.values()]
        size = max(abs(self.value), float(np.abs(self.slots).sum()), *(abs(p) for p in parts))
        return abs(self.value - sum(parts)) / max(size, 1e-30)

    def checks(self, moved: float, tolerance: float) -> tuple[Check, ...]:
        """The self-checks of a propagation; `moved` is how far the value under the rules is from the model's own."""
        words = (
            "relative difference between the output and what tokens received plus what constants absorbed, "
            "counted operation by operation; above the tolerance the model does something no rule covers"
        )
        return (
            Check.at_most(
                "forward unchanged under the rules", moved, 1e-5, "largest relative change of an output value"
            ),
            Check.at_most("relevance conserved", self.gap, tolerance, words),
        )

    def notes(self) -> tuple[str, ...]:
        """In words: who received the output's relevance, and what the rules covered."""
        tokens = float(self.slots.sum())
        open_ = abs(self.value - tokens)
        taken = ", ".join(
            f"{k} {v:.4g}" for k, v in sorted(self.absorbed.items(), key=lambda kv: -abs(kv[1]))
        )
        told = (
            f"Conservation gap {open_:.4g}: the output is {self.value:.4g}, all tokens together received {tokens:.4g}; "
            f"absorbed by constants: {taken or 'nothing'}."
        )
        left = "" if not self.missed else f" (not met: {', '.join(self.missed[:3])})"
        return told, f"The rules covered {self.covered} of {self.matrices} weight matrices{left}."


def tolerance(q: Question) -> float:
    """Largest relative conservation gap that rounding explains, in the model's precision."""
    return 5e-2 if q.model.dtype in (torch.float16, torch.bfloat16) else 1e-3


def moved(q: Question, values: np.ndarray) -> float:
    """How far output values [R] of a run under the rules are from the model's own, relative to their size."""
    own = q.value()
    return float(np.abs(values - own).max() / max(1.0, float(np.abs(own).max())))


def propagate(
    q: Question, rules: Rules, total: bool = True, each: bool = False
) -> tuple[np.ndarray, list[Propagation]]:
    """Output values [R] of the run under the rules, and relevance for the total (first) and with `each` every output."""
    with still(q.model.module), torch.enable_grad(), relevance(q.model.module, rules) as ledger:
        points = q.embeddings()[None].requires_grad_(True)
        values = q.run(points)
        whole = values.prod() if q.scale == "prob" else values.sum()
        found = []
        for scalar in (*([whole] if total else []), *(values[0] if each else [])):
            ledger.clear()
            (g,) = torch.autograd.grad(scalar, points, retain_graph=True)
            found.append(_propagation(q, float(scalar.detach()), (points * g).detach()[0], ledger))
    q.meter.backwards += len(found)
    return values.detach()[0].double().cpu().numpy(), found


@contextmanager
def relevance(module: nn.Module, rules: Rules) -> Iterator[Ledger]:
    """While open, forwards of `module` follow `rules`; hooks and mode are gone afterwards, also after an exception.

    Gradients of what the model returns are modified gradients; work outside the model's forward keeps its own.
    """
    ledger = Ledger()
    mode = RelevanceMode(rules, ledger, frozenset(_matrices(module).values()))
    open_modes: list[RelevanceMode] = []

    def enter(*_: Any) -> None:
        open_modes.append(mode)
        mode.__enter__()

    def leave(_: nn.Module, args: Any, out: Any) -> None:
        if open_modes:
            open_modes.pop().__exit__(None, None, None)
        if carries(getattr(out, "logits", None)):
            out.logits = out.logits.view_as(
                out.logits
            )  # a node of its own: its hook comes before those of the rules
            held = out.logits.detach()
            out.logits.register_hook(lambda g: ledger.add("logits", held * g, g))

    handles = [
        module.register_forward_pre_hook(enter, prepend=True),
        module.register_forward_hook(leave, always_call=True),
        *(m.register_forward_hook(_whole_activation) for m in module.modules() if _is_activation(m)),
    ]
    try:
        yield ledger
    finally:
        for h in handles:
            h.remove()
        while open_modes:
            open_modes.pop().__exit__(None, None, None)


def _propagation(q: Question, value: float, relevances: Tensor, ledger: Ledger) -> Propagation:
    absorbed = {k: v for k, v in ledger.absorbed.items() if k != "logits" and v}
    scale = value - ledger.absorbed.get("logits", 0.0)
    if abs(scale) > 1e-6 * max(abs(value), 1.0):
        absorbed["output scale"] = scale
    names = _matrices(q.model.module)
    missed = tuple(n for n, ptr in names.items() if ptr not in ledger.matrices)
    slots = relevances.sum(-1).double().cpu().numpy()
    return Propagation(value, slots, absorbed, len(names) - len(missed), len(names), missed)


def _matrices(module: nn.Module) -> dict[str, int]:
    """Storage of every weight matrix that is not a lookup table, by name."""
    return {
        f"{name}.{key}".lstrip("."): p.untyped_storage().data_ptr()
        for name, m in module.named_modules()
        if not isinstance(m, nn.Embedding)
        for key, p in m.named_parameters(recurse=False)
        if p.ndim >= 2
    }


def _is_activation(m: nn.Module) -> bool:
    leaf = not any(True for _ in m.children()) and not any(True for _ in m.parameters())
    return leaf and bool(_ACTIVATION.search(type(m).__name__))


def _whole_activation(_: nn.Module, args: tuple[Any, ...], out: Any) -> Tensor | None:
    x = args[0] if args else None
    if not isinstance(x, Tensor) or not isinstance(out, Tensor):
        return None
    return identity(x, out) if x.requires_grad and out.shape == x.shape else None
