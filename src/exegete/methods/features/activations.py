"""Activations of a corpus as training batches, in bounded memory, in an order that does not depend on how passes are made.

1. the corpus is cut into blocks of so many characters; the tokens of a block are read (`models.harvest.stream`) and put in
   the order of the texts;
2. where all blocks fit into the buffer they are read once, and every round over the corpus is shuffled anew;
3. otherwise the buffer is filled, shuffled, half of it is given out, and it is filled again with what follows: rows of texts
   that are far apart stand in one batch.

Cost: one forward a text and round (one round where the corpus fits). Memory: the buffer and one block.
"""

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
    lab: Lab, texts: Sequence[Text], sites: tuple[Site, ...], batch: int, megabytes: int, seed: str
) -> Iterator[Rows]:
    """Batches of rows for ever, `batch` at a time, fewer where the corpus has fewer tokens."""
    rng = lab.rng("rows", seed)
    held: list[Rows] = []
    count, whole = 0, True
    source = _endless(lab, texts, sites)
    most = 0
    for values, last in source:
        most = most or max(2 * batch, megabytes * 2**20 // (4 * sum(v.shape[1] for v in values)))
        held.append(values)
        count += len(values[0])
        whole = last
        if last or count >= most:
            break
    pool = _joined(held)
    while whole:
        yield from _dealt(_shuffled(pool, rng), batch, len(pool[0]))
    while True:  # the corpus does not fit: a rolling buffer
        pool = _shuffled(pool, rng)
        half = max(batch, len(pool[0]) // 2)
        yield from _dealt(pool, batch, half)
        kept, held = tuple(v[half:] for v in pool), []
        count = len(kept[0])
        while count < most:
            values, _ = next(source)
            held.append(values)
            count += len(values[0])
        pool = _joined([kept, *held])


def _endless(lab: Lab, texts: Sequence[Text], sites: tuple[Site, ...]) -> Iterator[tuple[Rows, bool]]:
    """Rows of every block, round after round; whether it was the last of its round."""
    every = list(blocks(texts))
    while True:
        for i, some in enumerate(every):
            yield read(lab, some, sites).values, i + 1 == len(every)


def _joined(parts: Sequence[Rows]) -> Rows:
    return tuple(torch.cat(columns) for columns in zip(*parts))


def _shuffled(pool: Rows, rng: np.random.Generator) -> Rows:
    order = torch.from_numpy(rng.permutation(len(pool[0]))).to(pool[0].device)
    return tuple(v[order] for v in pool)


def _dealt(pool: Rows, batch: int, n: int) -> Iterator[Rows]:
    """The first n rows in batches; a short rest is left out unless it is all there is."""
    for start in range(0, max(n - batch, 0) + 1, batch):
        yield tuple(v[start : min(start + batch, n)] for v in pool)
