"""What causal tracing finds: which hidden states bring a fact's answer back after its subject was made unreadable."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series
from exegete.core.results.finding import Finding
from exegete.core.value import Value

ROLES = ("before", "first subject", "middle subject", "last subject", "first after", "further", "last")


class FactTrace(Value):
    """One fact: its `tokens` with their `roles`, the probability of the answer `clean` and with noise (`noisy`, mean), and
    the indirect effect of each place, `effect` [kind, layer, tok]: P with the clean state put back, less P with noise.
    """

    name: str
    answer: str
    tokens: tuple[str, ...]
    roles: tuple[str, ...]
    clean: float
    noisy: float
    effect: np.ndarray


class CausalTrace(Finding):
    """Indirect effects of hidden states on facts.

    `kinds` are residual, attention and mlp (windows of `window` layers), `layers` name the layers, `roles` the kinds of
    tokens that occur, in `n_role` facts each. `effect` [kind, layer, role] is the average indirect effect (AIE): a mean over
    facts of the mean over a fact's tokens of that role; `low` and `high` its 95 % interval over facts, NaN for a single one.
    `other` [kind, layer, 2] is the same at the last subject token and at the last token, with the states of another fact's
    run, over at most 24 facts. `noise` is the standard deviation of what was added to the embeddings. `cases` are the facts.
    """

    kinds: tuple[str, ...]
    layers: tuple[str, ...]
    roles: tuple[str, ...]
    n_role: tuple[int, ...]
    window: int
    noise: float
    effect: np.ndarray
    low: np.ndarray
    high: np.ndarray
    other: np.ndarray
    cases: tuple[FactTrace, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Over facts: a grid a kind, and the last subject token by layer; then the grids of one fact."""
        one = tuple(self._of_fact(k, self.cases[0]) for k in range(len(self.kinds)))
        if len(self.cases) == 1:
            return (*one, *self._curves())
        return (*(self._over_facts(k) for k in range(len(self.kinds))), *self._curves(), *one)

    def place(self, kind: str) -> str:
        """The kind in words: "the residual", "what attention adds (window of 2 layers)"."""
        if kind == "residual":
            return "the residual"
        part = {"attention": "attention", "mlp": "feed-forward parts"}[kind]
        layers = f" in a window of {self.window} layers" if self.window > 1 else ""
        return f"what {part} added{layers}"

    def _over_facts(self, k: int) -> Grid:
        rows = tuple(f"{r} ({n})" for r, n in zip(self.roles, self.n_role))
        return Grid(
            title=f"Where do facts come back? {_upper(self.place(self.kinds[k]))} put back",
            caption="Average rise of the answer's probability when the clean value is put back at one token and layer of a "
            "run whose subject is noise. Rows: role of the token (number of facts that have it). Marked: the strongest.",
            values=self.effect[k].T,
            rows=rows,
            columns=self.layers,
            row_axis="token",
            column_axis="layer",
            unit="probability",
            marked=(_strongest(self.effect[k].T),),
        )

    def _of_fact(self, k: int, case: FactTrace) -> Grid:
        tokens = tuple(f"{t}*" if "subject" in r else t for t, r in zip(case.tokens, case.roles))
        return Grid(
            title=f"One fact, {case.name!r}: {self.place(self.kinds[k])} put back",
            caption=f"Rise of P({case.answer!r}), which is {case.clean:.1%} clean and {case.noisy:.1%} with noise. "
            "Tokens of the subject carry a star. Marked: the strongest.",
            values=case.effect[k].T,
            rows=tokens,
            columns=self.layers,
            row_axis="token",
            column_axis="layer",
            unit="probability",
            marked=(_strongest(case.effect[k].T),),
        )

    def _curves(self) -> tuple[Curves, ...]:
        spots = (("last subject", "the subject's last token"), ("last", "the last token"))
        return tuple(self._curve(i, *s) for i, s in enumerate(spots) if s[0] in self.roles)

    def _curve(self, spot: int, role: str, words: str) -> Curves:
        at, several = self.roles.index(role), np.isfinite(self.low).any()
        lines = []
        for k, kind in enumerate(self.kinds):
            low, high = (b[k, :, at] if several else None for b in (self.low, self.high))
            lines.append(Series(name=self.place(kind), y=self.effect[k, :, at], low=low, high=high))
        if np.isfinite(self.other).all():
            lines += [
                Series(
                    name=f"{self.place(kind)}, of another fact's run", y=self.other[k, :, spot], control=True
                )
                for k, kind in enumerate(self.kinds)
            ]
        return Curves(
            title=f"Put back at {words}",
            caption="Rise of the answer's probability by layer"
            + (", mean over facts with its 95 % interval." if several else "."),
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis="probability",
            series=tuple(lines),
        )


def _strongest(values: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return int(row), int(column)


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]
