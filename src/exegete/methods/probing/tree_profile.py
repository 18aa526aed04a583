"""What tree probes of every layer read: fitted on training, chosen on development, judged on test sentences.

A `Profile` holds the reads of one kind of probe on one model; the studies of this room compare several. The layer of each
measure is the one that is best on development sentences, for the probe and for each of its controls alike, so that the best of
many layers is held against the best of as many. Where a control reads more at the layer of the probe than at the one chosen for
it, that counts (`stronger`): a picture of all layers must not show more of the control than its score says.

Cost: no pass; a fit a layer and kind.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.trust import Score
from exegete.methods.probing.tree_table import Parts, TreeTable
from exegete.models.lab import Lab
from exegete.ops.tree_probe import Kind, Training, TreeProbe, fit, random_probe
from exegete.ops.tree_scores import MEASURES, TreeRead, read_trees

CHANCE = "neighbours alone"
Held = tuple[float, int]  # what a control reads, and at which layer
Fit = Callable[[list[np.ndarray], Kind, int], TreeProbe]


def trained(lab: Lab, table: TreeTable, parts: Parts, how: Training, start: int = 0) -> Fit:
    """Fits a probe of a layer on the training sentences; the random start does not depend on what else is fitted."""

    def fitted(x: list[np.ndarray], kind: Kind, layer: int) -> TreeProbe:
        gold = table.gold.depths if kind == "depth" else table.gold.distances
        return fit(x, gold, parts[0], parts[1], kind, how, lab.rng("start", kind, layer, start))

    return fitted


def untrained(lab: Lab, parts: Parts, how: Training) -> Fit:
    """Random projections, scaled by the training sentences as the trained ones are."""
    return lambda x, kind, layer: random_probe(
        [x[i] for i in parts[0]], kind, how.rank, lab.rng("random", kind, layer)
    )


@dataclass(frozen=True)
class Profile:
    """Reads of every layer on development and on test sentences; the probes, and what they predict of the test sentences."""

    dev: tuple[TreeRead, ...]
    test: tuple[TreeRead, ...]
    distances: tuple[list[np.ndarray], ...]
    probes: tuple[tuple[TreeProbe, ...], ...]
    measures: tuple[str, ...]

    @classmethod
    def of(
        cls, lab: Lab, table: TreeTable, parts: Parts, fitted: Fit, words: str, kinds: Sequence[Kind] = ("distance", "depth")
    ) -> "Profile":  # fmt: skip
        """Fit probes of `kinds` (distances first; no depths: only their measures) at every layer, and read."""
        golds = [table.gold.part(p) for p in parts[1:]]
        reads: list[list[TreeRead]] = [[], []]
        distances, probes = [], []
        with lab.working(len(table.values), words) as done:
            for i, x in enumerate(table.values.values()):
                probes.append(tuple(fitted(x, kind, i) for kind in kinds))
                for k, (part, gold) in enumerate(zip(parts[1:], golds)):
                    some = [x[j] for j in part]
                    seen = [p.predict(some) for p in probes[-1]]
                    flat = [np.zeros(len(h)) for h in gold.heads]
                    reads[k].append(read_trees(seen[0], seen[1] if len(seen) > 1 else flat, gold))
                distances.append(seen[0])
                done()
        return cls(
            tuple(reads[0]), tuple(reads[1]), tuple(distances), tuple(probes), MEASURES[: 2 * len(kinds)]
        )

    def best(self, measure: str) -> int:
        """The layer that is best on development sentences."""
        return int(np.argmax([np.nan_to_num(r.value(measure), nan=-2.0) for r in self.dev]))

    def chosen(self, measure: str) -> TreeRead:
        """What that layer reads on test sentences."""
        return self.test[self.best(measure)]

    def held(self, measure: str, at: int) -> Held:
        """As a control of a probe at layer `at`: what is read of test sentences, and where."""
        return stronger([r.value(measure) for r in self.test], self.best(measure), at)

    def values(self) -> np.ndarray:
        """[measure, layer]"""
        return np.array([[r.value(m) for r in self.test] for m in self.measures])

    def intervals(self, lab: Lab) -> np.ndarray:
        """[measure, layer, 2]"""
        none = (np.nan, np.nan)
        return np.array([[r.interval(m, lab.rng("interval", m, i)) or none for i, r in enumerate(self.test)] for m in self.measures])  # fmt: skip


def stronger(values: Sequence[float], chosen: int, at: int) -> Held:
    """Of the values of a control by layer: the higher of its own choice and the layer `at` of the probe beside it, and where."""
    layer = max((at, chosen), key=lambda i: np.nan_to_num(values[i], nan=-2.0))
    return float(values[layer]), layer


def score(
    lab: Lab, found: TreeRead, measure: str, chance: TreeRead, control: float | None, name: str, skipped: str = "", failed: int = 0, words: str = "",
) -> Score:  # fmt: skip
    """One measure of held-out sentences as a score."""
    return Score(
        name=f"{measure}{words} on held-out sentences",
        value=found.value(measure),
        chance=chance.value(measure),
        control=control,
        control_name=name if control is not None else "",
        interval=found.interval(measure, lab.rng("interval", measure)),
        n=len(found.lengths),
        n_failed=failed,
        skipped="" if control is not None else skipped,
    )


def stacked(others: Sequence[Profile | None], shape: tuple[int, ...]) -> np.ndarray:
    """Values of controls [control, measure, layer]; NaN for one that was skipped."""
    return np.stack([np.full(shape, np.nan) if p is None else p.values() for p in others])
