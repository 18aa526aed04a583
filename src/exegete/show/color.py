"""Two colour scales, for terminal and page alike, with one legend.

signed     diverging, blue for scores above zero and orange for scores below (safe for every common colour blindness)
unsigned   sequential, violet

A score is mixed linearly from the paper colour towards the end of its scale: share t = |score| / largest |score|. The ends
are chosen so that the ink stays readable on every mixture (contrast at least 4.5 to 1, WCAG 2 level AA) on light and on
dark paper. Colour is never alone: signs, numbers and bars say the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one kind of paper: `positive`, `negative` and `magnitude` are the ends of the scales, the
    `*_mark` the stronger colours of bars and dots; `lines` those of curves after the first three, which have the marks'."""

    name: str
    paper: str
    ink: str
    positive: str
    negative: str
    magnitude: str
    positive_mark: str
    negative_mark: str
    magnitude_mark: str
    lines: tuple[str, ...] = ()


LIGHT = Theme(
    "light", "#ffffff", "#1d1c1a", "#6fb1e6", "#f3a45c", "#b79fe3", "#1f78b8", "#c8650b", "#7d5bbd",
    ("#1b8a5a", "#c2255c", "#6b4423", "#7d7a00", "#3d4a5c"),
)  # fmt: skip
DARK = Theme(
    "dark", "#1b1c21", "#f0eee8", "#1c64a5", "#9b500a", "#664aa3", "#57a8e6", "#ee9a4a", "#a98ae0",
    ("#4fc08d", "#f0709b", "#c2a07c", "#d3cc3f", "#b8c4d4"),
)  # fmt: skip


def limit(scores: np.ndarray) -> float:
    """The largest finite |score|, at which a scale ends; 1 when there is none above zero."""
    finite = np.abs(scores[np.isfinite(scores)])
    top = float(finite.max()) if finite.size else 0.0
    return top if top > 0 else 1.0


def share(score: float, end: float) -> float:
    """Signed position of `score` on a scale that ends at `end`: -1 to 1, 0 for what is not finite."""
    return float(np.clip(score / end, -1, 1)) if np.isfinite(score) else 0.0


def shade(position: float, signed: bool, theme: Theme) -> str:
    """Background of a score at signed `position` (see `share`) as `#rrggbb`."""
    if not signed:
        return mix(theme.paper, theme.magnitude, abs(position))
    return mix(theme.paper, theme.positive if position > 0 else theme.negative, abs(position))


def mark(position: float, signed: bool, theme: Theme) -> str:
    """Colour of the bar or dot of a score."""
    if not signed:
        return theme.magnitude_mark
    return theme.positive_mark if position >= 0 else theme.negative_mark


def mix(a: str, b: str, t: float) -> str:
    """The colour a share `t` of the way from `a` to `b`, linear in sRGB as CSS `color-mix(in srgb, ...)` does it."""
    return "#" + "".join(f"{round(x + (y - x) * t):02x}" for x, y in zip(channels(a), channels(b)))


def channels(color: str) -> tuple[int, int, int]:
    """Red, green and blue (0-255) of `#rrggbb`."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2): 0 black to 1 white."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (v / 255 for v in channels(color))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours (WCAG 2): 1 to 21."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def terminal_theme(environ: Mapping[str, str]) -> Theme:
    """The theme of a terminal: light when it says that its background is (`COLORFGBG`), else dark."""
    return LIGHT if environ.get("COLORFGBG", "").split(";")[-1] in ("7", "15") else DARK


def legend(signed: bool, against: str = "") -> tuple[str, str, str]:
    """Words at the low end, the middle and the high end of a scale."""
    if not signed:
        return "0", "", "matters most (no sign: how much, not which way)"
    low = f"speaks for {against}" if against else "speaks against it"
    return low, "0", "speaks for it"
