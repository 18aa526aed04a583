"""What one feature of a dictionary stands for: its strongest places in texts, and the inputs it was driven to."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, Tokens
from exegete.core.results.finding import Finding

SHOWN = 3  # texts drawn token by token; the table has all


class FeatureShow(Finding):
    """One feature.

    `texts` are the texts in which it is strongest, as tokens, with `values` [token] each. `counts` [bin] is how many tokens
    have a value between `edges` [bin + 1], where it is on. `wished` are texts found by moving the input: of each, `soft` is
    the value of the moved embeddings, `hard` that of the nearest tokens, `start` that of the random tokens it began from.
    """

    feature: int
    site: str
    density: float
    texts: tuple[tuple[str, ...], ...]
    values: tuple[tuple[float, ...], ...]
    counts: np.ndarray
    edges: np.ndarray
    wished: tuple[str, ...]
    soft: np.ndarray
    hard: np.ndarray
    start: np.ndarray
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()

    def figures(self) -> tuple[AnyFigure, ...]:
        """The strongest texts, the optimised inputs, and how large its values are."""
        found: list[AnyFigure] = [
            Tokens(
                title=f"Where is feature {self.feature} strongest?" if i == 0 else f"And then ({i + 1})",
                caption="The text of the corpus with its largest value." if i == 0 else "",
                label=f"{max(v):.2f}",
                tokens=t,
                values=np.array(v, dtype=np.float64),
                unit="value of the feature",
            )
            for i, (t, v) in enumerate(zip(self.texts[:SHOWN], self.values[:SHOWN]))
        ]
        found.append(
            Table(
                title="In which texts is it strongest?",
                caption="One place a text, in « », the largest value first.",
                columns=("value", "text"),
                rows=tuple((round(max(v), 2), _marked(t, v)) for t, v in zip(self.texts, self.values)),
            )
        )
        rows = tuple(
            (w, round(float(h), 3), round(float(s), 3), round(float(b), 3))
            for w, h, s, b in sorted(zip(self.wished, self.hard, self.soft, self.start), key=lambda r: -r[1])
        )
        found.append(
            Table(
                title="What would it like to read?",
                caption="Inputs found by moving embeddings along its gradient, then taking the nearest tokens. The moved "
                "embeddings themselves are no text, and reach values that no text may reach.",
                columns=(
                    "nearest tokens",
                    "value of these tokens",
                    "value of the embeddings",
                    "value at the random start",
                ),
                rows=rows,
            )
        )
        if len(self.counts):
            found.append(
                Curves(
                    title="How large are its values?",
                    caption=f"Tokens by value, where it is on: at {self.density:.2%} of the tokens.",
                    x=(self.edges[1:] + self.edges[:-1]) / 2,
                    x_axis="value",
                    y_axis="tokens",
                    series=(Series(name="tokens", y=self.counts.astype(np.float64)),),
                )
            )
        return tuple(found)


def _marked(tokens: tuple[str, ...], values: tuple[float, ...]) -> str:
    """A text with its strongest token in « »."""
    best = int(np.argmax(values))
    return " ".join(f"«{t.strip()}»" if i == best else t.strip() for i, t in enumerate(tokens))
