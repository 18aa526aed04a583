"""Findings are drawn on every surface: each kind of figure, hostile text escaped, numbers where they belong."""

import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from exegete.core.figure import Arc, Arcs, Curves, Edge, Graph, Grid, Maps, Node, Series, Table, Tokens
from exegete.core.results.finding import Finding
from exegete.core.trust import Check, Score, Trust
from exegete.show.figures import curves, graph, picture, steps
from exegete.show.render import notebook, page, terminal
from exegete.show.views.finding import context_words

HOSTILE = "<script>alert(1)</script>\"'&\u202e"
GRID = Grid(
    title="grid", values=np.array([[0.5, -1.0], [np.nan, 0.25]]), rows=("layer 0", HOSTILE), columns=("a", HOSTILE),
    row_axis="layer", column_axis="token", unit="logit", texts=(("x", "y"), (HOSTILE, "z")), marked=((0, 1),),
)  # fmt: skip
CURVES = Curves(
    title="curves", x=np.arange(5.0), x_axis="layer", y_axis="KL", marks=((2.0, HOSTILE),),
    series=(
        Series(name="this", y=np.array([0, 1, 2, 1, np.nan]), low=np.zeros(5), high=np.full(5, 3.0)),
        Series(name=HOSTILE, y=np.ones(5), control=True),
    ),
)  # fmt: skip
GRAPH = Graph(
    title="graph", nodes=(Node(name="embed", level=0), Node(name="0.h1", level=1), Node(name=HOSTILE, level=2)),
    edges=(Edge(source="embed", target="0.h1", weight=1.0, sort="q"), Edge(source="0.h1", target=HOSTILE, weight=-0.5)),
)  # fmt: skip
TABLE = Table(title="table", columns=("word", "n"), rows=((HOSTILE, 0.123456), ("b", None), ("c", 3)))
MAPS = Maps(
    title="maps", patterns=np.eye(3)[None].repeat(2, 0), names=("0.h0", "0.h1"), groups=("layer 0", "layer 0"),
    queries=("a", "b", HOSTILE), keys=("a", "b", HOSTILE),
)  # fmt: skip
TOKENS = Tokens(title="tokens", tokens=("a", HOSTILE), values=np.array([0.2, 1.0]))
ARCS = Arcs(
    title="arcs", words=("the", HOSTILE, "sat", "."), left_out=(3,),
    gold=(Arc(head=1, word=0, label="det"), Arc(head=2, word=1, label=HOSTILE)),
    predicted=(Arc(head=1, word=0, label="det"), Arc(head=0, word=2, label="x")),
)  # fmt: skip
FIGURES = {f.kind: f for f in (GRID, CURVES, GRAPH, TABLE, MAPS, TOKENS, ARCS)}


class Sample(Finding):
    """A finding of any figures."""

    def figures(self):
        return tuple(FIGURES.values())


SCORE = Score(name="score", value=1.0, control=0.5, control_name="noise", interval=(0.8, 1.2), n=3)
SAMPLE = Sample(
    title="What?", lede="This.", context=(("clean", f"mary gave {HOSTILE}"), ("corrupt", f"john gave {HOSTILE}")),
    trust=Trust(scores=(SCORE,)), checks=(Check.at_most("model untouched", 0.0, 0.0),),
)  # fmt: skip


def text_of(result, width=80, color=False) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=color, color_system="truecolor" if color else None
    )
    console.print(terminal(result))
    return console.file.getvalue()


@pytest.mark.parametrize("surface", [page, notebook], ids=["page", "notebook"])
def test_hostile_text_is_escaped_everywhere(surface):
    html = surface(SAMPLE)
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert html.count("&lt;script&gt;") >= 6
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", html)


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("color", [False, True])
def test_the_terminal_shows_every_figure_within_its_width(width, color):
    shown = text_of(SAMPLE, width, color)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert all(len(line) <= width for line in plain.splitlines())
    for kind in FIGURES:
        assert kind in plain
    assert "\u202e" not in plain
    assert "embed → 0.h1 q: +1.00" in plain


def test_a_failed_check_comes_first():
    bad = SAMPLE.model_copy(update={"checks": (Check.at_most("model untouched", 1.0, 0.0, "moved"),)})
    assert "do not rely on this" in text_of(bad)
    assert page(bad).index("do not rely on this") < page(bad).index('class="grid"')


def test_what_does_not_fit_is_said_and_the_last_tokens_are_kept():
    wide = Grid(
        title="wide", values=np.ones((2, 60)), rows=("a", "b"), columns=tuple(f"t{i}" for i in range(60)), row_axis="layer",
        column_axis="token",
    )  # fmt: skip

    class Wide(Finding):
        def figures(self):
            return (wide,)

    shown = text_of(Wide(title="", lede=""), 80)
    assert "t59" in shown
    assert " t0 " not in shown
    assert re.search(r"\d+ columns more: --html FILE shows them, --out FILE saves all", shown)
    assert "t0" in page(Wide(title="", lede=""))


NAMES = ("before the change", "behind the change", "coordinate structure constraint")


@pytest.mark.parametrize("width", [50, 80, 120])
def test_names_of_a_matrix_are_wrapped_at_spaces_and_whole_on_the_page(width):
    class Named(Finding):
        def figures(self):
            grid = Grid(
                title="named",
                values=np.ones((3, 3)),
                rows=NAMES,
                columns=NAMES,
                row_axis="from",
                column_axis="to",
            )
            return (grid,)

    shown = text_of(Named(title="", lede=""), width)
    assert "…" not in shown
    for name in NAMES:
        assert all(shown.split().count(word) >= 2 for word in name.split())
        assert page(Named(title="", lede="")).count(f">{name}</th>") == 2


def test_words_of_a_mark_stand_above_every_curve():
    f = Curves(
        title="c", x=np.arange(4.0), x_axis="layer", y_axis="y", series=(Series(name="a", y=np.array([0.0, 1.0, 1.0, 0.0])),),
        marks=((1.5, "centre of gravity"),),
    )  # fmt: skip
    highest = min(y for _, y, _ in picture(f).lines[0].dots)
    words = re.search(r'class="said" [^>]*y="(\d+)"[^>]*>centre of gravity<', _page_of(f))
    assert words is not None and highest >= int(words[1]) + 12


def test_names_on_an_axis_are_whole_where_there_is_room():
    names = ("simple", "subject relative", "object relative", "be")
    f = Curves(
        title="c", x=np.arange(4.0), x_axis="phenomenon", y_axis="accuracy", x_names=names,
        series=(Series(name="model", y=np.ones(4)),),
    )  # fmt: skip
    assert tuple(name for _, name in picture(f).x_ticks) == names
    shown = _text_of(f, 60).split()
    assert shown.count("relative") == 2 and "…" not in " ".join(shown)


def test_no_name_on_an_axis_leaves_the_frame():
    f = Curves(
        title="c", x=np.arange(2.0), x_axis="x", y_axis="y", x_names=("a", "the longest name of them"),
        series=(Series(name="model", y=np.ones(2)),),
    )  # fmt: skip
    p = picture(f)
    assert all(x + 6.5 * len(name) / 2 <= p.width for x, name in p.x_ticks)


def _text_of(figure, width):
    class One(Finding):
        def figures(self):
            return (figure,)

    return text_of(One(title="", lede=""), width)


def _page_of(figure):
    class One(Finding):
        def figures(self):
            return (figure,)

    return page(One(title="", lede=""))


def test_words_that_differ_are_marked():
    first, second = context_words((("clean", "mary gave it"), ("corrupt", "john gave it")))
    assert not any(differs for _, differs in first[1])
    assert [w for w, differs in second[1] if differs] == ["john"]
    assert not any(d for _, words in context_words((("a", "x"), ("b", "y z"))) for _, d in words)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_and_inside(low, width):
    high = low + width
    if high <= low:
        return
    found = steps(low, high)
    assert len(found) <= 6
    slack = 1e-6 * max(abs(low), abs(high), width)
    assert all(low - slack <= v <= high + slack for v in found)


def test_curves_keep_their_order_and_leave_gaps():
    p = curves(CURVES)
    xs = [x for x, _, _ in p.lines[0].dots]
    assert xs == sorted(xs)
    assert len(p.lines[0].dots) == 4  # the missing value is no point
    ys = {tip: y for _, y, tip in p.lines[0].dots}
    assert ys["this: 2.00"] < ys["this: 1.00"] < ys["this: 0"]  # larger values stand higher
    assert [line.control for line in p.lines] == [False, True]


def test_ticks_are_short_so_that_those_of_small_steps_are_kept():
    doses = np.array([-4, -2, -1, -0.5, 0, 0.5, 1, 2, 4])
    p = curves(
        Curves(
            title="", x=doses, x_axis="dose", y_axis="probability", series=(Series(name="a", y=np.ones(9)),)
        )
    )
    assert [name for _, name in p.x_ticks] == ["-4", "-2", "-1", "-0.5", "0", "0.5", "1", "2", "4"]


def test_no_two_lines_of_a_picture_look_the_same_and_the_key_shows_each():
    def series(n, control):
        return tuple(
            Series(name=f"{'control' if control else 'line'} {i}", y=np.full(3, float(i)), control=control)
            for i in range(n)
        )

    p = curves(
        Curves(
            title="many", x=np.arange(3.0), x_axis="x", y_axis="y", series=series(7, False) + series(20, True)
        )
    )
    looks = [(line.sort, line.shape) for line in p.lines]
    assert len(set(looks)) == len(looks) == 27

    class Many(Finding):
        def figures(self):
            few = series(2, False) + series(3, True)
            return (Curves(title="few", x=np.arange(3.0), x_axis="x", y_axis="y", series=few),)

    html = page(Many(title="", lede=""))
    key = html[html.index('<p class="key">') :]
    key = key[: key.index("</p>")]
    entries = re.findall(r'class="line ([^"]+)".*? d="([^"]+)"/></svg> ([^<]+)</span>', key)
    assert [name for _, _, name in entries] == ["line 0", "line 1", "control 0", "control 1", "control 2"]
    assert len({entry[:2] for entry in entries}) == 5
    for sort, shape, _ in entries:  # the key shows what stands in the frame
        assert html.count(f'class="dot {sort}"') == 3 + 1
        assert html.count(f'd="{shape}"') >= 3 + 1
        assert f".{sort.split()[-1]} {{" in html
    dashes = re.findall(r"\.c\d \{ stroke-dasharray: ([^;]+);", html)
    assert len(set(dashes)) == len(dashes) == 6


def test_weights_of_edges_are_seen():
    p = graph(GRAPH)
    strong, weak = p.edges[-1], p.edges[0]
    assert strong[4] > weak[4]
    assert (strong[5], weak[5]) == ("pos", "neg")


def test_every_kind_has_a_picture():
    assert {picture(f).kind for f in FIGURES.values()} == {"grid", "curves", "graph", "table", "maps", "arcs"}
