"""Models that compute the same as another, written otherwise. Copies; the model itself stays.

    rewritten   hidden units of every feed-forward part in another order; values of attention doubled, and what reads them halved.
                What is not certain from a table is tried and kept only where the output stays (else taken back)
    shifted     every input embedding e read as e + m, and m taken away behind the place where inputs are read: the bias of the
                first layer of Kindermans et al., whatever that layer is

Doubling and halving are exact in binary numbers; another order of a sum, and adding m and taking it away, cost rounding.
Cost: a copy of the model; `rewritten`: a forward a part.
"""

import copy
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from exegete.core.errors import ModelError
from exegete.core.seed import derive
from exegete.models.model import Model

VALUES = ("v_proj", "value", "v_lin", "v", "v_proj_linear", "wv")
FUSED = ("c_attn", "qkv_proj", "query_key_value", "Wqkv", "in_proj")
TOLERANCE = 1e-4  # of the largest output: what another order of a sum may change


def rewritten(
    model: Model, output: Callable[[Model], Tensor], seed: int = 0
) -> tuple[Model, tuple[str, ...]]:
    """A copy with permuted hidden units and rescaled values, and in words what was rewritten.

    `output` runs a model on some input; it decides what is kept. Raises `ModelError` where nothing can be rewritten.
    """
    twin = copied(model)
    truth, done = output(model), []
    for words, change in _changes(twin, seed):
        held = {name: w.detach().clone() for name, w in twin.module.named_parameters()}
        with torch.no_grad():
            change()
        moved = any(not torch.equal(held[n], w) for n, w in twin.module.named_parameters())
        if moved and float((output(twin) - truth).abs().max()) <= TOLERANCE * float(
            truth.abs().max().clamp(min=1)
        ):
            done.append(words)
            continue
        with torch.no_grad():
            for name, w in twin.module.named_parameters():
                w.copy_(held[name])
    if not done:
        raise ModelError(
            f"You asked for another implementation of {model.name}.",
            "None of its layers has hidden units or values that can be rewritten without a change of its output.",
            "Check a model of another architecture.",
        )
    return twin, tuple(done)


def copied(model: Model, kind: type[Model] = Model) -> Model:
    """A copy of a model with weights of its own."""
    twin = kind(
        copy.deepcopy(model.module), model.tokenizer, model.task, name=f"{model.name}, written otherwise"
    )
    twin.token_budget = model.token_budget
    return twin


def _changes(twin: Model, seed: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """The ways to rewrite each layer, in words and as what does it."""
    seen: set[str] = set()
    for stack in twin.map.stacks:
        for i, layer in enumerate(twin.map.tower(stack).layers):
            if layer.path in seen:
                continue
            seen.add(layer.path)
            block, name = twin.map.at(layer.path), f"{stack} layer {i}".strip()
            hidden = _matrix(twin, twin.map.part_path(stack, i, "mlp", "proj"))
            mixed = _matrix(twin, twin.map.part_path(stack, i, "attn", "proj"))
            if hidden is not None:
                rng = np.random.default_rng(derive(seed, "permuted", name))
                yield (
                    f"{name}: hidden units in another order",
                    lambda b=block, h=hidden, r=rng: _permute(b, h, r),
                )
            if mixed is not None:
                yield f"{name}: values doubled, their readers halved", lambda b=block, m=mixed: _rescale(b, m)


def _matrix(model: Model, path: str) -> nn.Module | None:
    found = model.map.at(path) if path else None
    weight = getattr(found, "weight", None)
    return found if isinstance(weight, Tensor) and weight.dim() == 2 else None


def axis_of(module: nn.Module, side: str) -> int:
    """The axis of a matrix that is its input or its output; Conv1D keeps it the other way round than Linear."""
    flipped = type(module).__name__ == "Conv1D"
    return int((side == "in") != flipped)


def matrices(block: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules of a block with a matrix, by name."""
    return [(n, m) for n, m in block.named_modules() if isinstance(w := getattr(m, "weight", None), Tensor) and w.dim() == 2]  # fmt: skip


def _permute(block: nn.Module, last: nn.Module, rng: np.random.Generator) -> None:
    """Exchange the inputs of `last` and the outputs of what makes them, alike."""
    weight = cast(Tensor, last.weight)
    width = weight.shape[axis_of(last, "in")]
    order = torch.as_tensor(rng.permutation(width), device=weight.device)
    others = [
        m
        for _, m in matrices(block)
        if m is not last and cast(Tensor, m.weight).shape[axis_of(m, "out")] == width
    ]
    names = {m: n for n, m in block.named_modules()}
    home = names[last].rsplit(".", 1)[0] if "." in names[last] else ""
    near = [m for m in others if home and names[m].startswith(f"{home}.")] or others
    if width == weight.shape[axis_of(last, "out")] and near is others:
        return
    weight.copy_(weight.index_select(axis_of(last, "in"), order))
    for m in near:
        w, bias = cast(Tensor, m.weight), getattr(m, "bias", None)
        w.copy_(w.index_select(axis_of(m, "out"), order))
        if isinstance(bias, Tensor):
            bias.copy_(bias[order])


def _rescale(block: nn.Module, reader: nn.Module) -> None:
    """Double the values of an attention part and halve the matrix that reads them."""
    parts = dict(matrices(block))
    mine = next(n for n, m in parts.items() if m is reader)
    root = mine.split(".")[0]
    for name, m in parts.items():
        last, w, bias = name.split(".")[-1], cast(Tensor, m.weight), getattr(m, "bias", None)
        if not name.startswith(root) or last not in (*VALUES, *FUSED):
            continue
        width = w.shape[axis_of(m, "out")]
        rows = slice(0, width) if last in VALUES else slice(2 * width // 3, width)
        w.copy_(_doubled(w, rows, axis_of(m, "out")))
        if isinstance(bias, Tensor):
            bias.copy_(_doubled(bias, rows, 0))
        cast(Tensor, reader.weight).mul_(0.5)
        return


def _doubled(x: Tensor, rows: slice, axis: int) -> Tensor:
    out = x.detach().clone()
    out.narrow(axis, rows.start, rows.stop - rows.start).mul_(2.0)
    return out


# ---- shifted inputs ----------------------------------------------------------------------------------------------------


class Inner(nn.Module):
    """An embedding whose vectors are all moved by `shift`: what methods see as the input."""

    def __init__(self, base: nn.Module, shift: Tensor) -> None:
        super().__init__()
        self.base = base
        self.register_buffer("shift", shift, persistent=False)

    @property
    def weight(self) -> Tensor:
        """The table, moved."""
        return cast(Tensor, self.base.weight) + cast(Tensor, self.shift)

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings [..., d] of ids [...]."""
        return self.base(ids) + self.shift


class Outer(nn.Module):
    """The same embedding for the rest of the model: `shift` is taken away again, whatever methods put in its place."""

    def __init__(self, inner: Inner) -> None:
        super().__init__()
        self.inner = inner

    @property
    def weight(self) -> Tensor:
        """The table as it was."""
        return cast(Tensor, self.inner.base.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings [..., d] of ids [...]."""
        return self.inner(ids) - self.inner.shift


class ShiftedModel(Model):
    """A model whose inputs are read shifted."""

    def embedding(self, stack: str) -> nn.Module:
        """What methods read and replace: the shifted embedding."""
        found = super().embedding(stack)
        return found.inner if isinstance(found, Outer) else found


def shifted(model: Model, size: float, seed: int = 0) -> Model:
    """A copy that reads every embedding moved by one vector, `size` times the mean length of the table's rows, in a random direction."""
    twin = copied(model, ShiftedModel)
    stacks = ("", "dec") if model.task == "seq2seq" else ("",)
    for table in {id(t): t for t in (twin.embedding(s) for s in stacks)}.values():
        weight = cast(Tensor, table.weight).detach()
        draw = torch.Generator().manual_seed(derive(seed, "shift"))
        with torch.no_grad():
            probe = table(torch.zeros((1, 1), dtype=torch.long, device=weight.device))
        way = torch.randn(probe.shape[-1], generator=draw).to(probe)
        grown = float(probe.norm() / weight[0].norm().clamp(min=1e-9)) if float(weight[0].norm()) else 1.0
        length = float(weight.norm(dim=-1).mean()) * grown
        outer = Outer(Inner(table, (size * length * way / way.norm()).detach()))
        for parent in list(twin.module.modules()):
            for name, child in list(parent.named_children()):
                if child is table and not isinstance(parent, (Inner, Outer)):
                    setattr(parent, name, outer)
    return twin
