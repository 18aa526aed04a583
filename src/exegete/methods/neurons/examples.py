"""Neurons of a model on labelled words: one column a neuron, one row a word, dealt into three parts by text.

1. `harvest` reads the places of one kind in the chosen layers at every marked word, once;
2. classes that are too rare to stand in all three parts are left out, and counted;
3. texts are dealt whole to training (half), choosing (a quarter) and test (a quarter);
4. columns are standardised on the training rows; a neuron that never moves stays at zero.

Cost: one forward a text; none where the table is kept. Shapes: x [row, neuron], y [row] integers from 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.errors import InputError
from exegete.core.material import Marked, Parsed
from exegete.core.site import Site
from exegete.models.harvest import Table, harvest, words_of
from exegete.models.lab import Lab
from exegete.ops.control_labels import classes_of
from exegete.ops.split import split, together

SHARES = (0.5, 0.25, 0.25)
LEAST = 6  # rows of a class; it must also stand in every part, twice in training


@dataclass(frozen=True)
class Places:
    """Which neuron a column is: `sites[place[column]]`, its `unit`."""

    sites: tuple[Site, ...]
    place: np.ndarray
    unit: np.ndarray

    @property
    def layer(self) -> np.ndarray:
        """Layer of every column."""
        return np.array([s.layer if s.layer is not None else -1 for s in self.sites])[self.place]

    def name(self, column: int) -> str:
        """The site of one neuron, "2.resid_post[u17]"."""
        return f"{self.sites[self.place[column]]}[u{self.unit[column]}]"

    def __len__(self) -> int:
        return len(self.place)


@dataclass(frozen=True)
class Examples:
    """Standardised activations and labels. `parts` are row indices: training, choosing, test; `scale` and `mean` [neuron]
    turn a standardised activation into the model's own; `item` and `mark` say where a row comes from.
    """

    places: Places
    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    words: tuple[str, ...]
    item: np.ndarray
    mark: np.ndarray
    parts: tuple[np.ndarray, np.ndarray, np.ndarray]
    mean: np.ndarray
    scale: np.ndarray
    n_failed: int

    @property
    def majority(self) -> float:
        """Share of the test rows that are of the class most frequent in training."""
        train, _, test = self.parts
        return float(np.mean(self.y[test] == np.bincount(self.y[train]).argmax()))

    def tells(self) -> np.ndarray:
        """For every neuron the class whose mean is furthest from that of all rows, in standard errors [neuron]."""
        train = self.parts[0]
        x, y = self.x[train], self.y[train]
        hot = np.eye(len(self.classes))[y]
        count = hot.sum(0)
        return (np.abs(hot.T @ x / count[:, None]) * np.sqrt(count)[:, None]).argmax(0)


def marked_of(items: Sequence[Marked | Parsed]) -> tuple[Marked, ...]:
    """Items as labelled texts: the words of parsed sentences carry their tags."""
    return tuple(m for i in items for m in ((i,) if isinstance(i, Marked) else words_of([i])))


def gather(lab: Lab, items: Sequence[Marked], sites: Sequence[Site], table: Table | None = None) -> Examples:
    """The examples of `items` at `sites`, read now where no `table` is given. Raises `InputError` for labels that are no classes, or too few of any."""
    table = table or harvest(lab, items, sites)
    names, y = classes_of(table.labels)
    parts = split(together([i.ties for i in items])[table.item], SHARES, lab.rng("parts"))
    seen = np.stack([np.bincount(y[p], minlength=len(names)) for p in parts])
    kept = (seen[0] >= 2) & (seen[1:] >= 1).all(0) & (seen.sum(0) >= LEAST)
    if kept.sum() < 2:
        raise InputError(
            f"You asked which neurons tell {len(names)} classes apart.",
            f"Only {int(kept.sum())} of them have {LEAST} examples or more, in texts enough for training, choosing and test.",
            "Give more labelled texts, or fewer classes.",
        )
    rows = np.flatnonzero(kept[y])
    where = np.full(len(y), -1)
    where[rows] = np.arange(len(rows))
    train, choose, test = (where[p][where[p] >= 0] for p in parts)
    x = np.concatenate([np.asarray(table.values[s])[rows] for s in table.values], axis=1).astype(np.float64)
    if not np.isfinite(x).all():
        raise InputError(
            "You asked which neurons tell classes apart.",
            "Some activations are not finite numbers.",
            "Load the model in float32.",
        )
    mean, scale = x[train].mean(0), x[train].std(0)
    still = scale < 1e-7 * (1 + np.abs(mean))
    scale = np.where(still, 1.0, scale)
    x = (x - mean) / scale
    x[:, still] = 0.0
    widths = [table.values[s].shape[1] for s in table.values]
    places = Places(
        tuple(table.values),
        np.repeat(np.arange(len(widths)), widths),
        np.concatenate([np.arange(w) for w in widths]),
    )
    renumbered = np.cumsum(kept) - 1
    return Examples(
        places=places,
        x=x,
        y=renumbered[y[rows]],
        classes=tuple(n for n, k in zip(names, kept) if k),
        words=tuple(table.words[r] for r in rows),
        item=table.item[rows],
        mark=table.mark[rows],
        parts=(train, choose, test),
        mean=mean,
        scale=scale,
        n_failed=table.n_failed + len(y) - len(rows),
    )
