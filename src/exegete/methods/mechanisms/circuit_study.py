"""What all studies of circuits share: fields, the two halves of the pairs, and the making of the finding.

1. every other pair finds the circuit, the rest judges it (a single pair must do both, and the finding says so);
2. the circuit is judged by `circuit_verdict`;
3. the finding names every node and edge.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need
from exegete.core.results.circuits import Circuit
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.circuit_pairs import Pairs, read_pairs
from exegete.methods.mechanisms.circuit_runs import Ablation, Judge
from exegete.methods.mechanisms.circuit_verdict import Bench, Verdict, verdict
from exegete.models.edges import EdgeGraph, edge_graph
from exegete.models.lab import Lab

TASKS = ("causal", "masked", "sequence", "token")


@dataclass(frozen=True)
class Halves:
    """The graph, and judges on the pairs that find and on those that judge; `saved`: the circuit was found elsewhere, on pairs
    that are not known.
    """

    graph: EdgeGraph
    find: Judge
    judge: Judge
    pairs: Pairs
    saved: bool = False

    @property
    def same(self) -> bool:
        """Whether one pair must do both."""
        return len(self.pairs) < 2


class CircuitStudy(Study):
    """Base of the studies that find or judge a circuit."""

    family: ClassVar[str] = "mechanism"
    verb: ClassVar[str] = "circuit"
    asks: ClassVar[Any] = "pairs"
    finds: ClassVar[type] = Circuit
    tasks: ClassVar[tuple[str, ...]] = TASKS
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "gradients")

    ablation: Ablation = Field(
        "corrupt",
        description="what a cut edge carries: the corrupt text's value, the mean over texts, or zero",
    )
    n_draws: int = Field(20, ge=1, le=1000, description="random circuits of the same size")
    n_dropped: int = Field(32, ge=1, le=10000, description="edges, and nodes, that are dropped one by one")
    n_sizes: int = Field(10, ge=2, le=100, description="sizes of the faithfulness curve")
    seed: int = Field(0, description="seed of random circuits and samples")

    def halves(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Halves:
        """Read pairs and what cut edges carry. Raises as `edge_graph` and `read_pairs`."""
        graph = edge_graph(lab.model.map, lab.model.name)
        pairs = read_pairs(lab, items, target, corrupt=self.ablation == "corrupt")
        find, judge = (Judge(lab, graph, half, self.ablation) for half in pairs.halves())
        return Halves(graph, find, judge, pairs)

    def finding(
        self,
        halves: Halves,
        keep: np.ndarray,
        scores: np.ndarray,
        exact: np.ndarray,
        title: str,
        extra: tuple[Score, ...] = (),
    ) -> Circuit:
        """Judge keep [R, W] and make the finding."""
        bench = Bench(halves.judge, self.n_draws, self.n_dropped, self.n_sizes)
        v = verdict(bench, keep, scores)
        return _finding(self, halves, v, keep, scores, exact, title, extra)


def _finding(
    study: CircuitStudy, halves: Halves, v: Verdict, keep: np.ndarray, scores: np.ndarray, exact: np.ndarray,
    title: str, extra: tuple[Score, ...],
) -> Circuit:  # fmt: skip
    graph, aim = halves.graph, halves.pairs.aim
    edges, last = graph.edges, len(graph.writers)
    pick = lambda x: x[edges[:, 1], edges[:, 0]]  # noqa: E731
    foil = f" rather than {aim.foils[0]!r}" if aim.rows[0][0].foil is not None else ""
    return Circuit(
        title=title,
        lede=_lede(v, int(keep.sum()), len(edges), halves),
        context=(
            ("clean", " ".join(aim.tokens[0])),
            ("target", f"{aim.scale} of {aim.answers[0]!r}{foil}"),
        ),
        nodes=(*(w.name for w in graph.writers), "logits"),
        levels=(*(_level(w.kind, w.layer) for w in graph.writers), 2 * graph.n_layers + 1),
        readers=tuple(r.name for r in graph.readers),
        sorts=tuple(r.kind for r in graph.readers),
        feeds=tuple(f or (last,) for f in graph.feeds),
        edges=edges,
        scores=pick(scores).astype(np.float64),
        exact=pick(exact),
        kept=pick(keep),
        loss=pick(v.loss),
        ablation=study.ablation,
        full=v.full,
        empty=v.empty,
        value=v.value,
        sizes=v.sizes,
        curve=v.curve,
        random=v.random,
        checks=v.checks,
        notes=_notes(halves),
        trust=Trust(scores=(*v.scores, *extra), seed=study.seed),
    )


def _lede(v: Verdict, kept: int, total: int, halves: Halves) -> str:
    s = v.scores[0]
    if not s.n:
        return f"{kept} of {total} edges are kept, but clean and corrupt texts move the target alike: nothing can be told."
    told = f"{kept} of {total} edges carry {s.value:.0%} of the target on {_where(halves)}"
    random = f"random circuits of the same size carry {s.control or 0.0:.0%}"
    if s.value > 1.2:
        return f"{told}, more than the whole model: what works against it is cut; {random}."
    if s.beats_control and s.beats_chance:
        return f"{told}; {random}."
    return f"{told}, no more than chance allows for: {random}."


def _where(halves: Halves) -> str:
    if halves.saved:
        return "the pairs given"
    return "the pair that found it" if halves.same else "pairs that were not used to find it"


def _notes(halves: Halves) -> tuple[str, ...]:
    if halves.saved:
        return (
            "Where these pairs also found the saved circuit, the judgement flatters it: give other pairs.",
        )
    same = "The pair that found the circuit also judges it: give several for a fair judgement."
    return (same,) if halves.same else ()


def _level(kind: str, layer: int) -> int:
    return 0 if kind == "embed" else 2 * layer + (1 if kind == "head" else 2)
