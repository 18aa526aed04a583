"""Other questions of the same kind, and what an explanation lets one say about them. No language model is asked.

    varied     the question with some of its words exchanged, in the question and its lead alike, for words that stand in a like place of
               other questions (`exchangeable`)
    inferred   what an explanation says of a question, by rule: a sentence that names one option says that option of every question which
               holds all the words of the sentence that could stand in such a question (its cues). An explanation that names no option
               speaks of the answer that it explains. Without a cue, or where sentences say different options, nothing can be said
    alike      how much questions have in common: the mean overlap of their words (Jaccard) over pairs

Words are compared without regard to case; words that stand in any text ("the", "is") are no cues and are not exchanged.

Cost: linear in the texts. Reference: Chen, Y. et al. 2023 (arXiv:2307.08678), sec. 3.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.material import Choice
from exegete.ops.reword import names, steps_of

_WORD = re.compile(r"\w+")
_COMMON = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "can",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "how",
        "i",
        "if",
        "in",
        "is",
        "it",
        "its",
        "may",
        "me",
        "my",
        "no",
        "not",
        "of",
        "on",
        "or",
        "our",
        "she",
        "so",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)
_TRIES = 10  # draws a question that is wanted


@dataclass(frozen=True)
class Other:
    """A question like another one: its words, and what stands before its answer."""

    question: str
    lead: str

    @property
    def text(self) -> str:
        """All that tells it from others."""
        return f"{self.question} {self.lead}"


def content(text: str) -> tuple[str, ...]:
    """The words of a text that do not stand in any text, each once, as they come, in lower case."""
    return tuple(dict.fromkeys(w for w in _WORD.findall(text.lower()) if w not in _COMMON))


def exchangeable(questions: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """For every word of questions, the words that stand in a like place: after the same word somewhere, or before the same one."""
    around: dict[tuple[str, str], set[str]] = {}
    places: dict[str, set[tuple[str, str]]] = {}
    for q in questions:
        words = ["", *_WORD.findall(q.lower()), ""]
        for before, word, after in zip(words, words[1:], words[2:]):
            for place in (("after", before), ("before", after)):
                if word not in _COMMON:
                    around.setdefault(place, set()).add(word)
                    places.setdefault(word, set()).add(place)
    return {w: tuple(sorted(set().union(*(around[p] for p in at)) - {w})) for w, at in places.items()}


def varied(
    q: Choice, lead: str, pool: dict[str, tuple[str, ...]], n: int, most: int, draw: np.random.Generator
) -> tuple[Other, ...]:
    """At most `n` different questions with one to `most` words exchanged for words of their `pool`; fewer where there are no more."""
    own = content(q.question)
    new = {w: [x for x in pool.get(w, ()) if x not in own] for w in own}
    open_to = [w for w in own if new[w]]
    found: dict[Other, None] = {}
    for _ in range(_TRIES * n if open_to else 0):
        k = int(draw.integers(1, min(most, len(open_to)) + 1))
        turned = {str(w): str(draw.choice(new[w])) for w in draw.choice(open_to, k, replace=False).tolist()}
        found.setdefault(Other(_exchanged(q.question, turned), _exchanged(lead, turned)))
        if len(found) == n:
            break
    return tuple(found)


def inferred(
    why: str, asked: Sequence[str], options: Sequence[str], answer: int, words: frozenset[str]
) -> np.ndarray:
    """The option [question] that an explanation of `answer` says of each question asked, -1 for none.

    `words` are all that could stand in a question.
    """
    sentences = [(s, [k for k, o in enumerate(options) if names(o, s)]) for s in steps_of(why)]
    if not any(named for _, named in sentences):
        sentences = [(why, [answer])]
    rules = []
    for sentence, named in sentences:
        if len(named) == 1:
            cues = {w for w in content(sentence) if w in words} - set(content(options[named[0]]))
            rules.append((cues, named[0]))
    found = []
    for text in asked:
        there = set(content(text))
        said = {option for cues, option in rules if cues and cues <= there}
        found.append(said.pop() if len(said) == 1 else -1)
    return np.array(found, dtype=np.int64)


def overlap(texts: Sequence[str]) -> np.ndarray:
    """Jaccard overlap [text, text] of the words of every two texts; 1 for two without any."""
    bags = [set(content(t)) for t in texts]
    return np.array([[len(a & b) / len(a | b) if a | b else 1.0 for b in bags] for a in bags])


def alike(shared: np.ndarray, some: np.ndarray) -> float:
    """Mean of `shared` [text, text] over the pairs of `some` of the texts (by number); NaN for fewer than two."""
    upper = np.triu_indices(len(some), 1)
    return float(shared[np.ix_(some, some)][upper].mean()) if len(some) > 1 else float("nan")


def _exchanged(text: str, turned: dict[str, str]) -> str:
    """The text with words exchanged; a capital stays one."""
    parts = re.split(r"(\w+)", text)
    for i in range(1, len(parts), 2):
        word = turned.get(parts[i].lower(), parts[i])
        parts[i] = word[:1].upper() + word[1:] if parts[i][:1].isupper() else word
    return "".join(parts)
