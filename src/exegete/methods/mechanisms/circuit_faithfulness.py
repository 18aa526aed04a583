"""Is a circuit faithful, complete and minimal? A saved circuit, judged on pairs of texts.

1. open the circuit (`circuit`: a file that a study of circuits saved), or, where none is named, take the one that edge
   attribution patching finds on half of the pairs;
2. run it with everything outside it carrying the corrupt text (or mean, or zero) and judge it (`circuit_verdict`); a saved
   circuit is judged on all pairs.

A circuit fits every model of the same layers and heads: judged on another model's weights, it says what does not carry over.

Cost: that of `circuit_verdict`, and of the search where no circuit is named. References: Wang et al. 2022
(arXiv:2211.00593), sec. 4; Mueller et al. 2025 (arXiv:2504.13151), sec. 3.
"""

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
from exegete.methods.mechanisms.circuit_runs import Judge
from exegete.methods.mechanisms.circuit_study import CircuitStudy
from exegete.methods.mechanisms.edge_attribution_patching import smallest
from exegete.methods.mechanisms.edge_scores import edge_scores
from exegete.models.edges import EdgeGraph
from exegete.models.lab import Lab


@register
class CircuitFaithfulness(CircuitStudy):
    """How faithful, complete and minimal a circuit is, against random circuits of the same size."""

    id: ClassVar[str] = "circuit_faithfulness"
    techniques: ClassVar[tuple[str, ...]] = ("H5", "H20")
    reference: ClassVar[Reference] = Reference(
        authors="Wang et al.", year=2022, where="arXiv:2211.00593", equation="sec. 4",
        title="Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small",
    )  # fmt: skip
    passes: ClassVar[str] = "1 forward a pair, and edge runs for judging"
    circuit: str = Field(
        "", description="file of a saved circuit; left out: the one edge attribution patching finds"
    )
    ig_steps: int = Field(
        5, ge=0, le=200, description="as in edge_attribution_patching, where no circuit is named"
    )

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Circuit:
        """Over pairs."""
        halves = self.halves(lab, items, target)
        title = "Is the circuit faithful, complete and minimal?"
        if self.circuit:
            keep, scores = load_circuit(self.circuit, halves.graph, lab.model.name)
            halves = replace(halves, judge=Judge(lab, halves.graph, halves.pairs, self.ablation), saved=True)
        else:
            scores = edge_scores(lab, halves.graph, halves.find.grounds, self.ig_steps)
            keep = smallest(halves.find, scores, 0.85)
        return self.finding(halves, keep, scores, np.full(keep.shape, np.nan), title)


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
