"""What the labels cost in bits, layer by layer, to a reader of the representations."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, by_layer
from exegete.core.results.finding import Finding


class MdlProbeResult(Finding):
    """Bits a label [layer] under the online code, with `interval` [layer, 2] over texts, of the labels, of control labels (the
    class of a word type is drawn at random) and of the labels to a reader of the model with randomised weights (NaN: skipped).

    `variational`, `variational_control`, `variational_twin` [layer] are the same under the variational code (empty when not
    asked for), of which `classifier` [layer] went into the classifier. `uniform` and `frequency` are the bits a label without
    reading anything. `blocks` [block] are the numbers of labels sent after each block, `course` [block] the bits a label of the
    block at the best layer, `course_twin` the same of the randomised model's best layer.
    """

    layers: tuple[str, ...]
    n_labels: int
    n_classes: int
    uniform: float
    frequency: float
    online: np.ndarray
    interval: np.ndarray
    control: np.ndarray
    twin: np.ndarray
    variational: np.ndarray
    variational_control: np.ndarray
    variational_twin: np.ndarray
    classifier: np.ndarray
    blocks: np.ndarray
    course: np.ndarray
    course_twin: np.ndarray

    @property
    def compression(self) -> np.ndarray:
        """How many times shorter than the uniform code [layer]."""
        return self.uniform / self.online

    @property
    def kbit(self) -> np.ndarray:
        """Length of the online code of all labels [layer], in units of 1,024 bits."""
        return self.online * self.n_labels / 1024

    def figures(self) -> tuple[AnyFigure, ...]:
        """Bits a label by layer, by number of labels sent, and all code lengths as a table."""
        low, high = self.interval.T
        flat = np.full(len(self.layers), self.frequency)
        series = [
            Series(name="labels, online code", y=self.online, low=low, high=high),
            Series(name="control labels", y=self.control, control=True),
            Series(name="randomised weights", y=self.twin, control=True),
            Series(name="label frequencies alone", y=flat, control=True),
        ]
        if len(self.variational):
            series.insert(1, Series(name="labels, variational code", y=self.variational))
        by = by_layer(
            range(len(self.layers)),
            "What a label costs, layer by layer",
            "Bits a label; lower: the layer tells the labels more readily. Band: 95 % over texts.",
            "bits a label",
            tuple(s for s in series if not np.isnan(s.y).all()),
        ).model_copy(update={"x_names": self.layers})
        learnt = Curves(
            title="How soon the labels are learned",
            caption="Bits a label of each block, at the best layer; the first block is sent by the uniform code.",
            x=np.log2(self.blocks.astype(np.float64)),
            x_axis="labels sent (log scale)",
            x_names=tuple(f"{b:,}" for b in self.blocks),
            y_axis="bits a label",
            series=tuple(
                Series(name=name, y=y, control=control)
                for name, y, control in (
                    ("labels", self.course, False),
                    ("randomised weights", self.course_twin, True),
                )
                if not np.isnan(y).any()
            ),
        )
        return by, learnt, self._table()

    def _table(self) -> Table:
        """Code lengths by layer."""
        columns = ["layer", "code (kbit)", "compression", "control labels (kbit)", "randomised (kbit)"]
        whole = self.n_labels / 1024
        parts = [self.kbit, self.compression, self.control * whole, self.twin * whole]
        if len(self.variational):
            columns += ["variational code (kbit)", "of it the classifier (kbit)"]
            parts += [self.variational * whole, self.classifier * whole]
        rows = [
            (name, *(None if np.isnan(p[i]) else round(float(p[i]), 2) for p in parts))
            for i, name in enumerate(self.layers)
        ]
        empty = (None,) * (len(columns) - 3)
        rows.append(("uniform code", round(self.uniform * whole, 2), 1.0, *empty))
        rows.append(
            ("label frequencies", round(self.frequency * whole, 2), round(self.uniform / self.frequency, 2), *empty)
        )  # fmt: skip
        return Table(
            title=f"Code lengths of {self.n_labels:,} labels of {self.n_classes} classes",
            caption="1 kbit is 1,024 bits.",
            columns=tuple(columns),
            rows=tuple(rows),
        )
