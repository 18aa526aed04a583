"""A sentence between two trees: the gold arcs above the words, the predicted ones below, as lines of an svg.

1. arcs are stacked: each stands one level above the highest arc under it, shorter ones first, so that no two run along one line;
2. a predicted arc is right (blue, solid), half right (violet, dotted: the ends are right, the label is not) or wrong (orange,
   dashed); a gold arc is found (blue) or missed (grey, dashed). Colour is never alone: the lines differ too;
3. every word can be reached with the keyboard, and says its heads and whether they agree.

Cost: O(arcs * words).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from exegete.core.figure import Arc, Arcs
from exegete.show.words import one_line

STEP, LETTER, GAP, MARGIN = 19, 7.4, 16, 34  # units of the svg: a level, a letter, between words, at the ends
SMALL, CORNERS = (
    5.4,
    28,
)  # a letter of a label; what an arc needs beside its label: lean, corners, a bit of line
ROOM = 18  # between a word's middle line and where its arcs begin
MOST_WORDS = 60
KEY = (
    ("right", "predicted, and in the tree"),
    ("half", "right ends, another relation"),
    ("wrong", "predicted, not in the tree"),
    ("missed", "in the tree, not predicted"),
)


@dataclass(frozen=True)
class WordPicture:
    """A word at its place; `out` takes no part."""

    text: str
    x: float
    wide: float
    tip: str
    out: bool


@dataclass(frozen=True)
class ArcPicture:
    """An arc: its line, arrow head and label in the svg; for a terminal its ends (places of words), side and level."""

    path: str
    point: str
    label: str
    x: float
    y: float
    sort: str
    tip: str
    ends: tuple[int, int]
    above: bool
    level: int


@dataclass(frozen=True)
class ArcsPicture:
    """Words and arcs; `key` explains the kinds of lines that occur."""

    title: str
    caption: str
    words: tuple[WordPicture, ...]
    arcs: tuple[ArcPicture, ...]
    key: tuple[tuple[str, str], ...]
    base: float
    width: float
    height: float
    left_out: int
    kind: str = "arcs"


def arcs(f: Arcs) -> ArcsPicture:
    """The picture of a sentence; words beyond `MOST_WORDS` and arcs to them are left out."""
    n = min(len(f.words), MOST_WORDS)
    gold, predicted = ([a for a in some if max(a.head, a.word) < n and min(a.head, a.word) >= 0] for some in (f.gold, f.predicted))  # fmt: skip
    texts = [one_line(w, 20) for w in f.words[:n]]
    wide = [LETTER * len(t) + 8 for t in texts]
    middle = _places(wide, [a for a in (*gold, *predicted) if a.label])
    x = middle[-1] + wide[-1] / 2 + GAP if wide else float(MARGIN)
    up, down = levels(gold), levels(predicted)
    base = ROOM + STEP * max(up, default=0) + 26
    height = base + ROOM + STEP * max(down, default=0) + 26
    mine, other = _ends(predicted, f.directed), _ends(gold, f.directed)
    drawn = [
        *(_arc(f, a, level, True, _sort(a, mine, f, "missed"), middle, base) for a, level in zip(gold, up)),
        *(_arc(f, a, level, False, _sort(a, other, f, "wrong"), middle, base) for a, level in zip(predicted, down)),
    ]  # fmt: skip
    words = tuple(
        WordPicture(t, middle[i], round(wide[i], 1), _told(f, i), i in f.left_out)
        for i, t in enumerate(texts)
    )
    there = {a.sort for a in drawn}
    key = tuple((sort, said) for sort, said in KEY if sort in there)
    return ArcsPicture(
        f.title, f.caption, words, tuple(drawn), key, float(base), round(x - GAP + MARGIN, 1), float(height), len(f.words) - n
    )  # fmt: skip


def _places(wide: Sequence[float], labelled: Sequence[Arc]) -> list[float]:
    """Middles of the words: apart from each other, and so far that the label of every arc leaves its corners to be seen."""
    middle: list[float] = []
    for i, w in enumerate(wide):
        least = [middle[-1] + wide[i - 1] / 2 + GAP + w / 2 if middle else MARGIN + w / 2]
        for a in labelled:
            if max(a.head, a.word) == i > min(a.head, a.word):
                least.append(middle[min(a.head, a.word)] + SMALL * len(one_line(a.label, 12)) + CORNERS)
        middle.append(round(max(least), 1))
    return middle


def levels(found: Sequence[Arc]) -> list[int]:
    """The level of every arc, from 1: one above the highest of the shorter arcs that share a stretch with it."""
    level = [0] * len(found)
    order = sorted(range(len(found)), key=lambda i: (abs(found[i].head - found[i].word), i))
    for n, i in enumerate(order):
        a, b = sorted((found[i].head, found[i].word))
        under = [
            level[j] for j in order[:n] if min(b, max(found[j].head, found[j].word)) > max(a, min(found[j].head, found[j].word))
        ]  # fmt: skip
        level[i] = 1 + max(under, default=0)
    return level


def _ends(found: Sequence[Arc], directed: bool) -> dict[tuple[int, int], str]:
    """Labels of arcs by their ends."""
    return {_pair(a, directed): a.label for a in found}


def _pair(a: Arc, directed: bool) -> tuple[int, int]:
    return (a.head, a.word) if directed else (min(a.head, a.word), max(a.head, a.word))


def _sort(a: Arc, other: dict[tuple[int, int], str], f: Arcs, alone: str) -> str:
    """right, half (another label), or `alone` where the other tree has no such arc."""
    label = other.get(_pair(a, f.directed))
    if label is None:
        return alone
    return "right" if not (label and a.label) or label == a.label else "half"


def _arc(
    f: Arcs, a: Arc, level: int, above: bool, sort: str, middle: Sequence[float], base: float
) -> ArcPicture:
    """A line with round corners; arcs to the right leave a word right of its middle, so that they do not run into each other."""
    sign = -1 if above else 1
    lean = 4 if a.word > a.head else -4
    start, end = middle[a.head] + lean, middle[a.word] - lean
    foot, top = base - 4 + sign * ROOM, base - 4 + sign * (ROOM + STEP * level)
    turn, r = (1 if end > start else -1) * min(7.0, abs(end - start) / 2), sign * 7.0
    path = (
        f"M{start:.1f},{foot:.1f} V{top - r:.1f} Q{start:.1f},{top:.1f} {start + turn:.1f},{top:.1f} "
        f"H{end - turn:.1f} Q{end:.1f},{top:.1f} {end:.1f},{top - r:.1f} V{foot:.1f}"
    )
    tip = foot - sign * 5
    point = f"{end - 4:.1f},{foot:.1f} {end + 4:.1f},{foot:.1f} {end:.1f},{tip:.1f}" if f.directed else ""
    words = {
        "right": "right",
        "half": "right ends, another relation",
        "wrong": "not in the tree",
        "missed": "not predicted",
    }
    join = "→" if f.directed else "–"
    said = (
        f"{f.words[a.head]} {join} {f.words[a.word]}{', ' + a.label if a.label else ''}: "
        f"{'in the tree, ' if above else 'predicted, '}{'predicted too' if above and sort == 'right' else words[sort]}"
    )
    return ArcPicture(
        path, point, one_line(a.label, 12), round((start + end) / 2, 1), round(top + 3.5, 1), sort, one_line(said),
        (a.head, a.word), above, level,
    )  # fmt: skip


def _told(f: Arcs, i: int) -> str:
    """A word and what it is joined to, in both trees."""
    if i in f.left_out:
        return one_line(f"{f.words[i]}: takes no part")
    told = []
    for name, found in (("in the tree", f.gold), ("predicted", f.predicted)):
        if f.directed:
            heads = [a for a in found if a.word == i]
            words = [f"hangs on {f.words[a.head]}{' as ' + a.label if a.label else ''}" for a in heads] or [
                "root"
            ]
        else:
            words = [f"joined to {f.words[a.word if a.head == i else a.head]}" for a in found if i in (a.head, a.word)] or ["alone"]  # fmt: skip
        told.append(f"{name}: {', '.join(words)}")
    return one_line(f"{f.words[i]}. {'; '.join(told)}")
