"""The last layer, for one position: where only one row is measured, no other row needs its output.

1. queries, keys and values of the last layer are computed for all tokens as ever (the measured row attends to them);
2. what enters the output projection, and what enters the feed-forward part, is cut to the measured row;
3. both are added to the whole residual by broadcasting: the measured row is right, the others are not, and nobody reads them.

It saves the last layer's output projection and feed-forward part for all rows but one: three quarters of its products. The
caller compares one such pass with a whole one (see `models.cells`). Not for families whose feed-forward part works on
flattened tokens. Cost: two hooks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from exegete.core.site import Stack
from exegete.models.family import ModelMap
from exegete.models.slots import find_input, get_input, put_input


def cuts(bound: ModelMap, stack: Stack) -> bool:
    """Whether the last layer of a stack can be cut to one row."""
    return not bound.tower(stack).table.block.flat and not bound.tower(stack).shared


@contextmanager
def only_row(bound: ModelMap, stack: Stack, row: int) -> Iterator[None]:
    """In this context the last layer of `stack` writes to `row` alone; all other rows of its output are meaningless."""
    last = bound.n_layers - 1
    part = bound.tower(stack).table.block.mlp
    paths = [
        bound.part_path(stack, last, "attn", "proj"),
        bound.part_path(stack, last, "mlp", "reads" if part.reads else "out"),
    ]

    def cut(_m: nn.Module, args: Any, kwargs: Any) -> Any:
        slot = find_input(args, kwargs)
        x: Tensor | None = None if slot is None else get_input(slot, args, kwargs)
        if slot is None or x is None or x.ndim != 3:
            return None
        return put_input(slot, args, kwargs, x[:, row : row + 1])

    placed = [bound.at(p).register_forward_pre_hook(cut, with_kwargs=True) for p in paths]
    try:
        yield
    finally:
        for hook in placed:
            hook.remove()
