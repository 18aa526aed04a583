"""Colours are readable and survive colour blindness. Truths: the WCAG contrast of known pairs, and Vienot's model of
dichromats (1999), both independent of the code under test."""

import numpy as np
import pytest

from exegete.show import color
from exegete.show.color import DARK, LIGHT, contrast

THEMES = [LIGHT, DARK]


def test_contrast_of_known_pairs():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(
        4.48, abs=0.01
    )  # the classic near miss of level AA


@pytest.mark.parametrize("theme", THEMES, ids=lambda t: t.name)
@pytest.mark.parametrize("signed", [True, False])
def test_ink_is_readable_on_every_shade(theme, signed):
    worst = min(contrast(theme.ink, color.shade(p, signed, theme)) for p in np.linspace(-1, 1, 201))
    assert worst >= 4.5


@pytest.mark.parametrize("theme", THEMES, ids=lambda t: t.name)
def test_bars_stand_out_from_the_paper(theme):
    assert (
        min(
            contrast(theme.paper, c) for c in (theme.positive_mark, theme.negative_mark, theme.magnitude_mark)
        )
        >= 3
    )


@pytest.mark.parametrize("theme", THEMES, ids=lambda t: t.name)
def test_eight_lines_have_eight_colours(theme):
    """As far apart as people tell them on sight (CIE76 above 20), and readable on the paper."""
    eight = (theme.positive_mark, theme.negative_mark, theme.magnitude_mark, *theme.lines)
    seen = [_lab(_linear(c)) for c in eight]
    apart = [float(np.linalg.norm(a - b)) for i, a in enumerate(seen) for b in seen[:i]]
    assert len(eight) == 8 and min(apart) > 20
    assert min(contrast(theme.paper, c) for c in eight) > 3


def test_the_contrast_test_can_fail():
    assert contrast(LIGHT.ink, color.shade(1.0, True, DARK)) < 4.5


def _linear(hexcolor):
    c = np.array(color.channels(hexcolor)) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _lab(linear):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(np.maximum(xyz / np.array([0.9505, 1.0, 1.089]), 1e-9))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _dichromat(kind):
    lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    seen = {
        "protan": [[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]],
        "deutan": [[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]],
    }
    return np.linalg.inv(lms) @ np.array(seen[kind]) @ lms


@pytest.mark.parametrize("kind", ["protan", "deutan"])
@pytest.mark.parametrize("theme", THEMES, ids=lambda t: t.name)
def test_for_and_against_differ_for_the_colour_blind(kind, theme):
    def distance(a, b):
        views = [_lab(np.clip(_dichromat(kind) @ _linear(c), 0, 1)) for c in (a, b)]
        return float(np.linalg.norm(views[0] - views[1]))

    assert distance(theme.positive, theme.negative) > 40
    assert distance(theme.positive_mark, theme.negative_mark) > 40
    assert distance("#b5651d", "#6b8e23") < 20  # a brown and an olive: the measure can fail


def test_positions_and_limits():
    assert color.limit(np.array([0.5, -2.0, np.nan])) == 2.0
    assert color.limit(np.array([np.nan])) == 1.0
    assert color.share(-1.0, 2.0) == -0.5
    assert color.share(float("nan"), 2.0) == 0.0
    assert color.mix("#000000", "#ffffff", 0.5) == "#808080"
    assert color.shade(0.0, True, DARK) == DARK.paper


@pytest.mark.parametrize(("value", "name"), [("15;0", "dark"), ("0;15", "light"), ("", "dark")])
def test_terminal_theme(value, name):
    assert color.terminal_theme({"COLORFGBG": value}).name == name
