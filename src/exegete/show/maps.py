"""Attention maps for a page and a terminal: every head as a thumbnail, one of them open.

1. weights are quantised to one byte on a square-root scale, |x| = (b / 255)^2 * end (signed: (b - 128) / 127), so that small
   weights keep their digits: with half a step d = 1 / 510 (signed 1 / 254) the error is at most 2 d sqrt(|x| end) + d^2 end;
2. all maps of a figure are one deflated block in base64, which the page's script unpacks; q and k go the same way as 16-bit
   numbers;
3. maps beyond `MOST_CELLS` weights stay in the saved result, and the page says how many; a terminal shows pooled thumbnails
   and the first map's numbers.
"""

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from exegete.core.figure import Grid, Maps
from exegete.show.color import limit
from exegete.show.words import one_line

MOST_CELLS, MOST_NEURONS = 4_000_000, 400_000  # weights, and numbers of q and k, that a page carries
THUMB = (6, 10)  # rows and columns of a thumbnail in a terminal
LEGIBLE = 24  # tokens up to which a terminal shows the first map's numbers


@dataclass(frozen=True)
class MapsPicture:
    """Maps of one attention. `payload` is for the page's script; `thumbs` (group, ((name, shares [row][column]), ...)) for a terminal."""

    title: str
    caption: str
    names: tuple[str, ...]
    thumbs: tuple[tuple[str, tuple[tuple[str, tuple[tuple[float, ...], ...]], ...]], ...]
    first: Grid | None
    payload: dict[str, Any]
    query_parts: tuple[int, ...]
    key_parts: tuple[int, ...]
    neurons: bool
    signed: bool
    unit: str
    left_out: int
    kind: str = "maps"


def maps(f: Maps) -> MapsPicture:
    """The maps that a page has room for, and how many are left out."""
    size = max(1, int(np.prod(f.patterns.shape[1:])))
    n = min(len(f.names), max(1, MOST_CELLS // size))
    neurons = f.q is not None and f.k is not None and n * (f.q[0].size + f.k[0].size) <= MOST_NEURONS
    end = limit(f.patterns[:n])
    return MapsPicture(
        title=f.title,
        caption=f.caption,
        names=tuple(one_line(x) for x in f.names[:n]),
        thumbs=_thumbs(f, n),
        first=_first(f) if n and max(f.patterns.shape[1:]) <= LEGIBLE else None,
        payload=_payload(f, n, end) | (_neurons(f, n) if neurons else {}),
        query_parts=_several(f.query_parts),
        key_parts=_several(f.key_parts),
        neurons=neurons,
        signed=f.signed,
        unit=f.unit,
        left_out=len(f.names) - n,
    )


def _first(f: Maps) -> Grid:
    """The first map as a grid of numbers."""
    return Grid(
        title=f.names[0], values=f.patterns[0].astype(np.float64), rows=f.queries, columns=f.keys, row_axis="from",
        column_axis="to", unit=f.unit, signed=f.signed,
    )  # fmt: skip


def quantised(patterns: np.ndarray, end: float, signed: bool) -> np.ndarray:
    """Weights as bytes on the square-root scale; NaN counts as 0."""
    x = np.nan_to_num(np.asarray(patterns, dtype=np.float64)) / end
    root = np.sign(x) * np.sqrt(np.abs(x).clip(max=1))
    return np.rint(128 + 127 * root if signed else 255 * root.clip(min=0)).astype(np.uint8)


def restored(coded: np.ndarray, end: float, signed: bool) -> np.ndarray:
    """What the page reads from the bytes."""
    root = (coded.astype(np.float64) - 128) / 127 if signed else coded / 255
    return np.sign(root) * root**2 * end


def _payload(f: Maps, n: int, end: float) -> dict[str, Any]:
    groups = list(dict.fromkeys(f.groups[:n]))
    return {
        "names": [one_line(x) for x in f.names[:n]],
        "groups": [one_line(g) for g in groups],
        "group": [groups.index(g) for g in f.groups[:n]],
        "queries": [one_line(x, 18) for x in f.queries],
        "keys": [one_line(x, 18) for x in f.keys],
        "queryParts": list(f.query_parts),
        "keyParts": list(f.key_parts),
        "threshold": f.threshold,
        "end": end,
        "signed": f.signed,
        "unit": one_line(f.unit),
        "data": _packed(quantised(f.patterns[:n], end, f.signed)),
    }


def _neurons(f: Maps, n: int) -> dict[str, Any]:
    found: dict[str, Any] = {"scale": f.scale if np.isfinite(f.scale) else None, "width": int(f.q.shape[-1])}  # type: ignore[union-attr]
    for name, x in (("q", f.q), ("k", f.k)):
        kept = np.asarray(x)[:n]
        top = limit(kept)
        found |= {name: _packed(np.rint(kept / top * 32767).astype("<i2")), f"{name}End": top}
    return found


def _packed(x: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(x).tobytes(), 6)).decode()


def _several(parts: tuple[int, ...]) -> tuple[int, ...]:
    """The sentences of a text of several; none for one."""
    found = tuple(sorted({p for p in parts if p >= 0}))
    return found if len(found) > 1 else ()


def _thumbs(f: Maps, n: int) -> Any:
    groups: dict[str, list[Any]] = {}
    for i in range(n):
        share = pooled(np.abs(np.nan_to_num(f.patterns[i].astype(np.float64))), THUMB)
        share = share / limit(share)
        rows = tuple(tuple(round(float(x), 3) for x in row) for row in share)
        groups.setdefault(f.groups[i], []).append((one_line(f.names[i]), rows))
    return tuple((one_line(g), tuple(found)) for g, found in groups.items())


def pooled(x: np.ndarray, most: tuple[int, int]) -> np.ndarray:
    """A matrix [query, key] in at most `most` (rows, columns): the largest weight of each block."""
    for axis, (n, room) in enumerate(zip(x.shape, most)):
        if n > room:
            x = np.maximum.reduceat(x, (np.arange(room) * n) // room, axis=axis)
    return x
