"""Edits of a concept: a direction added (steering), or all that a linear rule can read of it taken out (erasure)."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table
from exegete.core.results.edits import ModelEdit


class ConceptErasure(ModelEdit):
    """The affine map at `layer` after which no linear rule tells `concept` from `against`.

    accuracy, after, random   balanced accuracy on held-out texts of a direction learned under the same condition: in the model as
                              it is, with the concept erased, and with random labels erased (mean) [layer]
    gap                       how far apart the outputs for a concept text and its partner are, total variation, under the same
                              three conditions [3]; `drift` KL on other texts, nats a token, of the last two [2]
    """

    concept: str
    against: str
    layer: str
    layers: tuple[str, ...]
    accuracy: np.ndarray
    after: np.ndarray
    random: np.ndarray
    gap: np.ndarray
    drift: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """Accuracy by layer under the three conditions, what becomes of the outputs, then the edit."""
        curves = Curves(
            title=f"Can {self.concept!r} still be read after it was erased at {self.layer}?",
            caption="Balanced accuracy on held-out texts of a direction learned under the same condition; one half is chance.",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis="accuracy",
            series=(
                Series(name="as it is", y=self.accuracy),
                Series(name="concept erased", y=self.after),
                Series(name="random labels erased", y=self.random, control=True),
            ),
        )
        names = ("as it is", "concept erased", "random labels erased")
        table = Table(
            title="Does the model still answer the two kinds of texts differently?",
            caption="Distance: total variation between what is said to a text of the concept and to its partner, mean over held-out "
            "pairs. Drift: KL(as it is || edited) on other texts, nats a token.",
            columns=("model", "distance", "drift"),
            rows=tuple((n, float(g), float(d)) for n, g, d in zip(names, self.gap, (0.0, *self.drift))),
        )
        return (curves, table, *super().figures())


class ConceptSteering(ModelEdit):
    """A direction added at `site` with the strengths `doses`, in lengths of what is there on average.

    response, response_random  what is measured (`target`, in `unit`), mean over texts [dose]; of random directions of the same
                               length [draw, dose]
    drift, drift_random        KL(as it is || steered) on the same texts, nats a token, likewise
    written                    share of the words written that are words of the concept [dose]; `loss` of what is written, nats a
                               token, in the model as it is [dose]; `samples` one text a dose. Empty for models that write nothing
    dose                       the one that the saved edit has
    """

    concept: str
    against: str
    site: str
    target: str
    unit: str
    words: tuple[str, ...]
    doses: np.ndarray
    response: np.ndarray
    response_random: np.ndarray
    drift: np.ndarray
    drift_random: np.ndarray
    written: np.ndarray
    loss: np.ndarray
    samples: tuple[str, ...]
    dose: float

    def figures(self) -> tuple[AnyFigure, ...]:
        """The dose-response curve, what it costs, what is written, then the edit."""
        found: list[AnyFigure] = [
            self._curve(
                "What does the direction do to the answer?", f"{self.target[0].upper()}{self.target[1:]}, mean over texts.", self.unit,
                self.response, self.response_random,
            ),
            self._curve(
                "What does it cost?", "KL(as it is || steered) on the same texts: how far everything else moves.",
                "KL (nats a token)", self.drift, self.drift_random,
            ),
        ]  # fmt: skip
        if self.samples:
            found.append(
                Table(
                    title="What does the model write?",
                    caption="Share: words of the concept among the words written. Loss: nats a token of what is written, in the "
                    "model as it is.",
                    columns=("dose", "share", "loss", "sample"),
                    rows=tuple(
                        (float(d), float(w), float(x), s)
                        for d, w, x, s in zip(self.doses, self.written, self.loss, self.samples)
                    ),
                )
            )
        return (*found, *super().figures())

    def _curve(self, title: str, caption: str, axis: str, y: np.ndarray, random: np.ndarray) -> Curves:
        return Curves(
            title=title,
            caption=f"{caption} Dose: length of what is added, in mean lengths of the residual. Band: least and most of "
            f"{len(random)} random directions.",
            x=self.doses,
            x_axis="dose",
            y_axis=axis,
            series=(
                Series(name=f"{self.concept} against {self.against}", y=y),
                Series(
                    name="random directions", y=random.mean(0), low=random.min(0), high=random.max(0), control=True
                ),
            ),
            marks=((self.dose, "saved"),),
        )  # fmt: skip
