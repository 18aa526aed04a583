"""Path patching: which parts move the answer through one path only, straight into a chosen receiver?

1. read what every part writes to the residual on the corrupt text;
2. for each sender before the receiver, run the clean text with the receiver (the logits, a head's q, k or v, a feed-forward
   part) reading the sender's corrupt write in place of its clean one; all others read what they read on the clean text,
   so that nothing goes by another path;
3. what follows the receiver runs on; the share is what the target loses of what separates the two texts.

Judged: the strongest sender, chosen on the other pairs where there are several. Chance is a random sender; the control is
the same path with writes of an unrelated text (this pair's tokens in another order).

Cost a pair: 3 forwards, and an edge run a sender (`models.edge_run`). Models in which what is read is no sum of what was
written (norms after parts, encoder-decoders) are refused.
References: Wang et al. 2022 (arXiv:2211.00593), sec. 3.1; Goldowsky-Dill et al. 2023 (arXiv:2304.05969), sec. 3.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError, SiteError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.patching import PatchGrid, Patching
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.circuit_pairs import Pairs, read_pairs
from exegete.methods.mechanisms.circuit_runs import Judge, two_ways
from exegete.models.edges import EdgeGraph, edge_graph
from exegete.models.lab import Lab
from exegete.ops.patching import picked_elsewhere, share_intervals, shares


class Paths(Value):
    """One pair, measured in two ways, the answer less the foil and the answer alone [way, ...]: the target of both texts, and with
    one sender's path cut [way, sender]; `against`: whether it has a foil.
    """

    clean: np.ndarray
    corrupt: np.ndarray
    cut: np.ndarray
    against: bool


@register
class PathPatching(Divided):
    """Which parts move the answer straight into the logits, or into one input of one part."""

    id: ClassVar[str] = "path_patching"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H18",)
    verb: ClassVar[str] = "patch"
    asks: ClassVar[Any] = "pairs"
    finds: ClassVar[type] = Patching
    part: ClassVar[type[Value]] = Paths
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "sequence", "token")
    reference: ClassVar[Reference] = Reference(
        authors="Goldowsky-Dill et al.", year=2023, where="arXiv:2304.05969", equation="sec. 3",
        title="Localizing Model Behavior with Path Patching",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "3 forwards, and an edge run a sender, a pair"
    receiver: str = Field(
        "logits", description="what reads the path: logits, 3.mlp, 3.h1.q, 3.h1.k or 3.h1.v"
    )
    seed: int = Field(0, description="seed of the unrelated text")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Paths]:
        """Every sender's path of every pair."""
        graph, reader, senders = self._path(lab)
        pairs = read_pairs(lab, items, target, alike=False)
        judge = Judge(lab, graph, pairs)
        keep = np.concatenate(
            [
                graph.allowed[None],
                np.zeros((1, *graph.shape), dtype=bool),
                _masks(graph, reader, range(senders)),
            ]
        )

        told = judge.measured(keep, two_ways)  # [way, circuit, pair]
        return [
            Paths(clean=x[:, 0], corrupt=x[:, 1], cut=x[:, 2:], against=r[0].foil is not None)
            for x, r in zip(np.moveaxis(told, -1, 0), pairs.aim.rows)
        ]

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Paths], target: Target, n_failed: int = 0
    ) -> Patching:
        """Over pairs of as many tokens, against the foil where all have one; and the control of the path that each is judged by."""
        graph, reader, _ = self._path(lab)
        pairs = read_pairs(lab, items, target)
        way = 0 if all(p.against for p in parts) else 1
        clean, corrupt, cut = (
            np.stack([getattr(p, k)[way] for p in parts]) for k in ("clean", "corrupt", "cut")
        )
        span = clean - corrupt
        if np.isnan(shares(span[:, None], span)).any():
            raise InputError(
                "You asked what carries the answer from a clean text to a corrupt one.",
                "The target is the same on both, so there is nothing to carry.",
                "Give a corrupt text that changes the answer, or name answer and against.",
            )
        moved = clean[:, None] - cut
        best = picked_elsewhere(moved, span)
        control = _control(lab, graph, pairs, reader, best, clean)
        score = _score(lab, self.receiver, moved, control, best, span)
        grid = _grid(graph, self.receiver, moved, span, lab.seed)
        i, j = grid.best
        tail = "" if score.beats_control else "; an unrelated text's writes do as much"
        finding = Patching(
            title=f"What reaches {self.receiver} straight?",
            lede=f"On the path straight into {self.receiver} alone, {_sender(grid, i, j)} takes away {grid.effect[i, j]:.0%} of "
            f"what separates the texts{tail}.",
            context=(("clean", " ".join(pairs.aim.tokens[0])), ("receiver", self.receiver)),
            direction="noising", corruption="text", grids=(grid,), clean=clean, corrupt=corrupt,
            trust=Trust(scores=(score,), seed=lab.seed),
        )  # fmt: skip
        return with_failed(finding, n_failed)

    def _path(self, lab: Lab) -> tuple[EdgeGraph, int, int]:
        """The graph, the receiver in it, and how many senders come before it. Raises `SiteError` where none does."""
        graph = edge_graph(lab.model.map, lab.model.name)
        reader = graph.reader(self.receiver)
        senders = graph.upstream(reader)
        if graph.readers[reader].layer == 0 and senders == 1:
            raise SiteError(
                f"You asked which parts write to {self.receiver}.",
                "No part comes before it: it reads the embeddings alone.",
                "Choose a receiver of a later layer.",
            )
        return graph, reader, senders


def _masks(graph: EdgeGraph, reader: int, senders: Any) -> np.ndarray:
    """All edges but one [sender, R, W]."""
    keep = np.repeat(graph.allowed[None], len(senders), 0)
    keep[np.arange(len(senders)), reader, list(senders)] = False
    return keep


def _control(
    lab: Lab, graph: EdgeGraph, pairs: Pairs, reader: int, best: np.ndarray, clean: np.ndarray
) -> np.ndarray:
    """What the chosen path of each pair moves with writes of the pair's tokens in another order [pair]."""
    ids, said = pairs.corrupt["input_ids"].clone(), pairs.said
    for i, row in enumerate(ids):
        n = (
            int(pairs.corrupt["attention_mask"][i].sum()) - 1
        )  # the last token stays: the output is read there
        order = lab.rng("stranger", said[i]).permutation(n)
        row[:n] = row[order.tolist()]
    stranger = Judge(lab, graph, Pairs(pairs.aim, {**pairs.corrupt, "input_ids": ids}))
    kinds, which = np.unique(best, return_inverse=True)
    values = stranger.values(_masks(graph, reader, kinds.tolist()))
    return clean - values[which, np.arange(len(best))]


def _score(
    lab: Lab, receiver: str, moved: np.ndarray, control: np.ndarray, best: np.ndarray, span: np.ndarray
) -> Score:
    n = len(span)
    mine = moved[np.arange(n), best][:, None]
    low, high = share_intervals(mine, span, lab.seed)[0]
    return Score(
        name=f"share moved by the strongest path into {receiver}, chosen on "
        + ("other pairs" if n > 1 else "this very pair"),
        value=float(shares(mine, span)[0]),
        chance=float(shares(moved.mean(1, keepdims=True), span)[0]),
        control=float(shares(control[:, None], span)[0]),
        control_name="the same path with writes of an unrelated text",
        interval=(float(low), float(high)) if n > 1 else None,
        n=n,
    )


def _grid(graph: EdgeGraph, receiver: str, moved: np.ndarray, span: np.ndarray, seed: int) -> PatchGrid:
    """Shares by layer and part; NaN for parts behind the receiver. The embeddings are a last column."""
    parts = graph.n_heads + 1
    found = np.full((3, graph.n_layers, parts + 1), np.nan)
    values = np.stack([shares(moved, span), *share_intervals(moved, span, seed).T])
    found[:, 0, parts] = values[:, 0]
    for w in range(1, moved.shape[1]):
        row, column = divmod(w - 1, parts)
        found[:, row, column] = values[:, w]
    return PatchGrid(
        site=f"paths into {receiver}",
        rows=tuple(str(i) for i in range(graph.n_layers)),
        columns=(*(f"h{h}" for h in range(graph.n_heads)), "mlp", "embed"),
        axis="head",
        effect=found[0],
        low=found[1],
        high=found[2],
    )


def _sender(grid: PatchGrid, i: int, j: int) -> str:
    name = grid.columns[j]
    return name if name == "embed" else f"{grid.rows[i]}.{name}"
