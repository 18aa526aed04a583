"""What prompting finds: how well a model labels texts under each of several prompts, and how much the prompt decides."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, banded
from exegete.core.results.finding import Finding


class PromptProbe(Finding):
    """Accuracy of label words under prompts.

    `prompts` are the templates with their label words; `classes` the labels; `labels` [text] the true ones. `raw` and `calibrated`
    [prompt] are accuracies, `interval` [prompt, 2] that of the raw one over texts; `twin` [prompt] the raw one with randomised
    weights (NaN where skipped). `majority` is the share of the largest class. `probabilities` [text, prompt, class] are those of
    the label words among each other, `content_free` [prompt, class] the same where the text says nothing. `shots` examples a
    class stood before each text.
    """

    prompts: tuple[str, ...]
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    raw: np.ndarray
    calibrated: np.ndarray
    interval: np.ndarray
    twin: np.ndarray
    majority: float
    probabilities: np.ndarray
    content_free: np.ndarray
    shots: int

    @property
    def spread(self) -> tuple[float, float, float]:
        """Smallest and largest raw accuracy over prompts, and their standard deviation."""
        return float(self.raw.min()), float(self.raw.max()), float(self.raw.std())

    def figures(self) -> tuple[AnyFigure, ...]:
        """Accuracy by prompt, raw and calibrated, beside the controls; the prompts; and what a text that says nothing gets."""
        n = len(self.prompts)
        series = (
            banded("as it is", self.raw, self.interval),
            Series(name="calibrated", y=self.calibrated),
            *(
                []
                if np.isnan(self.twin).all()
                else [Series(name="randomised weights", y=self.twin, control=True)]
            ),
            Series(name="largest class", y=np.full(n, self.majority), control=True),
            Series(name="chance", y=np.full(n, 1 / len(self.classes)), control=True),
        )
        curve = Curves(
            title="How much does the prompt decide?",
            caption="Accuracy under each prompt, with its 95 % interval over texts; calibrated: each label word's probability "
            "divided by the one it has where the text says nothing.",
            x=np.arange(n, dtype=np.float64),
            x_axis="prompt",
            x_names=tuple(str(i + 1) for i in range(n)),
            y_axis="accuracy",
            series=series,
        )
        return (curve, self._table()) if n > 1 else (self._table(),)

    def _table(self) -> Table:
        rows = tuple(
            (
                *(i + 1, prompt, round(float(self.raw[i]), 3), round(float(self.calibrated[i]), 3)),
                None if np.isnan(self.twin[i]) else round(float(self.twin[i]), 3),
                ", ".join(f"{c} {p:.0%}" for c, p in zip(self.classes, self.content_free[i])),
            )
            for i, prompt in enumerate(self.prompts)
        )
        return Table(
            title="The prompts",
            caption="Each template with its label words; the last column is what a text that says nothing gets.",
            columns=("", "prompt", "accuracy", "calibrated", "randomised", "without content"),
            rows=rows,
        )
