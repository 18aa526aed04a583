"""What a terminal shows: the text in order, signs and numbers without colour, failed checks first, every part of the trust line."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from exegete.core.errors import UnknownName
from exegete.core.figure import Curves, Series, Table
from exegete.core.registry import VIEWS
from exegete.core.result import RESULTS, MetricTable, Result
from exegete.core.results.cascade import Cascade
from exegete.core.trust import Score, Trust
from exegete.show.figure_terminal import CurvesText, TableText, fitting, spread
from exegete.show.figures import picture
from exegete.show.render import page, terminal, view_for
from show.show_samples import COMP, TEXT, attribution, comparison, every_result, listing, metric_table


def plain(result, width=100):
    out = io.StringIO()
    Console(file=out, width=width).print(terminal(result))
    return out.getvalue()


def colored(result, width=100):
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system="truecolor").print(terminal(result))
    return out.getvalue()


def test_without_colour_signs_and_numbers_say_it():
    a = attribution(total=np.array([0.0, 0.1, 0, -1.2, 0.9, 0, 0.5, 0, 0, 0, 1.9, 0]))
    shown = plain(a)
    assert "\x1b" not in shown
    assert "not[-1.20] good[+0.90]" in shown
    assert "wonderful[+1.90]" in shown
    assert "The food[+0.10]" in shown  # a zero is left bare


def test_no_color_is_honoured_on_a_terminal(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=True).print(terminal(attribution()))
    assert "[+" in out.getvalue()
    assert not re.search(r"\x1b\[[0-9;]*48;", out.getvalue())


def test_with_colour_the_text_stands_as_it_was():
    shown = colored(attribution())
    assert TEXT in re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert re.search(r"48;2;\d+;\d+;\d+m", shown)


def test_bars_are_in_text_order_with_errors():
    a = attribution(sampled=True)
    lines = [line.split("│")[0].split()[0] for line in plain(a).splitlines() if "│" in line and "±" in line]
    assert lines == [u.text for u in a.units]


def test_bars_are_as_long_as_their_scores():
    a = attribution("one two three", total=np.array([1.0, 0.5, -0.5]))
    lengths = [line.count("█") for line in plain(a).splitlines() if "│" in line]
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=1)
    assert lengths[1] == pytest.approx(lengths[2], abs=1)


def test_long_texts_show_the_strongest_in_text_order():
    a = attribution(" ".join(f"w{i}" for i in range(100)))
    shown = plain(a)
    names = [line.split()[0] for line in shown.splitlines() if "│" in line]
    truth = sorted(np.argsort(-np.abs(a.total))[:20])
    assert names == [f"w{i}" for i in truth]
    assert "20 strongest of 100" in shown


def test_failed_checks_come_before_the_text():
    shown = plain(attribution(fail=True))
    assert shown.index("1 CHECK FAILED: do not rely on this") < shown.index("staff")
    assert "raise n_steps" in shown
    assert "CHECK FAILED" not in plain(attribution())


def test_the_trust_line_is_whole():
    shown = " ".join(plain(attribution(), 140).split())
    for words in (
        "comprehensiveness 0.610 [0.550 to 0.660]", "chance 0.210", "control 0.120", "percentile 99", "n 100, failed 0",
        "beats chance; does NOT beat randomised weights", "n 100, failed 1", "34 forwards + 32 backwards", "30 distinct of 34",
    ):  # fmt: skip
        assert words in shown, words


def test_the_headline_says_what_is_not_beaten():
    assert "sufficiency does NOT beat randomised weights" in plain(attribution())
    assert "Beats what it was held against on 1 score" in plain(attribution(trust=Trust(scores=(COMP,))))
    assert "Not judged" in plain(attribution(trust=Trust()))


def test_several_outputs_show_a_matrix_with_holes():
    a = attribution(
        "one two three",
        outputs=("alpha", "beta"),
        available=np.array([[True, False, False], [True, True, True]]),
    )
    rows = plain(a).split("Each output")[1].splitlines()
    alpha = next(r for r in rows if "alpha" in r)
    assert "one" in alpha.split("alpha")[1]  # its strongest unit, the only one it had read
    assert len(re.findall(r"[+·-]{1,2}(?=\s)", alpha.split("alpha")[1].split("one")[0])) == 1


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_listing_breaks_no_word_and_leaves_none_out(width):
    told = "What a method with a rather long description does to the representations of every single token"
    rows = (
        ("a_method_with_a_long_name_indeed", "explain", "gradients", "texts", told),
        ("short", "lens", "x", "y", "z"),
    )
    made = listing().model_copy(
        update={"columns": ("method", "verb", "family", "about", "does"), "rows": rows}
    )
    shown = plain(made, width)
    assert all(word in shown.split() for row in rows for cell in row for word in cell.split())
    assert max(map(len, shown.splitlines())) <= width
    beside = any(line.startswith(rows[0][0]) and "What a method" in line for line in shown.splitlines())
    assert beside == (width >= 100)


def test_comparison_metrics_and_listing():
    shown = plain(comparison(), 140)
    assert "lime" in shown and "-0.30" in shown and "0.67" in shown and "CHECK FAILED" in shown
    table = plain(metric_table(), 140)
    assert "no score" in table and "control skipped: too costly" in table and "lime on text 7" in table
    assert "NOT ok" in plain(listing(False)) and "NOT ok" not in plain(listing())


def test_what_beats_its_control_is_bold():
    shown = colored(metric_table(), 140)
    block = shown.split("sufficiency")[0]
    assert re.search(r"\x1b\[1m0\.610", block)
    assert not re.search(r"\x1b\[1m0\.300", block)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("result", every_result(), ids=lambda r: r.type)
def test_every_view_fits_any_width(result, width):
    assert max(len(line) for line in plain(result, width).splitlines()) <= width


def test_every_result_type_has_a_view():
    assert {name for name, cls in RESULTS.items() if cls.__module__ == "exegete.core.result"} <= set(
        VIEWS.ids()
    )


def test_a_type_without_a_view_is_named():
    class Strange(Result):
        pass

    try:
        with pytest.raises(UnknownName, match="view 'Strange'"):
            view_for(Strange())
    finally:
        RESULTS.pop("Strange")


def test_degenerate_scores_do_not_break_a_picture():
    n = len(attribution().units)
    for total in (np.zeros(n), np.full(n, np.nan), np.full(n, 1e-9), np.full(n, 1e9)):
        assert "Trust" in plain(attribution(total=total))


def test_titles_quote_what_is_not_a_name():
    assert "Why positive?" in plain(attribution())
    assert "Why “a little girl.”?" in plain(attribution(target=" a little girl."))
    assert "Why x rather than “y z”?" in plain(attribution(target="x", against="y z"))
    assert "What makes the model unsure?" in plain(attribution(scale="entropy"))


def test_a_table_breaks_no_word_where_there_is_room_and_says_what_is_left_out():
    rows = tuple((f"fact {i}", "kingsbarrow", 0.5, "4 of 4", "five of five") for i in range(3))
    table = Table(
        title="Edits", columns=("prompt", "place", "probability", "paraphrases", "neighbours"), rows=rows
    )
    for width in (30, 44, 80):
        out = io.StringIO()
        Console(file=out, width=width).print(TableText(picture(table)))
        shown = out.getvalue()
        assert max(map(len, shown.splitlines())) <= width
        assert "kingsbarrow" in shown and "prompt" in shown
        assert ("column" in shown) == (width < 80)
        kept = [c for c in table.columns if c in shown]
        assert len(kept) + int(shown.split(" column")[0].split()[-1] if width < 80 else 0) == 5


def test_columns_share_the_room_and_the_shortest_are_whole_first():
    assert spread([(3, 3), (5, 20), (4, 6)], 40) == [3, 20, 6]
    assert spread([(3, 3), (5, 20), (4, 6)], 24) == [3, 11, 6]
    assert fitting([10, 10, 10], 22) == 2 and fitting([10, 10, 10], 5) == 1


def test_curves_show_the_points_that_fit_first_and_last_among_them():
    x = np.arange(1.0, 10.0)
    figure = Curves(
        title="c",
        x=x,
        x_axis="edges",
        y_axis="faithfulness",
        series=(Series(name="this circuit", y=x * 1111),),
    )
    for width in (40, 60, 120):
        out = io.StringIO()
        Console(file=out, width=width).print(CurvesText(picture(figure)))
        shown = out.getvalue()
        assert max(map(len, shown.splitlines())) <= width
        assert "…" not in shown and "1111" in shown and "9999" in shown


def test_the_highest_point_is_never_left_out_and_what_is_left_out_is_said():
    y = np.zeros(12)
    y[4] = 0.777
    figure = Curves(
        title="c", x=np.arange(12.0), x_axis="layer", x_names=tuple(f"layer {i}" for i in range(12)), y_axis="accuracy",
        series=(Series(name="probe", y=y), Series(name="chance", y=np.full(12, 0.9), control=True)),
    )  # fmt: skip
    for width in (36, 44, 60, 200):
        out = io.StringIO()
        Console(file=out, width=width).print(CurvesText(picture(figure)))
        shown = out.getvalue()
        head = shown[: shown.index("probe")].split()
        assert "0.777" in shown and "4" in head and head[-1] == "11"
        assert ("more: --html FILE" in " ".join(shown.split())) == (width < 100)


def flat(result, width=140):
    return " ".join(plain(result, width).split())


def board(**more):
    """One metric, one method, and the random row that beats chance by luck."""
    own = Score(
        name="m", value=0.7, interval=(0.4, 0.9), chance=0.5, over_chance=(0.1, 0.3), n=12, skipped="not asked for"
    )  # fmt: skip
    luck = Score(name="m", value=0.66, interval=(0.6, 0.7), chance=0.5, n=12)
    trusts = (
        Trust(scores=(own, own)),
        Trust(scores=(luck, luck.model_copy(update={"interval": (0.4, 0.7)}))),
    )
    return MetricTable(methods=("lime", "random"), metrics=("m", "o"), trusts=trusts, n_texts=12, **more)


def test_the_random_row_has_no_mark_and_its_luck_is_told():
    shown = flat(board())
    assert "random row itself beats chance on 1 of 2 metrics (n 12)" in shown
    rows = [line for line in plain(board(), 140).splitlines() if "random" in line and "0.66" in line]
    assert len(rows) == 2 and not any(sign in row for row in rows for sign in "✓✗·")
    assert not re.search(r"\x1b\[1m(random|0\.660)", colored(board(), 140))
    html = page(board())
    assert html.count('class="tick good"') == 2  # the method's, by both metrics
    assert html.count("the yardstick") == 2 and "on 1 of 2 metrics" in html


def test_bold_says_what_was_held_against_and_verdicts_say_that_they_are_text_by_text():
    assert "Bold beats chance; no control was run." in flat(board())
    assert "Verdicts compare text by text" in flat(board()) and "Verdicts compare text by text" in page(
        board()
    )
    assert "beats chance (by 0.2, 0.1 to 0.3, item by item)" in flat(board())
    told = flat(metric_table())
    assert "Bold beats chance and, on the 2 of 3 scores that have one, the control." in told
    assert "text by text" not in told and "random row itself" not in told


def test_one_text_gets_no_mark():
    """Agreement over one text: 128 annotators, one value."""
    one = Score(
        name="annotator 128 and the others",
        value=1.0,
        chance=0.3,
        control=0.3,
        control_name="dealt marks",
        n=1,
    )
    row = next(
        x for x in plain(board(agreement=(one,)), 140).splitlines() if "annotator 128" in x and "1.00" in x
    )
    assert row.startswith("·") or row.strip().startswith("·")
    assert "too few to tell (n 1)" in flat(board(agreement=(one,))) and "too few to tell (n 1)" in page(
        board(agreement=(one,))
    )
    assert "Too few to tell, from one item alone: annotator 128" in flat(
        attribution(trust=Trust(scores=(one,)))
    )
    ten = one.model_copy(update={"n": 10})
    assert "Beats what it was held against on 1 score" in flat(attribution(trust=Trust(scores=(ten,))))


def test_what_a_metric_tells_is_said_in_plain_words():
    sure = Score(
        name="d",
        value=0.77,
        interval=(0.65, 0.89),
        chance=0.5,
        control=0.62,
        control_name="the random row",
        n=9,
    )
    shown = flat(
        board(
            diagnosticity=(sure.model_copy(update={"interval": (0.7, 0.9)}), sure.model_copy(update={"n": 0}))
        )
    )
    assert (
        "This metric scores a method's explanation better than a random one in 77% of comparisons (95 % interval 70% to 90%); "
        "luck alone would in 50%, and the random row in 62%." in shown
    )
    weak = sure.model_copy(update={"interval": (0.4, 0.9)})
    assert "So it does not tell them from noise here." in flat(board(diagnosticity=(weak,)))
    assert "So it does not" not in shown


def test_a_finding_that_is_undecided_or_flagged_has_no_good_headline():
    score = Score(name="order lost", value=0.6, interval=(0.3, 0.9), chance=0.0, n=5)
    interval = np.array([[[1, 1], [0.1, 0.7]], [[1, 1], [-0.2, 0.1]]])

    def made(kept, flagged=False):
        return Cascade(
            title="t", lede="l", methods=("saliency", "lime"), depths=("nothing", "all"), random=(-0.21, 0.2), interval=interval,
            trust=Trust(scores=(score,)), kept=np.array([[1, kept], [1, 0.0]]), flagged=(flagged, False),
        )  # fmt: skip

    unsure, clear, bad = made(0.4), made(0.1), made(0.4, True)
    assert "Trust ✓ Beats what it was held against on 1 score." in flat(clear)
    assert "Trust · Undecided, above random orders but not with the whole interval: saliency." in flat(unsure)
    assert "Trust · Flagged, more alike than random orders without the model: saliency." in flat(bad)
    assert 'class="verdict good"' in page(clear) and 'class="verdict good"' not in page(unsure)
    assert "95 % of random orders lie within -0.21 to 0.20" in flat(unsure)


def test_a_trust_line_names_each_thing_once():
    """One score held against three controls; a score that is called by what it is held against."""
    x = Score(name="accuracy", value=0.5, interval=(0.4, 0.6), chance=0.6, control=0.55, n=9)
    names = ("word type", "shuffled weights", "length")
    three = tuple(x.model_copy(update={"control_name": n}) for n in names)
    shown = flat(attribution(trust=Trust(scores=three)))
    assert "Read with care: accuracy does NOT beat chance, word type, shuffled weights or length." in shown
    line = shown[shown.index("Read with care") :].split("Cost")[0]
    assert line.count("accuracy") == 2  # in the headline and in the first of its lines
    named = x.model_copy(update={"name": "accuracy, against other words", "control_name": "other words"})
    shown = flat(attribution(trust=Trust(scores=(named,))))
    assert "accuracy does NOT beat chance or other words." in shown and "against other words" not in shown
