"""The edge graph of a model: who writes to the residual, who reads it, and which of them lie on a path.

1. writers: what enters the first layer (`embed`), every head, every feed-forward part;
2. readers: the query of every head, the key and the value of every key-value head (with grouped queries a key-value head
   feeds its whole group of heads), the input of every feed-forward part, and the logits;
3. an edge leads from a writer to every reader that comes after it; parallel blocks have none between their two parts.

Every reader reads the sum of what the writers before it wrote (and constants), through its own norm. That holds where
norms stand before a part, or on what a part adds; a norm on the sum itself (post-norm) mixes all earlier writers into one
state with a scale of its own, and the sum is gone: such models are refused.

Sizes: W writers, R readers, E edges; GPT-2 small has 157, 445 and 32,491. Cost: no pass.
References: Wang et al. 2022 (arXiv:2211.00593), sec. 3; Conmy et al. 2023 (arXiv:2304.14997), sec. 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from exegete.core.errors import SiteError, UnknownName, UnsupportedModel
from exegete.core.site import Stack
from exegete.models.family import ModelMap


@dataclass(frozen=True)
class Writer:
    """Something that writes to the residual: `kind` is embed, head or mlp; embed has the layer -1."""

    kind: str
    layer: int = -1
    head: int = 0

    @property
    def name(self) -> str:
        """As it is shown: embed, 0.h1, 0.mlp."""
        return {"embed": "embed", "head": f"{self.layer}.h{self.head}", "mlp": f"{self.layer}.mlp"}[self.kind]


@dataclass(frozen=True)
class Reader:
    """Something that reads the residual: `kind` is q, k, v, mlp or logits; `head` of k and v counts key-value heads."""

    kind: str
    layer: int
    head: int = 0
    grouped: bool = False

    @property
    def name(self) -> str:
        """As it is shown: 0.h1.q, 0.kv0.k (grouped queries), 0.mlp, logits."""
        if self.kind in ("mlp", "logits"):
            return "logits" if self.kind == "logits" else f"{self.layer}.mlp"
        group = "kv" if self.grouped and self.kind != "q" else "h"
        return f"{self.layer}.{group}{self.head}.{self.kind}"


@dataclass(frozen=True)
class EdgeGraph:
    """The writers and readers of one stack, in order of computation."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    parallel: bool
    stack: Stack = ""

    @cached_property
    def writers(self) -> tuple[Writer, ...]:
        """W writers: embed, then the heads and the feed-forward part of each layer."""
        found = [Writer("embed")]
        for i in range(self.n_layers):
            found += [*(Writer("head", i, h) for h in range(self.n_heads)), Writer("mlp", i)]
        return tuple(found)

    @cached_property
    def readers(self) -> tuple[Reader, ...]:
        """R readers: q, k, v and feed-forward of each layer, then the logits."""
        grouped, found = self.n_kv_heads != self.n_heads, []
        for i in range(self.n_layers):
            found += [Reader("q", i, h, grouped) for h in range(self.n_heads)]
            found += [Reader(kind, i, h, grouped) for kind in "kv" for h in range(self.n_kv_heads)]
            found.append(Reader("mlp", i))
        return (*found, Reader("logits", self.n_layers))

    @property
    def shape(self) -> tuple[int, int]:
        """(R, W)."""
        return len(self.readers), len(self.writers)

    def upstream(self, reader: int) -> int:
        """How many of the first writers a reader can read: writers are in order, so they are the first ones."""
        r = self.readers[reader]
        if r.kind == "logits":
            return len(self.writers)
        before = 1 + r.layer * (self.n_heads + 1)
        return before + (self.n_heads if r.kind == "mlp" and not self.parallel else 0)

    @cached_property
    def allowed(self) -> np.ndarray:
        """Where there is an edge [R, W] bool."""
        return np.array([np.arange(len(self.writers)) < self.upstream(r) for r in range(len(self.readers))])

    @cached_property
    def edges(self) -> np.ndarray:
        """Every edge [E, 2] as (writer, reader), from the last reader and its last writer back to the first."""
        r, w = np.nonzero(self.allowed)
        return np.stack([w, r], 1)[::-1].copy()

    def layer_readers(self, layer: int) -> slice:
        """The q, k and v readers of a layer."""
        n = self.n_heads + 2 * self.n_kv_heads
        return slice(layer * (n + 1), layer * (n + 1) + n)

    def mlp_reader(self, layer: int) -> int:
        """The reader that is the feed-forward part of a layer."""
        return self.layer_readers(layer).stop

    def head_writers(self, layer: int) -> slice:
        """The writers that are heads of a layer."""
        start = 1 + layer * (self.n_heads + 1)
        return slice(start, start + self.n_heads)

    def mlp_writer(self, layer: int) -> int:
        """The writer that is the feed-forward part of a layer."""
        return self.head_writers(layer).stop

    @cached_property
    def feeds(self) -> tuple[tuple[int, ...], ...]:
        """The writers that each reader feeds: a head, a group of heads, a feed-forward part; none for the logits."""
        return tuple(self._fed(r) for r in self.readers)

    def _fed(self, r: Reader) -> tuple[int, ...]:
        if r.kind == "logits":
            return ()
        if r.kind == "mlp":
            return (self.mlp_writer(r.layer),)
        start, group = self.head_writers(r.layer).start, self.n_heads // self.n_kv_heads
        if r.kind == "q":
            return (start + r.head,)
        return tuple(start + r.head * group + i for i in range(group))

    def writer(self, name: str) -> int:
        """The writer of that name. Raises `UnknownName` with near ones."""
        return _find("part that writes", name, [w.name for w in self.writers])

    def reader(self, name: str) -> int:
        """The reader of that name. Raises `UnknownName` with near ones."""
        return _find("input of a part", name, [r.name for r in self.readers])

    def mask(self, edges: Sequence[tuple[str, str]]) -> np.ndarray:
        """Edges named (writer, reader) as a mask [R, W] bool. Raises `UnknownName`, and `SiteError` for an edge back in time."""
        found = np.zeros(self.shape, dtype=bool)
        for w, r in edges:
            at = self.reader(r), self.writer(w)
            if not self.allowed[at]:
                raise SiteError(
                    f"You named the edge from {w} to {r}.",
                    f"{r} is computed before {w} has written, or beside it.",
                    "Name edges from a part to one that comes after it.",
                )
            found[at] = True
        return found


def _find(kind: str, name: str, known: list[str]) -> int:
    if name not in known:
        raise UnknownName(kind, name, known)
    return known.index(name)


def edge_graph(map_: ModelMap, name: str = "this model") -> EdgeGraph:
    """The graph of a model's only stack. Raises `UnsupportedModel` where what is read is no sum of what was written."""
    if len(map_.stacks) > 1:
        raise UnsupportedModel(
            f"You asked for the edges of {name}.",
            "It has an encoder and a decoder; edges across their border are not described yet.",
            "Use patching of its heads and layers instead: node_patching.",
        )
    tower = map_.tower()
    block = tower.table.block
    if block.attn.after or block.mlp.after or not tower.norm or tower.shared:
        raise UnsupportedModel(
            f"You asked for the edges of {name}.",
            "Its residual passes through a norm after every part, so that what a part reads is no sum of what others wrote.",
            "Use patching of its heads and layers instead: node_patching.",
        )
    return EdgeGraph(len(tower.layers), tower.n_heads, tower.n_kv_heads, block.parallel, tower.table.name)
