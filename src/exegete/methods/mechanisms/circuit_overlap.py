"""Do two tasks use the same circuit? Overlap against chance, and each circuit at work on the other task.

1. pairs of two tasks, told apart by their `id` (what stands before "/"); with one id or none, two halves of one set, whose
   overlap says how far the same task finds the same circuit;
2. each task's circuit of `n_edges` edges by edge attribution patching, on half of its pairs; or saved circuits;
3. shared edges and nodes against the hypergeometric chance of two random sets of these sizes; intervals by drawing the
   finding pairs anew (scores are kept a pair, so no pass is made);
4. faithfulness of each circuit on each task, on pairs that found neither, and of random circuits of the same size.

Shapes: masks [R, W]. Cost: that of edge attribution patching twice, and (2 circuits + draws) edge runs a judging pair.
Reference: Merullo et al. 2023, "Circuit Component Reuse Across Tasks" (arXiv:2310.08744), sec. 4.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError, UsageError
from exegete.core.material import Pair
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.circuits import CircuitOverlap
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.circuit_faithfulness import load_circuit
from exegete.methods.mechanisms.circuit_pairs import read_pairs
from exegete.methods.mechanisms.circuit_runs import Judge
from exegete.methods.mechanisms.circuit_study import TASKS
from exegete.methods.mechanisms.circuit_verdict import Bench, strongest, trimmed
from exegete.methods.mechanisms.edge_scores import edge_scores
from exegete.models.edges import EdgeGraph, edge_graph
from exegete.models.lab import Lab
from exegete.ops.circuit import iou, normalised_interval, overlap_by_chance


@dataclass(frozen=True)
class _Task:
    """One task: its circuit [R, W], circuits found on pairs drawn anew [draw, R, W], and the judge on the other pairs.

    `same`: whether one pair must do both.
    """

    name: str
    keep: np.ndarray
    again: np.ndarray
    judge: Judge
    same: bool = False


@register
class CircuitOverlapStudy(Study):
    """How much of one task's circuit another task uses, and how well each circuit serves the other task."""

    id: ClassVar[str] = "circuit_overlap"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H22",)
    verb: ClassVar[str] = "circuit"
    asks: ClassVar[Any] = "pairs"
    least: ClassVar[int] = 2
    finds: ClassVar[type] = CircuitOverlap
    tasks: ClassVar[tuple[str, ...]] = TASKS
    reference: ClassVar[Reference] = Reference(
        authors="Merullo et al.", year=2023, where="arXiv:2310.08744", equation="sec. 4",
        title="Circuit Component Reuse Across Tasks in Transformer Language Models",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "gradients")
    passes: ClassVar[str] = "2 + n forwards and n backwards a pair, and edge runs for judging"
    n_edges: int = Field(40, ge=1, description="edges of each circuit that is found")
    ig_steps: int = Field(5, ge=0, le=200, description="as in edge_attribution_patching")
    first: str = Field(
        "", description="file of a saved circuit of the first task; left out: found on its pairs"
    )
    second: str = Field(
        "", description="file of a saved circuit of the second task; left out: found on its pairs"
    )
    n_draws: int = Field(
        20, ge=2, le=1000, description="random circuits of the same size, and draws of pairs"
    )
    seed: int = Field(0, description="seed of random circuits and draws")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> CircuitOverlap:
        """Over pairs of two tasks."""
        graph = edge_graph(lab.model.map, lab.model.name)
        groups = by_task(items)
        tasks = [
            self._task(lab, graph, name, group, target, saved)
            for (name, group), saved in zip(groups.items(), (self.first, self.second))
        ]
        return _finding(lab, graph, tasks[0], tasks[1], self.n_draws)

    def _task(
        self, lab: Lab, graph: EdgeGraph, name: str, items: list[Pair], target: Target, saved: str
    ) -> _Task:
        pairs = read_pairs(lab, items, target)
        find, rest = pairs.halves()
        judge = Judge(lab, graph, rest)
        if saved:
            keep, _ = load_circuit(saved, graph, lab.model.name)
            return _Task(name, keep, keep[None], judge)
        here = Judge(lab, graph, find)
        scores = edge_scores(lab, graph, here.grounds, self.ig_steps, by_pair=True)
        circuit = lambda s: trimmed(judge, strongest(s.mean(0), graph.allowed, self.n_edges))  # noqa: E731
        draws = [lab.rng("pairs", name, i).integers(0, len(scores), len(scores)) for i in range(self.n_draws)]
        return _Task(
            name, circuit(scores), np.stack([circuit(scores[d]) for d in draws]), judge, len(pairs) < 2
        )


def by_task(items: tuple[Pair, ...]) -> dict[str, list[Pair]]:
    """Pairs by task: two ids (up to "/"), or else two halves. Raises `InputError` and `UsageError`."""
    groups: dict[str, list[Pair]] = {}
    for p in items:
        groups.setdefault(p.id.split("/")[0], []).append(p)
    if len(groups) == 1:
        groups = {"first half": list(items[0::2]), "second half": list(items[1::2])}
    if len(groups) > 2:
        raise UsageError(
            "You asked for the overlap of two circuits.",
            f"The pairs name {len(groups)} tasks: {', '.join(list(groups)[:6])}.",
            "Give pairs of two tasks; what stands before '/' in their id names the task.",
        )
    if min(map(len, groups.values())) < 1:
        raise InputError(
            "You asked for the overlap of two circuits.", "One task has no pairs.", "Give pairs of both."
        )
    return groups


def nodes_of(keep: np.ndarray) -> np.ndarray:
    """Which writers [W] some kept edge leaves, the embedding aside (every circuit has it)."""
    return keep.any(0) & (np.arange(keep.shape[1]) > 0)


def _finding(lab: Lab, graph: EdgeGraph, a: _Task, b: _Task, n_draws: int) -> CircuitOverlap:
    sets = [(x.keep, y.keep) for x, y in [(a, b)]]
    both = [*sets, (nodes_of(a.keep), nodes_of(b.keep))]
    totals = (int(graph.allowed.sum()), graph.shape[1] - 1)
    sizes = [(int(x.sum()), int(y.sum()), int((x & y).sum())) for x, y in both]
    chance = [overlap_by_chance(x, y, n) for (x, y, _), n in zip(sizes, totals)]
    drawn = list(zip(a.again, b.again)) if len(a.again) == len(b.again) else []
    found = [[(x, y) for x, y in drawn], [(nodes_of(x), nodes_of(y)) for x, y in drawn]]
    scores = tuple(
        _score(name, s, c[0], [iou(int((x & y).sum()), int(x.sum()), int(y.sum())) for x, y in f])
        for name, s, c, f in zip(("edges shared (IoU)", "nodes shared (IoU)"), sizes, chance, found)
    )
    transfer, random = _transfer(a, b, n_draws)
    r, w = np.nonzero(a.keep & b.keep)
    return CircuitOverlap(
        title="Do the two tasks use the same circuit?",
        lede=_lede(a, b, sizes[0], chance[0], scores[0], transfer),
        names=(a.name, b.name),
        what=("edges", "nodes"),
        totals=totals,
        first=tuple(s[0] for s in sizes),
        second=tuple(s[1] for s in sizes),
        both=tuple(s[2] for s in sizes),
        chance=tuple(c[0] for c in chance),
        chance_low=tuple(c[1] for c in chance),
        chance_high=tuple(c[2] for c in chance),
        transfer=transfer,
        random=random,
        notes=_notes(a, b),
        shared=tuple(f"{graph.writers[j].name} -> {graph.readers[i].name}" for i, j in zip(r, w)),
        trust=Trust(scores=(*scores, *_served(a, b, transfer, random)), seed=lab.seed),
    )


def _notes(a: _Task, b: _Task) -> tuple[str, ...]:
    alone = [t.name for t in (a, b) if t.same]
    words = "The pair that found the circuit also judges it: give several of {} for a fair judgement."
    return (words.format(" and of ".join(alone)),) if alone else ()


def _score(name: str, sizes: tuple[int, int, int], chance: float, drawn: list[float]) -> Score:
    a, b, shared = sizes
    spread = (float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))) if len(drawn) > 1 else None
    return Score(
        name=name, value=iou(shared, a, b), chance=iou(chance, a, b), interval=spread, n=max(1, a, b)
    )


def _transfer(a: _Task, b: _Task, n_draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Faithfulness [circuit, task] of both circuits on both tasks, and of random circuits [task]."""
    found, random = np.zeros((2, 2)), np.zeros(2)
    for t, task in enumerate((a, b)):
        bench = Bench(task.judge, n_draws, 1, 2)
        found[:, t] = bench.share(np.stack([a.keep, b.keep]))
        random[t] = bench.share(bench.draws(int((b if t == 0 else a).keep.sum()))).mean()
    return found, random


def _served(a: _Task, b: _Task, transfer: np.ndarray, random: np.ndarray) -> tuple[Score, ...]:
    pairs = ((a, b, transfer[0, 1], random[1]), (b, a, transfer[1, 0], random[0]))
    return tuple(
        Score(
            name=f"faithfulness of the circuit of {x.name} on {y.name}",
            value=float(v),
            chance=0.0,
            control=float(c) if np.isfinite(c) else None,
            control_name="random circuits of the same size" if np.isfinite(c) else "",
            interval=normalised_interval(
                y.judge.values(x.keep[None])[0], y.judge.empty, y.judge.full, y.judge.lab.seed
            ),
            n=len(y.judge) if np.isfinite(v) else 0,
            n_failed=0 if np.isfinite(v) else len(y.judge),
        )
        for x, y, v, c in pairs
    )


def _lede(
    a: _Task, b: _Task, sizes: tuple[int, int, int], chance: Any, score: Score, transfer: np.ndarray
) -> str:
    told = f"{sizes[2]} edges are in both circuits ({sizes[0]} and {sizes[1]}); by chance {chance[0]:.1f} would be"
    beyond = sizes[2] > chance[2]
    tail = "" if beyond else ", so that the overlap is no more than chance"
    return (
        f"{told}{tail}. The circuit of {a.name} carries {transfer[0, 1]:.0%} of {b.name}, "
        f"and the other way round {transfer[1, 0]:.0%}."
    )
