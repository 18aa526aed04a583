"""What every unit of a stream does, in memory that does not grow with it: strongest texts, a fair sample, rates and moments.

1. of a chunk (tokens of whole texts) take the largest value of every text: [text, unit];
2. a text enters a unit's top k only where it passes the k-th held there, so that after the start hardly any unit is sorted;
   ties go to the earlier text, whatever the order in which texts come;
3. counts above a bar, sums and sums of squares are added up over all tokens;
4. a sample of texts (their largest values) and one of tokens are kept by a hash of their names, the same for every unit and for
   every order of the stream: quantile examples and histograms are read off these. While the stream is smaller than the sample,
   the sample is the stream.

Shapes: values [token, unit]; held [unit, k]; samples [sample, unit]. Cost: a few passes over the values; memory
O(unit * (k + samples)). Reference: Bills et al. 2023 (top and quantile excerpts); Neuroscope (Nanda 2022).
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError


@dataclass
class UnitStream:
    """Records of `units` units. `k` texts are held of each, `n_texts` texts and `n_tokens` tokens sampled; `bar`: what counts as firing."""

    units: int
    k: int
    n_texts: int = 512
    n_tokens: int = 512
    bar: float = 0.0
    tokens: int = 0
    seen: int = 0
    value: np.ndarray = field(init=False)
    text: np.ndarray = field(init=False)
    position: np.ndarray = field(init=False)
    fired: np.ndarray = field(init=False)
    total: np.ndarray = field(init=False)
    squares: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.units, self.k)
        self.value = np.full(shape, -np.inf, dtype=np.float32)
        self.text = np.full(shape, np.iinfo(np.int64).max, dtype=np.int64)
        self.position = np.full(shape, -1, dtype=np.int64)
        self.fired, self.total, self.squares = (np.zeros(self.units) for _ in range(3))
        self._of_texts = _Sample(self.n_texts, self.units)
        self._of_tokens = _Sample(self.n_tokens, self.units)

    def add(self, values: Tensor, text: np.ndarray, position: np.ndarray) -> None:
        """A chunk: values [token, unit] of whole texts; `text` and `position` [token] say where, tokens of a text side by side."""
        self._count(values)
        starts = np.flatnonzero(np.r_[True, text[1:] != text[:-1]])
        bounds = np.r_[starts, len(text)]
        ids = text[starts]
        # whole stretches of one length are reduced at once
        most = _largest(values, bounds)
        self.seen += len(ids)
        host = most.cpu().numpy()
        self._of_texts.add(host, ids, ids)
        name = text * (1 << 24) + position
        self._of_tokens.add(values, name, name)
        self._top(values, host, ids, bounds, position)

    def _count(self, values: Tensor) -> None:
        self.tokens += len(values)
        self.fired += (values > self.bar).sum(0, dtype=torch.int32).cpu().numpy()
        self.total += values.sum(0).double().cpu().numpy()
        self.squares += torch.linalg.vector_norm(values, dim=0).double().pow(2).cpu().numpy()

    def _top(
        self, values: Tensor, most: np.ndarray, ids: np.ndarray, bounds: np.ndarray, position: np.ndarray
    ) -> None:  # fmt: skip
        """Merge the largest values `most` [text, unit] into what is held."""
        worst = self.value[:, -1]
        passes = most > worst
        passes |= (most == worst) & (ids[:, None] < self.text[:, -1])
        units = np.flatnonzero(passes.any(0))
        if not units.size:
            return
        came = np.where(passes[:, units], most[:, units], -np.inf).T
        value = np.concatenate([self.value[units], came], 1)
        name = np.where(np.isfinite(came), ids, np.iinfo(np.int64).max)
        text = np.concatenate([self.text[units], name], 1)
        row = np.concatenate(
            [np.full((len(units), self.k), -1), np.broadcast_to(np.arange(len(ids)), came.shape)], 1
        )
        place = np.concatenate([self.position[units], np.full(came.shape, -1)], 1)
        order = np.lexsort((text, -value), axis=-1)[:, : self.k]
        self.value[units], self.text[units], row, place = (
            np.take_along_axis(x, order, 1) for x in (value, text, row, place)
        )
        new = (row >= 0) & np.isfinite(self.value[units])
        at_unit, at_rank = np.nonzero(new)
        for r in np.unique(row[new]):
            mine = row[at_unit, at_rank] == r
            low, high = bounds[r], bounds[r + 1]
            columns = torch.from_numpy(units[at_unit[mine]]).to(values.device)
            where = values[low:high].index_select(1, columns).argmax(0).cpu().numpy()
            place[at_unit[mine], at_rank[mine]] = position[low + where]
        self.position[units] = place

    @property
    def rate(self) -> np.ndarray:
        """Share of tokens above the bar [unit]."""
        return self.fired / max(self.tokens, 1)

    @property
    def mean(self) -> np.ndarray:
        """Mean over tokens [unit]."""
        return self.total / max(self.tokens, 1)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over tokens [unit]."""
        return np.sqrt(np.maximum(self.squares / max(self.tokens, 1) - self.mean**2, 0.0))

    def enough(self) -> "UnitStream":
        """Itself. Raises `InputError` where fewer texts came than are to be held of each unit."""
        if self.seen < self.k:
            raise InputError(
                f"You asked for the {self.k} strongest texts of every unit.",
                f"The corpus has {self.seen} texts that could be read.",
                "Give more texts, or ask for fewer examples.",
            )
        return self

    def quantiles(self, unit: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """`n` sampled texts [n], evenly over the ranks of their largest value, strongest first, and these values [n]."""
        value, text = self._of_texts.column(unit)
        order = np.lexsort((text, -value))
        at = np.round(np.linspace(0, len(order) - 1, n + 2)[1:-1]).astype(int) if len(order) else []
        return text[order][at], value[order][at]

    def histogram(self, unit: int, bins: int) -> tuple[np.ndarray, np.ndarray]:
        """Share of sampled tokens [bin] and the edges [bin + 1]."""
        value, _ = self._of_tokens.column(unit)
        counts, edges = np.histogram(value, bins)
        return counts / max(len(value), 1), edges


class _Sample:
    """A sample of rows chosen by a hash of their names: the `size` smallest, so that order and batching do not matter."""

    def __init__(self, size: int, units: int) -> None:
        self.size = size
        self.rows = np.empty((0, units), dtype=np.float32)
        self.key = np.empty(0, dtype=np.uint64)
        self.name = np.empty(0, dtype=np.int64)

    def add(self, values: Tensor | np.ndarray, name: np.ndarray, names: np.ndarray) -> None:
        key = _hash(name)
        bar = self.key.max() if len(self.key) == self.size else np.uint64(0xFFFFFFFFFFFFFFFF)
        fresh = np.flatnonzero(key <= bar)
        if not fresh.size:
            return
        fresh = fresh[np.argsort(key[fresh], kind="stable")[: self.size]]
        if isinstance(values, Tensor):
            came = values[torch.from_numpy(fresh).to(values.device)].cpu().numpy()
        else:
            came = values[fresh]
        joined = np.concatenate([self.key, key[fresh]])
        keep = np.sort(np.argsort(joined, kind="stable")[: self.size])
        self.rows = np.concatenate([self.rows, came])[keep]
        self.key, self.name = joined[keep], np.concatenate([self.name, names[fresh]])[keep]

    def column(self, unit: int) -> tuple[np.ndarray, np.ndarray]:
        """Values and names [sample] of one unit."""
        return self.rows[:, unit], self.name


def _largest(values: Tensor, bounds: np.ndarray) -> Tensor:
    """The largest value of every stretch [stretch, unit]; runs of stretches of one length are reduced at once."""
    lengths = np.diff(bounds)
    cuts = np.flatnonzero(np.r_[True, lengths[1:] != lengths[:-1], True])
    parts = []
    for a, b in pairwise(cuts):
        some = values[int(bounds[a]) : int(bounds[b])]
        parts.append(some.view(int(b - a), int(lengths[a]), -1).amax(1))
    return torch.cat(parts)


def _hash(name: np.ndarray) -> np.ndarray:
    """A well mixed 64-bit number of every name (splitmix64)."""
    x = name.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
