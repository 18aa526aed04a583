"""The contexts in which a unit fires, cut to what is needed, with what of the activation hangs on each of their tokens.

1. of each of the unit's strongest texts, the token where it fires most; at most `CONTEXT` tokens before it are looked at;
2. the text is shortened from the left: of all that end at the same token the shortest is kept in which the unit still does
   more than `share` of what it did, above its mean over all texts (tokens that stand for no text, as of a beginning, stay);
3. each token that is left, in turn, is replaced by each of a few frequent other tokens: its importance is the share of the
   activation that goes, the median over them, at least 0 and at most 1.

What comes after the token stays as it is in models that read it. Shapes: importance [token]. Cost: 1 short forward a shortening (at most
`CONTEXT` + 1 a text), and `N_FILLERS` a token that is left. Reference: Foote et al. 2023, Neuron to Graph.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.request import Text
from exegete.methods.neurons.unit_texts import Unit
from exegete.models.encode import encode
from exegete.models.harvest import stream
from exegete.models.lab import Lab
from exegete.ops.needed_words import Context

CONTEXT = 24
N_FILLERS = 3
N_COUNTED = 200  # texts over which frequent tokens are counted


@dataclass(frozen=True)
class Row:
    """One text that is read: ids, and the place of the token that fires."""

    ids: tuple[int, ...]
    at: int


@dataclass(frozen=True)
class Cut:
    """A text around its strongest token: `head` ids that stay, `context` ids before, and from the token on `tail`."""

    head: tuple[int, ...]
    context: tuple[int, ...]
    tail: tuple[int, ...]

    def row(self, n: int) -> Row:
        """With the last `n` tokens of the context."""
        kept = self.context[len(self.context) - n :]
        return Row((*self.head, *kept, *self.tail), len(self.head) + n)


def frequent(lab: Lab, texts: Sequence[Text]) -> tuple[int, ...]:
    """The most frequent tokens of texts, those that replace others; one more than are needed."""
    count: Counter[int] = Counter()
    for t in texts[:N_COUNTED]:
        tokens = encode(lab.model, t.model_copy(update={"truncate": True})).tokens
        count.update(x.id for x in tokens if not x.special)
    return tuple(i for i, _ in sorted(count.items(), key=lambda c: (-c[1], c[0]))[: N_FILLERS + 1])


def pruned(
    lab: Lab, texts: Sequence[Text], unit: Unit, mean: float, fillers: Sequence[int], share: float = 0.5
) -> tuple[Context, ...]:
    """The needed contexts of a unit in `texts`; a text in which it nowhere passes its `mean` has none."""
    cuts = _cuts(lab, texts, unit, mean)
    rows = [[c.row(n) for n in range(len(c.context) + 1)] for c in cuts]
    values = iter(_values(lab, [r for of in rows for r in of], unit) - mean)
    kept: list[tuple[Cut, int, float]] = []
    for cut, of in zip(cuts, rows):
        got = np.array([next(values) for _ in of])
        enough = np.flatnonzero((got > share * got[-1]) & (got > 0))
        if got[-1] > 0:  # with the whole context it fires, cut at its most tokens as it may be
            kept.append((cut, int(enough[0]), float(got[enough[0]])))
    swaps = [_swaps(cut.row(n), len(cut.head), fillers) for cut, n, _ in kept]
    without = iter(_values(lab, [r for of in swaps for token in of for r in token], unit) - mean)
    found = []
    for (cut, n, value), of in zip(kept, swaps):
        left = [float(np.median([next(without) for _ in token])) for token in of]
        pieces = lab.pieces([*cut.context[len(cut.context) - n :], cut.tail[0]])
        found.append(Context(tuple(pieces), np.clip(1 - np.array(left) / value, 0, 1), value + mean))
    return tuple(found)


def _swaps(row: Row, start: int, fillers: Sequence[int]) -> list[list[Row]]:
    """For each token from `start` to the one that fires, the row with it replaced by every filler that it is not."""
    return [
        [Row((*row.ids[:i], f, *row.ids[i + 1 :]), row.at) for f in _others(fillers, row.ids[i])]
        for i in range(start, row.at + 1)
    ]


def _others(fillers: Sequence[int], token: int) -> list[int]:
    return [f for f in fillers if f != token][:N_FILLERS] or [token]


def _cuts(lab: Lab, texts: Sequence[Text], unit: Unit, mean: float) -> list[Cut]:
    """Every text around its strongest token."""
    found: dict[int, Cut] = {}
    for chunk in stream(lab, texts, (unit.site,)):
        values = chunk.values[unit.site][:, unit.unit].cpu().numpy()
        for i in np.unique(chunk.text):
            rows = np.flatnonzero(chunk.text == i)
            best = rows[int(values[rows].argmax())]
            if values[best] <= mean:
                continue
            tokens = encode(lab.model, texts[i].model_copy(update={"truncate": True})).tokens
            at = int(chunk.position[best])
            first = int(chunk.position[rows].min())
            ids = tuple(t.id for t in tokens)
            tail = ids[at : at + 1] if lab.model.causal else ids[at:]
            found[int(i)] = Cut(ids[:first], ids[max(first, at - CONTEXT) : at], tail)
    return [found[i] for i in sorted(found)]


def _values(lab: Lab, rows: Sequence[Row], unit: Unit) -> np.ndarray:
    """What the unit does at the token that fires [row]; equal rows are read once."""
    distinct = list(dict.fromkeys(rows))
    got = np.full(len(distinct), np.nan)
    for chunk in stream(lab, [Text(ids=r.ids) for r in distinct], (unit.site,), special=True):
        at = np.array([distinct[i].at for i in chunk.text])
        here = np.flatnonzero(chunk.position == at)
        got[chunk.text[here]] = chunk.values[unit.site][:, unit.unit].cpu().numpy()[here]
    place = {r: i for i, r in enumerate(distinct)}
    return got[[place[r] for r in rows]]
