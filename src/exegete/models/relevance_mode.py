"""The torch-function mode that puts the rules of `relevance_rules` in the place of tensor operations.

1. Each operation is known by its name (`add`, `matmul`, `scaled_dot_product_attention`, ...), however it was called.
2. Where no operand carries relevance, or nothing stands in the way of plain gradients, it runs as it is.
3. Otherwise its rule runs: the value is that of the operation itself, the derivative that of the rule, and what constants
   take is entered in the ledger.

In-place operations between two tensors that both carry relevance give a new tensor (as `a += b` expects); where a model
relied on the old one being changed, its output moves, which `Propagation.checks` reports.
Cost: attention is computed twice, once as the model does and once by its parts.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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

_PLUS = {"add", "add_", "__add__", "__radd__", "__iadd__"}
_MINUS = {"sub", "sub_", "subtract", "__sub__", "__isub__"}
_TIMES = {"mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"}
_OVER = {"div", "div_", "divide", "true_divide", "__truediv__", "__itruediv__"}
_MATRIX = {"matmul", "__matmul__", "bmm", "mm", "_grouped_mm", "grouped_mm"}
_UNARY = {
    "gelu",
    "silu",
    "silu_",
    "relu",
    "relu_",
    "relu6",
    "tanh",
    "tanh_",
    "leaky_relu",
    "elu",
    "selu",
    "mish",
}
_UNARY |= {"softplus", "hardswish", "square", "pow"}
_GATE = {"rsqrt", "sqrt", "sigmoid", "exp", "reciprocal", "norm", "vector_norm", "std", "var"}
_SUMS = {"sum", "mean"}
_JOIN = {"cat", "concat", "concatenate", "stack"}
# operands by the names they may be given under, in order; "input" alone where a function is not named
_OPERANDS: dict[str, tuple[str, ...]] = {
    "scaled_dot_product_attention": ("query", "key", "value"),
    "linear": ("input", "weight", "bias"),
    "layer_norm": ("input", "normalized_shape", "weight"),
    "rms_norm": ("input", "normalized_shape", "weight"),
    "addmm": ("input", "mat1", "mat2"),
    "bmm": ("input", "mat2"),
    "mm": ("input", "mat2"),
    "cat": ("tensors",),
    "stack": ("tensors",),
    "where": ("condition", "input", "other"),
    "masked_fill": ("input", "mask", "value"),
}


class RelevanceMode(TorchFunctionMode):
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
        args, kwargs = _in_order(_OPERANDS.get(func.__name__, ("input", "other")), args, dict(kwargs))
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

    def _baddbmm(
        self, func: Any, first: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1
    ) -> Any:
        def exact() -> Tensor:
            return func(first, batch1, batch2, beta=beta, alpha=alpha)

        return self._product(lambda a, b: torch.bmm(a, b) * alpha, batch1, batch2, _times(first, beta), exact)

    def _einsum(self, func: Any, equation: Any, *operands: Any) -> Any:
        tensors = list(
            operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
        )
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


def _in_order(
    names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with the operands that were given by name moved to their places."""
    for name in names[len(args) :]:
        if name not in kwargs:
            break
        args = (*args, kwargs.pop(name))
    return args, kwargs


def _gate(func: Any, x: Any, *a: Any, **k: Any) -> Any:
    """Factors that are held constant: normalisers and gates that are not zero at zero."""
    return func(x.detach() if carries(x) else x, *a, **k)


def _times(x: Any, factor: Any) -> Any:
    return x if isinstance(factor, (int, float)) and factor == 1 else x * factor
