"""Ways to say a text otherwise that should not change its explanation.

    Insertion   one neutral word put in, at a random place
    Synonyms    words exchanged for others that mean the same
    Reorder     the clauses around a joint (the end of a sentence, a comma, "but", "and") exchanged
    Paraphrase  other wordings, which the user gives

A changed text is written as pieces, each of which stands for a stretch of the text or for nothing; so units are matched by the
characters they hold, whatever the tokenizer makes of either (`matched`). Cost: one forward to ask each where the model chooses
its own target.
"""

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import ClassVar

import numpy as np

from exegete.core.errors import ExegeteError
from exegete.core.rows import rows_of
from exegete.core.text import Unit, sentences, words
from exegete.evaluate.changes import Change, Repeat, Subject, refusal
from exegete.models.ask import ask

NEUTRAL = ("also", "then", "just", "still", "there")
SYNONYMS = (
    "movie film", "big large", "small little", "great wonderful", "awful terrible", "bad poor", "tasty delicious", "nice pleasant",
    "begin start", "shop store", "tale story", "lovely delightful", "horrible dreadful", "brilliant superb", "dirty filthy",
    "dull boring", "happy glad", "clever smart", "buy purchase", "quick fast", "rude impolite", "friendly kind", "hotel inn",
    "really truly", "extremely incredibly", "though although", "chef cook", "meal dinner", "liked enjoyed", "loved adored",
    "hated detested", "excellent outstanding", "child kid", "job work", "picture image", "start begin", "car automobile",
)  # fmt: skip
JOINTS = (r"\s*;\s*", r"\s*,\s*(?:but|and|while|though|although)\s+", r"\s+(?:but|while|and|though|although)\s+", r"\s*,\s+")  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """A stretch of a changed text that stands for old[start:end], or for nothing (start -1)."""

    text: str
    start: int = -1
    end: int = -1


@dataclass(frozen=True)
class Rewrite(Change):
    """Base of the changes of words. At most `n` are made."""

    n: int = 2

    @abstractmethod
    def rewritten(self, text: str, rng: np.random.Generator) -> list[list[Piece]]:
        """Changed texts as pieces; none where nothing can be changed."""

    def repeats(self, subject: Subject, rng: np.random.Generator) -> Iterator[Repeat | ExegeteError]:
        """The changed texts, asked; one that the model cannot read does not stop the others."""
        request = subject.request
        if request.text is None or subject.level in ("span", "segment"):
            raise refusal(
                self,
                "Only the words of a plain text can be changed, explained by words, tokens or sentences.",
            )
        made = self.rewritten(request.text, rng)[: self.n]
        if not made:
            raise refusal(self, "The text has no place for it.")
        for turn, pieces in enumerate(made):
            try:
                found: Repeat | ExegeteError = asked(self, subject, pieces, turn)
            except ExegeteError as e:
                found = e
            yield found


def asked(change: Change, subject: Subject, pieces: Sequence[Piece], turn: int) -> Repeat:
    """A changed text as a question, its units matched with the text's own. Raises `InputError` for words the model cannot read."""
    old, new = subject.request, "".join(p.text for p in pieces)
    question = ask(subject.question.model, old.model_copy(update={"text": new, "spans": ()}), subject.target)
    unknown = getattr(question.model.tokenizer, "unk_token_id", None)
    if unknown is not None and (question.ids == unknown).sum() > (subject.question.ids == unknown).sum():
        raise refusal(change, "The model does not know the new word.")
    units = question.units(subject.level, subject.prefix)
    ends = [Piece(f"\n{old.pair}", len(old.text or ""), len(subject.question.encoded.text))] * (old.pair is not None)  # fmt: skip
    groups = matched(subject.units, units, [*pieces, *ends], subject.question.encoded.text)
    if len(groups) < 2:
        raise refusal(change, "Fewer than two units stay.")
    return Repeat(question, units, groups, turn=turn)


def matched(
    own: Sequence[Unit], other: Sequence[Unit], pieces: Sequence[Piece], text: str
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Which units of a text stand for which of the changed one: groups joined by the characters they share, in order."""
    links: set[tuple[int, int]] = set()
    at = 0
    mine, theirs = _owner(own), _owner(other)
    for piece in pieces:
        old, new = range(piece.start, piece.end), range(at, at + len(piece.text))
        at += len(piece.text)
        if piece.start < 0:
            continue
        alike = text[piece.start : piece.end] == piece.text
        ties = zip(old, new) if alike else ((a, b) for a in old for b in new)
        links |= {(mine[a], theirs[b]) for a, b in ties if a in mine and b in theirs}
    late = [
        [i for i, u in enumerate(us) if u.start < 0] for us in (own, other)
    ]  # target tokens, which carry no characters
    links |= set(zip(*late))
    groups: list[tuple[set[int], set[int]]] = []
    for a, b in sorted(links):
        met = [g for g in groups if a in g[0] or b in g[1]]
        groups = [g for g in groups if g not in met]
        groups.append(({a}.union(*(g[0] for g in met)), {b}.union(*(g[1] for g in met))))
    return tuple(sorted((tuple(sorted(a)), tuple(sorted(b))) for a, b in groups))


def _owner(units: Sequence[Unit]) -> dict[int, int]:
    return {c: i for i, u in enumerate(units) if u.start >= 0 for c in range(u.start, u.end)}


@dataclass(frozen=True)
class Insertion(Rewrite):
    """One neutral word put in before a random word but the first."""

    neutral: tuple[str, ...] = NEUTRAL
    name: ClassVar[str] = "a neutral word put in"

    def rewritten(self, text: str, rng: np.random.Generator) -> list[list[Piece]]:
        """One text a drawn place."""
        starts = [a for a, b in words(text)[1:] if text[a - 1].isspace() and text[a:b].isalnum()]
        made = []
        for at in rng.permutation(starts).tolist():
            word = str(rng.choice(list(self.neutral)))
            made.append([Piece(text[:at], 0, at), Piece(f"{word} "), Piece(text[at:], at, len(text))])
        return made


@dataclass(frozen=True)
class Synonyms(Rewrite):
    """Words exchanged for others that mean the same: all that are known, then each alone."""

    pairs: tuple[str, ...] = SYNONYMS
    name: ClassVar[str] = "a synonym"

    def rewritten(self, text: str, rng: np.random.Generator) -> list[list[Piece]]:
        """One text an exchange."""
        partner: dict[str, str] = {}
        for a, b in (p.split() for p in self.pairs):
            partner.setdefault(a, b)
            partner.setdefault(b, a)
        known = [(a, b) for a, b in words(text) if text[a:b].lower() in partner]
        drawn = [known[i] for i in rng.permutation(len(known))]
        chosen = [known] * (len(known) > 1) + [[s] for s in drawn]
        return [_exchanged(text, c, partner) for c in chosen]


def _exchanged(text: str, spans: Sequence[tuple[int, int]], partner: dict[str, str]) -> list[Piece]:
    pieces, at = [], 0
    for a, b in spans:
        word = partner[text[a:b].lower()]
        word = word.capitalize() if text[a].isupper() else word
        pieces += [Piece(text[at:a], at, a), Piece(word, a, b)]
        at = b
    return [*pieces, Piece(text[at:], at, len(text))]


@dataclass(frozen=True)
class Reorder(Rewrite):
    """What stands before a joint and what stands after it, exchanged; the joint and a final mark stay."""

    name: ClassVar[str] = "other order of clauses"

    def rewritten(self, text: str, rng: np.random.Generator) -> list[list[Piece]]:
        """One text a joint: ends of sentences, then the joints within."""
        joints = [(a[1], b[0]) for a, b in pairwise(sentences(text))]
        if joints:
            return [_turned(text, *j, len(text.rstrip())) for j in joints]
        body = len(re.sub(r"[\s.!?]+$", "", text))
        for joint in JOINTS:
            joints = [m.span() for m in re.finditer(joint, text[:body]) if m.start() > 0 and m.end() < body]
            if joints:
                return [_turned(text, a, b, body) for a, b in joints if body - b > 3 and a > 3]
        return []


def _turned(text: str, a: int, b: int, end: int) -> list[Piece]:
    """text[b:end] + text[a:b] + text[:a] + text[end:]."""
    return [Piece(text[i:j], i, j) for i, j in ((b, end), (a, b), (0, a), (end, len(text))) if i < j]


@dataclass(frozen=True)
class Paraphrase(Rewrite):
    """Other wordings from a JSONL file of "text" and "paraphrase"; words that stay are matched in order."""

    path: str = ""
    name: ClassVar[str] = "a paraphrase"

    def rewritten(self, text: str, rng: np.random.Generator) -> list[list[Piece]]:
        """One text a paraphrase that the file gives for this text."""
        rows = [row for _, row in rows_of(self.path, "paraphrases")]
        return [aligned(text, str(r["paraphrase"])) for r in rows if r.get("text") == text and r.get("paraphrase")]  # fmt: skip


def aligned(text: str, other: str) -> list[Piece]:
    """A paraphrase as pieces: the longest runs of equal words (case does not matter) stand for each other."""
    a, b = words(text), words(other)
    said = [[t[i:j].lower() for i, j in spans] for t, spans in ((text, a), (other, b))]
    pieces, at = [], 0
    for block in SequenceMatcher(None, *said, autojunk=False).get_matching_blocks():
        for k in range(block.size):
            (start, end), (i, j) = a[block.a + k], b[block.b + k]
            pieces += [Piece(other[at:i]), Piece(other[i:j], start, end)]
            at = j
    return [*pieces, Piece(other[at:])]
