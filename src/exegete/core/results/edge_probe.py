"""What edge probes find: from which layers the labels of stretches and pairs of stretches can be told."""

import numpy as np

from exegete.core.figure import AnyFigure, Series, Table, banded, by_layer
from exegete.core.results.finding import Finding


class EdgeProbeResult(Finding):
    """Edge probes on `n_test` marks of texts that they were not trained on, means over seeds.

    `mixing` [seed, layer]: how much of each layer the probe of all layers mixes, sums to one; `mixing_twin` [seed, layer] the
    same on the model with randomised weights (NaN: skipped); `gravity` their centre. `f1` [layer] is the micro F1 of the probe
    that may read layers 0 ... l, with `interval` [layer, 2] over texts and seeds, `gain` [layer - 1] what each further layer
    adds, `expected_layer` the mean layer weighted by what each adds to the best so far (NaN where nothing is added). `control` and `twin` are the F1 of control
    labels and of the randomised model, `accuracy` that of the likeliest class, `majority` that of always saying the commonest.
    `classes` are the labels, `n_class` [class] how many are tested, `recall` and `recall_first` [class] the shares found by
    the probe of all layers and of layer 0 alone.
    """

    layers: tuple[str, ...]
    n_test: int
    mixing: np.ndarray
    mixing_twin: np.ndarray
    gravity: float
    f1: np.ndarray
    interval: np.ndarray
    gain: np.ndarray
    expected_layer: float
    control: float
    twin: float
    accuracy: float
    majority: float
    classes: tuple[str, ...]
    n_class: np.ndarray
    recall: np.ndarray
    recall_first: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """F1 as layers are added, mixing weights, and every class."""
        n = range(len(self.layers))
        flat = np.ones(len(self.layers))
        series = [banded("layers up to here, mixed", self.f1, self.interval)]
        series += [
            Series(name=name, y=flat * value, control=True)
            for name, value in (
                ("randomised weights, all layers", self.twin),
                ("control labels, all layers", self.control),
                ("always the commonest", self.majority),
            )
            if not np.isnan(value)
        ]
        added = by_layer(
            n,
            "What do further layers add?",
            "Micro F1 of a probe that may read the layers up to here. Band: 95 % over texts and seeds.",
            "micro F1",
            tuple(series),
        )
        mixing = [
            Series(
                name="this model",
                y=self.mixing.mean(0),
                low=self.mixing.min(0),
                high=self.mixing.max(0),
            )
        ]
        if not np.isnan(self.mixing_twin).any():
            mixing.append(Series(name="randomised weights", y=self.mixing_twin.mean(0), control=True))
        mixed = by_layer(
            n,
            "Which layers does the probe of all layers mix?",
            f"Weights of the mix; counted from the embeddings (0), their centre is {self.gravity:.2f}. Band: over seeds.",
            "weight",
            tuple(mixing),
        )
        return (
            added.model_copy(update={"x_names": self.layers}),
            mixed.model_copy(update={"x_names": self.layers}),
            self._table(),
        )

    def _table(self) -> Table:
        """What is found of each class."""
        order = np.argsort(-self.n_class, kind="stable")
        rows = tuple(
            (
                self.classes[i] or "(none)",
                int(self.n_class[i]),
                round(float(self.recall[i]), 3),
                round(float(self.recall_first[i]), 3),
            )
            for i in order
            if self.n_class[i]
        )
        return Table(
            title="Which labels are found?",
            caption="Share of the marks of each class that the probe names rightly.",
            columns=("label", "marks", "all layers", f"{self.layers[0]} alone"),
            rows=rows,
        )
