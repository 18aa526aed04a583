"""What every unit of a stream does, in memory that does not grow with it: strongest texts, a fair sample, rates and moments.

1. of a chunk (tokens of whole texts) take the largest value of every text: [text, unit];
2. value and text become one integer, in the order of values and, at ties, of earlier texts, so that holding the k strongest is
   sorting integers; only units where a text passes the k-th held there are sorted, and only there is its position looked up;
3. counts above a bar, sums and sums of squares are added up over all tokens;
4. a sample of texts (their largest values) and one of tokens are kept by a hash of their names (or of what the texts hold, `by`), the
   same for every unit and for every order of the stream: quantile examples and histograms are read off these. While the stream is smaller than the sample,
   the sample is the stream.

Shapes: values [token, unit]; held [unit, k]; samples [sample, unit]. Cost: about five passes over the values (count, sum, squares,
largest, its position), none of them a sort; memory O(unit * (k + samples)). Reference: Bills et al. 2023 (top and quantile
excerpts); Neuroscope (Nanda 2022).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError

EMPTY = np.iinfo(np.int64).min  # no text; below every key
LOW = 0xFFFFFFFF  # texts are numbered below 2 ** 32
POSITION_BITS = 24  # tokens of a text are numbered below 2 ** 24
BYTE = 255  # tokens counted at a time, so that a count fits one byte


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
    fired: np.ndarray = field(init=False)
    total: np.ndarray = field(init=False)
    squares: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.units, self.k)
        self._key = np.full(shape, EMPTY)  # rising, so that the strongest is last
        self._place = np.full(shape, -1, dtype=np.int64)
        self.fired, self.total, self.squares = (np.zeros(self.units) for _ in range(3))
        self._of_texts = _Sample(self.n_texts, self.units)
        self._of_tokens = _Sample(self.n_tokens, self.units)

    def add(
        self, values: Tensor, text: np.ndarray, position: np.ndarray, by: np.ndarray | None = None
    ) -> None:
        """A chunk: values [token, unit] of whole texts; `text` and `position` [token] say where, tokens of a text side by side.
        `by` [token]: a number of what the text holds, that samples are drawn by in place of the text's own number.
        """
        starts = np.flatnonzero(np.r_[True, text[1:] != text[:-1]])
        bounds = np.r_[starts, len(text)]
        ids = text[starts]
        self._count(values)
        most = torch.cat([x.amax(1) for _, x in _runs(values, bounds)])
        self.seen += len(ids)
        host = most.cpu().numpy()
        name = token_name(text, position)
        if by is None:
            self._of_texts.add(host, ids, _hash(ids))
            self._of_tokens.add(values, name, _hash(name))
        else:
            self._of_texts.add(host, ids, _hash(by[starts]))
            self._of_tokens.add(values, name, _hash(_hash(by) ^ position.astype(np.uint64)))
        self._top(values, most, host, ids, bounds, position)

    def _count(self, values: Tensor) -> None:
        self.tokens += len(values)
        self.fired += _above(values, self.bar)
        self.total += values.sum(0).double().cpu().numpy()
        self.squares += values.square().sum(0).double().cpu().numpy()

    def _top(
        self, values: Tensor, most: Tensor, host: np.ndarray, ids: np.ndarray, bounds: np.ndarray, position: np.ndarray
    ) -> None:  # fmt: skip
        """Merge the largest values `most` [text, unit] (`host`: the same here) into what is held."""
        came = _keys(host, ids).T
        units = np.flatnonzero(came.max(1) > self._key[:, 0])
        if not units.size:
            return
        held = np.sort(np.concatenate([self._key[units], came[units]], 1), 1)[:, -self.k :]
        row = _rows(_texts(held), ids)
        new = (row >= 0) & (held > EMPTY)
        # what stays of the old is its upper end, in the same order
        stays = np.arange(self.k) >= new.sum(1)[:, None]
        place = np.empty_like(held)
        place[~new] = self._place[units][stays]
        at, rank = np.nonzero(new)
        first = _first(values, most, bounds, units)
        where = row[at, rank]
        place[at, rank] = position[bounds[where] + first[where, at]]
        self._key[units], self._place[units] = held, place

    @property
    def samples(self) -> "tuple[_Sample, _Sample]":
        """Of texts, and of tokens."""
        return self._of_texts, self._of_tokens

    @property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys and places of the texts held [unit, k], rising."""
        return self._key, self._place

    def hold(self, key: np.ndarray, place: np.ndarray) -> None:
        """Hold these texts [unit, at most k], rising, and no others."""
        n = key.shape[1]
        self._key[:, self.k - n :], self._place[:, self.k - n :] = key, place

    @property
    def value(self) -> np.ndarray:
        """The largest value of each text held, strongest first [unit, k] float32; -inf where fewer came."""
        return np.where(self._key == EMPTY, -np.inf, _values(self._key))[:, ::-1].astype(np.float32)

    @property
    def text(self) -> np.ndarray:
        """The texts held [unit, k]; the largest integer where fewer came."""
        return np.where(self._key == EMPTY, np.iinfo(np.int64).max, _texts(self._key))[:, ::-1]

    @property
    def position(self) -> np.ndarray:
        """The token of each text held where the unit is strongest, the first of equals [unit, k]; -1 where fewer came."""
        return self._place[:, ::-1]

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

    def enough(self, least: int | None = None) -> "UnitStream":
        """Itself. Raises `InputError` where fewer texts came than `least`: usually as many as are to be held of each unit."""
        if self.seen < (self.k if least is None else least):
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
        self.size, self.n = size, 0
        self._rows = np.empty((size, units), dtype=np.float32)
        self._key = np.empty(size, dtype=np.uint64)
        self._name = np.empty(size, dtype=np.int64)

    @property
    def rows(self) -> np.ndarray:
        """What is sampled so far [sample, unit], in no order."""
        return self._rows[: self.n]

    @property
    def names(self) -> tuple[np.ndarray, np.ndarray]:
        """What the rows are called [sample], and the hashes that they were drawn by."""
        return self._name[: self.n], self._key[: self.n]

    def name_all(self, name: np.ndarray, key: np.ndarray) -> None:
        """Of rows called `name` with the hashes `key` the sample, in order, without values as yet (NaN)."""
        keep = np.lexsort((name, key))[: self.size]
        self.n = len(keep)
        self._name[: self.n], self._key[: self.n] = name[keep], key[keep]
        self._rows[: self.n] = np.nan

    def add(self, values: Tensor | np.ndarray, name: np.ndarray, key: np.ndarray) -> None:
        """Rows [row, unit] called `name` [row], of the hash `key` [row]; those that enter take the places of the largest hashes."""
        if self.n == self.size:
            some = np.flatnonzero(key <= self._key.max(initial=0))
        else:
            some = np.arange(len(key))
        some = some[np.lexsort((name[some], key[some]))[: self.size]]
        joined = np.concatenate([self._key[: self.n], key[some]])
        called = np.concatenate([self._name[: self.n], name[some]])
        keep = np.lexsort((called, joined))[: self.size]
        came = some[np.sort(keep[keep >= self.n]) - self.n]
        gone = np.setdiff1d(np.arange(self.n), keep[keep < self.n])
        more = len(came) - len(gone)
        slot = np.concatenate([gone, np.arange(self.n, self.n + more)])
        if not came.size:
            return
        if isinstance(values, Tensor):
            self._rows[slot] = values.index_select(0, torch.from_numpy(came).to(values.device)).cpu().numpy()
        else:
            self._rows[slot] = values[came]
        self._key[slot], self._name[slot] = key[came], name[came]
        self.n += more

    def column(self, unit: int) -> tuple[np.ndarray, np.ndarray]:
        """Values and names [sample] of one unit."""
        return self._rows[: self.n, unit], self._name[: self.n]


def token_name(text: np.ndarray, position: np.ndarray) -> np.ndarray:
    """What a token is called in samples."""
    return text * (1 << POSITION_BITS) + position


def _above(values: Tensor, bar: float) -> np.ndarray:
    """How many tokens are above the bar [unit]; counted in bytes, a quarter of the memory of anything else."""
    parts = values.split(BYTE)
    if values.device.type == "cpu":
        few = [np.add.reduce((x.numpy() > bar).view(np.uint8), 0, dtype=np.uint8) for x in parts]
        return np.stack(few).sum(0, dtype=np.int64)
    on_device = [(x > bar).view(torch.uint8).sum(0, dtype=torch.int32) for x in parts]
    return torch.stack(on_device).sum(0).cpu().numpy()


def _runs(values: Tensor, bounds: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Runs of stretches of one length, which are reduced at once: (which stretches, values [stretch, token, unit])."""
    lengths = np.diff(bounds)
    cuts = np.flatnonzero(np.r_[True, lengths[1:] != lengths[:-1], True])
    for a, b in pairwise(cuts.tolist()):
        yield slice(a, b), values[int(bounds[a]) : int(bounds[b])].unflatten(0, (b - a, int(lengths[a])))


def _first(values: Tensor, most: Tensor, bounds: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The first token of every stretch at which a unit is at its largest there [stretch, unit of `units`].

    Tokens that are as large weigh more the earlier they come, in the smallest integers that hold the weights: several times as
    fast as `argmax` along this axis.
    """
    if 2 * len(units) < values.shape[1]:
        columns = torch.from_numpy(units).to(values.device)
        values, most = values.index_select(1, columns), most.index_select(1, columns)
        units = np.arange(len(units))
    found = []
    for which, x in _runs(values, bounds):
        n = x.shape[1]
        kind = torch.uint8 if n <= BYTE else torch.int16 if n < 1 << 15 else torch.int32
        weight = torch.arange(n, 0, -1, device=x.device).to(kind)[:, None]
        same = x == most[which, None]
        same = same.view(kind) if kind == torch.uint8 else same.to(kind)
        found.append(n - (same * weight).amax(1).to(torch.int64))
    return torch.cat(found).cpu().numpy()[:, units]


def _keys(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Values [text, unit] float32 of the texts `ids` as integers that sort by value, and among equals earlier texts last."""
    bits = (values + np.float32(0)).view(np.int32).astype(np.int64)  # -0 is 0
    bits ^= (bits >> 63) & 0x7FFFFFFF
    return np.where(np.isfinite(values), (bits << 32) | (LOW - ids[:, None]), EMPTY)


def _texts(keys: np.ndarray) -> np.ndarray:
    return LOW - (keys & LOW)


def _values(keys: np.ndarray) -> np.ndarray:
    bits = keys >> 32
    return (bits ^ ((bits >> 63) & 0x7FFFFFFF)).astype(np.int32).view(np.float32)


def _rows(texts: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Which of `ids` each text is; -1 for none of them."""
    order = np.argsort(ids)
    at = np.minimum(np.searchsorted(ids[order], texts), len(ids) - 1)
    return np.where(ids[order][at] == texts, order[at], -1)


def _hash(name: np.ndarray) -> np.ndarray:
    """A well mixed 64-bit number of every name (splitmix64)."""
    x = name.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
