"""Sentiment trees as rationales: the words whose own label leans as the whole sentence does.

    (3 (2 It) (4 (2 's) (4 lovely)))     labels 0 to 4, 2 is neutral

A neutral sentence has no words that decide it and is left out by name. Words stand joined by blanks, as published.
Reference: Socher et al. 2013, Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank.
"""

import re
from collections.abc import Iterable

from exegete.core.rationale import Rationale
from exegete.core.request import Text
from exegete.core.rows import fault, read_text

WHAT = "rationales"
NEUTRAL = 2
_LEAF = re.compile(r"\(([0-4]) ([^()\s]+)\)")
_TREE = re.compile(r"\(([0-4]) .*\)")


def read_phrase_trees(path: str) -> Iterable[tuple[str, Rationale | str]]:
    """Every tree with its place, as a rationale or with the reason why it is none. Raises `InputError` for what is no tree."""
    for n, line in enumerate(read_text(path, WHAT).split("\n"), 1):
        if not line.strip():
            continue
        whole = _TREE.fullmatch(line.strip())
        leaves = _LEAF.findall(line)
        if whole is None or not leaves or line.count("(") != line.count(")"):
            raise fault(path, WHAT, f"Line {n}", "is no tree with labels 0 to 4: (3 (2 It) (4 shines))")
        yield f"Line {n}", _made(int(whole.group(1)), leaves)


def _made(root: int, leaves: list[tuple[str, str]]) -> Rationale | str:
    if root == NEUTRAL:
        return "the sentence is neutral"
    marks, at = [], 0
    for label, word in leaves:
        if (int(label) - NEUTRAL) * (root - NEUTRAL) > 0:
            marks.append((at, at + len(word)))
        at += len(word) + 1
    text = Text(text=" ".join(word for _, word in leaves))
    return Rationale(text=text, label="positive" if root > NEUTRAL else "negative", marks=(tuple(marks),))
