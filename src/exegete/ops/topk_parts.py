"""Records of stretches of a corpus, to be put together: what `topk_stream.UnitStream` holds, but for the sampled values.

1. sums are added; of the strongest texts held the strongest are held;
2. of the samples the hashes are kept, and the smallest of all are the sample; its values are read again, of the few units that they are
   wanted of (`filled`): they are many times as large as all the rest;
3. each stretch numbers its texts from 0: `joined` is told what they are called in the whole.

Where streams were given `by` what texts hold, the whole is that of one stream over all texts, for every cut. Shapes: as there.
"""

from collections.abc import Sequence

import numpy as np

from exegete.core.value import Value
from exegete.ops.topk_stream import EMPTY, LOW, POSITION_BITS, UnitStream, token_name


class StreamPart(Value):
    """One stretch: keys and places of the strongest texts [unit, k], sums [unit], and names and hashes of its samples."""

    key: np.ndarray
    place: np.ndarray
    fired: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    tokens: int
    seen: int
    texts: np.ndarray
    text_keys: np.ndarray
    token_names: np.ndarray
    token_keys: np.ndarray


def part_of(stream: UnitStream) -> StreamPart:
    """What is kept of a stretch."""
    key, place = stream.held
    (texts, text_keys), (tokens, token_keys) = (s.names for s in stream.samples)
    return StreamPart(
        key=key,
        place=place,
        fired=stream.fired,
        total=stream.total,
        squares=stream.squares,
        tokens=stream.tokens,
        seen=stream.seen,
        texts=texts,
        text_keys=text_keys,
        token_names=tokens,
        token_keys=token_keys,
    )


def joined(
    parts: Sequence[StreamPart],
    numbers: Sequence[np.ndarray],
    k: int,
    n_texts: int = 512,
    n_tokens: int = 512,
) -> UnitStream:
    """The record of all stretches, `k` texts held, without sampled values; `numbers[i]` [text] are the texts of stretch i in the whole;
    samples of `n_texts` and `n_tokens`, as the stretches had them.
    """
    found = UnitStream(len(parts[0].fired), k, n_texts, n_tokens)
    for p in parts:
        found.tokens += p.tokens
        found.seen += p.seen
    found.fired, found.total, found.squares = (
        np.sum([getattr(p, f) for p in parts], axis=0) for f in ("fired", "total", "squares")
    )
    key = np.concatenate([_renamed(p.key, n) for p, n in zip(parts, numbers)], axis=1)
    place = np.concatenate([p.place for p in parts], axis=1)
    most = np.argsort(key, axis=1, kind="stable")[:, -k:]
    found.hold(np.take_along_axis(key, most, 1), np.take_along_axis(place, most, 1))
    of_texts, of_tokens = found.samples
    of_texts.name_all(
        np.concatenate([n[p.texts] for p, n in zip(parts, numbers)]),
        np.concatenate([p.text_keys for p in parts]),
    )
    low = (1 << POSITION_BITS) - 1
    of_tokens.name_all(
        np.concatenate(
            [
                token_name(n[p.token_names >> POSITION_BITS], p.token_names & low)
                for p, n in zip(parts, numbers)
            ]
        ),
        np.concatenate([p.token_keys for p in parts]),
    )
    return found


def sampled(stream: UnitStream) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of which texts the values are wanted [text], and of which tokens: their texts and positions [token]."""
    texts, tokens = (s.names[0] for s in stream.samples)
    return texts, tokens >> POSITION_BITS, tokens & ((1 << POSITION_BITS) - 1)


def filled(stream: UnitStream, unit: int, texts: np.ndarray, tokens: np.ndarray) -> None:
    """Put in the sampled values of one unit, in the order of `sampled`: the largest of every text, and of every token."""
    for sample, values in zip(stream.samples, (texts, tokens)):
        sample.rows[:, unit] = values


def _renamed(key: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Keys with the texts called as in the whole."""
    found, there = key.copy(), key > EMPTY
    low = key[there] & LOW
    found[there] += LOW - numbers[LOW - low] - low
    return found
