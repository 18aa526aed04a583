"""Text alignment in one place: characters, tokens, words, sentences, spans and segments.

A tokenizer gives `Token`s with character offsets; `units` groups tokens to the level that is explained:

1. a level gives character ranges (word and sentence rules below, the user's spans, the request's segments);
2. each token that carries text belongs to the first range its characters touch (white space at its edges does not
   count); ranges that one token ties together are merged, so no token is split and none is counted twice;
3. tokens in no range become units of their own, special tokens are left out unless asked for.

Words are runs of letters and digits with inner apostrophes and hyphens; ideographs and other punctuation stand alone.
Cost: linear in text and tokens.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from exegete.core.errors import InputError, UnknownName

Level = Literal["token", "word", "sentence", "segment", "span"]
LEVELS: tuple[str, ...] = get_args(Level)
Span = tuple[int, int]

_IDEOGRAPH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|(?:(?![{_IDEOGRAPH}])\w)+(?:['’\-](?:(?![{_IDEOGRAPH}])\w)+)*|[^\w\s]")
_SENTENCE_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s|$))|[。！？]|\n+")
_ABBREVIATION = re.compile(
    r"\b(?:mr|mrs|ms|dr|prof|sr|jr|st|vs|etc|e\.g|i\.e|cf|fig|no|vol|inc|ltd|co|(?-i:[A-Z]))\.$", re.I
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token the model reads.

    `start`/`end` are character offsets in the text it came from (-1 when it carries none). `stack` is "" or, for the
    decoder of an encoder-decoder model, "dec". `role` is "prompt" (given), "prefix" (earlier target tokens the model
    reads while it is scored) or "special". `segment` is the index of the request's segment, -1 for none. `part` is which
    text of a pair the model is told it belongs to (`token_type_ids`), 0 where it is told nothing.
    """

    id: int
    text: str
    start: int = -1
    end: int = -1
    stack: str = ""
    role: str = "prompt"
    segment: int = -1
    part: int = 0

    @property
    def special(self) -> bool:
        """Whether this is a token the tokenizer added rather than one that stands for text."""
        return self.role == "special"


@dataclass(frozen=True, slots=True)
class Unit:
    """A group of token positions that is explained as one thing, with its text and character range."""

    text: str
    tokens: tuple[int, ...]
    start: int = -1
    end: int = -1
    role: str = "prompt"
    segment: int = -1


def words(text: str) -> list[Span]:
    """Character ranges of the words of `text`."""
    return [m.span() for m in _WORD.finditer(text)]


def sentences(text: str) -> list[Span]:
    """Character ranges of the sentences of `text`, without the white space around them."""
    cuts, start = [], 0
    for m in _SENTENCE_END.finditer(text):
        if m.group().startswith(".") and _ABBREVIATION.search(text[start : m.start() + 1]):
            continue
        cuts.append((start, m.end()))
        start = m.end()
    cuts.append((start, len(text)))
    return [s for s in (_strip(text, *c) for c in cuts) if s[0] < s[1]]


def ranges(text: str, level: str, spans: Sequence[Span] = (), segments: Sequence[Span] = ()) -> list[Span]:
    """The character ranges of one level. Raises `InputError` when spans or segments are asked for and none are given."""
    if level == "word":
        return words(text)
    if level == "sentence":
        return sentences(text)
    given = {"span": spans, "segment": segments}.get(level)
    if given is None:
        raise UnknownName("unit", level, LEVELS)
    if not given:
        raise InputError(
            f"You asked for units of level {level!r}.",
            f"The request marks no {level}s.",
            "Give them with Text(spans=[(start, end), ...]) or Text.of_segments(...), or choose word or sentence.",
        )
    beyond = [s for s in given if s[1] > len(text)]
    if beyond:
        raise InputError(
            f"You marked the {level} {tuple(beyond[0])}.",
            f"The text has {len(text)} characters.",
            "Give (start, end) as character positions, end not included.",
        )
    return sorted(tuple(s) for s in given)  # type: ignore[misc]


def units(
    tokens: Sequence[Token],
    text: str,
    level: str = "token",
    *,
    spans: Sequence[Span] = (),
    segments: Sequence[Span] = (),
    roles: Sequence[str] = ("prompt",),
) -> tuple[Unit, ...]:
    """Group `tokens` into units of `level`; every token whose role is in `roles` is in exactly one unit, in order."""
    wanted = [i for i, t in enumerate(tokens) if t.role in roles]
    if level == "token":
        return tuple(_unit(tokens, text, [i]) for i in wanted)
    cuts = ranges(text, level, spans, segments)
    groups: list[list[int]] = []
    last: int | None = None
    for i in wanted:
        t = tokens[i]
        lead, tail = _touch(text, t, cuts) if t.role == "prompt" else (None, None)
        if groups and lead is not None and last is not None and lead <= last:
            groups[-1].append(i)
        elif groups and lead is None and _blank(text, t) and t.role == "prompt" and last is not None:
            groups[-1].append(i)  # a token of white space alone goes with what stands before it
            tail = last
        else:
            groups.append([i])
        last = tail
    return tuple(_unit(tokens, text, g) for g in groups)


def _touch(text: str, t: Token, cuts: list[Span]) -> tuple[int | None, int | None]:
    """Index of the first and last range that the token's visible characters touch."""
    if t.start < 0:
        return None, None
    start, end = _strip(text, t.start, t.end)
    hit = [k for k, (a, b) in enumerate(cuts) if a < end and start < b] if start < end else []
    return (hit[0], hit[-1]) if hit else (None, None)


def _blank(text: str, t: Token) -> bool:
    """Whether a token is white space alone, also one to which its tokenizer gives no place."""
    return not text[t.start : t.end].strip() if t.start >= 0 else t.text.isspace()


def _strip(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _unit(tokens: Sequence[Token], text: str, members: list[int]) -> Unit:
    first = tokens[members[0]]
    placed = [tokens[i] for i in members if tokens[i].start >= 0 and tokens[i].role == "prompt"]
    if not placed:
        label = "".join(tokens[i].text for i in members)
        return Unit(label, tuple(members), role=first.role, segment=first.segment)
    start, end = min(t.start for t in placed), max(t.end for t in placed)
    inner = _strip(text, start, end)
    label = text[inner[0] : inner[1]] or first.text
    if len(members) == 1 and text[start:end] != label:
        label = first.text.strip() or label
    return Unit(
        label, tuple(members), *(inner if inner[0] < inner[1] else (start, end)), first.role, first.segment
    )
