"""Is a circuit faithful, complete and minimal? A saved circuit, judged on pairs of texts.

1. open the circuit (`circuit`: a file that a study of circuits saved), or, where none is named, take the one that edge
   attribution patching finds on half of the pairs;
2. run it with everything outside it carrying the corrupt text (or mean, or zero) and judge it (`circuit_verdict`); a saved
   circuit is judged on all pairs.

Which circuits are run (random ones, edges dropped, sizes of the curve) does not depend on what they do: a saved circuit can be
judged on pairs apart (`exegete run`), unless cut edges carry the mean over all texts.

A circuit fits every model of the same layers and heads: judged on another model's weights, it says what does not carry over.

Cost: that of `circuit_verdict`, and of the search where no circuit is named. References: Wang et al. 2022
(arXiv:2211.00593), sec. 4; Mueller et al. 2025 (arXiv:2504.13151), sec. 3.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.circuits import Circuit
from exegete.core.store import open_result
from exegete.core.target import Target
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.circuit_pairs import read_pairs
from exegete.methods.mechanisms.circuit_runs import Judge, Recorder, Replay
from exegete.methods.mechanisms.circuit_study import CircuitStudy, Halves
from exegete.methods.mechanisms.circuit_verdict import Bench, verdict
from exegete.methods.mechanisms.edge_attribution_patching import smallest
from exegete.methods.mechanisms.edge_scores import edge_scores
from exegete.models.edges import EdgeGraph, edge_graph
from exegete.models.lab import Lab

_TITLE = "Is the circuit faithful, complete and minimal?"


class JudgedPair(Value):
    """One pair: its target `values` [way, circuit], the answer less the foil and the answer alone, under circuits whose names are
    `keys` [circuit, byte]; what `Judge.described` says of it; `against`: whether it has a foil.
    """

    keys: np.ndarray = np.zeros((0, 16), dtype=np.uint8)
    values: np.ndarray = np.zeros((2, 0))
    described: tuple[float, float] = (0.0, 0.0)
    against: bool = False


@register
class CircuitFaithfulness(CircuitStudy, Divided):
    """How faithful, complete and minimal a circuit is, against random circuits of the same size."""

    id: ClassVar[str] = "circuit_faithfulness"
    techniques: ClassVar[tuple[str, ...]] = ("H5", "H20")
    reference: ClassVar[Reference] = Reference(
        authors="Wang et al.", year=2022, where="arXiv:2211.00593", equation="sec. 4",
        title="Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small",
    )  # fmt: skip
    part: ClassVar[type[Value]] = JudgedPair
    over_data: ClassVar[str] = "in shards with a saved circuit, else in one piece"
    passes: ClassVar[str] = "1 forward a pair, and edge runs for judging"
    circuit: str = Field(
        "", description="file of a saved circuit; left out: the one edge attribution patching finds"
    )
    ig_steps: int = Field(
        5, ge=0, le=200, description="as in edge_attribution_patching, where no circuit is named"
    )

    @property
    def whole(self) -> str:
        """A circuit that must be found first, and means over texts, want all pairs."""
        if not self.circuit:
            return "the circuit is found on half of the pairs; circuit=FILE judges a saved one on pairs apart"
        return "cut edges carry the mean over all texts" if self.ablation == "mean" else ""

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Circuit:
        """Over pairs."""
        if not self.whole:
            return self.merge(lab, items, self.work(lab, items, target), target)
        halves = self.halves(lab, items, target)
        if self.circuit:
            keep, scores = load_circuit(self.circuit, halves.graph, lab.model.name)
            halves = replace(halves, judge=Judge(lab, halves.graph, halves.pairs, self.ablation), saved=True)
        else:
            scores = edge_scores(lab, halves.graph, halves.find.grounds, self.ig_steps)
            keep = smallest(halves.find, scores, 0.85)
        return self.finding(halves, keep, scores, np.full(keep.shape, np.nan), _TITLE)

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[JudgedPair]:
        """Every circuit of the judgement on every pair."""
        graph = edge_graph(lab.model.map, lab.model.name)
        keep, scores = load_circuit(self.circuit, graph, lab.model.name)
        pairs = read_pairs(lab, items, target, corrupt=self.ablation == "corrupt", alike=False)
        judge = Recorder(lab, graph, pairs, self.ablation)
        verdict(Bench(judge, self.n_draws, self.n_dropped, self.n_sizes), keep, scores)
        keys = np.array([np.frombuffer(k, dtype=np.uint8) for k in judge.known])
        values = np.array([list(judge.known.values()), list(judge.alone.values())])  # [way, circuit, pair]
        told, empty = judge.described
        return [
            JudgedPair(
                keys=keys, values=values[..., i], described=(float(told[i]), float(empty[i])), against=r[0].foil is not None
            )
            for i, r in enumerate(pairs.aim.rows)
        ]  # fmt: skip

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[JudgedPair], target: Target, n_failed: int = 0
    ) -> Circuit:
        """Over pairs, against the foil where all have one. No circuit is run."""
        graph = edge_graph(lab.model.map, lab.model.name)
        keep, scores = load_circuit(self.circuit, graph, lab.model.name)
        pairs = read_pairs(lab, items, target, corrupt=self.ablation == "corrupt")
        way = 0 if all(p.against for p in parts) else 1
        each = [dict(zip(map(bytes, p.keys), p.values[way].tolist())) for p in parts]
        known = {k: np.array([e[k] for e in each]) for k in each[0] if all(k in e for e in each)}
        told, empty = np.array([p.described for p in parts]).T
        judge = Replay(lab, graph, pairs, self.ablation, known=known, there=(told, empty))
        halves = Halves(graph, judge, judge, pairs, saved=True)
        found = self.finding(halves, keep, scores, np.full(keep.shape, np.nan), _TITLE)
        return with_failed(found, n_failed)


def load_circuit(path: str, graph: EdgeGraph, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Kept edges and scores [R, W] of a saved circuit. Raises `UsageError` when it is none, or of other parts."""
    found = open_result(path)
    if not isinstance(found, Circuit):
        raise UsageError(
            f"You gave {path!r} as a circuit.",
            f"It holds a {type(found).__name__}.",
            "Give a file saved from edge_attribution_patching, acdc or circuit_faithfulness.",
        )
    if found.readers != tuple(r.name for r in graph.readers):
        raise UsageError(
            f"You gave the circuit {path!r} for {name}.",
            f"It is of {found.provenance.model or 'a model'} with {len(found.readers)} inputs of parts; this one has {len(graph.readers)}.",
            "Give a circuit of a model with the same layers and heads.",
        )
    scores = np.zeros(graph.shape)
    scores[found.edges[:, 1], found.edges[:, 0]] = found.scores
    return found.mask, scores
