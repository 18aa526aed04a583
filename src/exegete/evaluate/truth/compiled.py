"""Compiled models: transformers whose weights are set by hand, so that their circuits are known exactly.

    compiled("induction")       the model, its gold circuit, and pairs of texts to find it with
    compiled_names()            copy, induction, indirect_object, comparison, brackets, by_place

An edge is gold when the algorithm sends something over it that differs between the two texts of a pair. What is the same in
both (a key that carries nothing but positions) cannot be seen by exchanging texts, and is not gold. The tests patch every
edge: each gold one moves the answer by more than a logit, no other one by more than 0.4.

Each task is a file `compiled_<task>.py` with `make() -> Compiled`. Cost: no pass; about 30 ms a model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from random import Random

from exegete.core.errors import UnknownName
from exegete.core.material import Pair
from exegete.models.edges import edge_graph
from exegete.models.model import Model

Edge = tuple[str, str]
Draw = Callable[[Random], Pair]


@dataclass(frozen=True)
class Compiled:
    """A compiled model: `edges` are the gold ones as (writer, reader); `draws` make a pair each, of one kind each.

    `algorithm` says in words what the parts do.
    """

    name: str
    model: Model
    edges: tuple[Edge, ...]
    algorithm: str
    draws: tuple[tuple[str, Draw], ...]

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """The heads and feed-forward parts of the gold circuit, in order."""
        return tuple(sorted({w for w, _ in self.edges} - {"embed"}))

    @cached_property
    def n_edges(self) -> int:
        """How many edges the whole graph of the model has."""
        return len(edge_graph(self.model.map).edges)

    def pairs(self, n: int = 24, seed: int = 0) -> tuple[Pair, ...]:
        """`n` pairs, the kinds in blocks of two, so that every other pair has all kinds too."""
        random, found = Random(f"{self.name}-{seed}"), []
        for i in range(n):
            kind, draw = self.draws[(i // 2) % len(self.draws)]
            found.append(draw(random).model_copy(update={"id": f"{self.name}/{kind}-{i}"}))
        return tuple(found)


def compiled(name: str) -> Compiled:
    """A compiled model by name. Raises `UnknownName` with near ones."""
    makers = _makers()
    if name not in makers:
        raise UnknownName("compiled model", name, makers)
    return makers[name]()


def compiled_names() -> tuple[str, ...]:
    """Names of all compiled models."""
    return tuple(_makers())


def _makers() -> dict[str, Callable[[], Compiled]]:
    from exegete.evaluate.truth import (
        compiled_brackets,
        compiled_by_place,
        compiled_comparison,
        compiled_copy,
        compiled_indirect_object,
        compiled_induction,
    )

    return {
        "copy": compiled_copy.make,
        "induction": compiled_induction.make,
        "indirect_object": compiled_indirect_object.make,
        "comparison": compiled_comparison.make,
        "brackets": compiled_brackets.make,
        "by_place": compiled_by_place.make,
    }
