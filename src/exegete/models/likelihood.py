"""How likely a model finds sentences, and answers to prompts: log-probabilities of tokens, each input read once.

told         log P(wanted token | output at a row) for many inputs: equal inputs are read once, inputs of like length together,
             and only the asked rows are unembedded
sentences    of a decoder, log P(token | tokens before it); of a masked model the pseudo-log-likelihood: each token masked in
             turn, and where a word has several tokens, with `whole_word`, the later ones of the same word masked too, so that
             a word is not betrayed by its own end (within-word left-to-right)

A decoder reads a sentence as its tokenizer writes it: with its beginning-of-text token where it has one, and then the first
word counts too; without one, nothing stands before the first token and it is not scored. `start` changes that, and the answer
says what was done. Special tokens are never scored.

Cost: one forward a different sentence (decoder), one a different masked sentence (at most one a token). Shapes: logs [token].
Reference: Salazar et al. 2020 (pseudo-log-likelihood); Kauf & Ivanova 2023 (within-word left-to-right).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError, ModelError
from exegete.core.request import Text
from exegete.core.text import Token
from exegete.core.value import Value
from exegete.models.encode import encode
from exegete.models.forward import Batch, Runner, buckets
from exegete.models.infill import mask_id
from exegete.models.lab import Lab
from exegete.models.model import Model, still

LOGITS_IN_MEMORY = 1 << 25  # logits made at a time

Start = Literal["own", "bos", "none"]


@dataclass(frozen=True)
class Asked:
    """An input, and the tokens asked of it: `wanted[k]` at the output of position `rows[k]`."""

    ids: tuple[int, ...]
    rows: tuple[int, ...]
    wanted: tuple[int, ...]


class Sentence(Value):
    """Log-probabilities [token] of the scored `tokens` (as the reader sees them), and their ids."""

    logs: np.ndarray
    tokens: tuple[str, ...]
    ids: tuple[int, ...]

    @property
    def total(self) -> float:
        """Their sum: the (pseudo-)log-likelihood, nats."""
        return float(self.logs.sum())


def told(lab: Lab, asked: Sequence[Asked]) -> list[np.ndarray]:
    """Log-probabilities [wanted] of each of `asked`, nats."""
    inputs = list(dict.fromkeys(a.ids for a in asked))
    number = {ids: i for i, ids in enumerate(inputs)}
    rows: list[dict[int, int]] = [{} for _ in inputs]  # row -> its place among the rows of this input
    for a in asked:
        mine = rows[number[a.ids]]
        for r in a.rows:
            mine.setdefault(r, len(mine))
    wanted: list[list[tuple[int, int, int, int]]] = [
        [] for _ in inputs
    ]  # (row place, token, answer, its place)
    for k, a in enumerate(asked):
        i = number[a.ids]
        wanted[i] += [(rows[i][r], w, k, j) for j, (r, w) in enumerate(zip(a.rows, a.wanted, strict=True))]
    found = [np.zeros(len(a.rows)) for a in asked]
    for chunk, logp in outputs(lab, inputs, [tuple(r) for r in rows]):
        flat = [(b, *w) for b, i in enumerate(chunk) for w in wanted[i]]
        if not flat:
            continue
        batch, place, token, answer, at = (list(c) for c in zip(*flat))
        values = logp[batch, place, token].cpu().numpy()
        for v, k, j in zip(values, answer, at):
            found[k][j] = v
    return found


def outputs(
    lab: Lab, inputs: Sequence[Sequence[int]], rows: Sequence[Sequence[int]]
) -> Iterator[tuple[list[int], Tensor]]:
    """(which inputs, log-probabilities [input, row, vocab] float64) of every input at its rows, in bounded memory.

    Shorter lists of rows are repeated to the longest of their pass.
    """
    run, model = Runner(lab.model, lab.meter), lab.model
    lengths = [len(x) for x in inputs]
    with lab.working(len(inputs), "reading") as step:
        for chunk in _chunks(lengths, rows, model):
            most = max(len(rows[i]) for i in chunk)
            at = np.stack([np.resize(np.array(rows[i], dtype=np.int64), most) for i in chunk])
            ids = [np.array(inputs[i], dtype=np.int64) for i in chunk]
            with torch.no_grad(), still(model.module):
                logits = run(Batch(ids, at)).double()
            if not bool(torch.isfinite(logits.logsumexp(-1)).all()):
                raise ModelError(
                    f"You asked how likely {model.name} finds a text.",
                    "Its output is not finite.",
                    "Load it in float32: dtype='float32'.",
                )
            yield chunk, logits.log_softmax(-1)
            step(len(chunk))


def _chunks(lengths: Sequence[int], rows: Sequence[Sequence[int]], model: Model) -> Iterator[list[int]]:
    """Inputs of one pass: of like length, within the token budget and the logits that fit in memory."""
    for bucket in buckets(lengths, model.token_budget):
        most = max(len(rows[i]) for i in bucket)
        size = max(1, LOGITS_IN_MEMORY // max(1, most * model.vocabulary))
        yield from (bucket[i : i + size] for i in range(0, len(bucket), size))


def sentences(
    lab: Lab, texts: Sequence[Text | str], start: Start = "own", whole_word: bool = False
) -> list[Sentence | None]:
    """How likely each text is; None for one that has nothing to score or does not fit the model's context."""
    asked: list[list[Asked] | None] = []
    shown: list[tuple[tuple[str, ...], tuple[int, ...]]] = []
    for text in texts:
        try:
            read = encode(lab.model, Text.of(text))
        except InputError:
            asked.append(None)
            shown.append(((), ()))
            continue
        parts = _asked(lab.model, read.text, read.tokens, start, whole_word)
        asked.append(parts or None)
        ids = tuple(w for p in parts for w in p.wanted)
        shown.append((tuple(t.text for t in read.tokens if not t.special)[-len(ids) :] if ids else (), ids))
    logs = iter(told(lab, [a for parts in asked if parts for a in parts]))
    found: list[Sentence | None] = []
    for parts, (tokens, ids) in zip(asked, shown):
        if parts is None:
            found.append(None)
            continue
        logged = np.concatenate([next(logs) for _ in parts])
        found.append(Sentence(logs=logged, tokens=tokens, ids=ids))
    return found


def convention(model: Model, start: Start = "own") -> str:
    """In words: what stands before a sentence when it is scored."""
    if model.task == "masked":
        return "Each token is masked in turn, between the model's own special tokens."
    first = _opening(model, start)
    if first is None:
        return "No beginning-of-text token is read, so the first token of a sentence is not scored."
    word = model.tokenizer.convert_ids_to_tokens(first)
    whose = "as its tokenizer does" if start == "own" else "as was asked for"
    return f"The model reads {word!r} before each sentence, {whose}."


def _opening(model: Model, start: Start) -> int | None:
    """The token before a sentence, or None. Raises `ModelError` when one is asked for and the tokenizer has none."""
    if start == "none":
        return None
    if start == "own":
        ids = list(model.tokenizer("a")["input_ids"])
        special = set(model.tokenizer.all_special_ids)
        return int(ids[0]) if ids and ids[0] in special else None
    found = getattr(model.tokenizer, "bos_token_id", None)
    if not isinstance(found, int):
        raise ModelError(
            f"You asked {model.name} to read sentences behind a beginning-of-text token (start='bos').",
            "Its tokenizer has none.",
            "Leave `start` at 'own'.",
        )
    return found


def _asked(model: Model, text: str, tokens: Sequence[Token], start: Start, whole_word: bool) -> list[Asked]:
    if model.task == "masked":
        return _masked(mask_id(model), text, tokens, whole_word)
    kept = list(tokens)
    if start != "own":
        while kept and kept[0].special:
            kept.pop(0)
    lead = _opening(model, start)
    ids = [t.id for t in kept]
    special = [t.special for t in kept]
    if start == "bos" and lead is not None:
        ids, special = [lead, *ids], [True, *special]
    at = [i for i in range(1, len(ids)) if not special[i]]
    return [Asked(tuple(ids), tuple(i - 1 for i in at), tuple(ids[i] for i in at))] if at else []


def _masked(mask: int, text: str, tokens: Sequence[Token], whole_word: bool) -> list[Asked]:
    """One input a token: it masked and, with `whole_word`, what follows it in its word."""
    ids = [t.id for t in tokens]
    found = []
    for i, token in enumerate(tokens):
        if token.special:
            continue
        last = i + 1
        while whole_word and last < len(tokens) and _continues(text, tokens[last - 1], tokens[last]):
            last += 1
        hidden = [*ids[:i], *[mask] * (last - i), *ids[last:]]
        found.append(Asked(tuple(hidden), (i,), (token.id,)))
    return found


def _continues(text: str, before: Token, token: Token) -> bool:
    """Whether `token` goes on with the word that `before` stands in."""
    if token.special or before.special or token.start < 1 or token.start != before.end:
        return False
    blank = text[before.start : before.end].isspace()  # some tokenizers cut a space off the word that follows
    return (blank or text[token.start - 1].isalnum()) and text[token.start].isalnum()
