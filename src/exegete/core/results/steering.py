"""What attention steering found: the heads that heed a span when told to, and what the model then says."""

import numpy as np

from exegete.core.figure import AnyFigure, Grid, Table
from exegete.core.results.edits import ModelEdit, SiteEdit
from exegete.core.value import Value


class SteeringCase(Value):
    """One text with its emphasised span.

    `emphasised` are its characters, `positions` its tokens. Probabilities of `wanted`: `before`, `after`, and the means over
    draws with as many `random` heads, and with the same heads and a span of the same length `elsewhere` (NaN where the text
    has no other). `said`: whether the steered model's own first choice is what was wanted; `said_before` the same of the
    unsteered model, `said_random` the share of draws of random heads in which it is.
    """

    name: str
    prompt: str
    emphasised: str
    wanted: str
    positions: tuple[int, ...]
    before: float
    after: float
    random: float
    elsewhere: float
    said: bool
    said_before: bool
    said_random: float


class Steering(ModelEdit):
    """Attention of `heads` (layer, head) turned to a span: what is outside of it gets `alpha` times its weight.

    `effect` [layer, head] is the mean gain in log-probability of what is wanted when that head alone is steered, on the texts
    that heads were chosen on. An edit of one text holds its `sites`; `only(i)` is that of case i.
    """

    heads: tuple[tuple[int, int], ...]
    alpha: float
    stack: str
    effect: np.ndarray
    cases: tuple[SteeringCase, ...]

    def only(self, i: int) -> "Steering":
        """The edit of case `i`, ready to be applied to its text."""
        case = self.cases[i]
        claim = f"{case.emphasised!r} is heeded in {case.prompt!r}"
        return self.model_copy(update={"cases": (case,), "sites": self.sites_of(case), "claim": claim})

    def sites_of(self, case: SteeringCase) -> tuple[SiteEdit, ...]:
        """What is done to the patterns of each layer."""
        layers = sorted({layer for layer, _ in self.heads})
        return tuple(
            SiteEdit(
                site=f"{self.stack}.{layer}.pattern" if self.stack else f"{layer}.pattern",
                how="emphasise",
                value=np.array(self.alpha),
                heads=tuple(h for at, h in self.heads if at == layer),
                positions=case.positions,
            )
            for layer in layers
        )

    def figures(self) -> tuple[AnyFigure, ...]:
        """What each head does, what became of each text, then the edited sites."""
        return (self._heads(), self._cases(), *super().figures())

    def _heads(self) -> Grid:
        return Grid(
            title="Which heads make it heed the span?",
            caption="Gain in log-probability of what is wanted when this head alone is steered. Marked heads are steered together.",
            values=self.effect,
            rows=tuple(f"layer {i}" for i in range(self.effect.shape[0])),
            columns=tuple(f"head {i}" for i in range(self.effect.shape[1])),
            row_axis="layer",
            column_axis="head",
            unit="gain in nats",
            marked=self.heads,
        )

    def _cases(self) -> Table:
        rows = tuple(
            (c.prompt, c.emphasised, c.wanted, c.before, c.after, c.random, _or_none(c.elsewhere))
            for c in self.cases
        )
        return Table(
            title="What became of each text",
            caption="Probabilities of what is wanted: before; with the heads steered; with as many random heads; with the same "
            "heads and another span of the same length.",
            columns=("text", "emphasised", "wanted", "before", "steered", "random heads", "other span"),
            rows=rows,
        )


def _or_none(x: float) -> float | None:
    return x if np.isfinite(x) else None
