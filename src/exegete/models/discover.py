"""Discovery: the table of an architecture nobody wrote a table for, found by what its modules do to numbers.

1. Run once on a random input and write down every call (`observe`).
2. Blocks: the list of modules of one class that run in order, each on what the one before returned.
3. Attention: the innermost module where queries meet keys; its output projection is the first matrix that runs after that.
4. Residual: among everything the modules of a block return, the two terms with  in + a * A + b * M = out  (a, b one, or an
   attribute of the block), or, for post-norm blocks, norms with  N1(in + A) = mid  and  N2(mid + M) = out.
5. Norms, feed-forward inputs and the unembedding: modules that run on these very tensors.

The result is a table like any other, and is proved before it is believed. What cannot be found is named in the letter.
Single stacks only: an encoder-decoder needs a table. Cost: one pass of 6 tokens, plus the proof.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from exegete.core.errors import ModelError, UnsupportedModel
from exegete.models.capture import evaluating
from exegete.models.norms import freeze
from exegete.models.observe import Call, Observation, fits, like, near, observe, same, sure, within
from exegete.models.prove import random_inputs
from exegete.models.table import Block, Family, Head, Part, Stack


@dataclass(frozen=True)
class _Found:
    """The terms of one block: calls that return what is added, the norms on the sums, and factors."""

    attn: Call
    mlp: Call
    parallel: bool
    mid: Tensor | None
    after: tuple[str, str] = ("", "")
    scales: tuple[str, str] = ("", "")


def discover(module: nn.Module) -> Family:
    """The table of an unknown architecture. Raises `UnsupportedModel` with what could not be found."""
    config: Any = getattr(module, "config", None)
    if config is None or getattr(config, "is_encoder_decoder", False):
        raise _lost(module, "a single stack of blocks (it is an encoder-decoder, or has no config)")
    embed = _embedding(module)
    with evaluating(module):
        seen = observe(module, random_inputs(config, embed, 0))
        path, first = _blocks(module, seen)
        attention = next((a for a in seen.attentions if within(a.path, first)), None)
        if attention is None:
            raise _lost(
                module, f"the attention inside {first} (no scaled dot product and no softmax over keys)"
            )
        proj = _projection(module, seen, first, attention.when)
        found = _terms(module, seen, first, proj)
        block = _block(module, seen, first, attention.path, proj, found)
        prefix = _prefix(module)
        norm = _final_norm(module, seen, _last(seen, path), prefix)
        head = _head(module, seen, norm, _last(seen, path))
    stack = Stack(
        _strip(path, prefix), block, embed=_strip(_path_of(module, embed), prefix), norm=_strip(norm, prefix)
    )
    name = str(getattr(config, "model_type", "") or type(module).__name__)
    # Eager code repeats keys before the product: the config is then believed, as far as the proof bears it out.
    said = getattr(config, "num_key_value_heads", None)
    heads, kv = attention.heads, attention.kv_heads or (said if isinstance(said, int) else attention.heads)
    return Family(
        name, (), (stack,), (head,) if head else (), kv_heads=lambda _c: kv, q_heads=lambda _c: heads
    )


# -- blocks ------------------------------------------------------------------------------------------------------------


def _blocks(module: nn.Module, seen: Observation) -> tuple[str, str]:
    """Path of the list of blocks and of its first member: the chained list with the most parameters."""
    chained = [
        (sum(p.numel() for p in part.parameters()), path)
        for path, part in module.named_modules()
        if isinstance(part, nn.ModuleList | nn.Sequential) and _is_chain(part, path, seen)
    ]
    if not chained:
        raise _lost(
            module, "a list of equal blocks that run one after the other, each on the residual of the last"
        )
    best = max(chained)[1]
    return best, f"{best}.0"


def _is_chain(part: nn.Module, path: str, seen: Observation) -> bool:
    members = list(part.children())
    if not members or len({type(m) for m in members}) > 1 or sum(1 for _ in members[0].modules()) < 4:
        return False
    calls = [seen.of(f"{path}.{i}") for i in range(len(members))]
    for i, call in enumerate(calls):
        if call is None or call.entered is None or call.returned is None or call.entered.ndim != 3:
            return False
        if sum(c.path == call.path for c in seen.calls) != 1:  # layers that share modules need a table
            return False
        if call.entered.shape != call.returned.shape:
            return False
        before = calls[i - 1] if i else None
        if (
            before is not None
            and before.returned is not None
            and not torch.equal(before.returned, call.entered)
        ):
            return False
    return True


def _last(seen: Observation, path: str) -> Call:
    count = max(int(c.path.removeprefix(f"{path}.").split(".")[0]) for c in seen.inside(path))
    return sure(seen.of(f"{path}.{count}"))


# -- one block ---------------------------------------------------------------------------------------------------------


def _projection(module: nn.Module, seen: Observation, block: str, when: int) -> Call:
    """The first matrix that runs after the attention, back to the width of the residual."""
    width = _entered(seen, block).shape[-1]
    for call in seen.inside(block):
        if call.start > when and _is_matrix(module.get_submodule(call.path)) and call.returned is not None:
            if call.returned.shape[-1] == width:
                return call
            break
    raise _lost(module, f"the output projection of the attention in {block}")


def _terms(module: nn.Module, seen: Observation, block: str, proj: Call) -> _Found:
    """The two terms of the residual's sum."""
    whole = sure(seen.of(block))
    pre, post = _entered(seen, block), _returned(whole)
    candidates = [c for c in seen.inside(block) if fits(c.returned, pre) and c.end >= proj.end]
    found = _post_norm(candidates, pre, post) or _pre_norm(module, seen, block, candidates, pre, post)
    if found is None:
        raise _lost(module, f"what attention and feed-forward add to the residual in {block}")
    return found


def _post_norm(candidates: list[Call], pre: Tensor, post: Tensor) -> _Found | None:
    for first in candidates:
        if not fits(first.entered, pre):
            continue
        attn = _addend(candidates, first, pre)
        if attn is None:
            continue
        mid = like(first.returned, pre)
        for second in candidates:
            if second.start > first.end and same(second.returned, post) and fits(second.entered, pre):
                mlp = _addend(candidates, second, mid)
                if mlp is not None and mlp.start >= first.end:
                    return _Found(attn, mlp, False, mid, (first.path, second.path))
    return None


def _addend(candidates: list[Call], norm: Call, base: Tensor) -> Call | None:
    """The call whose return, added to `base`, is what a norm runs on."""
    total = like(norm.entered, base)
    return next(
        (c for c in candidates if c.end < norm.start and near(base + like(c.returned, base), total)), None
    )


def _pre_norm(
    module: nn.Module, seen: Observation, block: str, candidates: list[Call], pre: Tensor, post: Tensor
) -> _Found | None:
    part = module.get_submodule(block)
    factors = {1.0: "", **{v: k for k, v in vars(part).items() if isinstance(v, float) and v != 1.0}}
    for a, attn in enumerate(candidates):
        for mlp in candidates[:a] + candidates[a + 1 :]:
            if mlp.end <= attn.end:
                continue
            for factor, name in factors.items():
                one, two = factor * like(attn.returned, pre), factor * like(mlp.returned, pre)
                if not near(pre + one + two, post):
                    continue
                mid = pre + one
                reads = any(
                    fits(c.entered, pre) and near(like(c.entered, pre), mid) for c in seen.inside(block)
                )
                return _Found(attn, mlp, not reads, mid if reads else None, scales=(name, name))
    return None


def _block(module: nn.Module, seen: Observation, block: str, core: str, proj: Call, found: _Found) -> Block:
    cut = len(block) + 1
    inside = seen.inside(block)
    pre, core_call = _entered(seen, block), sure(seen.of(core))
    norm = _norm_before(inside, pre, core_call)
    attn = Part(
        out=_outermost(core, proj.path, cut) or proj.path[cut:],
        add=found.attn.path[cut:],
        reads=core[cut:],
        proj=proj.path[cut:],
        norm=norm[cut:],
        after=found.after[0][cut:],
        scale=found.scales[0],
    )
    base = pre if found.parallel else found.mid
    mlp_norm, reads = _feed_forward(module, inside, sure(base), found, core_call, proj)
    down = _down(module, inside, found.mlp, reads, pre.shape[-1])
    equal = [c.path for c in inside if same(c.returned, found.mlp.returned) and c.start >= reads.start]
    equal = [*equal, found.mlp.path]
    mlp = Part(
        out=reads.path[cut:] if within(down, reads.path) else min(equal, key=lambda p: p.count("."))[cut:],
        add=found.mlp.path[cut:],
        reads=reads.path[cut:],
        proj=down[cut:],
        norm=mlp_norm[cut:],
        after=found.after[1][cut:],
        scale=found.scales[1],
    )
    flat = reads.entered is not None and reads.entered.ndim == 2
    return Block(attn, mlp, parallel=found.parallel, tail=sure(seen.of(block)).tail, flat=flat)


def _feed_forward(
    module: nn.Module, inside: list[Call], base: Tensor, found: _Found, core: Call, proj: Call
) -> tuple[str, Call]:
    """(norm in front of the feed-forward part, the call that reads it)."""
    later = [c for c in inside if c.end <= found.mlp.end or c.path == found.mlp.path]
    later = [
        c for c in later if not within(c.path, core.path) and c.start > (0 if found.parallel else proj.end)
    ]
    readers = [c for c in later if fits(c.entered, base) and near(like(c.entered, base), base)]
    for first in readers:
        matrices = [m for m in module.get_submodule(first.path).modules() if _is_matrix(m)]
        if matrices:
            return "", first
        users = [c for c in later if c.start > first.end and same(c.entered, first.returned)]
        users = [u for u in users if u.start <= found.mlp.start or u.path == found.mlp.path]
        if users:
            return first.path, users[0]
    raise _lost(module, f"what reads the residual before {found.mlp.path}")


def _down(module: nn.Module, inside: list[Call], mlp: Call, reads: Call, width: int) -> str:
    """The last matrix of the feed-forward part, whose input are its neurons; "" when no module shows it."""
    found = ""
    for call in inside:
        is_late = reads.start < call.start and call.end <= max(mlp.end, reads.end)
        returned = call.returned if _is_matrix(module.get_submodule(call.path)) else None
        if is_late and returned is not None and returned.shape[-1] == width:
            found = call.path if returned.numel() == _returned(mlp).numel() else found
    return found


def _norm_before(inside: list[Call], pre: Tensor, reader: Call) -> str:
    for call in inside:
        if call.end < reader.start and same(call.entered, pre) and same(call.returned, reader.entered):
            return call.path
    return ""


def _outermost(core: str, proj: str, cut: int) -> str:
    """The largest module inside the block that holds both the attention and its projection."""
    shared = []
    for a, b in zip(core[cut:].split("."), proj[cut:].split(".")):
        if a != b:
            break
        shared.append(a)
    return shared[0] if shared else ""


# -- the end -----------------------------------------------------------------------------------------------------------


def _final_norm(module: nn.Module, seen: Observation, last: Call, prefix: str) -> str:
    """The norm inside the base model that runs on the last residual; "" when there is none."""
    for call in seen.calls:
        if call.start < last.end or not within(call.path, prefix) or not same(call.entered, last.returned):
            continue
        if fits(call.returned, _returned(last)) and not same(call.entered, call.returned):
            return call.path if _is_norm(module.get_submodule(call.path), _returned(last)) else ""
    return ""


def _is_norm(part: nn.Module, x: Tensor) -> bool:
    try:
        freeze(part, x)
    except ModelError:
        return False
    return True


def _head(module: nn.Module, seen: Observation, norm: str, last: Call) -> Head | None:
    """The modules from the last (normed) residual to the logits, with a factor or cap of the config where there is one."""
    logits = getattr(seen.output, "logits", None)
    table: Any = getattr(module, "get_output_embeddings", lambda: None)
    if logits is None or table() is None:
        return None
    config: Any = module.config
    start = sure(seen.of(norm)) if norm else last
    steps, raw = _chain(seen, start, logits)
    if not steps or raw is None or raw.shape != logits.shape:
        return None
    if near(raw, logits):
        return Head(steps)
    numbers = {k: v for k, v in config.to_dict().items() if isinstance(v, int | float) and v not in (0, 1)}
    for name, value in numbers.items():
        if near(raw * value, logits):
            return Head(steps, times=name)
        if near(raw / value, logits):
            return Head(steps, over=name)
        if near(torch.tanh(raw / value) * value, logits):
            return Head(steps, softcap=name)
    return None


def _chain(seen: Observation, start: Call, logits: Tensor) -> tuple[tuple[str, ...], Tensor | None]:
    """Modules that run one on the return of the other after `start`, the outermost of each, down to the shape of the logits."""
    steps: list[str] = []
    tensor, when = start.returned, start.end
    while tensor is not None and tensor.shape != logits.shape:
        following = next((c for c in seen.calls if c.start > when and same(c.entered, tensor)), None)
        if following is None:
            return (), None
        steps.append(following.path)
        tensor, when = following.returned, following.end
    return tuple(steps), tensor


# -- small ---------------------------------------------------------------------------------------------------------------


def _embedding(module: nn.Module) -> nn.Module:
    try:
        found = module.get_input_embeddings()  # type: ignore[operator]
    except (NotImplementedError, AttributeError):
        found = next((m for m in module.modules() if isinstance(m, nn.Embedding)), None)
    if not isinstance(found, nn.Embedding):
        raise _lost(module, "the token embedding")
    return found


def _is_matrix(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(module, nn.Embedding)


def _entered(seen: Observation, path: str) -> Tensor:
    return sure(sure(seen.of(path)).entered)


def _returned(call: Call) -> Tensor:
    return sure(call.returned)


def _path_of(module: nn.Module, part: nn.Module) -> str:
    return next(name for name, m in module.named_modules() if m is part)


def _prefix(module: nn.Module) -> str:
    name = getattr(module, "base_model_prefix", "")
    return name if name and isinstance(getattr(module, name, None), nn.Module) else ""


def _strip(path: str, prefix: str) -> str:
    return path.removeprefix(f"{prefix}.") if prefix else path


def _lost(module: nn.Module, what: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"You asked to map {type(module).__name__}, whose architecture has no table.",
        f"Discovery could not find {what}.",
        "Write a table for it (one file in models/families/), or use methods that need no sites.",
    )
