"""What the study of attention attribution finds: attributions of all weights, the tree of tokens, and what pruned heads cost."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Edge, Graph, Grid, Maps, Node, Series
from exegete.core.results.finding import Finding
from exegete.core.value import Value


class AttributionMaps(Value):
    """Attributions of one attention on one text: `values` [layer, head, query, key] float32, `queries` and `keys` the tokens."""

    name: str
    values: np.ndarray
    queries: tuple[str, ...]
    keys: tuple[str, ...]


class TreeEdge(Value):
    """A token and the token it joined under: slots, the number of the attention (from 0, in order of computation), weight."""

    parent: int
    child: int
    attention: int
    weight: float


class AttributionTree(Finding):
    """Which attention the output owes what, which tokens it flows through, and which heads can go.

    `maps` are attributions on the first text, `tree` its tree over `pieces` (names of the slots) from `root`. `attentions`
    names the attentions in order of computation; `importance` [attention, head] is the mean over texts of the largest
    attribution, `confidence` that of the attention weights (mean over queries of the largest weight). `pruned` [point] heads
    are taken away in `kept_*`: the probability of the model's own answer on texts the importance was not taken from, heads of
    least importance first [text, point], of least confidence first [text, point], in random order (mean) [text, point].
    `gaps` [attention] say how far attributions are from adding up, the worst text.
    """

    maps: tuple[AttributionMaps, ...]
    pieces: tuple[str, ...]
    root: int
    tree: tuple[TreeEdge, ...]
    attentions: tuple[str, ...]
    importance: np.ndarray
    confidence: np.ndarray
    pruned: np.ndarray
    kept_attribution: np.ndarray
    kept_confidence: np.ndarray
    kept_random: np.ndarray
    gaps: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """The tree, the pruning curve, the heads, the maps."""
        return (
            self._graph(),
            self._curve(),
            self._grid(),
            *(self._map(m) for m in self.maps if m.values.size),
        )

    def _graph(self) -> Graph:
        joined = {e.child: e for e in self.tree}
        slots = [self.root, *joined]
        top = len(self.attentions)
        nodes = tuple(
            Node(
                name=self._name(s),
                level=joined[s].attention if s in joined else top,
                weight=joined[s].weight if s in joined else float("nan"),
            )
            for s in slots
        )
        edges = tuple(
            Edge(source=self._name(e.child), target=self._name(e.parent), weight=e.weight, sort=self.attentions[e.attention])
            for e in self.tree
        )  # fmt: skip
        return Graph(
            title="Tree of tokens whose information the output takes in",
            caption="A token stands at the attention through which it joins; edges lead to the token that looks at it.",
            nodes=nodes,
            edges=edges,
            unit="attribution",
        )

    def _curve(self) -> Curves:
        every = (
            ("least attribution first", self.kept_attribution, False),
            ("least attention first", self.kept_confidence, False),
            ("random order", self.kept_random, True),
        )
        series = [Series(name=name, y=y.mean(0), control=control) for name, y, control in every]
        return Curves(
            title="Probability of the model's own answer while heads are pruned",
            caption="Mean over texts that the order of heads was not taken from.",
            x=self.pruned.astype(np.float64),
            x_axis="heads pruned",
            y_axis="probability",
            series=tuple(series),
        )

    def _grid(self) -> Grid:
        return Grid(
            title="Importance of heads",
            caption="Mean over texts of the largest attribution of a weight of the head.",
            values=self.importance,
            rows=self.attentions,
            columns=tuple(f"h{i}" for i in range(self.importance.shape[1])),
            row_axis="attention",
            column_axis="head",
            unit="largest attribution",
        )

    def _map(self, m: AttributionMaps) -> Maps:
        layers, heads = m.values.shape[:2]
        return Maps(
            title=f"Attribution of every weight: {m.name}",
            caption="What the output owes to each attention weight; rows of a picture are queries, columns keys.",
            patterns=m.values.reshape(-1, *m.values.shape[2:]),
            names=tuple(f"{k}.h{h}" for k in range(layers) for h in range(heads)),
            groups=tuple(f"layer {k}" for k in range(layers) for _ in range(heads)),
            queries=m.queries,
            keys=m.keys,
            unit="attribution",
            signed=True,
        )

    def _name(self, slot: int) -> str:
        return f"{slot} {self.pieces[slot].strip() or '_'}"
