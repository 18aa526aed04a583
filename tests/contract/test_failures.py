"""Letters as data are the letters they were; failed items are counted in every score, and nothing else changes."""

import pytest

from exegete.core.errors import SiteError, TargetError, UnknownName
from exegete.core.results.finding import Finding
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.failures import Unfit, fit, with_failed


def test_a_letter_comes_back_as_it_was():
    letter = TargetError("You asked.", "It is not there.", "Ask again.")
    again = Unfit.model_validate_json(Unfit.of(letter).model_dump_json()).letter
    assert type(again) is TargetError
    assert str(again) == str(letter)
    odd = UnknownName("layer", "x", ["y"])
    assert str(Unfit.of(odd).letter) == str(odd)


def test_where_all_fail_the_first_letter_is_raised():
    first, second = (Unfit.of(SiteError("You asked.", f"No {x}.", "Choose.")) for x in "ab")
    assert fit([None, first, None]) == [0, 2]
    assert fit([]) == []
    with pytest.raises(SiteError, match="No a"):
        fit([first, second])


def test_failed_items_are_in_every_score():
    scores = (Score(name="a", value=1.0, n=3, n_failed=1), Score(name="b", value=2.0, n=4))
    finding = Finding(title="t", lede="l", trust=Trust(scores=scores, seed=7))
    more = with_failed(finding, 2)
    assert [s.n_failed for s in more.trust.scores] == [3, 2]
    assert with_failed(finding, 0) == finding
    assert more.trust.seed == 7 and more.title == "t"
