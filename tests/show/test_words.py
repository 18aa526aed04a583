"""Numbers and text as shown. Truth: written out by hand."""

import math

import pytest

from exegete.show.heat import pieces
from exegete.show.words import aligned, number, one_line, ordinal, percent, visible
from show.show_samples import TEXT, attribution


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1.234, "1.23"), (-0.0456, "-0.0456"), (123.4, "123"), (0.00012, "1.2e-04"), (math.nan, "n/a"), (math.inf, "inf")],
)  # fmt: skip
def test_number(value, shown):
    assert number(value) == shown


def test_numbers_of_a_column_line_up():
    assert [aligned(v, 1.9, sign=True) for v in (1.9, -0.05, 0.001, -0.001)] == [
        "+1.90",
        "-0.05",
        "0.00",
        "0.00",
    ]


def test_small_words():
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 21, 113)] == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "12th",
        "21st",
        "113th",
    ]
    assert (percent(0.032), percent(0.968), percent(0)) == ("3.2 %", "97 %", "0 %")


def test_no_character_commands_the_terminal_or_turns_the_text():
    assert visible("a\x1b[31mb\x07\u202ec\n") == "a\u241b[31mb\u2407\ufffdc\n"
    assert one_line("  ") == "␣␣"
    assert one_line("a\nb", 10) == "a⏎b"
    assert one_line("abcdef", 4) == "abc…"


def test_pieces_read_as_the_text():
    a = attribution()
    cut = pieces(a.text, a.units)
    assert "".join(p.text for p in cut) == TEXT
    assert [p.unit for p in cut if p.unit is not None] == list(range(len(a.units)))


def test_units_without_a_place_follow_in_order():
    a = attribution("one two")
    prefix = a.units[1].model_copy(update={"text": "so", "role": "prefix", "start": -1, "end": -1})
    cut = pieces("one two!", (*a.units, prefix))
    assert "".join(p.text for p in cut) == "one two! so"
