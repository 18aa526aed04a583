"""What circuit discovery finds: a circuit, the effects of nodes, the overlap of two circuits. Plain data, drawn without the model."""

import json
import os
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Edge, Graph, Grid, Node, Series, Table
from exegete.core.results.finding import Finding

SHOWN = 200  # edges drawn and listed at most


class Circuit(Finding):
    """Scored edges between the parts of a model, and those that are kept.

    `nodes` are the writers in order of computation and, last, the logits; `levels` their columns. `readers` are the inputs
    that edges lead to (a head's q, k, v, a feed-forward part, the logits), `feeds` the nodes that each belongs to (k and v
    of grouped queries belong to several heads), `sorts` what each is. `edges` [E, 2] are (node, reader). `scores` [E] say
    what the target loses, by estimate, when the edge carries the other text's value; `exact` [E] the same by patching, NaN
    where it was not made; `kept` [E] bool. `loss` [E]: faithfulness lost when a kept edge is dropped, NaN where not made.

    `full`, `empty` and `value` are the mean target of the whole model, with every edge cut, and of the circuit. `sizes` [S]
    are numbers of edges, `curve` [S] the faithfulness of the best so many, `random` [S, draw] that of random circuits.
    """

    nodes: tuple[str, ...]
    levels: tuple[int, ...]
    readers: tuple[str, ...]
    sorts: tuple[str, ...]
    feeds: tuple[tuple[int, ...], ...]
    edges: np.ndarray
    scores: np.ndarray
    exact: np.ndarray
    kept: np.ndarray
    loss: np.ndarray
    ablation: str
    full: float
    empty: float
    value: float
    sizes: np.ndarray
    curve: np.ndarray
    random: np.ndarray

    @property
    def kept_edges(self) -> tuple[tuple[str, str], ...]:
        """The kept edges as (writer, reader) names."""
        return tuple((self.nodes[w], self.readers[r]) for w, r in self.edges[self.kept])

    @property
    def kept_nodes(self) -> tuple[str, ...]:
        """The nodes that kept edges leave or enter, in order."""
        touched = {int(w) for w, _ in self.edges[self.kept]}
        touched |= {n for _, r in self.edges[self.kept] for n in self.feeds[r]}
        return tuple(self.nodes[i] for i in sorted(touched))

    @property
    def mask(self) -> np.ndarray:
        """The kept edges [reader, writer] bool."""
        found = np.zeros((len(self.readers), len(self.nodes) - 1), dtype=bool)
        found[self.edges[self.kept, 1], self.edges[self.kept, 0]] = True
        return found

    def figures(self) -> tuple[AnyFigure, ...]:
        """The graph of the kept edges, how faithful circuits of each size are, and the edges as a table."""
        found: list[AnyFigure] = [
            self._graph(),
            *([self._curves()] if len(self.sizes) else []),
            self._table(),
        ]
        return tuple(found)

    def _order(self, among: np.ndarray) -> np.ndarray:
        """Indices of the edges `among` (bool), the strongest first."""
        at = np.flatnonzero(among)
        return at[np.argsort(-np.abs(self.scores[at]), kind="stable")]

    def _graph(self) -> Graph:
        shown = self._order(self.kept)[:SHOWN]
        drawn = [
            Edge(source=self.nodes[w], target=self.nodes[n], weight=float(self.scores[i]), sort=self.sorts[r])
            for i in shown
            for w, r in [self.edges[i]]
            for n in self.feeds[r]
        ]
        names = {e.source for e in drawn} | {e.target for e in drawn}
        nodes = [
            Node(name=n, level=level, sort=_sort(n))
            for n, level in zip(self.nodes, self.levels)
            if n in names
        ]
        rest = int(self.kept.sum()) - len(shown)
        more = f" The {rest} weakest are not drawn." if rest else ""
        return Graph(
            title="The circuit",
            caption=f"Kept edges; weight is what the target loses when the edge carries the other value.{more}",
            nodes=tuple(nodes),
            edges=tuple(drawn),
            unit="score",
        )

    def _curves(self) -> Curves:
        low, high = np.nanquantile(self.random, [0.025, 0.975], axis=1)
        return Curves(
            title="How faithful is a circuit of each size?",
            caption="Share of the target that circuits of the best so many edges keep; everything else carries other values.",
            x=np.arange(len(self.sizes), dtype=np.float64),
            x_axis="edges kept",
            x_names=tuple(str(int(s)) for s in self.sizes),
            y_axis="faithfulness",
            series=(
                Series(name="this circuit", y=self.curve),
                Series(
                    name="random circuits of the same size",
                    y=self.random.mean(1),
                    low=low,
                    high=high,
                    control=True,
                ),
            ),
        )

    def _table(self) -> Table:
        shown = self._order(np.ones(len(self.edges), dtype=bool))[:SHOWN]
        rows = [
            (
                self.nodes[self.edges[i, 0]],
                self.readers[self.edges[i, 1]],
                float(self.scores[i]),
                _number(self.exact[i]),
                "yes" if self.kept[i] else "no",
                _number(self.loss[i]),
            )
            for i in shown
        ]
        return Table(
            title=f"Edges, the strongest first ({len(shown)} of {len(self.edges)})",
            caption="score: estimated loss of the target; exact: the same by patching; lost: faithfulness without the edge.",
            columns=("from", "to", "score", "exact", "kept", "lost"),
            rows=tuple(rows),
        )

    def to_json(self, path: str | os.PathLike[str]) -> str:
        """Write the kept edges as node-link JSON (read by `networkx.node_link_graph`). Returns the path."""
        links = [{"source": s, "target": t, "key": sort, **numbers} for s, t, sort, numbers in self._links()]
        nodes = [{"id": n, "level": self.levels[self.nodes.index(n)]} for n in self.kept_nodes]
        graph = {"title": self.title, "model": self.provenance.model, "full": self.full, "empty": self.empty}
        data = {"directed": True, "multigraph": True, "graph": graph, "nodes": nodes, "edges": links}
        with open(path, "w", encoding="utf-8") as f:
            json.dump(data, f, indent=1, allow_nan=False)
        return str(path)

    def to_graphml(self, path: str | os.PathLike[str]) -> str:
        """Write the kept edges as GraphML (read by networkx, Gephi, yEd). Returns the path."""
        root = ElementTree.Element("graphml", xmlns="http://graphml.graphdrawing.org/xmlns")
        for name, where, sort in (("level", "node", "int"), ("sort", "edge", "string"), ("score", "edge", "double"),
                                  ("exact", "edge", "double")):  # fmt: skip
            key = {"id": name, "for": where, "attr.name": name, "attr.type": sort}
            ElementTree.SubElement(root, "key", key)
        graph = ElementTree.SubElement(root, "graph", id="circuit", edgedefault="directed")
        for n in self.kept_nodes:
            node = ElementTree.SubElement(graph, "node", id=n)
            _datum(node, "level", self.levels[self.nodes.index(n)])
        for i, (s, t, sort, numbers) in enumerate(self._links()):
            edge = ElementTree.SubElement(graph, "edge", id=f"e{i}", source=s, target=t)
            _datum(edge, "sort", sort)
            for name, value in numbers.items():
                _datum(edge, name, value)
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
        return str(path)

    def _links(self) -> list[tuple[str, str, str, dict[str, float]]]:
        """(source, target, sort, numbers) of every kept edge, one a node that it feeds."""
        found = []
        for i in self._order(self.kept):
            w, r = self.edges[i]
            numbers = {"score": float(self.scores[i])}
            if np.isfinite(self.exact[i]):
                numbers["exact"] = float(self.exact[i])
            found += [(self.nodes[w], self.nodes[n], self.sorts[r], numbers) for n in self.feeds[r]]
        return found


class NodeEffects(Finding):
    """What the target loses when one node carries the other text's value.

    `heads` [layer, head] and `mlps` [layer] are mean effects, `heads_low`, `heads_high`, `mlps_low`, `mlps_high` their 95 %
    intervals (NaN for a single pair).
    """

    heads: np.ndarray
    mlps: np.ndarray
    heads_low: np.ndarray
    heads_high: np.ndarray
    mlps_low: np.ndarray
    mlps_high: np.ndarray
    full: float
    empty: float

    @property
    def ranking(self) -> tuple[tuple[str, float], ...]:
        """(node, effect), the strongest first."""
        every = [(f"{i}.h{h}", float(x)) for i, row in enumerate(self.heads) for h, x in enumerate(row)]
        every += [(f"{i}.mlp", float(x)) for i, x in enumerate(self.mlps)]
        return tuple(sorted(every, key=lambda e: -abs(e[1])))

    def figures(self) -> tuple[AnyFigure, ...]:
        """Effects by layer and part, and the ranking."""
        layers, heads = self.heads.shape
        grid = Grid(
            title="What is lost when one part carries the other text's value",
            caption="Loss of the target; the last column is the feed-forward part.",
            values=np.concatenate([self.heads, self.mlps[:, None]], axis=1),
            rows=tuple(f"layer {i}" for i in range(layers)),
            columns=(*(f"h{h}" for h in range(heads)), "mlp"),
            row_axis="layer",
            column_axis="part",
            unit="loss of the target",
        )
        low = {f"{i}.h{h}": float(x) for (i, h), x in np.ndenumerate(self.heads_low)}
        low |= {f"{i}.mlp": float(x) for i, x in enumerate(self.mlps_low)}
        high = {f"{i}.h{h}": float(x) for (i, h), x in np.ndenumerate(self.heads_high)}
        high |= {f"{i}.mlp": float(x) for i, x in enumerate(self.mlps_high)}
        rows = [(n, x, _number(low[n]), _number(high[n])) for n, x in self.ranking[:SHOWN]]
        table = Table(
            title="Parts, the strongest first",
            columns=("part", "loss", "low", "high"),
            rows=tuple(rows),
        )
        return grid, table


class CircuitOverlap(Finding):
    """How much two circuits have in common.

    `names` are the two tasks. `what` names the rows ("edges", "nodes"): sizes of both circuits, what they share, and what
    random sets of these sizes share (mean, 95 % range) among `totals`. `transfer` [circuit, task] is the faithfulness of
    each circuit on each task, `random` [task] that of random circuits. `shared` are the names of the shared edges.
    """

    names: tuple[str, str]
    what: tuple[str, ...]
    totals: tuple[int, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]
    both: tuple[int, ...]
    chance: tuple[float, ...]
    chance_low: tuple[int, ...]
    chance_high: tuple[int, ...]
    transfer: np.ndarray
    random: np.ndarray
    shared: tuple[str, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Overlap against chance, and how each circuit serves each task."""
        rows = zip(
            self.what,
            self.totals,
            self.first,
            self.second,
            self.both,
            self.chance,
            self.chance_low,
            self.chance_high,
        )
        table = Table(
            title="What the two circuits share",
            caption="By chance: what two random sets of these sizes share (mean, and the range of 95 %).",
            columns=("what", "of", *self.names, "shared", "by chance", "low", "high"),
            rows=tuple(rows),
        )
        grid = Grid(
            title="How well does each circuit serve each task?",
            caption="Faithfulness: 1 is the whole model, 0 the model with every edge cut.",
            values=np.concatenate([self.transfer, self.random[None]]),
            rows=(*(f"circuit of {n}" for n in self.names), "random circuits"),
            columns=self.names,
            row_axis="circuit",
            column_axis="task",
            unit="faithfulness",
            signed=False,
        )
        listed = Table(title="Shared edges", columns=("edge",), rows=tuple((e,) for e in self.shared[:SHOWN]))
        return table, grid, listed


def _sort(node: str) -> Literal["embed", "logits", "mlp", "head"]:
    if node in ("embed", "logits"):
        return "embed" if node == "embed" else "logits"
    return "mlp" if node.endswith("mlp") else "head"


def _number(x: Any) -> float | None:
    return float(x) if np.isfinite(x) else None


def _datum(parent: ElementTree.Element, key: str, value: object) -> None:
    ElementTree.SubElement(parent, "data", key=key).text = str(value)
