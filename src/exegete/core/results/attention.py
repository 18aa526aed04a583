"""What the studies of attention maps find: the patterns of one text, and what each head does in numbers."""

import numpy as np

from exegete.core.figure import AnyFigure, Maps, Table
from exegete.core.results.finding import Finding
from exegete.core.value import Value

SHOWN = ("entropy", "share of most", "distance", "first", "special", "self", "previous", "content")


class HeadMaps(Value):
    """Patterns of one attention (self, encoder, decoder, cross) on one text.

    `patterns` [map, query, key] float32, of the heads that were kept, by `layers` [map] and `heads` [map]; `queries`, `keys`
    are the tokens; `query_parts`, `key_parts` say which sentence (from 0) each belongs to, -1 for none. `q` [map, query, dh] and
    `k` [map, key, dh] where they were kept; score = scale * (q . k), or `scale` is NaN where the model adds more to the score (a position bias, a cap).
    `all_layers`, `all_heads` [head] name every head of this attention, and `numbers` [head, 8] are its entropy, entropy of
    uniform attention, distance, and shares on first, special, own, previous and other tokens (`ops.patterns`).
    """

    name: str
    patterns: np.ndarray
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    query_parts: tuple[int, ...]
    key_parts: tuple[int, ...]
    all_layers: tuple[int, ...]
    all_heads: tuple[int, ...]
    numbers: np.ndarray
    left_out: int = 0
    q: np.ndarray | None = None
    k: np.ndarray | None = None
    scale: float = 1.0


class AttentionMaps(Finding):
    """Where every head looks in one text: its patterns, one `HeadMaps` an attention; weights under `threshold` are not drawn."""

    maps: tuple[HeadMaps, ...]
    threshold: float = 0.0

    def figures(self) -> tuple[AnyFigure, ...]:
        """The maps of each attention, then the heads in numbers."""
        return (*(self._maps(m) for m in self.maps if m.patterns.size), self._table())

    def _maps(self, m: HeadMaps) -> Maps:
        left = f" {m.left_out} more heads are in the table only." if m.left_out else ""
        return Maps(
            title=f"Attention patterns: {m.name}",
            caption=f"One small picture a head, one row a layer; rows of a picture are queries, columns keys.{left}",
            patterns=m.patterns,
            names=tuple(f"{layer}.h{head}" for layer, head in zip(m.layers, m.heads)),
            groups=tuple(f"layer {layer}" for layer in m.layers),
            queries=m.queries,
            keys=m.keys,
            query_parts=m.query_parts,
            key_parts=m.key_parts,
            threshold=self.threshold,
            q=m.q,
            k=m.k,
            scale=m.scale,
        )

    def _table(self) -> Table:
        several = len(self.maps) > 1
        rows = [
            (*((m.name,) if several else ()), f"{layer}.h{head}", *map(_cell, _shown(line)))
            for m in self.maps
            for layer, head, line in zip(m.all_layers, m.all_heads, m.numbers)
        ]
        return Table(
            title="Every head in numbers",
            caption="Means over queries: entropy (nats) and its share of that of uniform attention; distance in tokens; shares "
            "on the first, the special, the own, the previous and on other tokens.",
            columns=(*(("attention",) if several else ()), "head", *SHOWN),
            rows=tuple(rows),
        )


def _shown(line: np.ndarray) -> tuple[float, ...]:
    entropy, room, *rest = (float(x) for x in line)
    return entropy, entropy / room if room > 0 else float("nan"), *rest


def _cell(x: float) -> float | None:
    return round(x, 4) if np.isfinite(x) else None
