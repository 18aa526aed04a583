"""Activations of a corpus as training batches, in bounded memory, in an order that does not depend on how passes are made.

1. what is learned from (`Lessons`) gives rows round after round: of texts that the model reads now (`Texts`), block by block, or of
   the shards of a harvest (`features.harvests`);
2. where all rows fit into the buffer they are taken once, and every round over them is shuffled anew;
3. otherwise the buffer is filled, half of it is given out in a shuffled order, and the places that are free again are filled with
   what follows: rows of texts that are far apart stand in one batch.

Cost: of `Texts` one forward a text and round (one round where the corpus fits). Memory: the buffer, one batch and one block.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.models.harvest import stream
from exegete.models.lab import Lab

CHARACTERS = 1 << 16  # of a block
Rows = tuple[Tensor, ...]  # one [row, width] a site


class Read:
    """Tokens of some texts: `values` a site [row, width], and by row the `text`, the `position` in what is read, the `ids`."""

    def __init__(self, values: Rows, text: np.ndarray, position: np.ndarray, ids: np.ndarray) -> None:
        self.values, self.text, self.position, self.ids = values, text, position, ids

    def __len__(self) -> int:
        return len(self.text)


class Lessons(ABC):
    """What a dictionary learns from; its length is the number of texts."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def words(self) -> str:
        """What it is, for people."""

    @abstractmethod
    def rounds(
        self, lab: Lab, sites: tuple[Site, ...], megabytes: int, seed: str
    ) -> Iterator[tuple[Rows, bool]]:
        """Rows at `sites` round after round for ever, and whether they are the last of their round. What is more than `megabytes`
        may come in another order every round.
        """

    @abstractmethod
    def some(self, lab: Lab, sites: tuple[Site, ...], n: int) -> Rows:
        """About n rows at most, for controls to be fitted on."""

    @abstractmethod
    def hashes(self) -> np.ndarray:
        """A number a text (`hashes`)."""


class Texts(Lessons):
    """Texts that the model reads as they are learned from."""

    def __init__(self, texts: Sequence[Text]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def words(self) -> str:
        """How many."""
        return f"{len(self):,} to learn from"

    def rounds(
        self, lab: Lab, sites: tuple[Site, ...], megabytes: int, seed: str
    ) -> Iterator[tuple[Rows, bool]]:
        """Rows of every block, in the order of the texts."""
        every = list(blocks(self.texts))
        while True:
            for i, few in enumerate(every):
                yield read(lab, few, sites).values, i + 1 == len(every)

    def some(self, lab: Lab, sites: tuple[Site, ...], n: int) -> Rows:
        """The first."""
        held: list[Rows] = []
        for block in blocks(self.texts):
            held.append(read(lab, block, sites).values)
            if sum(len(r[0]) for r in held) >= n:
                break
        return tuple(torch.cat(v)[:n] for v in zip(*held))

    def hashes(self) -> np.ndarray:
        """A number a text."""
        return hashes(self.texts)


def hashes(texts: Sequence[Text]) -> np.ndarray:
    """A number a text, by what it says, so that it is known again without being kept."""
    said = [hashlib.sha256(f"{t.text}\x1f{t.ids}".encode()).digest()[:8] for t in texts]
    return np.array([int.from_bytes(h, "big", signed=True) for h in said], dtype=np.int64)


def read(lab: Lab, texts: Sequence[Text], sites: Sequence[Site]) -> Read:
    """All tokens of texts, in the order of the texts. Raises `InputError` where there is none."""
    chunks = list(stream(lab, texts, sites))
    if not sum(len(c.text) for c in chunks):
        raise InputError(
            f"You asked for the features of {len(texts)} texts.",
            "No token of the model stands for any of their words.",
            "Give other texts.",
        )
    text, position, ids = (
        np.concatenate([getattr(c, n) for c in chunks]) for n in ("text", "position", "ids")
    )
    order = np.lexsort((position, text))
    at = torch.from_numpy(order)
    values = tuple(torch.cat([c.values[s] for c in chunks])[at.to(chunks[0].values[s].device)] for s in sites)
    return Read(values, text[order], position[order], ids[order])


def blocks(texts: Sequence[Text]) -> Iterator[Sequence[Text]]:
    """Texts in blocks of about so many characters."""
    start, size = 0, 0
    for i, t in enumerate(texts):
        size += len(str(t.text or "")) or 4 * len(t.ids or ())
        if size >= CHARACTERS:
            yield texts[start : i + 1]
            start, size = i + 1, 0
    if start < len(texts):
        yield texts[start:]


def batches(
    lab: Lab, lessons: Lessons, sites: tuple[Site, ...], batch: int, megabytes: int, seed: str
) -> Iterator[Rows]:
    """Batches of rows for ever, `batch` at a time, fewer where there are fewer rows."""
    rng = lab.rng("rows", seed)
    source = lessons.rounds(lab, sites, megabytes, seed)
    pool, rest, whole = _filled(source, batch, megabytes)
    n = len(pool[0])
    while whole:
        yield from _given(pool, rng.permutation(n), batch)
    while True:  # not all fits: a rolling buffer
        used = rng.permutation(n)[: max(1, n // 2 // batch) * batch]
        yield from _given(pool, used, batch)
        rest = _refilled(pool, used, rest, source)


def capacity(widths: Sequence[int], megabytes: int) -> int:
    """Rows of so many float32 that megabytes hold."""
    return megabytes * 2**20 // (4 * sum(widths))


def _filled(source: Iterator[tuple[Rows, bool]], batch: int, megabytes: int) -> tuple[Rows, Rows, bool]:
    """The buffer, what of the last block did not fit into it, and whether it holds all there is."""
    pool: Rows = ()
    n = 0
    while True:
        values, last = next(source)
        most = max(2 * batch, capacity([v.shape[1] for v in values], megabytes))
        taken = min(len(values[0]), most - n)
        pool = _grown(pool, values, n, n + taken, most)
        for held, v in zip(pool, values):
            held[n : n + taken] = v[:taken]
        n += taken
        rest = tuple(v[taken:] for v in values)
        if last or n == most:
            return tuple(held[:n] for held in pool), rest, last and not len(rest[0])


def _grown(pool: Rows, like: Rows, n: int, need: int, most: int) -> Rows:
    """The buffer with room for `need` rows, its first n kept. It doubles, so that little is copied, and ends at `most` rows."""
    if pool and len(pool[0]) >= need:
        return pool
    size = min(most, 2 * need)
    new = tuple(v.new_empty(size, v.shape[1]) for v in like)
    for held, old in zip(new, pool):
        held[:n] = old[:n]
    return new


def _given(pool: Rows, order: np.ndarray, batch: int) -> Iterator[Rows]:
    """The rows of `order` in batches; a short rest is left out unless it is all there is."""
    for start in range(0, max(len(order) - batch, 0) + 1, batch):
        at = torch.from_numpy(order[start : start + batch]).to(pool[0].device)
        yield tuple(v[at] for v in pool)


def _refilled(pool: Rows, free: np.ndarray, rest: Rows, source: Iterator[tuple[Rows, bool]]) -> Rows:
    """Put what follows into the places that are free; what is left over of the last block."""
    at = 0
    while at < len(free):
        if not len(rest[0]):
            rest, _ = next(source)
        n = min(len(rest[0]), len(free) - at)
        where = torch.from_numpy(free[at : at + n]).to(pool[0].device)
        for held, v in zip(pool, rest):
            held[where] = v[:n]
        rest, at = tuple(v[n:] for v in rest), at + n
    return rest
