"""Records of units: on which texts each is strongest, how often it fires, what it writes; the card of a neuron."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table
from exegete.core.results.finding import Finding
from exegete.core.value import Value

BEFORE, AFTER = 9, 3  # tokens shown around the strongest of a text
MOSTLY = 0.97  # share of tokens in one bin above which a histogram shows nothing


class Excerpt(Value):
    """A text around the token `at` where a unit is strongest: `tokens`, the unit's `values` [token], and why it is shown."""

    tokens: tuple[str, ...]
    values: np.ndarray
    at: int
    why: str


class UnitRecord(Value):
    """One unit. `rate`: share of tokens on which it is above zero; `mean` and `spread` over tokens; `peak`: mean of its strongest
    texts above its mean, in standard deviations, `peak_shuffled` the same on shuffled tokens; `histogram` [bin] of tokens
    between `edges` [bin + 1]; `up` and `down` are the tokens that it pushes up and down most, where it writes to the residual.
    """

    name: str
    rate: float
    mean: float
    spread: float
    peak: float
    peak_shuffled: float
    excerpts: tuple[Excerpt, ...]
    histogram: np.ndarray
    edges: np.ndarray
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


class NeuronRecords(Finding):
    """The records of a few units, and of all units of their sites: `sites` [site], `peaks` [site] mean over the units of a site,
    with `peaks_shuffled` and `peaks_random` [site] (of `random_name`; NaN where skipped), `silent` [site] share of units that
    never rise above zero. `n_texts` and `n_tokens` were read.
    """

    units: tuple[UnitRecord, ...]
    sites: tuple[str, ...]
    peaks: np.ndarray
    peaks_shuffled: np.ndarray
    peaks_random: np.ndarray
    silent: np.ndarray
    n_texts: int
    n_tokens: int
    random_name: str = "randomised weights"

    def figures(self) -> tuple[AnyFigure, ...]:
        """All units in a table, a card a unit, and the sites."""
        cards = [f for u in self.units for f in (card(u), histogram(u)) if f is not None]
        return (self._table(), *cards, self._sites())

    def _table(self) -> Table:
        return Table(
            title="What does each unit do?",
            caption="Peak: mean of the strongest texts above the unit's mean, in standard deviations over tokens. A unit that"
            " peaks as high on shuffled tokens reads single words, not what stands around them.",
            columns=("unit", "strongest at", "peak", "peak, tokens shuffled", "fires on", "mean", "pushes up", "pushes down"),
            rows=tuple(
                (
                    self._short(u.name), _words(strongest(u)), u.peak, u.peak_shuffled, f"{u.rate:.1%} of tokens", u.mean,
                    _words(u.up), _words(u.down),
                )
                for u in self.units
            ),
        )  # fmt: skip

    def _short(self, name: str) -> str:
        """The unit's number alone where all are of one place, which the title of the table's cards says."""
        return name.removeprefix(f"{self.sites[0]}[").rstrip("]") if len(self.sites) == 1 else name

    def _sites(self) -> Curves:
        return Curves(
            title="How high do units peak, by place?",
            caption=f"Mean over all units of a place, on {self.n_texts} texts.",
            x=np.arange(len(self.sites), dtype=np.float64),
            x_axis="place",
            x_names=self.sites,
            y_axis="peak (standard deviations)",
            series=(
                Series(name="these texts", y=self.peaks),
                Series(name="the same tokens, shuffled", y=self.peaks_shuffled, control=True),
                Series(name=self.random_name, y=self.peaks_random, control=True),
            ),
        )


def card(u: UnitRecord) -> Grid:
    """The excerpts of a unit under each other, lined up at their strongest token."""
    width = BEFORE + 1 + AFTER
    values = np.full((len(u.excerpts), width), np.nan)
    texts = [[""] * width for _ in u.excerpts]
    for i, e in enumerate(u.excerpts):
        for j in range(max(0, e.at - BEFORE), min(len(e.tokens), e.at + AFTER + 1)):
            column = j - e.at + BEFORE
            values[i, column], texts[i][column] = e.values[j], e.tokens[j]
    used = [c for c in range(width) if any(row[c] for row in texts)]
    low, high = used[0], used[-1] + 1
    values, texts = values[:, low:high], [row[low:high] for row in texts]
    lower = " The lower rows are evenly spread over all texts, from strong to weak."
    return Grid(
        title=f"What does {u.name} fire on?",
        caption="One row a text, lined up at the token where the unit is strongest (0); colour is its activation, on one scale"
        f" for all rows.{'' if all(e.why.startswith('top') for e in u.excerpts) else lower}",
        values=values,
        rows=tuple(e.why for e in u.excerpts),
        columns=tuple(f"{i:+d}" if i else "0" for i in range(low - BEFORE, high - BEFORE)),
        row_axis="text",
        column_axis="token from the strongest",
        unit="activation",
        signed=bool((values < 0).any()),
        texts=tuple(map(tuple, texts)),
    )


def histogram(u: UnitRecord) -> Curves | None:
    """How often the unit takes which value; None where nearly all tokens stand in one bin, of which the rate says all."""
    if u.histogram.max(initial=0) > MOSTLY:
        return None
    return Curves(
        title=f"How often does {u.name} take which value?",
        caption=f"Share of tokens; it is above zero on {u.rate:.1%} of them.",
        x=(u.edges[1:] + u.edges[:-1]) / 2,
        x_axis="activation",
        y_axis="share of tokens",
        series=(Series(name="share of tokens", y=u.histogram),),
    )


def strongest(u: UnitRecord) -> tuple[str, ...]:
    """The tokens at which its strongest texts peak, each once."""
    top = [e.tokens[e.at] for e in u.excerpts if e.why.startswith("top")]
    return tuple(dict.fromkeys(top))


def _words(tokens: tuple[str, ...]) -> str:
    """Tokens side by side, blanks made visible where nothing else is there."""
    return " ".join(t.strip() or repr(t) for t in tokens)
