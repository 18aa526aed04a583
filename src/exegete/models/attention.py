"""The attention tap: q, k, v, scores and pattern of any attention module, seen and edited without touching the module.

1. While an attention module runs, a `TorchFunctionMode` sees every torch call it makes. Only three kinds matter:
   `scaled_dot_product_attention`, `softmax`, and the matrix products around the softmax.
2. Fused kernel: q, k, v, mask and scale are its arguments. Scores and pattern are computed beside it, and the kernel itself
   runs unchanged, so logits stay bitwise equal, unless scores or pattern are edited or asked for with their graph;
   then the output is `pattern @ v`.
3. Eager code: the first product of two activations is q k^T, the softmax turns scores into the pattern, the first product
   that takes something of the pattern's shape afterwards is pattern @ v.
4. Everything is shown per head, keys and values per key-value head (grouped queries are folded back), hidden positions
   as -inf in scores whatever number the model uses. An edit of scores cannot unhide a position; a query from which it
   takes every key gets a row of zeros.

Cost: no extra pass; a few percent at GPT-2-small size. Kernels that show neither call (flash, flex) are refused.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from exegete.core.errors import SiteError

# Called with a kind ("q", "k", "v", "scores", "pattern") and the tensor of all heads; returns what is to be used instead, or
# the very same object when nothing changes.
Visit = Callable[[str, Tensor], Tensor]

_SDPA = F.scaled_dot_product_attention
_SOFTMAX = frozenset({F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax})
_PRODUCTS = frozenset(
    {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.baddbmm, Tensor.baddbmm}
)
_ADDED = frozenset({torch.baddbmm, Tensor.baddbmm})
_PRODUCT_NAMES = ("input", "other", "mat2", "batch1", "batch2")
_SDPA_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")


class Tap(TorchFunctionMode):
    """The mode that is active while one attention module runs.

    visit    called for each kind in `kinds`
    inside   kinds whose value must lie on the path to the output (edited, or wanted with their graph)
    n_kv     key-value heads; `n_heads` query heads
    """

    def __init__(
        self, visit: Visit, kinds: frozenset[str], inside: frozenset[str], n_heads: int, n_kv: int
    ) -> None:
        super().__init__()
        self._visit, self._kinds, self._inside = visit, kinds, inside
        self._heads, self._kv = n_heads, n_kv
        self.seen = False
        self._pattern_shape: torch.Size | None = None
        self._scored = self._mixed = False
        self._swaps: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Dispatch the calls of interest; everything else runs as it is."""
        kwargs = kwargs or {}
        if func is _SDPA:
            self.seen = True
            return self._fused(args, kwargs)
        if func in _SOFTMAX and self._is_attention(args, kwargs):
            self.seen = True
            return self._softmax(func, args, kwargs)
        if func in _PRODUCTS and self._kinds & {"q", "k", "v"}:
            return self._product(func, args, kwargs)
        return func(*args, **kwargs)

    def _show(self, kind: str, tensor: Tensor) -> Tensor:
        return self._visit(kind, tensor) if kind in self._kinds else tensor

    # -- fused kernel ------------------------------------------------------------------------------------------------

    def _fused(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        call = {
            "attn_mask": None,
            "is_causal": False,
            "scale": None,
            **dict(zip(_SDPA_NAMES, args)),
            **kwargs,
        }
        # One query token of a grouped model may come packed as [batch, kv head, group, dh]: unpack it to see the heads.
        packed = call["query"].shape if self._is_packed(call) else None
        if packed is not None:
            call = self._unpack(call)
        q = self._show("q", call["query"])
        k = self._show_kv("k", call["key"])
        v = self._show_kv("v", call["value"])
        changed = q is not call["query"] or k is not call["key"] or v is not call["value"]
        call |= {"query": q, "key": k, "value": v}
        out = None
        if self._kinds & {"scores", "pattern"}:
            out = self._weigh(call)
        if out is None and not changed:
            return _SDPA(*args, **kwargs)
        if out is None:
            out = _SDPA(**call)
        return out if packed is None else out.reshape(*packed[:-1], out.shape[-1])

    def _weigh(self, call: dict[str, Any]) -> Tensor | None:
        """Scores and pattern beside the kernel; the attention's output when they must carry it, else None."""
        carry = bool(self._inside & {"scores", "pattern"})
        with torch.set_grad_enabled(carry and torch.is_grad_enabled()):
            q, k, v = call["query"], *self._spread(call["key"], call["value"], call["query"].shape[1])
            scores = _scores(q, k, call)
            if "scores" in self._kinds:
                raw = _hide(scores)
                scores = _keep_hidden(raw, self._show("scores", raw))
            elif call["attn_mask"] is not None:
                scores = _hide(scores)
            causal = call["attn_mask"] is None and "scores" not in self._inside  # then every query sees a key
            plain = (scores.softmax(-1) if causal else _softmax_or_zero(scores)).to(v.dtype)
            pattern = self._show("pattern", plain)
            return pattern @ v if carry else None

    def _is_packed(self, call: dict[str, Any]) -> bool:
        q, k = call["query"], call["key"]
        return q.ndim == 4 and q.shape[1] == k.shape[1] == self._kv != self._heads and not call["is_causal"]

    def _unpack(self, call: dict[str, Any]) -> dict[str, Any]:
        q, mask = call["query"], call["attn_mask"]
        if mask is not None and mask.ndim == 4 and mask.shape[1] == q.shape[1]:
            mask = mask.reshape(mask.shape[0], self._heads, 1, mask.shape[-1])
        query = q.reshape(q.shape[0], self._heads, 1, q.shape[-1])
        return {**call, "query": query, "attn_mask": mask, "enable_gqa": True}

    # -- eager code --------------------------------------------------------------------------------------------------

    def _is_attention(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        x = args[0] if args else kwargs.get("input")
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        return isinstance(x, Tensor) and x.ndim >= 3 and dim in (-1, x.ndim - 1)

    def _softmax(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        raw = args[0] if args else kwargs["input"]
        silenced = None
        if "scores" in self._kinds:
            hidden = _hide(self._by_head(raw))
            shown = _keep_hidden(hidden, self._show("scores", hidden))
            if shown is not hidden or "scores" in self._inside:
                silenced = (_blind(shown) & ~_blind(hidden)).reshape(*raw.shape[:-1], 1)
                floor = torch.finfo(raw.dtype).min
                raw = shown.masked_fill(shown == -math.inf, floor).reshape(raw.shape)
                args, kwargs = ((raw, *args[1:]), kwargs) if args else (args, {**kwargs, "input": raw})
        out = func(*args, **kwargs)
        if silenced is not None and bool(silenced.any()):
            out = out.masked_fill(silenced, 0.0)
        plain = self._by_head(out)
        pattern = self._show("pattern", plain)
        self._pattern_shape = out.shape[-2:]
        inside = pattern is not plain or "pattern" in self._inside
        return pattern.reshape(out.shape) if inside else out

    def _product(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        # Operands may come by name; put them in order and leave every other argument where it is.
        named = [kwargs[n] for n in _PRODUCT_NAMES if n in kwargs]
        first = 1 if func in _ADDED else 0
        operands = [*args, *named][first : first + 2]
        if len(operands) < 2 or any(not isinstance(o, Tensor) or o.ndim < 3 for o in operands):
            return func(*args, **kwargs)
        a, b = (self._swapped(o) for o in operands)
        if self._pattern_shape is None and not self._scored:
            self._scored = True
            a = self._swap("q", a)
            b = self._swap("k", b.transpose(-1, -2)).transpose(-1, -2)
        elif self._pattern_shape == a.shape[-2:] and not self._mixed:
            self._mixed = True
            b = self._swap("v", b)
        if a is operands[0] and b is operands[1]:
            return func(*args, **kwargs)
        rest = {n: v for n, v in kwargs.items() if n not in _PRODUCT_NAMES}
        return func(*[*args, *named][:first], a, b, *args[first + 2 :], **rest)

    def _swap(self, kind: str, raw: Tensor) -> Tensor:
        """Show an operand; remember what replaces it, for it may enter another product (DeBERTa's position terms)."""
        if kind not in self._kinds:
            return raw
        whole = self._by_head(raw)
        shown = self._show(kind, whole) if kind == "q" else self._show_kv(kind, whole)
        if shown is whole and kind not in self._inside:
            return raw
        new = shown.reshape(raw.shape)
        self._swaps.append((raw, new))
        return new

    def _swapped(self, operand: Tensor) -> Tensor:
        for old, new in self._swaps:
            if _same(operand, old):
                return new
            if _same(operand, old.transpose(-1, -2)):
                return new.transpose(-1, -2)
        return operand

    # -- heads -------------------------------------------------------------------------------------------------------

    def _by_head(self, x: Tensor) -> Tensor:
        """[batch * head, ...] as [batch, head, ...]."""
        return x if x.ndim == 4 else x.reshape(-1, self._heads, *x.shape[-2:])

    def _show_kv(self, kind: str, x: Tensor) -> Tensor:
        """Show keys or values per key-value head; repeated heads are folded before and repeated after."""
        if kind not in self._kinds:
            return x
        times = x.shape[1] // self._kv
        if times <= 1:
            return self._show(kind, x)
        folded = x[:, ::times]
        shown = self._show(kind, folded)
        return x if shown is folded and kind not in self._inside else shown.repeat_interleave(times, dim=1)

    def _spread(self, k: Tensor, v: Tensor, heads: int) -> tuple[Tensor, Tensor]:
        times = heads // k.shape[1]
        return (k, v) if times <= 1 else (k.repeat_interleave(times, 1), v.repeat_interleave(times, 1))


def refuse_unseen(name: str) -> SiteError:
    """The letter for an attention whose kernel shows neither call."""
    return SiteError(
        f"You asked to look inside the attention {name}.",
        "It ran a kernel that shows neither scores nor pattern (flash, flex or a custom one).",
        "Load the model with attn_implementation='sdpa' or 'eager'.",
    )


def _scores(q: Tensor, k: Tensor, call: dict[str, Any]) -> Tensor:
    scale = call["scale"] if call["scale"] is not None else q.shape[-1] ** -0.5
    scores = (q @ k.transpose(-1, -2)) * scale
    if call["is_causal"]:
        lower = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        scores = scores.masked_fill(~lower, -math.inf)
    mask = call["attn_mask"]
    if mask is None:
        return scores
    return scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask


def _hide(scores: Tensor) -> Tensor:
    """Scores with every masked position at -inf; models write a large negative number instead."""
    # Some families divide after masking (by the root of the head width), so the number may be well above the least one.
    floor = torch.finfo(scores.dtype).min / (16 if scores.dtype == torch.float16 else 1024)
    hidden = scores <= floor
    return scores.masked_fill(hidden, -math.inf) if bool(hidden.any()) else scores


def _keep_hidden(before: Tensor, after: Tensor) -> Tensor:
    return after if after is before else after.masked_fill(before == -math.inf, -math.inf)


def _softmax_or_zero(scores: Tensor) -> Tensor:
    """Softmax over keys; a query that sees nothing gets a row of zeros, as the fused kernel gives it."""
    blind = _blind(scores)
    if not bool(blind.any()):
        return scores.softmax(-1)
    return scores.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0)


def _blind(scores: Tensor) -> Tensor:
    """Queries that see no key, [..., 1]."""
    return (scores == -math.inf).all(-1, keepdim=True)


def _same(a: Tensor, b: Tensor) -> bool:
    if a is b:
        return True
    return (
        a.shape == b.shape
        and a.stride() == b.stride()
        and a.storage_offset() == b.storage_offset()
        and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
    )
