"""What the studies of heads find: the type of every head, how alike heads are, and what is lost without them."""

import numpy as np

from exegete.core.figure import AnyFigure, Grid, Table
from exegete.core.results.finding import Finding

NO_TYPE = "-"


class HeadTypes(Finding):
    """The type of every query head.

    `heads` [head] are names, `places` [head] their (row of `layers`, number). `types` name the columns of `share` (mean
    share of attention that goes where the type says), `chance` (uniform attention) and `low` (2.5 % over texts) [head, type].
    `best_random` [type] is the most that any head of the twins with shuffled weights reaches (NaN: no twin). `label` [head] is
    the type that a head passes for, "-" for none; `distance` [head] its usual distance. `kinds` name the columns of
    `kind_share` [head, kind], the mean probability that its map is of a kind; `agreement` [head] is the share of texts on
    which the head's map is of its most frequent kind. `random_kinds` [kind] is how many heads of one twin are of each.
    """

    heads: tuple[str, ...]
    layers: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    types: tuple[str, ...]
    share: np.ndarray
    chance: np.ndarray
    low: np.ndarray
    best_random: np.ndarray
    label: tuple[str, ...]
    distance: np.ndarray
    kinds: tuple[str, ...]
    kind_share: np.ndarray
    agreement: np.ndarray
    random_kinds: np.ndarray

    @property
    def kind(self) -> tuple[str, ...]:
        """The kind of each head's map; "-" where no map was large enough."""
        sure = (bool(np.isfinite(p).all()) for p in self.kind_share)
        return tuple(self.kinds[int(np.argmax(p))] if ok else NO_TYPE for p, ok in zip(self.kind_share, sure))

    def figures(self) -> tuple[AnyFigure, ...]:
        """Types by layer and head, shares by head and type, kinds of maps, and all in a table."""
        return (self._labels(), self._shares(), self._kinds(), self._table())

    def _labels(self) -> Grid:
        at = [self.types.index(t) if t in self.types else None for t in self.label]
        values = [np.nan if t is None else self.share[i, t] for i, t in enumerate(at)]
        return Grid(
            title="What each head does",
            caption="The type that a head passes for; colour is the share of its attention that goes there. Empty: no type "
            "beyond uniform attention and beyond the best head of models with shuffled weights.",
            values=by_place(self.places, len(self.layers), values),
            rows=self.layers,
            columns=columns(self.places),
            row_axis="layer",
            column_axis="head",
            unit="share of attention",
            signed=False,
            texts=words_by_place(self.places, len(self.layers), self.label),
        )

    def _shares(self) -> Grid:
        return Grid(
            title="Where the attention of each head goes",
            caption="Mean share of attention. Marked: the head's type.",
            values=self.share,
            rows=self.heads,
            columns=self.types,
            row_axis="head",
            column_axis="type",
            unit="share of attention",
            signed=False,
            marked=tuple((i, self.types.index(t)) for i, t in enumerate(self.label) if t in self.types),
        )

    def _kinds(self) -> Grid:
        sure = self.kind_share.max(-1)
        return Grid(
            title="What the map of each head looks like",
            caption="The likeliest of five kinds of map; colour is the mean probability over texts.",
            values=by_place(self.places, len(self.layers), sure),
            rows=self.layers,
            columns=columns(self.places),
            row_axis="layer",
            column_axis="head",
            unit="probability",
            signed=False,
            texts=words_by_place(self.places, len(self.layers), self.kind),
        )

    def _table(self) -> Table:
        rows = []
        for i, name in enumerate(self.heads):
            t = (
                self.types.index(self.label[i])
                if self.label[i] in self.types
                else int(np.argmax(np.nan_to_num(self.share[i], nan=-1)))
            )
            there = (self.types[t], *(cell(x[i, t]) for x in (self.share, self.low, self.chance)))
            kind = (self.kind[i], cell(self.kind_share[i].max()), cell(self.agreement[i]))
            rows.append((name, self.label[i], *there, cell(self.distance[i]), *kind))
        return Table(
            title="Every head in numbers",
            caption="Where most of its attention goes, with the lower end of the 95 % interval over texts (where the head could "
            "pass for that type) and the share of even attention; the likeliest kind of its map, and the share of texts that agree.",
            columns=(
                "head",
                "type",
                "looks at",
                "share",
                "low",
                "even",
                "distance",
                "map",
                "probability",
                "agreement",
            ),
            rows=tuple(rows),
        )


def by_place(places: tuple[tuple[int, int], ...], n_rows: int, values: object) -> np.ndarray:
    """Values [head] as [layer, head], NaN where a layer has fewer heads."""
    out = np.full((n_rows, 1 + max(h for _, h in places)), np.nan)
    for (row, head), value in zip(places, np.asarray(values, np.float64)):
        out[row, head] = value
    return out


def words_by_place(
    places: tuple[tuple[int, int], ...], n_rows: int, words: tuple[str, ...]
) -> tuple[tuple[str, ...], ...]:
    """Words [head] as [layer][head]."""
    out = [[""] * (1 + max(h for _, h in places)) for _ in range(n_rows)]
    for (row, head), word in zip(places, words):
        out[row][head] = word
    return tuple(map(tuple, out))


def columns(places: tuple[tuple[int, int], ...]) -> tuple[str, ...]:
    """Names of the columns of a grid of heads."""
    return tuple(f"h{h}" for h in range(1 + max(h for _, h in places)))


def cell(x: float) -> float | None:
    """A number for a table; None where there is none."""
    return round(float(x), 4) if np.isfinite(x) else None
