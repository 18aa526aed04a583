"""Which tokens a sentence probe lives on, and whether it really does."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, Tokens
from exegete.core.results.finding import Finding
from exegete.core.value import Value


class ReadText(Value):
    """A text as the probe read it: its tokens with their saliency [token] (shares of one), what it is and what was said."""

    tokens: tuple[str, ...]
    saliency: np.ndarray
    label: str
    said: str


class ProbeAttributionResult(Finding):
    """A probe of `layer` names the classes of `n_test` unseen texts with `accuracy`.

    `shares` [point] of the tokens were kept, or removed. `kept` and `removed` [order, point] are the probe's accuracies when the
    first tokens of each of `orders` are kept alone or taken out; the first order is by saliency. `kept_interval` and
    `removed_interval` [point, 2] are those of the first order over texts. `words`, `word_saliency` and `word_count` [word] are
    tokens of the test texts with their mean saliency, in units of an even share. `examples` are some texts.
    """

    layer: str
    classes: tuple[str, ...]
    n_test: int
    accuracy: float
    majority: float
    orders: tuple[str, ...]
    shares: np.ndarray
    kept: np.ndarray
    removed: np.ndarray
    kept_interval: np.ndarray
    removed_interval: np.ndarray
    words: tuple[str, ...]
    word_saliency: np.ndarray
    word_count: np.ndarray
    examples: tuple[ReadText, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Some texts, then what is left when tokens are kept or removed, then the words."""
        shown = [
            Tokens(
                title=f"Why does the probe say {e.said}? (It is {e.label}.)",
                caption="Share of the saliency (gradient times input of the probe's answer).",
                tokens=e.tokens,
                values=e.saliency,
                unit="share",
                signed=bool((e.saliency < 0).any()),
            )
            for e in self.examples
        ]
        kept = self._curve(
            "What is left when only these tokens are kept?", "kept", self.kept, self.kept_interval
        )
        gone = self._curve(
            "What is left when these tokens are taken out?", "removed", self.removed, self.removed_interval
        )
        rows = tuple(
            (w, int(n), round(float(s), 2))
            for w, n, s in zip(self.words, self.word_count, self.word_saliency, strict=True)
        )
        table = Table(
            title="Which words matter to the probe?",
            caption="Mean saliency; 1 is an even share of the text.",
            columns=("token", "times", "saliency"),
            rows=rows,
        )
        return (*shown, kept, gone, table)

    def _curve(self, title: str, what: str, y: np.ndarray, interval: np.ndarray) -> Curves:
        banded = not np.isnan(interval).any()
        return Curves(
            title=title,
            caption="Accuracy of the probe on unseen texts, read again. Band: 95 % over texts.",
            x=self.shares * 100,
            x_axis=f"% of the tokens {what}",
            y_axis="accuracy",
            series=tuple(
                Series(
                    name=name,
                    y=y[i],
                    low=interval[:, 0] if banded and not i else None,
                    high=interval[:, 1] if banded and not i else None,
                    control=i > 0,
                )
                for i, name in enumerate(self.orders)
            ),
        )
