"""Maximum flow through layered routes, from the place where an output is read to each token, with its proof.

1. the graph is laid out once: an edge a non-zero weight, its capacity the weight in units of 2^-30; a source that feeds the
   top level in the shares in which it is read;
2. a sink joins the input places of one unit; one maximum flow a sink (Dinic's algorithm, in C);
3. the proof: the flow keeps within capacities, no inner place makes or loses any, and the edges out of what is still
   reachable in the residual graph form a cut of exactly the value of the flow, so that no flow can be larger.

Capacities are rounded down: a value is too small by at most 2^-30 an edge of the cut. Cost: O(edges sqrt(places)) a sink in
practice; no model pass. Reference: Abnar & Zuidema 2020, sec. 3 (attention flow); Ford & Fulkerson 1956 (cut).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from exegete.ops.routes import Routes

UNIT = 1 << 30  # whole flow; fits the solver's 32-bit integers
NO_CUT = 3 * UNIT  # as far from any flow as it can be seen


@dataclass(frozen=True)
class Flows:
    """Largest flows [sink], and the largest failures of their proof: flow made or lost in a place, and cut minus flow."""

    values: np.ndarray
    lost: float
    gap: float


def max_flows(routes: Routes, start: np.ndarray, sinks: Sequence[Sequence[tuple[int, int]]]) -> Flows:
    """Largest flow from the top, fed in the shares `start` [place], to each sink: a set of (level, place) of inputs."""
    edges, first, n = _edges(routes, start)
    found = [_one(edges, first, sink, n) for sink in sinks]
    values = np.array([f[0] for f in found], dtype=np.float64)
    return Flows(values, max((f[1] for f in found), default=0.0), max((f[2] for f in found), default=0.0))


def _edges(routes: Routes, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Edges [3, edge] (from, to, capacity), the number of the first place of each level, and the number of all places.

    Place `n` is the source, `n + 1` the sink.
    """
    first = np.concatenate([[0], np.cumsum(routes.sizes)])
    n = int(first[-1])
    parts = []
    for s in routes.steps:
        i, j = np.nonzero(s.weights)
        parts.append(np.stack([first[s.upper] + i, first[s.lower] + j, _units(s.weights[i, j])]))
    read = np.flatnonzero(start)
    parts.append(np.stack([np.full(len(read), n), first[-2] + read, _units(np.asarray(start)[read])]))
    return np.concatenate(parts, 1), first[:-1], n


def _units(weights: np.ndarray) -> np.ndarray:
    return np.floor(np.asarray(weights, dtype=np.float64) * UNIT).astype(np.int64)


def _one(
    edges: np.ndarray, first: np.ndarray, sink: Sequence[tuple[int, int]], n: int
) -> tuple[float, float, float]:
    """The largest flow to one sink, what its places lose, and how far it is from the cut."""
    joined = np.array([[first[level] + place, n + 1, UNIT] for level, place in sink]).reshape(-1, 3).T
    frm, to, cap = np.concatenate([edges, joined.astype(np.int64)], 1)
    graph = csr_array((cap.astype(np.int32), (frm, to)), shape=(n + 2, n + 2))
    graph.sum_duplicates()
    solved = maximum_flow(graph, n, n + 1)
    flow = solved.flow.tocsr().astype(np.int64)
    net = np.asarray(flow.sum(1)).ravel()[: n + 2]
    value = int(solved.flow_value)
    lost = np.abs(np.concatenate([net[:n], [net[n] - value, net[n + 1] + value]])).max()
    return value / UNIT, float(lost) / UNIT, abs(_cut(graph, flow, n) - value) / UNIT


def _cut(graph: csr_array, flow: csr_array, n: int) -> int:
    """Capacity of the edges out of what the source still reaches; `NO_CUT` where it reaches the sink or a flow exceeds its edge."""
    left = (graph.astype(np.int64) - flow).tocsr()
    if left.nnz and left.data.min() < 0:
        return NO_CUT
    left.eliminate_zeros()
    reached = np.zeros(n + 2, dtype=bool)
    reached[breadth_first_order(left, n, return_predecessors=False)] = True
    if reached[n + 1]:
        return NO_CUT
    coo = graph.tocoo()
    return int(coo.data[reached[coo.row] & ~reached[coo.col]].astype(np.int64).sum())
