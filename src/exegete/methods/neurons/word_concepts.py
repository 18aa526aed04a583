"""What is known about the words of parsed sentences, as concepts that are on or off at each word.

Concepts of a word: its part of speech; its relation to its head; each of its features ("Number=Plur"); whether its part of speech is
a closed class; its form, for the most frequent ones; whether it is first or last. Each also of the word before ("after DET") and of
the next one ("before DET"). What is on at fewer than `least` of the words to search on, or at all of them, is left out.

Shapes: masks [concept, word] bool. Words are rows, named by sentence and place in it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.errors import InputError
from exegete.core.material import Parsed

# Universal Dependencies: classes that take no new words
CLOSED = frozenset(("ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ"))


@dataclass(frozen=True)
class WordConcepts:
    """Concepts `names` and where they are on: `masks` [concept, row]."""

    names: tuple[str, ...]
    masks: np.ndarray


def word_concepts(
    items: Sequence[Parsed], item: np.ndarray, mark: np.ndarray, searched: np.ndarray, n_words: int, least: int
) -> WordConcepts:  # fmt: skip
    """Concepts of the words `mark` of the sentences `item` [row], neighbours of every word included.

    `searched` [row] indices of those that decide which words are frequent and which concepts are kept. Raises `InputError` where
    none is left.
    """
    lengths = np.array([len(p.words) for p in items])
    start = np.concatenate([[0], np.cumsum(lengths)])
    row = start[item] + mark
    forms = Counter(items[i].words[m].lower() for i, m in zip(item[searched], mark[searched]))
    common = {w for w, n in sorted(forms.items(), key=lambda e: (-e[1], e[0]))[:n_words] if n >= least}
    found: dict[str, list[int]] = {}
    for p, first in zip(items, start):
        for w in range(len(p.words)):
            for name in dict.fromkeys(_said(p, w, common)):
                found.setdefault(name, []).append(int(first) + w)
    names, masks = [], []
    begins, ends = np.zeros(start[-1], dtype=bool), np.zeros(start[-1], dtype=bool)
    begins[start[:-1]], ends[start[1:] - 1] = True, True
    for name in sorted(found):
        here = np.zeros(start[-1], dtype=bool)
        here[found[name]] = True
        # what stands before a first word is another sentence
        for told, mask in (
            (name, here),
            (f"after {name}", np.roll(here, 1) & ~begins),
            (f"before {name}", np.roll(here, -1) & ~ends),
        ):
            names.append(told)
            masks.append(mask[row])
    every = np.stack(masks)
    on = every[:, searched].sum(1)
    kept = (on >= least) & (on < len(searched))
    if not kept.any():
        raise InputError(
            f"You asked for concepts of {len(searched)} words.",
            f"None of {len(names)} is on at {least} of them or more.",
            "Give more sentences, or lower least_words.",
        )
    return WordConcepts(tuple(n for n, k in zip(names, kept) if k), every[kept])


def _said(p: Parsed, w: int, common: set[str]) -> Iterator[str]:
    """The concepts of one word."""
    tag = p.tags[w] if p.tags else ""
    if tag:
        yield tag
    if tag in CLOSED:
        yield "closed class"
    yield f"relation {p.relations[w]}"
    if p.features:
        yield from (f for f in p.features[w].split("|") if "=" in f)
    if p.words[w].lower() in common:
        yield f'"{p.words[w].lower()}"'
    if w == 0:
        yield "first word"
    if w == len(p.words) - 1:
        yield "last word"
