"""Minimal phrases (chunks) of a parsed sentence: noun, verb, adjective, adverb and preposition phrases that hold no other.

1. a word may join its head's phrase: determiners, adjectives, numbers, compounds and possessors a noun; auxiliaries a verb;
   degree words an adjective or adverb; a possessive mark the noun before it, a hyphen its compound;
2. it joins where everything between the two joins too (a phrase is one stretch), else it begins a phrase of its own;
3. a phrase is named by the part of speech of its head, and its words B-NAME, then I-NAME; words of no phrase are O.

Cost: at most quadratic in the words of a sentence. Reference: Tjong Kim Sang & Buchholz 2000 (CoNLL chunks), here from trees.
"""

from exegete.core.material import Parsed

_NOUN = ("det", "amod", "nummod", "compound", "flat", "nmod:poss", "goeswith", "fixed")
_NAMES = {
    "NP": ("NOUN", "PROPN", "PRON", "NUM", "DET", "SYM"),
    "VP": ("VERB", "AUX"),
    "ADJP": ("ADJ",),
    "ADVP": ("ADV",),
    "PP": ("ADP",),
    "SBAR": ("SCONJ",),
}
_NAME = {tag: name for name, tags in _NAMES.items() for tag in tags}


def chunks(s: Parsed) -> tuple[str, ...]:
    """The label of every word."""
    into = [h if h >= 0 and _joins(s, i) else -1 for i, h in enumerate(s.heads)]
    loose = [0]
    while loose:
        top = [_top(into, i) for i in range(len(into))]
        loose = [i for i, h in enumerate(into) if h >= 0 and any(top[k] != top[i] for k in _between(i, h))]
        for i in loose:
            into[i] = -1
    labels = []
    for i, head in enumerate(top):
        name = _NAME.get(s.tags[head], "") if s.tags else ""
        first = i == 0 or top[i - 1] != head
        labels.append(f"{'B' if first else 'I'}-{name}" if name else "O")
    return tuple(labels)


def _joins(s: Parsed, i: int) -> bool:
    relation, base, head = s.relations[i], s.relations[i].split(":")[0], s.heads[i]
    tag = s.tags[head] if s.tags else ""
    if base == "advmod":
        return tag in ("ADJ", "ADV") and i < head
    if base in ("aux", "auxpass"):
        return tag in ("VERB", "AUX")
    if base == "case":
        return i > head and tag in ("NOUN", "PROPN", "PRON")  # the possessive mark
    if base == "punct":
        return s.words[i] in ("-", "/") and tag in ("NOUN", "PROPN", "NUM", "ADJ")
    return relation in _NOUN or base in _NOUN


def _top(into: list[int], i: int) -> int:
    for _ in into:  # a treebank with a cycle must not hang
        if into[i] < 0:
            break
        i = into[i]
    return i


def _between(a: int, b: int) -> range:
    return range(min(a, b) + 1, max(a, b))
