"""A sentence between two trees: what is right and wrong is told by line, colour and words; arcs do not run into each other."""

import io
import re
from itertools import combinations

import pytest
from rich.console import Console

from exegete.core.figure import Arc, Arcs
from exegete.core.results.finding import Finding
from exegete.show.arcs import MOST_WORDS, arcs, levels
from exegete.show.render import page, terminal

WORDS = ("the", "old", "cat", "sat", "here", ".")
GOLD = (
    Arc(head=2, word=0, label="det"), Arc(head=2, word=1, label="amod"), Arc(head=3, word=2, label="nsubj"),
    Arc(head=3, word=4, label="advmod"),
)  # fmt: skip
PREDICTED = (
    Arc(head=2, word=0, label="det"), Arc(head=1, word=2, label="amod"), Arc(head=3, word=2, label="obj"),
    Arc(head=2, word=4, label="advmod"),
)  # fmt: skip


def sentence(directed: bool = True, labels: bool = True) -> Arcs:
    bare = [tuple(a.model_copy(update={} if labels else {"label": ""}) for a in some) for some in (GOLD, PREDICTED)]  # fmt: skip
    return Arcs(title="tree", words=WORDS, gold=bare[0], predicted=bare[1], directed=directed, left_out=(5,))


def sorts(f: Arcs, above: bool) -> list[str]:
    return [a.sort for a in arcs(f).arcs if a.above == above]


def test_right_half_right_wrong_and_missed():
    assert sorts(sentence(), above=False) == ["right", "wrong", "half", "wrong"]
    assert sorts(sentence(), above=True) == ["right", "missed", "half", "missed"]
    assert sorts(sentence(labels=False), above=False) == ["right", "wrong", "right", "wrong"]


def test_without_direction_the_pair_counts():
    assert sorts(sentence(directed=False, labels=False), above=False) == ["right", "right", "right", "wrong"]


def test_arcs_of_one_level_share_no_stretch():
    found = [Arc(head=h, word=w) for h, w in [(0, 5), (1, 3), (2, 4), (5, 6), (3, 2), (6, 0)]]
    level = levels(found)
    for (a, x), (b, y) in combinations(zip(found, level), 2):
        inside = max(min(a.head, a.word), min(b.head, b.word)) < min(max(a.head, a.word), max(b.head, b.word))
        assert not (x == y and inside)
    assert level[3] == 1


def test_a_long_label_pushes_its_words_apart():
    def wide(label: str) -> float:
        one = Arcs(title="", words=("our", "cat"), gold=(Arc(head=1, word=0, label=label),), predicted=())
        left, right = (w.x for w in arcs(one).words)
        return right - left

    assert wide("nmod:poss") > wide("det") == wide("")  # the short one has room enough
    assert wide("nmod:poss") >= 9 * 5 + 2 * (4 + 7)  # the label, and on both sides lean and corner
    assert wide("x" * 50) <= wide("x" * 12)  # a label is cut


def test_every_word_is_reached_by_keyboard_and_says_its_heads():
    class One(Finding):
        def figures(self):
            return (sentence(),)

    html = page(One(title="", lede=""))
    assert html.count('<g class="arc-word') == len(WORDS)
    assert html.count('tabindex="0" role="img"') == len(WORDS)
    assert "old. in the tree: hangs on cat as amod; predicted: root" in html
    assert ".: takes no part" in html
    assert all(f'class="arc {s}"' in html for s in ("right", "half", "wrong", "missed"))


@pytest.mark.parametrize("width", [20, 60])
def test_the_terminal_draws_or_tells(width):
    class One(Finding):
        def figures(self):
            return (sentence(),)

    console = Console(file=io.StringIO(), width=width)
    console.print(terminal(One(title="", lede="")))
    shown = console.file.getvalue()
    assert all(len(line) <= width for line in shown.splitlines())
    if width == 60:
        assert re.search(r"the old cat sat here \.", shown)
        assert "╭" in shown
        assert "╌" in shown
    else:
        assert "╭" not in shown
        assert "cat → here" in shown


def test_long_sentences_are_cut():
    n = MOST_WORDS + 5
    f = Arcs(
        title="", words=("w",) * n, gold=tuple(Arc(head=i, word=i + 1) for i in range(n - 1)), predicted=()
    )
    p = arcs(f)
    assert len(p.words) == MOST_WORDS
    assert p.left_out == 5
    assert len(p.arcs) == MOST_WORDS - 1
