"""Marks in characters become marks of units whatever the tokenizer cuts, and what does not fit is told."""

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.rationale import Rationale
from exegete.core.request import Text
from exegete.core.text import Unit

TEXT = "A dull, slow film."
UNITS = tuple(
    Unit(TEXT[a:b], (i,), a, b)
    for i, (a, b) in enumerate([(0, 1), (2, 6), (6, 7), (8, 12), (13, 17), (17, 18)])
)


def made(*marks, **how):
    return Rationale(text=Text(text=TEXT), marks=marks, **how)


def test_marks_cover_units_also_in_part_and_blanks_cover_nothing():
    found = made(((2, 6),), ((3, 10),), ((12, 17),), ()).gold(UNITS)
    want = [[0, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0] * 6]
    np.testing.assert_array_equal(found, np.array(want, dtype=bool))


def test_the_second_text_of_a_pair_follows_after_a_line_break():
    r = Rationale(text=Text(text="ab", pair="cd"), marks=(((3, 5),),))
    units = (Unit("ab", (0,), 0, 2), Unit("cd", (1,), 3, 5))
    assert r.whole[3:5] == "cd"
    assert r.gold(units).tolist() == [[False, True]]


def test_letters():
    with pytest.raises(InputError, match=r"18 characters.*"):
        made(((2, 60),), id="row 7")
    with pytest.raises(InputError, match="lies in none of the 2 units"):
        made(((13, 17),), annotators=("ann",)).gold(UNITS[:2])
    with pytest.raises(InputError, match="2 annotators"):
        made((), annotators=("a", "b"))
    with pytest.raises(InputError, match="rationale"):
        Rationale(text=Text(ids=(1, 2)), marks=((),))
