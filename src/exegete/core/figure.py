"""Figures: what a finding shows, as plain data. The floor of pictures draws each kind once, for every surface.

    Grid     numbers by two named axes (layer x position, head x layer, lens grid), with words in the cells where wanted
    Curves   series over a common axis, with intervals; controls are drawn as such
    Graph    a layered graph of nodes and weighted edges
    Table    rows of words and numbers, searchable
    Maps     attention patterns, one a head; each can be shown as a heat map or as arcs
    Tokens   a text with a number a token
    Arcs     a sentence with its dependency tree above the words and a predicted one below

A figure holds no torch and no HTML. Every text in it may be hostile; the pictures escape it.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from exegete.core.value import Value


class Figure(Value):
    """Base of all figures: a `title` in words, and a `caption` that says how to read it."""

    title: str
    caption: str = ""


class Grid(Figure):
    """Numbers [row, column]. NaN cells are empty.

    `texts` [row][column] are words shown in the cells (the numbers stay the colour). `marked` cells (row, column) stand
    out from their null or matter most; the caption says which. `unit` names what a number is. `end` is where the colours end, for
    figures that are held against one another; none: at the largest number.
    """

    kind: Literal["grid"] = "grid"
    values: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_axis: str
    column_axis: str
    unit: str = ""
    signed: bool = True
    texts: tuple[tuple[str, ...], ...] = ()
    marked: tuple[tuple[int, int], ...] = ()
    end: float | None = None


class Series(Value):
    """One line: `y` [point], with a band from `low` to `high` [point] where there is an interval. `control`: drawn muted."""

    name: str
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    control: bool = False


class Curves(Figure):
    """Series over `x` [point]; `x_names` replace the numbers on the axis; `marks` are (x, words) set on it."""

    kind: Literal["curves"] = "curves"
    x: np.ndarray
    x_axis: str
    y_axis: str
    series: tuple[Series, ...]
    x_names: tuple[str, ...] = ()
    marks: tuple[tuple[float, str], ...] = ()


def banded(name: str, y: np.ndarray, interval: np.ndarray) -> Series:
    """A line with its band from `interval` [point, 2]; without one where any end is unknown (NaN)."""
    if np.isnan(interval).any():
        return Series(name=name, y=y)
    return Series(name=name, y=y, low=interval[:, 0], high=interval[:, 1])


def curves_of(
    names: Iterable[str], title: str, caption: str, x_axis: str, y_axis: str, series: tuple[Series, ...]
) -> Curves:
    """Curves over things that have names."""
    told = tuple(names)
    x = np.arange(len(told), dtype=np.float64)
    return Curves(
        title=title, caption=caption, x=x, x_axis=x_axis, x_names=told, y_axis=y_axis, series=series
    )


def by_layer(
    layers: Iterable[int], title: str, caption: str, y_axis: str, series: tuple[Series, ...]
) -> Curves:
    """Curves over layers, by their numbers."""
    return curves_of((f"layer {i}" for i in layers), title, caption, "layer", y_axis, series)


class Node(Value):
    """A node: its name (unique), the column it stands in (`level`, inputs 0), what it is (`sort`), and its weight."""

    name: str
    level: int
    sort: str = ""
    weight: float = float("nan")


class Edge(Value):
    """An edge between two nodes by name; `sort` says how it enters the target (q, k, v, mlp, logits ...)."""

    source: str
    target: str
    weight: float
    sort: str = ""


class Graph(Figure):
    """A layered graph; edges lead from lower to higher levels."""

    kind: Literal["graph"] = "graph"
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    unit: str = ""


class Table(Figure):
    """Rows of words and numbers under `columns`; None is an empty cell."""

    kind: Literal["table"] = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]


class Maps(Figure):
    """Attention patterns [map, query, key], one a name; `queries` and `keys` are the tokens.

    `groups` names the row of the layer x head grid that each map stands in ("layer 3"). `query_parts` and `key_parts` say
    which sentence (from 0; -1 none) each token belongs to. Weights under `threshold` are not drawn at first. `q` [map, query,
    dh] and `k` [map, key, dh], where given, are what the neuron view shows: `scale` times the sum of their elementwise product
    is the score; `scale` is NaN where the model adds more to the score. `unit` names what the numbers are; `signed` says that
    they may be below zero.
    """

    kind: Literal["maps"] = "maps"
    patterns: np.ndarray
    names: tuple[str, ...]
    groups: tuple[str, ...]
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    query_parts: tuple[int, ...] = ()
    key_parts: tuple[int, ...] = ()
    threshold: float = 0.0
    q: np.ndarray | None = None
    k: np.ndarray | None = None
    scale: float = 1.0
    unit: str = "attention"
    signed: bool = False


class Tokens(Figure):
    """A text with a number a token [token]; `label` names it (clean, corrupt, prompt). `end` is where the colours end, as in `Grid`."""

    kind: Literal["tokens"] = "tokens"
    label: str = ""
    tokens: tuple[str, ...]
    values: np.ndarray
    signed: bool = False
    unit: str = ""
    end: float | None = None


class Arc(Value):
    """An arc between two words by their places, from the head to the word; `label` names the relation."""

    head: int
    word: int
    label: str = ""


class Arcs(Figure):
    """A sentence [word] with the arcs of its tree, `gold`, and those predicted.

    `directed`: a predicted arc is right only where head and word are the same; else the pair alone counts. An arc with the right
    ends and another label is half right, where both have labels. `left_out` are words that take no part (punctuation).
    """

    kind: Literal["arcs"] = "arcs"
    words: tuple[str, ...]
    gold: tuple[Arc, ...]
    predicted: tuple[Arc, ...]
    directed: bool = True
    left_out: tuple[int, ...] = ()


AnyFigure = Annotated[Grid | Curves | Graph | Table | Maps | Tokens | Arcs, Field(discriminator="kind")]
