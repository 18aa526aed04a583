"""What a language model puts into a blank: the prompt as it is read, the tokens of an answer there, and how likely each is.

A blank is written "[MASK]" (or the model's own mask); a prompt without one is asked what comes next.

masked model   the blank is one mask; a prompt that has none gets one at its end, with an end mark behind it (else a model says
               the end mark); an answer of k tokens is asked k masks, which are filled from left to right
decoder        the prompt is read up to the blank, behind the model's own beginning-of-text token; what follows a blank beside an
               end mark it cannot heed, and is refused; an answer of k tokens is the product of its tokens' probabilities

Cost: one forward a different prompt for answers of one token; k more (masked), or one (decoder), for each longer answer.
Shapes: logs [answer].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from exegete.core.errors import InputError
from exegete.core.read_pairs import BLANK
from exegete.core.request import Text
from exegete.models.encode import encode, encode_target
from exegete.models.infill import mask_id
from exegete.models.lab import Lab
from exegete.models.likelihood import Asked, outputs, told
from exegete.models.model import Model


@dataclass(frozen=True)
class Blank:
    """A prompt as the model reads it: `ids`, the `row` whose output speaks of the answer, and what stands round the blank."""

    ids: tuple[int, ...]
    row: int
    before: str
    after: str


def blank(model: Model, prompt: str, ending: str = ".") -> Blank:
    """The prompt with its blank. Raises `InputError` for several blanks, and for what a decoder cannot read."""
    own = str(getattr(model.tokenizer, "mask_token", None) or BLANK)
    parts = prompt.replace(own, BLANK).split(BLANK)
    if len(parts) > 2:
        raise InputError(
            f"You asked what {model.name} puts into {prompt!r:.80}.",
            f"It has {len(parts) - 1} blanks.",
            "Leave one.",
        )
    if model.task == "masked":
        before, after = parts if len(parts) == 2 else (prompt.rstrip() + " ", ending)
        tokens = encode(model, Text(text=f"{before}{own}{after}")).tokens
        ids = tuple(t.id for t in tokens)
        return Blank(ids, ids.index(mask_id(model)), before, after)
    before, after = parts[0].rstrip(), (parts[1] if len(parts) == 2 else "")
    if after.strip(" .!?"):
        raise InputError(
            f"You asked what {model.name} puts into {prompt!r:.80}.",
            "It reads from left to right, and the prompt goes on after the blank.",
            "Put the blank at the end, or ask a masked model.",
        )
    read = [t.id for t in encode(model, Text(text=before)).tokens]
    while len(read) > 1 and read[-1] in model.tokenizer.all_special_ids:
        read.pop()  # an end-of-text token after the prompt would end it
    return Blank(tuple(read), len(read) - 1, before, "")


def answer_ids(model: Model, place: Blank, answer: str) -> tuple[int, ...]:
    """The tokens of `answer` where the blank is."""
    if model.task != "masked":
        return tuple(encode_target(model, place.before, answer))
    return _between(model.tokenizer, place.before[-12:], answer.strip(), place.after[:2])


@lru_cache(maxsize=100_000)
def _between(tokenizer: Any, before: str, answer: str, after: str) -> tuple[int, ...]:
    """Tokens of the answer between what stands round it, read as one text."""

    def read(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    mask = tokenizer.mask_token_id
    frame, full = read(f"{before}{tokenizer.mask_token}{after}"), read(f"{before}{answer}{after}")
    at = frame.index(mask)
    head, tail = frame[:at], frame[at + 1 :]
    n = len(full) - len(tail)
    if full[:at] == head and full[n:] == tail and n > at:
        return tuple(full[at:n])
    return tuple(read(answer))


def answers(
    lab: Lab, places: Sequence[Blank], candidates: Sequence[Sequence[tuple[int, ...]]]
) -> list[np.ndarray]:
    """Joint log-probabilities [candidate], nats, of the candidates (token ids) of every blank."""
    asked: list[list[list[Asked]]] = [
        [_asked(lab.model, place, ids) for ids in several]
        for place, several in zip(places, candidates, strict=True)
    ]
    logs = iter(told(lab, [a for several in asked for parts in several for a in parts]))
    return [np.array([sum(float(next(logs).sum()) for _ in parts) for parts in several]) for several in asked]


@dataclass(frozen=True)
class Ranked:
    """In the whole vocabulary: the `rank` of the wanted token (1 best; ties share), its `log` probability, and the first ids."""

    rank: float
    log: float
    first: tuple[int, ...]


def ranked(lab: Lab, places: Sequence[Blank], wanted: Sequence[int], first: int = 5) -> list[Ranked]:
    """Where the wanted token of every blank stands. Equal prompts are read once."""
    inputs = list(dict.fromkeys((p.ids, p.row) for p in places))
    asked: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for i, p in enumerate(places):
        asked.setdefault((p.ids, p.row), []).append(i)
    found: dict[int, Ranked] = {}
    for chunk, logp in outputs(lab, [ids for ids, _ in inputs], [(row,) for _, row in inputs]):
        for line, k in zip(logp[:, 0], chunk):
            top = tuple(line.topk(min(first, len(line))).indices.tolist())
            for i in asked[inputs[k]]:
                own = line[wanted[i]]
                rank = 1 + int((line > own).sum()) + (int((line == own).sum()) - 1) / 2
                found[i] = Ranked(rank, float(own), top)
    return [found[i] for i in range(len(places))]


def _asked(model: Model, place: Blank, ids: tuple[int, ...]) -> list[Asked]:
    head, tail = place.ids[: place.row], place.ids[place.row + 1 :]
    if model.task != "masked":
        rows = tuple(range(place.row, place.row + len(ids)))
        return [Asked((*place.ids, *ids[:-1]), rows, ids)]
    mask, k = place.ids[place.row], len(ids)
    return [Asked((*head, *ids[:j], *[mask] * (k - j), *tail), (place.row + j,), (ids[j],)) for j in range(k)]
