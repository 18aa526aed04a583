"""Pseudo-words: pronounceable strings that are no words, in the place of open-class words, with the endings that show their syntax.

1. the ending of a word is kept where its part of speech has it (-ing, -ed, -s of verbs; -s, -ness, -tion ... of nouns; -ly; -er,
   -est, -ous ...); the rest becomes one to three syllables of English onsets, vowels and codas;
2. of several draws the first is taken that is no known word, was not taken for another word, and costs the model as many
   tokens (`pieces`); else the one that is nearest in tokens;
3. a word becomes the same pseudo-word wherever it stands as the same part of speech; capitals stay.

Cost: `n_draws` strings a word. Reference: Hall Maudslay & Cotterell 2021, "Do Syntactic Probes Probe Syntax? Experiments with
Jabberwocky Probing", sec. 3; Rastle, Harrington & Coltheart 2002 (pseudo-words that can be pronounced).
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np

OPEN = ("NOUN", "VERB", "ADJ", "ADV")
OPEN_RELATIONS = [
    "root",
    "nsubj",
    "obj",
    "iobj",
    "obl",
    "nmod",
    "amod",
    "advmod",
    "conj",
    "xcomp",
    "ccomp",
    "advcl",
    "acl",
    "compound",
    "parataxis",
    "csubj",
]
ENDINGS: dict[str, tuple[str, ...]] = {
    "VERB": ("izing", "ifying", "ing", "ized", "ified", "ed", "izes", "es", "s", "ize", "ify"),
    "NOUN": (
        "nesses", "ments", "tions", "sions", "ities", "ness", "ment", "tion", "sion", "ity", "ships", "ship", "ers", "er", "ies", "es", "s",
    ),
    "ADJ": ("iest", "ier", "est", "ous", "ful", "less", "able", "ible", "ive", "al", "er", "ed", "ing", "ic", "y"),
    "ADV": ("ly",),
    "": ("ing", "ed", "ly", "s"),
}  # fmt: skip
ONSETS = [
    "b",
    "bl",
    "br",
    "c",
    "cl",
    "cr",
    "d",
    "dr",
    "f",
    "fl",
    "fr",
    "g",
    "gl",
    "gr",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "pr",
    "r",
    "s",
    "sc",
    "sk",
    "sl",
    "sm",
    "sn",
    "sp",
    "st",
    "str",
    "t",
    "tr",
    "tw",
    "v",
    "w",
    "z",
    "th",
    "sh",
    "ch",
]
VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "ee", "oa", "oo", "ou"]
CODAS = [
    "",
    *[
        "b",
        "ck",
        "d",
        "ff",
        "g",
        "ld",
        "lf",
        "lk",
        "lm",
        "lt",
        "m",
        "mp",
        "n",
        "nd",
        "ng",
        "nk",
        "nt",
        "p",
        "rb",
        "rd",
        "rf",
        "rk",
        "rm",
        "rn",
        "rp",
        "rt",
        "sk",
        "sp",
        "ss",
        "st",
        "t",
        "x",
    ],
]
LEAST_STEM = 2  # letters before an ending
N_DRAWS = 40


def is_open(tag: str, relation: str) -> bool:
    """Whether a word is of an open class: by its tag, or by its relation where there is none."""
    return tag in OPEN if tag else relation.split(":")[0] in OPEN_RELATIONS


def ending(word: str, tag: str) -> str:
    """The ending that shows the syntax of a word; empty where it has none."""
    low = word.lower()
    for e in ENDINGS.get(tag, ENDINGS[""]):
        if low.endswith(e) and len(low) - len(e) >= LEAST_STEM and not (e == "s" and low.endswith("ss")):
            return e
    return ""


def stem(n_syllables: int, open_end: bool, rng: np.random.Generator) -> str:
    """Syllables; the last has a consonant at its end where no ending follows, or one that begins with a vowel."""
    parts = []
    for k in range(n_syllables):
        last = k == n_syllables - 1
        codas = CODAS if not last or open_end else CODAS[1:]
        coda = codas[rng.integers(len(codas))] if last else ("", "", "n", "r", "l")[rng.integers(5)]
        parts.append(ONSETS[rng.integers(len(ONSETS))] + VOWELS[rng.integers(len(VOWELS))] + coda)
    return "".join(parts)


def pseudo_words(
    words: Sequence[tuple[str, str]],
    known: Collection[str],
    pieces: Callable[[list[str]], list[int]],
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
) -> dict[tuple[str, str], str]:
    """For every (lower-cased word, tag) its pseudo-word. `pieces` says how many tokens the model reads for each of some words."""
    taken, found = {w.lower() for w in known}, {}
    for word, tag in dict.fromkeys(words):
        end = ending(word, tag)
        size = max(1, min(3, round((len(word) - len(end)) / 4)))
        drawn = [stem(size if k < n_draws // 2 else 1 + k % 3, bool(end), rng) + end for k in range(n_draws)]
        fresh = [d for d in dict.fromkeys(drawn) if d not in taken] or [drawn[0] + "x" * len(found)]
        want, *got = pieces([word, *fresh])
        best = min(range(len(fresh)), key=lambda k: (abs(got[k] - want), k))
        found[(word, tag)] = fresh[best]
        taken.add(fresh[best])
    return found


def cased(new: str, old: str) -> str:
    """`new` with the capitals of `old`."""
    if len(old) > 1 and old.isupper():
        return new.upper()
    return new.capitalize() if old[:1].isupper() else new
