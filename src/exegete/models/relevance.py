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
In-place operations between two tensors that both carry relevance give a new tensor (as `a += b` expects).

Cost: one forward (attention computed twice, once as the model does and once by the rules) and one backward an output.
Reference: Achtibat et al. 2024 (arXiv:2402.05602); "cp": Ali et al. 2022 (arXiv:2202.07304).
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from exegete.core.trust import Check
from exegete.models.model import still
from exegete.models.question import Question
from exegete.models.relevance_rules import (
    Ledger,
    Rules,
    carries,
    damped,
    identity,
    normed,
    one_signed,
    one_signed_sum,
    share,
    softmax_taylor,
    swap,
    weighted,
)

_ACTIVATION = re.compile(r"gelu|silu|swish|relu|tanh|mish|elu|activation", re.IGNORECASE)
_PLUS = {"add", "add_", "__add__", "__radd__", "__iadd__"}
_MINUS = {"sub", "sub_", "subtract", "__sub__", "__isub__"}
_TIMES = {"mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"}
_OVER = {"div", "div_", "divide", "true_divide", "__truediv__", "__itruediv__"}
_MATRIX = {"matmul", "__matmul__", "bmm", "mm", "_grouped_mm", "grouped_mm"}
_UNARY = {"gelu", "silu", "silu_", "relu", "relu_", "relu6", "tanh", "tanh_", "leaky_relu", "elu", "selu", "mish"}
_UNARY |= {"softplus", "hardswish", "square", "pow"}
_GATE = {"rsqrt", "sqrt", "sigmoid", "exp", "reciprocal", "norm", "vector_norm", "std", "var"}
_SUMS = {"sum", "mean"}
_JOIN = {"cat", "concat", "concatenate", "stack"}


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
        taken = ", ".join(f"{k} {v:.4g}" for k, v in sorted(self.absorbed.items(), key=lambda kv: -abs(kv[1])))
        told = f"All tokens together received {tokens:.4g} of the output {self.value:.4g}" + (
            f"; absorbed by constants: {taken}." if taken else "; nothing was absorbed."
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
    mode = _Mode(rules, ledger, frozenset(_matrices(module).values()))
    open_modes: list[_Mode] = []

    def enter(*_: Any) -> None:
        open_modes.append(mode)
        mode.__enter__()

    def leave(_: nn.Module, args: Any, out: Any) -> None:
        if open_modes:
            open_modes.pop().__exit__(None, None, None)
        if carries(getattr(out, "logits", None)):
            out.logits = out.logits.view_as(out.logits)  # a node of its own: its hook comes before those of the rules
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
    scale = value - ledger.absorbed["logits"]
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
    if isinstance(x, Tensor) and x.requires_grad and isinstance(out, Tensor) and out.shape == x.shape:
        return identity(x, out)
    return None


class _Mode(TorchFunctionMode):
    """Gives each operation that relevance cannot cross by its gradient the stand-in of its kind."""

    def __init__(self, rules: Rules, ledger: Ledger, weights: frozenset[int]) -> None:
        super().__init__()
        self.rules, self.ledger, self.weights = rules, ledger, weights
        kinds: list[tuple[set[str], Callable[..., Any]]] = [
            (_PLUS, self._plus),
            (_MINUS, self._minus),
            ({"rsub", "__rsub__"}, lambda f, a, b, **k: self._sum(f, [b, _times(a, -1)], (a, b), k)),
            (_TIMES, self._times),
            (_OVER, self._over),
            (_MATRIX, self._matrix),
            ({"linear"}, self._linear),
            ({"addmm"}, self._addmm),
            ({"baddbmm"}, self._baddbmm),
            ({"einsum"}, self._einsum),
            (_UNARY, self._unary),
            (_GATE, _gate),
            (_SUMS, self._reduce),
            (_JOIN, self._join),
            ({"where"}, self._where),
            ({"masked_fill"}, self._masked_fill),
            ({"softmax"}, self._softmax),
            ({"layer_norm", "rms_norm"}, self._norm),
            ({"scaled_dot_product_attention"}, self._attention),
        ]
        self.table = {name: handler for names, handler in kinds for name in names}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`, or its stand-in where relevance flows through it."""
        kwargs = kwargs or {}
        handler = self.table.get(getattr(func, "__name__", ""))
        if handler is None or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        return handler(func, *args, **kwargs)

    # ---- sums ----------------------------------------------------------------------------------------------------

    def _plus(self, func: Any, a: Any, b: Any, **k: Any) -> Any:
        return self._sum(func, [a, _times(b, k.get("alpha", 1))], (a, b), k)

    def _minus(self, func: Any, a: Any, b: Any, **k: Any) -> Any:
        return self._sum(func, [a, _times(b, -k.get("alpha", 1))], (a, b), k)

    def _sum(self, func: Any, parts: list[Any], args: tuple[Any, ...], k: dict[str, Any]) -> Any:
        if not any(map(carries, parts)):
            return func(*args, **k)
        if self.rules.one_sign:
            y = parts[0] + parts[1]
            return one_signed(parts, y.detach(), self.ledger)
        y = func(*args, **k)
        for p in parts:
            if not carries(p):
                self.ledger.absorb("constant", y, p)
        return y

    def _reduce(self, func: Any, x: Any, *a: Any, **k: Any) -> Any:
        if not carries(x) or not self.rules.one_sign:
            return func(x, *a, **k)
        dim = k.get("dim", a[0] if a else tuple(range(x.dim())))
        keep = k.get("keepdim", a[1] if len(a) > 1 else False)

        def reduced(t: Tensor, keepdim: bool) -> Tensor:
            return func(t, dim=dim, keepdim=keepdim or keep)

        return one_signed_sum(reduced, x, func(x, *a, **k).detach())

    def _join(self, func: Any, tensors: Any, *a: Any, **k: Any) -> Any:
        y = func(tensors, *a, **k)
        if carries(y) and not all(map(carries, tensors)):
            held = [torch.zeros_like(t) if carries(t) else t for t in tensors]
            self.ledger.absorb("constant", y, func(held, *a, **k))
        return y

    def _where(self, func: Any, *args: Any, **k: Any) -> Any:
        y = func(*args, **k)
        if carries(y) and len(args) == 3 and not (carries(args[1]) and carries(args[2])):
            left, right = (0.0 if carries(t) else t for t in args[1:])
            self.ledger.absorb("constant", y, torch.where(args[0], left, right))
        return y

    def _masked_fill(self, func: Any, x: Any, mask: Any, value: Any) -> Any:
        y = func(x, mask, value)
        if carries(y):
            self.ledger.absorb("constant", y, mask.to(y.dtype) * max(float(value), torch.finfo(y.dtype).min))
        return y

    # ---- products ------------------------------------------------------------------------------------------------

    def _times(self, func: Any, a: Any, b: Any, **k: Any) -> Any:
        if carries(a) and carries(b):
            return share(a, 0.5) * share(b, 0.5)
        return func(a, b, **k)

    def _over(self, func: Any, a: Any, b: Any, **k: Any) -> Any:
        return torch.div(a, b.detach(), **k) if carries(b) else func(a, b, **k)

    def _matrix(self, func: Any, a: Tensor, b: Tensor, *more: Any, **k: Any) -> Tensor:
        return self._product(lambda x, w: func(x, w, *more, **k), a, b)

    def _linear(self, func: Any, x: Any, w: Any, bias: Any = None) -> Any:
        return self._product(lambda a, b: func(a, b), x, w, bias, lambda: func(x, w, bias))

    def _addmm(self, func: Any, bias: Any, x: Any, w: Any, **k: Any) -> Any:
        if k:
            return func(bias, x, w, **k)
        return self._product(torch.mm, x, w, bias, lambda: func(bias, x, w))

    def _baddbmm(self, func: Any, first: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
        def exact() -> Tensor:
            return func(first, batch1, batch2, beta=beta, alpha=alpha)

        return self._product(lambda a, b: torch.bmm(a, b) * alpha, batch1, batch2, _times(first, beta), exact)

    def _einsum(self, func: Any, equation: Any, *operands: Any) -> Any:
        tensors = list(operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands)
        n = sum(map(carries, tensors))
        if n < 2:
            return func(equation, *tensors)
        return func(equation, *(share(t, 1 / n) if carries(t) else t for t in tensors))

    def _product(
        self,
        f: Callable[[Tensor, Tensor], Tensor],
        a: Tensor,
        b: Tensor,
        bias: Any = None,
        exact: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        """f(a, b) + bias, f bilinear: halves where both carry relevance, the linear rule where one does."""
        for t in (a, b):
            if not carries(t):
                self.ledger.met(t)
        if carries(a) and carries(b):
            return self._shifted(f(share(a, 0.5), share(b, 0.5)), bias, exact)
        if not (carries(a) or carries(b)):
            return f(a, b) if exact is None else exact()
        x, w, g = (a, b, f) if carries(a) else (b, a, lambda x, w: f(w, x))
        layer = w.untyped_storage().data_ptr() in self.weights
        if self.rules.linear == "epsilon" or (self.rules.linear == "gamma" and not layer):
            epsilon = self.rules.epsilon if layer else 0.0
            return self._shifted(f(a, b), bias, exact, epsilon)
        y = (f(a, b) if exact is None else exact()).detach()
        return weighted(g, x, w, y, bias, self.rules, self.ledger)

    def _shifted(
        self, y: Tensor, bias: Any, exact: Callable[[], Tensor] | None = None, epsilon: float = 0.0
    ) -> Tensor:
        """y + bias with the exact value of the fused operation; the bias absorbs its part of what is left undamped."""
        out = y if bias is None else y + bias
        out = damped(out if exact is None else swap(out, exact()), epsilon, self.ledger)
        if bias is not None:
            self.ledger.absorb("bias" if isinstance(bias, nn.Parameter) else "constant", out, bias)
        return out

    # ---- nonlinear -----------------------------------------------------------------------------------------------

    def _unary(self, func: Any, x: Any, *a: Any, **k: Any) -> Any:
        exponent = (a[0] if a else k.get("exponent", 1)) if func.__name__ == "pow" else 1
        if not carries(x):
            return func(x, *a, **k)
        held = x.detach()
        y = func(held.clone() if func.__name__.endswith("_") or k.get("inplace") else held, *a, **k)
        return y if not isinstance(exponent, (int, float)) or exponent < 0 else identity(x, y)

    def _softmax(self, func: Any, x: Tensor, *a: Any, **k: Any) -> Tensor:
        if not carries(x):
            return func(x, *a, **k)
        if self.rules.attention == "cp":
            return func(x.detach(), *a, **k)
        dim = k.get("dim", a[0] if a else -1)
        return softmax_taylor(x, func(x, *a, **k), dim, self.ledger)

    def _norm(self, func: Any, x: Any, shape: Any, weight: Any = None, *a: Any, **k: Any) -> Any:
        y = func(x, shape, weight, *a, **k)
        if not carries(x):
            return y
        centred = func.__name__ == "layer_norm"
        bias = k.get("bias", a[0] if a else None) if centred else None
        eps = k.get("eps", a[-1] if len(a) > centred else (1e-5 if centred else None))
        eps = torch.finfo(x.dtype).eps if eps is None else eps
        dims = tuple(range(-len(shape), 0))
        plain = normed(x, dims, weight, eps, centred, exact=self.rules.one_sign)
        if bias is None:
            return swap(plain, y)
        if self.rules.one_sign:
            return one_signed([plain, bias], y.detach(), self.ledger)
        return self._shifted(plain, bias, lambda: y)

    def _attention(self, func: Any, q: Tensor, k: Tensor, v: Tensor, *a: Any, **kw: Any) -> Tensor:
        """Scaled dot product attention by its parts: scores, softmax, mixing."""
        if not any(map(carries, (q, k, v))):
            return func(q, k, v, *a, **kw)
        names = ("attn_mask", "dropout_p", "is_causal")
        opts = dict(zip(names, a)) | kw
        with torch.no_grad():
            exact = func(q, k, v, *a, **kw)
        groups = q.shape[-3] // k.shape[-3] if opts.get("enable_gqa") else 1
        if groups > 1:
            k, v = k.repeat_interleave(groups, -3), v.repeat_interleave(groups, -3)
        scale = opts.get("scale") or q.shape[-1] ** -0.5
        scores = self._product(torch.matmul, q * scale, k.transpose(-2, -1))
        pattern = self._softmax(F.softmax, self._masked(scores, opts), dim=-1)
        return swap(self._product(torch.matmul, pattern, v), exact)

    def _masked(self, scores: Tensor, opts: dict[str, Any]) -> Tensor:
        mask = opts.get("attn_mask")
        if opts.get("is_causal"):
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if mask is None:
            return scores
        low = torch.finfo(scores.dtype).min / 2  # finite, so that rows with nothing to read stay defined
        if mask.dtype == torch.bool:
            return scores.masked_fill(~mask, low)
        if carries(mask):
            return scores + mask.clamp(min=low)
        shifted = scores + mask.clamp(min=low)
        self.ledger.absorb("constant", shifted, mask.clamp(min=low))
        return shifted


def _gate(func: Any, x: Any, *a: Any, **k: Any) -> Any:
    """Factors that are held constant: normalisers and gates that are not zero at zero."""
    return func(x.detach() if carries(x) else x, *a, **k)


def _times(x: Any, factor: Any) -> Any:
    return x if isinstance(factor, (int, float)) and factor == 1 else x * factor
