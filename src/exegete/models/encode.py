"""From a request to the tokens a model reads, each with its place in the text.

1. the request becomes one string (plain, pair, segments joined, chat rendered by the tokenizer's template) or stays ids;
2. the model's own tokenizer reads it, with its own special tokens and its own beginning-of-text convention;
3. each token gets its character range: from the tokenizer where it is a fast one, else by matching pieces in order;
4. what does not fit the context is refused, or cut from the end when the request allows it, and said.

Nothing is decoded and tokenised again: ids given are ids read.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from exegete.core.errors import InputError, TargetError
from exegete.core.request import Text
from exegete.core.text import Span, Token
from exegete.models.model import Model

_MARKS = ("▁", "Ġ", "##", "Ċ", "</w>")


@dataclass(frozen=True)
class Encoded:
    """What the model reads: the text, its tokens, the character ranges of its segments, notes for the reader, and whether the
    text's end was cut off.
    """

    text: str
    tokens: tuple[Token, ...]
    segments: tuple[Span, ...] = ()
    segment_roles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cut: bool = False


def encode(model: Model, request: Text) -> Encoded:
    """Read a request with the model's tokenizer. Raises `InputError` for empty, over-long or unreadable input."""
    text, segments, roles = _text(model, request)
    if request.ids is not None:
        _check_ids(model, request.ids)
        tokens = _from_ids(model.tokenizer, request.ids)
        text = "".join(t.text for t in tokens)
    else:
        _check_characters(text + (request.pair or ""))
        tokens = _read(model, text, request.pair, special=not request.messages)
        tokens = _segmented(tokens, segments, chat=bool(request.messages))
        if request.pair is not None:
            text = f"{text}\n{request.pair}"
    if not any(not t.special for t in tokens):
        raise InputError("You asked to explain a text.", "It is empty.", "Give at least one word.")
    tokens, notes = _fit(model, tokens, request)
    said = (*notes, *_convention(model, tokens))
    return Encoded(text, tuple(tokens), tuple(segments), tuple(roles), said, cut=bool(notes))


def encode_target(model: Model, prompt: str, target: str) -> list[int]:
    """Token ids of `target` as it continues `prompt`: a space is put between two words, special tokens are left out.

    The prompt's own tokens are never changed by what follows.
    """
    _check_characters(target)
    joined = prompt[-1:].isalnum() or prompt[-1:] in ",;:.!?\"')"
    lead = " " if joined and target[:1].isalnum() and model.task == "causal" else ""
    ids = _after(model.tokenizer, prompt, lead + target) if model.task == "causal" else None
    ids = ids or list(model.tokenizer(lead + target, add_special_tokens=False)["input_ids"])
    if not ids:
        raise InputError(f"You gave the target {target!r}.", "It has no tokens.", "Give a word.")
    unknown = getattr(model.tokenizer, "unk_token_id", None)
    if unknown is not None and all(i == unknown for i in ids) and target.strip() != model.tokenizer.unk_token:
        raise TargetError(
            f"You gave the target {target!r}.",
            f"The tokenizer of {model.name} does not know it: it reads {model.tokenizer.unk_token}.",
            "Choose a word that the model can say.",
        )
    return ids


def _after(tokenizer: Any, prompt: str, more: str) -> list[int] | None:
    """The tokens that follow the prompt's own when both are read as one; None when the prompt's tokens would change."""
    first = list(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    both = list(tokenizer(prompt + more, add_special_tokens=False)["input_ids"])
    return both[len(first) :] if both[: len(first)] == first else None


def limit(model: Model) -> int | None:
    """The largest number of tokens the model can read; None when it has no limit."""
    c = model.config
    found = [getattr(c, n, None) for n in ("max_position_embeddings", "n_positions", "max_seq_len")]
    sizes = [int(n) for n in found if isinstance(n, int) and n > 0]
    if sizes and model.family in ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer"):
        sizes = [n - 2 for n in sizes]  # positions start after the padding index
    tokenizer = getattr(model.tokenizer, "model_max_length", None)
    if isinstance(tokenizer, int) and 0 < tokenizer < 10**6:
        sizes.append(tokenizer)
    return min(sizes) if sizes else None


def _check_ids(model: Model, ids: Sequence[int]) -> None:
    wrong = [i for i in ids if not 0 <= i < model.vocabulary]
    if wrong:
        raise InputError(
            f"You asked to explain {len(ids)} token ids.",
            f"{model.name} has no token {wrong[0]}: its ids go from 0 to {model.vocabulary - 1}.",
            "Read the text with the model's own tokenizer.",
        )


def _check_characters(text: str) -> None:
    """Half a surrogate pair is no character; it comes from bytes that were not UTF-8."""
    at = next((i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff"), None)
    if at is not None:
        raise InputError(
            "You gave a text.",
            f"Character {at} ({text[at]!r}) is no Unicode character; the text was not decoded from valid UTF-8.",
            "Decode it anew: data.decode('utf-8', errors='replace').",
        )


def _text(model: Model, request: Text) -> tuple[str, list[Span], list[str]]:
    if request.messages:
        return _chat(model, request)
    if request.segments:
        spans, at = [], 0
        for s in request.segments:
            spans.append((at, at + len(s.text)))
            at += len(s.text)
        return "".join(s.text for s in request.segments), spans, [s.role for s in request.segments]
    return request.text or "", [], []


def _chat(model: Model, request: Text) -> tuple[str, list[Span], list[str]]:
    if not getattr(model.tokenizer, "chat_template", None):
        raise InputError(
            "You asked to explain a chat.",
            f"The tokenizer of {model.name} has no chat template.",
            "Give plain text, or mark its parts with Text.of_segments(...).",
        )
    said = [m.text for m in request.messages]
    text = _rendered(model, request, said)
    marks = [f"\ue000{k}\ue001" for k in range(len(said))]
    spans = _said_at(text, said, _rendered(model, request, marks), marks)
    for m, span in zip(request.messages, spans):
        if span is None:
            raise InputError(
                "You asked to explain a chat.",
                f"The chat template changes the {m.role} message, so its place cannot be found.",
                "Render it yourself and mark its parts with Text.of_segments(...).",
            )
    return text, [s for s in spans if s], [m.role for m in request.messages]


def _rendered(model: Model, request: Text, said: Sequence[str]) -> str:
    turns = [{"role": m.role, "content": s} for m, s in zip(request.messages, said)]
    return model.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def _said_at(text: str, said: Sequence[str], marked: str, marks: Sequence[str]) -> list[Span | None]:
    """Where each message stands: after the same words of the template as its mark in a chat of `marks`.

    Where the template writes something else around the marks, the message is looked for; None when it is not there.
    """
    spans: list[Span | None] = []
    at = seen = 0
    for message, mark in zip(said, marks):
        found, words = marked.find(mark, seen), message.strip()
        start = at + found - seen
        if found < 0 or text[at:start] != marked[seen:found]:
            start = max(text.find(words, at), at)
        first = text.find(words, start)
        spans.append((first, first + len(words)) if first >= 0 else None)
        at = start + len(message if text.startswith(message, start) else words)
        seen = found + len(mark)
    return spans


def _read(model: Model, text: str, pair: str | None, special: bool) -> list[Token]:
    tokenizer = model.tokenizer
    fast = bool(getattr(tokenizer, "is_fast", False))
    out = tokenizer(
        text,
        *([pair] if pair is not None else []),
        add_special_tokens=special,
        return_offsets_mapping=fast,
        return_special_tokens_mask=True,
        truncation=False,
        verbose=False,
    )
    ids, mask = list(out["input_ids"]), list(out["special_tokens_mask"])
    pieces = tokenizer.convert_ids_to_tokens(ids)
    if fast:
        places = _spaced(_places(out, text, pair), pieces, mask, text if pair is None else f"{text}\n{pair}")
    else:
        places = align(text if pair is None else f"{text}\n{pair}", pieces, mask)
    full = text if pair is None else f"{text}\n{pair}"
    tokens = [_token(i, str(p), full, span, bool(m)) for i, p, span, m in zip(ids, pieces, places, mask)]
    parts = out.get("token_type_ids") if told_of_parts(model) else None
    return tokens if parts is None else [replace(t, part=int(p)) for t, p in zip(tokens, parts)]


def told_of_parts(model: Model) -> bool:
    """Whether the model takes the tokenizer's word for which text of a pair a token belongs to."""
    module: Any = model.module
    inner = module.get_base_model() if hasattr(module, "get_base_model") else module
    return "token_type_ids" in inspect.signature(inner.forward).parameters


def _places(out: Any, text: str, pair: str | None) -> list[Span]:
    """Character ranges from a fast tokenizer; the second text of a pair starts after the first and a line break."""
    offsets = [tuple(o) for o in out["offset_mapping"]]
    if pair is None:
        return offsets  # type: ignore[return-value]
    shift = len(text) + 1
    which = out.sequence_ids() if hasattr(out, "sequence_ids") else [0] * len(offsets)
    return [(a + shift, b + shift) if s == 1 else (a, b) for (a, b), s in zip(offsets, which)]


def _spaced(places: list[Span], pieces: Sequence[str], special: Sequence[int], text: str) -> list[Span]:
    """Places of tokens that are white space alone: tokenizers that trim offsets leave them empty."""
    out = list(places)
    for i, (a, b) in enumerate(places):
        if a >= b and not special[i] and _clean(str(pieces[i])).isspace():
            start = out[i - 1][1] if i else 0
            later = (p[0] for p, s in zip(places[i + 1 :], special[i + 1 :]) if p[1] > p[0] and not s)
            end = next(later, len(text))
            out[i] = (start, end) if text[start:end].isspace() else (a, b)
    return out


def _token(i: int, piece: str, text: str, span: Span, special: bool) -> Token:
    start, end = span
    if special:
        return Token(int(i), piece, role="special")
    if start >= end:
        return Token(int(i), _clean(piece))
    return Token(int(i), text[start:end], start, end)


def _from_ids(tokenizer: Any, ids: Sequence[int]) -> list[Token]:
    """Tokens of given ids; their text is what each adds to the one before when decoded, joined only to be shown."""
    known = set(getattr(tokenizer, "all_special_ids", []) or [])
    tokens, at = [], 0
    for k, i in enumerate(ids):
        shown = _after_last(tokenizer, ids[k - 1] if k and ids[k - 1] not in known else None, i)
        role = "special" if i in known else "prompt"
        tokens.append(Token(int(i), shown, at, at + len(shown), role=role))
        at += len(shown)
    return tokens


def _after_last(tokenizer: Any, last: int | None, i: int) -> str:
    """What token `i` says after the token `last`: decoded alone, many tokenizers leave out the space before a word."""
    alone = tokenizer.decode([i], clean_up_tokenization_spaces=False)
    if last is None:
        return alone
    before = tokenizer.decode([last], clean_up_tokenization_spaces=False)
    both = tokenizer.decode([last, i], clean_up_tokenization_spaces=False)
    return both[len(before) :] if both.startswith(before) else alone


def align(text: str, pieces: Sequence[str], special: Sequence[int]) -> list[Span]:
    """Character ranges of the pieces of a slow tokenizer: each is looked for, in order, ignoring case and markers.

    A piece that is not found (an unknown token, a normalised character) takes the gap up to the next one that is.
    """
    low, at, places = text.lower(), 0, []
    if len(low) != len(text):
        low = text  # lower-casing changed the length: match exactly instead
    for piece, skip in zip(pieces, special):
        plain = _clean(str(piece)).strip()
        plain = plain if low is text else plain.lower()
        start = low.find(plain, at) if plain and not skip else -1
        near = start >= 0 and not text[at:start].strip()
        if start < 0 or not (near or len(plain) > 1):
            places.append((0, 0))
            continue
        places.append((start, start + len(plain)))
        at = start + len(plain)
    return _fill(text, places, special)


def _fill(text: str, places: list[Span], special: Sequence[int]) -> list[Span]:
    """Give pieces that were not found the text between their neighbours."""
    out, at = list(places), 0
    for i, (a, b) in enumerate(places):
        if b > a:
            at = b
        elif not special[i]:
            following = next((p[0] for p in places[i + 1 :] if p[1] > p[0]), len(text))
            if text[at:following].strip():
                out[i] = (at, following)
                at = following
    return out


def _clean(piece: str) -> str:
    for mark in _MARKS:
        piece = piece.replace(mark, "" if mark in ("##", "</w>") else " ")
    return piece


def _segmented(tokens: list[Token], segments: list[Span], chat: bool) -> list[Token]:
    """Mark each token with its segment; the template's own markup around chat messages counts as special."""
    if not segments:
        return tokens
    out = []
    for t in tokens:
        hit = [k for k, (a, b) in enumerate(segments) if t.start >= 0 and a < t.end and t.start < b]
        role = "special" if chat and not hit else t.role
        out.append(replace(t, role=role, segment=hit[0] if hit else -1))
    return out


def _fit(model: Model, tokens: list[Token], request: Text) -> tuple[list[Token], tuple[str, ...]]:
    most = limit(model)
    if most is None or len(tokens) <= most:
        return tokens, ()
    if not request.truncate:
        raise InputError(
            "You asked to explain a text.",
            f"It has {len(tokens)} tokens, and {model.name} reads at most {most}.",
            "Shorten it, or allow cutting its end with truncate=True (--truncate).",
        )
    tail = []
    for t in reversed(tokens):
        if not t.special:
            break
        tail.insert(0, t)
    cut = tokens[: most - len(tail)] + tail
    return cut, (f"The text was cut from {len(tokens)} to {most} tokens.",)


def _convention(model: Model, tokens: Sequence[Token]) -> tuple[str, ...]:
    """How the text begins for the model, stated because likelihoods depend on it."""
    if model.task != "causal":
        return ()
    if tokens and tokens[0].special:
        return (f"The model reads {tokens[0].text!r} before the text.",)
    return ("The model reads the text without a beginning-of-text token, as its tokenizer does.",)
