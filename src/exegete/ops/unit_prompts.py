"""Questions about a unit for a language model that writes, and how its answers are read. Words and numbers only; no model.

    writing     strongest texts, each token followed by its activation in brackets  ->  a sentence
    simulating  description and tokens, one a line         ->  one whole number from 0 to 10 a token
    detecting   description and a text                     ->  does the unit fire in it? yes or no
    marking     description and a text with a marked token ->  does the unit fire on it? yes or no
    choosing    description and numbered texts             ->  the number of the one in which the unit does not fire

Activations are told as whole numbers from 0 (none, or below) to 10 (the unit's largest), as in the reference, so that units of
any size are told alike. `expected`: where the answer comes with the alternatives of every token, a number is the mean over those
that are numbers, weighted by their probabilities: a judge in doubt between 3 and 8 is heard as in doubt.

Cost: linear in the text. Reference: Bills et al. 2023 (0 to 10, expected values); Paulo et al. 2024 (yes or no).
"""

import math
import re
from collections.abc import Sequence

import numpy as np

from exegete.ops.replies import numbers

HIGH = 10
Steps = Sequence[
    Sequence[tuple[str, float]]
]  # the alternatives of every token said: (token, log-probability)
_LINE = re.compile(r"(?m)^\s*(\d{1,3})[.):]\s")
_SAID = re.compile(r"(?m)^\s*\d{1,3}[.):]\s+(\d{1,2})\s*$")


def told(values: np.ndarray, peak: float) -> np.ndarray:
    """Activations [token] as whole numbers 0 to 10, `peak` as 10; all 0 for a unit that is never above 0."""
    if peak <= 0:
        return np.zeros(len(values), dtype=np.int64)
    return np.clip(np.round(HIGH * np.asarray(values) / peak), 0, HIGH).astype(np.int64)


def writing(excerpts: Sequence[tuple[Sequence[str], np.ndarray]]) -> str:
    """The question for a description, from (tokens, whole numbers [token])."""
    lines = [joined(ts, [f"{t}[{a}]" if a else t for t, a in zip(ts, v.tolist())]) for ts, v in excerpts]
    texts = "\n".join(f"- {_one_line(x)}" for x in lines)
    return (
        f"Texts, and in brackets how strongly one unit fires on a token (1 to {HIGH}):\n{texts}\n"
        "In one short sentence: what does it fire on?"
    )


def simulating(words: str, tokens: Sequence[str]) -> str:
    """The question for one number a token."""
    rows = "\n".join(f"{i}. {_one_line(t) or '(blank)'}" for i, t in enumerate(tokens, 1))
    return (
        f"A unit of a language model fires on: {words}\nHow strongly does it fire on each of these {len(tokens)} tokens of "
        f"one text, from 0 (not at all) to {HIGH}?\n{rows}\nAnswer with {len(tokens)} lines, each the number of the token, a "
        "point and your number, such as '1. 0', and nothing else."
    )


def detecting(words: str, tokens: Sequence[str]) -> str:
    """The question whether a text sets the unit off."""
    return (
        f"A unit of a language model fires on: {words}\nText: {_one_line(joined(tokens, tokens))}\n"
        "Does it fire strongly anywhere in this text? Answer yes or no."
    )


def marking(words: str, tokens: Sequence[str], at: int) -> str:
    """The question whether token `at` sets the unit off."""
    spaced = tokens[at][: len(tokens[at]) - len(tokens[at].lstrip())]
    shown = [f"{spaced}<<{t.strip()}>>" if i == at else t for i, t in enumerate(tokens)]
    text = joined(tokens, shown)
    return (
        f"A unit of a language model fires on: {words}\nText: {_one_line(text)}\n"
        "Does it fire strongly on the token between << and >>? Answer yes or no."
    )


def choosing(words: str, texts: Sequence[Sequence[str]]) -> str:
    """The question which of some texts does not set the unit off."""
    rows = "\n".join(f"Text {i}: {_one_line(joined(t, t))}" for i, t in enumerate(texts, 1))
    return (
        f"A unit of a language model fires on: {words}\n{rows}\nIn one of these texts it does not fire strongly. Which one? "
        f"Answer with its number, 1 to {len(texts)}, and nothing else."
    )


def choice(text: str, n: int) -> int | None:
    """Which of `n` texts an answer names, from 0; None where it names none, or several."""
    found = numbers(text, 1, 1.0, float(n))
    return int(found[0]) - 1 if found and found[0].is_integer() else None


def simulated(text: str, n: int, steps: Steps = ()) -> np.ndarray | None:
    """Activations [n] from an answer; None for prose, too many or too few numbers, or numbers that are not from 0 to 10.

    Numbered lines must be numbered 1 to `n`: half as many of them hold as many numbers as tokens.
    """
    lines = [int(x) for x in _LINE.findall(text)]
    if lines and lines != list(range(1, n + 1)):
        return None
    found = numbers(text, n, 0.0, float(HIGH))
    if found is None:
        return None
    means = expected(text, n, steps) if steps else None
    return np.array(found) if means is None else means


def expected(text: str, n: int, steps: Steps) -> np.ndarray | None:
    """Mean number of each of `n` numbered lines over the alternatives; None where the steps do not spell the text.

    At each step the first alternative is taken to be what was said, as it is in an answer without sampling. A number that was
    said in several tokens stands as it is.
    """
    pieces = [s[0][0] if s else "" for s in steps]
    whole = "".join(pieces)
    start = whole.find(text) if text else -1
    said = list(_SAID.finditer(text))
    if start < 0 or len(said) != n:
        return None
    ends = np.cumsum([len(p) for p in pieces])
    out = np.zeros(n)
    for i, m in enumerate(said):
        first, last = (int(np.searchsorted(ends, start + c, "right")) for c in (m.start(1), m.end(1) - 1))
        own = float(m[1])
        out[i] = _mean(steps[first], own) if first == last and pieces[first].strip() == m[1] else own
    return out


def _mean(alternatives: Sequence[tuple[str, float]], said: float) -> float:
    """The mean of the alternatives that are whole numbers from 0 to 10."""
    held = [(int(t), math.exp(p)) for t, p in alternatives if t.strip().isdecimal() and int(t) <= HIGH]
    mass = sum(p for _, p in held)
    return sum(v * p for v, p in held) / mass if mass > 0 else said


def joined(tokens: Sequence[str], shown: Sequence[str]) -> str:
    """One text from tokens `shown` in the place of `tokens`. Where no token brings its own blank, as in WordPiece, blanks are put in
    between, but before pieces of words (##).
    """
    if any(t[:1].isspace() for t in tokens[1:]):
        return "".join(shown)
    return "".join(s[2:] if s.startswith("##") else f" {s}" for s in shown).strip()


def _one_line(text: str) -> str:
    return " ".join(text.split())
