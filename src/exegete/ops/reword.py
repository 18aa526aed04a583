"""Steps of a chain said wrongly, or said in other words, by rule: no language model is asked.

mistaken   the first of these that can be done, so that the step says what is not so:
           option    an option of the question that it names becomes another option
           number    its last number becomes another one
           opposite  a word with an opposite becomes it (yes/no, left/right, more/less, ...)
           negation  "is" becomes "is not", and "is not" becomes "is"
reworded   the same said otherwise: connectives and contractions are exchanged, and where none stands, "that is," comes before it;
           numbers, names and negations stay
steps_of   a text cut into its steps: lines, and sentences in them

Cost: linear in the text.
"""

import re
from collections.abc import Sequence

import numpy as np

_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])")
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(]|[a-z]+ )")
_OPPOSITES = (
    ("yes", "no"), ("true", "false"), ("left", "right"), ("leftmost", "rightmost"), ("first", "last"), ("more", "less"),
    ("more", "fewer"), ("before", "after"), ("above", "below"), ("always", "never"), ("older", "newer"), ("older", "younger"),
    ("larger", "smaller"), ("higher", "lower"), ("taller", "shorter"), ("good", "bad"), ("plausible", "implausible"),
    ("possible", "impossible"), ("correct", "wrong"), ("truth", "untruth"), ("alive", "dead"), ("increases", "decreases"),
    ("increased", "decreased"), ("most", "least"), ("all", "none"), ("can", "cannot"),
)  # fmt: skip
_OPPOSITE = dict(reversed(_OPPOSITES)) | {b: a for a, b in reversed(_OPPOSITES)}
_VERBS = "is|are|was|were|does|do|did|has|have|had|will|would|could|should"
_SAME = (
    ("so", "therefore"), ("because", "since"), ("do not", "don't"), ("does not", "doesn't"), ("is not", "isn't"),
    ("are not", "aren't"), ("cannot", "can't"), ("also", "in addition"), ("but", "however"), ("thus", "hence"),
    ("in total", "altogether"), ("each", "every single"), ("we know that", "it is known that"), ("then", "after that"),
)  # fmt: skip


def mistaken(step: str, options: Sequence[str], draw: np.random.Generator) -> tuple[str, str] | None:
    """(the step with a mistake in it, which rule made it); None where no rule fits."""
    for name, rule in (
        ("option", _swapped),
        ("number", _counted),
        ("opposite", _opposed),
        ("negation", _negated),
    ):
        found = rule(step, options, draw)
        if found is not None and found != step:
            return found, name
    return None


def reworded(step: str) -> str:
    """The step in other words."""
    found = step
    for a, b in _SAME:
        pattern = re.compile(rf"(?<!\w)({re.escape(a)}|{re.escape(b)})(?!\w)", re.IGNORECASE)
        found = pattern.sub(lambda m, a=a, b=b: _cased(b if m[0].lower() == a else a, m[0]), found)
    return f"that is, {found}" if found == step else found


def steps_of(text: str, most: int | None = None) -> tuple[str, ...]:
    """The steps of a chain: its lines, cut after every sentence; at most `most`, from the first."""
    lines = [line.strip() for line in text.splitlines()]
    return tuple(s.strip() for line in lines for s in _END.split(line) if s.strip())[:most]


def names(word: str, text: str) -> bool:
    """Whether a text holds a word (or words) as such, whatever the case."""
    return _where(word, text) is not None


def _where(word: str, text: str) -> re.Match[str] | None:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)


def _swapped(step: str, options: Sequence[str], draw: np.random.Generator) -> str | None:
    telling = [
        o for o in options if len(o) > 3 or not o.isalpha()
    ]  # "no" stands in many a sentence for something else
    named = [o for o in telling if names(o, step)]
    others = [o for o in telling if o not in named]
    if not named or not others:
        return None
    hit = _where(max(named, key=len), step)
    return None if hit is None else step[: hit.start()] + str(draw.choice(others)) + step[hit.end() :]


def _counted(step: str, _: Sequence[str], draw: np.random.Generator) -> str | None:
    hits = list(_NUMBER.finditer(step))
    if not hits:
        return None
    said = hits[-1][0].rstrip(",")
    value, digits = float(said.replace(",", "")), len(said.split(".")[1]) if "." in said else 0
    other = value + int(draw.integers(1, 10))
    told = f"{other:,.{digits}f}" if "," in said else f"{other:.{digits}f}"
    return step[: hits[-1].start()] + told + step[hits[-1].start() + len(said) :]


def _opposed(step: str, _: Sequence[str], __: np.random.Generator) -> str | None:
    for m in re.finditer(r"\w+", step):
        if m[0].lower() in _OPPOSITE:
            return step[: m.start()] + _cased(_OPPOSITE[m[0].lower()], m[0]) + step[m.end() :]
    return None


def _negated(step: str, _: Sequence[str], __: np.random.Generator) -> str | None:
    said = re.search(rf"\b({_VERBS}) not\b|\b({_VERBS})n't\b", step, re.IGNORECASE)
    if said is not None:
        return step[: said.start()] + (said[1] or said[2]) + step[said.end() :]
    verb = re.search(rf"\b({_VERBS})\b", step, re.IGNORECASE)
    return None if verb is None else f"{step[: verb.end()]} not{step[verb.end() :]}"


def _cased(word: str, like: str) -> str:
    return word[:1].upper() + word[1:] if like[:1].isupper() else word
