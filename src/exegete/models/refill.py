"""Drawing what could have stood in removed places: a text stays one that the model might have read.

masked model      the removed places are dealt out over ROUNDS rounds; each round masks all that are still open, and draws its own
                  from what the model puts there
causal model      one place after the other, each drawn from what follows the text before it (what stands later is not seen)
encoder-decoder   one place after the other from its decoder: behind sentinels where its tokenizer has them (T5: every removed stretch
                  is one sentinel of the source), else reading the text so far beside a source with masks (BART)
decoder slots     of an encoder-decoder: from the explained model itself, after the source and what its decoder has read

A place is drawn by the inverse of its distribution function at a number that belongs to the draw and the place alone, so that
draws depend neither on the other texts nor on the batch, and two texts that differ in one unit meet the same chance elsewhere. No
special token is ever drawn.

Cost, in passes of the filling model a text and draw: masked ROUNDS at most (the first one serves all draws); others one a removed
token. Equal inputs of a step are run once. Shapes: V texts, D draws, S slots.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from exegete.core.errors import ModelError
from exegete.models.encode import told_of_parts
from exegete.models.forward import Batch, Meter, Runner, buckets, empty_id
from exegete.models.infill import LOGITS_IN_MEMORY, barred, mask_id
from exegete.models.model import Model, still

ROUNDS = 4


@dataclass(frozen=True)
class Slots:
    """The slots of a text: their `ids` [S], which are of a decoder beside a source (`dec` [S]), and the text of a pair they belong to."""

    ids: np.ndarray
    dec: np.ndarray
    parts: np.ndarray


@dataclass(frozen=True)
class _Asked:
    """One input of the filling model and the rows that are read from it."""

    main: np.ndarray
    rows: tuple[int, ...]
    dec: np.ndarray | None = None
    types: np.ndarray | None = None

    @property
    def key(self) -> tuple[bytes, bytes, tuple[int, ...]]:
        return self.main.tobytes(), b"" if self.dec is None else self.dec.tobytes(), self.rows

    @property
    def size(self) -> int:
        return len(self.main) + (0 if self.dec is None else len(self.dec))


def refill(
    text: Slots, keep: np.ndarray, noise: np.ndarray, filling: Model, reader: Model, meter: Meter
) -> np.ndarray:
    """Token ids [V, D, S]: the text with every slot drawn anew where `keep` [V, S] is False.

    `noise` [D, S] lies in 0 .. 1; `filling` fills the text, `reader` (the explained model) the slots of a decoder beside a source.
    """
    out = np.broadcast_to(text.ids, (len(keep), *noise.shape)).copy()
    source, dec = np.flatnonzero(~text.dec), np.flatnonzero(text.dec)
    fill = {"masked": _masked, "causal": _causal, "seq2seq": _encoder_decoder}[filling.task]
    fill(out, text, keep, source, noise, filling, meter)
    for slot in range(1, len(dec)):  # the first is the decoder's own start
        at = dec[slot]
        pairs = _pairs(~keep[:, at], len(noise))
        asked = [_Asked(out[v, d, source], (slot - 1,), out[v, d, dec[:slot]]) for v, d in pairs]
        _put(out, asked, pairs, [(int(at),)] * len(pairs), noise, reader, meter)
    return out


def _pairs(where: np.ndarray, draws: int) -> list[tuple[int, int]]:
    return [(int(v), d) for v in np.flatnonzero(where) for d in range(draws)]


def _masked(
    out: np.ndarray, text: Slots, keep: np.ndarray, source: np.ndarray, noise: np.ndarray, model: Model,
    meter: Meter,
) -> None:  # fmt: skip
    told = text.parts.any() and told_of_parts(model)
    mask, types = mask_id(model), text.parts[source] if told else None
    gone = [np.flatnonzero(~row[source]) for row in keep]
    for r in range(ROUNDS):
        pairs = _pairs(np.array([len(g) > r for g in gone], dtype=bool), len(noise))
        asked, places = [], []
        for v, d in pairs:
            main, turn = out[v, d, source], np.arange(len(gone[v])) % ROUNDS
            main[gone[v][turn >= r]] = mask
            rows = gone[v][turn == r]
            asked.append(_Asked(main, tuple(rows.tolist()), types=types))
            places.append(tuple(source[rows].tolist()))
        _put(out, asked, pairs, places, noise, model, meter)


def _causal(
    out: np.ndarray, text: Slots, keep: np.ndarray, source: np.ndarray, noise: np.ndarray, model: Model,
    meter: Meter,
) -> None:  # fmt: skip
    for i, at in enumerate(source):
        pairs = _pairs(~keep[:, at], len(noise))
        asked = []
        for v, d in pairs:
            main = out[v, d, source[:i]] if i else np.array([empty_id(model)])
            asked.append(_Asked(main, (len(main) - 1,)))
        _put(out, asked, pairs, [(int(at),)] * len(pairs), noise, model, meter)


def _encoder_decoder(
    out: np.ndarray, text: Slots, keep: np.ndarray, source: np.ndarray, noise: np.ndarray, model: Model,
    meter: Meter,
) -> None:  # fmt: skip
    """From T5-like models by sentinels, from BART-like ones by reading on."""
    ends = sentinels(model)
    start = getattr(model.config, "decoder_start_token_id", None)
    begin = np.array([empty_id(model) if start is None else start])
    for i, at in enumerate(source):
        pairs = _pairs(~keep[:, at], len(noise))
        asked = []
        for v, d in pairs:
            own, gone = out[v, d, source], ~keep[v, source]
            main, read = (
                _behind_sentinels(own, gone, i, ends, model) if ends else _beside(own, gone, i, model)
            )
            read = np.concatenate([begin, read])
            asked.append(_Asked(main, (len(read) - 1,), read))
        _put(out, asked, pairs, [(int(at),)] * len(pairs), noise, model, meter)


def _behind_sentinels(
    own: np.ndarray, gone: np.ndarray, at: int, ends: tuple[int, ...], model: Model
) -> tuple[np.ndarray, np.ndarray]:
    """The source with a sentinel a removed stretch, and what the decoder has said up to slot `at`."""
    main, said, run = [], [], -1
    for i, token in enumerate(own):
        if gone[i] and (i == 0 or not gone[i - 1]):
            run += 1
            if run >= len(ends):
                raise ModelError(
                    f"You asked {model.name} to fill in removed words.",
                    f"More than {len(ends)} separate stretches are removed, and it has no more sentinels.",
                    "Use larger units (sentence), or another infiller.",
                )
            main.append(ends[run])
            said += [ends[run]] if i <= at else []
        if not gone[i]:
            main.append(int(token))
        elif i < at:
            said.append(int(token))
    return np.array(main, dtype=np.int64), np.array(said, dtype=np.int64)


def _beside(own: np.ndarray, gone: np.ndarray, at: int, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """The source with a mask for every removed token, and the text up to slot `at`."""
    return np.where(gone, mask_id(model), own), own[:at]


def sentinels(model: Model) -> tuple[int, ...]:
    """Ids of <extra_id_0>, <extra_id_1>, ... of a T5-like tokenizer, in order; none where it has none."""
    known = model.tokenizer.get_vocab()
    found: list[int] = []
    while (name := f"<extra_id_{len(found)}>") in known and known[name] < model.vocabulary:
        found.append(int(known[name]))
    return tuple(found)


def _put(
    out: np.ndarray, asked: Sequence[_Asked], pairs: Sequence[tuple[int, int]], places: Sequence[tuple[int, ...]],
    noise: np.ndarray, model: Model, meter: Meter,
) -> None:  # fmt: skip
    """Draw the places of every input and write them into `out`."""
    for picked, cumulated in _distributions(model, asked, meter):
        for i in picked:
            v, d = pairs[i]
            for row, at in zip(cumulated, places[i]):
                drawn = np.searchsorted(row, noise[d, at] * row[-1], side="right")
                out[v, d, at] = min(int(drawn), int(np.flatnonzero(np.diff(row, prepend=0.0))[-1]))


def _distributions(
    model: Model, asked: Sequence[_Asked], meter: Meter
) -> Iterator[tuple[list[int], np.ndarray]]:
    """For every distinct input: which of `asked` it is, and cumulated probabilities [row, vocab] of what may stand there."""
    same: dict[tuple[bytes, bytes, tuple[int, ...]], list[int]] = {}
    for i, one in enumerate(asked):
        same.setdefault(one.key, []).append(i)
    groups = list(same.values())
    run, most = Runner(model, meter), max((len(a.rows) for a in asked), default=1)
    budget = max(1, LOGITS_IN_MEMORY // (most * model.vocabulary))
    for bucket in buckets([asked[g[0]].size for g in groups], model.token_budget):
        for start in range(0, len(bucket), budget):
            part = [groups[b] for b in bucket[start : start + budget]]
            ones = [asked[g[0]] for g in part]
            width = max(len(o.rows) for o in ones)
            batch = Batch(
                [o.main for o in ones],
                np.array([(*o.rows, *o.rows[-1:] * (width - len(o.rows))) for o in ones]),
                None if ones[0].dec is None else [o.dec for o in ones if o.dec is not None],
                types=None if ones[0].types is None else [o.types for o in ones if o.types is not None],
            )
            with torch.inference_mode(), still(model.module):
                logits = run(batch).double()
                logits[..., torch.as_tensor(barred(model, logits.shape[-1]))] = -torch.inf
                found = logits.softmax(-1).cumsum(-1).cpu().numpy()
            yield from ((g, row[: len(o.rows)]) for g, o, row in zip(part, ones, found))
