"""Synthetic modules: functions of text that are known, for those who describe modules; and unit tests of a description.

    functions()      functions from words to numbers, each with what it does in words and pairs of texts that test it
    unit_tests       share of the pairs for which what a description foretells is higher on the text where the function is on
    indicator        correlation of what a description foretells with what the function does, on texts that it was not made from
    embedded         the description that the embedded writer (`ops.clues`) makes of a function

A pair differs in one word, and in that alone the function is on in one text and off in the other: a description that names the right
words with the wrong condition fails it. A description that says nothing gets one half, and a correlation of 0.

Cost: no pass. Shapes: a function gives [word]. Reference: Schwettmann et al. 2023, "FIND: A Function Description Benchmark for
Evaluating Interpretability Methods"; Singh et al. 2023 (SASC, synthetic modules).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from exegete.ops.clues import Clues, describe

Foretells = Callable[[Sequence[str]], np.ndarray]
ANIMALS = ("cat", "horse", "crow", "trout", "goat")
ENDED = ("running", "singing", "melting", "falling")
PLAIN = (
    "the",
    "here",
    "again",
    "often",
    "paper",
    "window",
    "maybe",
    "street",
    "number",
    "morning",
    "corner",
    "table",
)
SWITCH, KEY, LOCK, DENIAL = "but", "old", "lamp", "no"
POOL = (*ANIMALS, *ENDED, *PLAIN, SWITCH, KEY, LOCK, DENIAL)
LENGTH = 8


@dataclass(frozen=True)
class Function:
    """A function of words: `f` gives a number a word; `tests` are pairs of texts (on, off) that differ in one word."""

    name: str
    says: str
    f: Foretells
    tests: tuple[tuple[str, str], ...]


def functions() -> tuple[Function, ...]:
    """All of them: a word, a kind of word, an ending, a word after another, anything after a word, a word unless another was there."""
    return (
        Function("word", "1 on 'lamp'", lambda t: _on(w == LOCK for w in t), _pairs(LOCK, PLAIN[:4])),
        Function(
            "kind", "1 on animals", lambda t: _on(w in ANIMALS for w in t), tuple(p for a in ANIMALS for p in _pairs(a, PLAIN[:1]))
        ),
        Function(
            "ending", "1 on words that end in 'ing'", lambda t: _on(w.endswith("ing") for w in t),
            tuple(p for w in ENDED for p in _pairs(w, ANIMALS[:1])),
        ),
        Function(
            "after", "1 on 'lamp' right after 'old'", lambda t: _on(w == LOCK and b == KEY for b, w in zip(["", *t], t)),
            tuple((f"{a} {KEY} {LOCK} here", f"{a} {other} {LOCK} here") for a in PLAIN[:2] for other in (*PLAIN[3:5], DENIAL)),
        ),
        Function(
            "since", "1 on every word after 'but'", lambda t: _on(SWITCH in t[:i] for i in range(len(t))),
            tuple((f"the {SWITCH} {a} here", f"the {other} {a} here") for a in ANIMALS[:3] for other in (KEY, DENIAL)),
        ),
        Function(
            "unless", "1 on animals unless 'no' was there before", lambda t: _on(w in ANIMALS and DENIAL not in t[:i] for i, w in enumerate(t)),
            tuple((f"the {other} {a} here", f"the {DENIAL} {a} here") for a in ANIMALS[:3] for other in (KEY, SWITCH)),
        ),
    )  # fmt: skip


def texts_for(n: int, seed: int) -> list[list[str]]:
    """Texts of words at random, of which the pair stands together in some."""
    random = Random(f"functions-{seed}")
    found = []
    for _ in range(n):
        words = [random.choice(POOL) for _ in range(LENGTH)]
        if random.random() < 0.3:
            at = random.randrange(LENGTH - 1)
            words[at : at + 2] = [KEY, LOCK]
        found.append(words)
    return found


def embedded(function: Function, n: int = 120, seed: int = 0) -> Clues:
    """What the embedded writer says of a function, from `n` texts with its values."""
    return describe([(t, function.f(t)) for t in texts_for(n, seed)])


def unit_tests(foretells: Foretells, function: Function) -> float:
    """The share of pairs that a description tells the right way round; ties are one half."""
    gaps = [_most(foretells, on) - _most(foretells, off) for on, off in function.tests]
    return float(np.mean([0.5 if abs(g) < 1e-9 else float(g > 0) for g in gaps]))


def indicator(foretells: Foretells, function: Function, n: int = 60, seed: int = 1) -> float:
    """The correlation of what is foretold with the function, over the words of other texts; 0 for what foretells one number."""
    texts = texts_for(n, seed)
    told = np.concatenate([np.asarray(foretells(t), float) for t in texts])
    real = np.concatenate([function.f(t) for t in texts])
    return float(np.corrcoef(told, real)[0, 1]) if np.ptp(told) > 0 else 0.0


def _most(foretells: Foretells, text: str) -> float:
    """What is foretold of a whole text: the sum over its words, so that one that should be off counts too."""
    return float(np.asarray(foretells(text.split()), float).sum())


def _on(told: Iterable[bool]) -> np.ndarray:
    return np.array([float(x) for x in told])


def _pairs(word: str, others: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"again {word} here", f"again {o} here") for o in others)
