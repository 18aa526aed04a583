"""Numbers and text as they are shown: three significant digits, and no character that could move or hide others.

Control characters become visible signs (a text cannot send commands to the terminal that shows it), and marks that
reverse the writing direction become a replacement character. HTML escaping is not done here: the templates do it.
"""

import math
import unicodedata

_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}


def number(value: float, *, sign: bool = False) -> str:
    """`value` with three significant digits; `sign` puts a + before what is above zero; n/a for NaN."""
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else ("-inf" if value < 0 else "inf")
    size = abs(value)
    plus = "+" if sign else "-"
    if size == 0:
        return "0"
    if 1e-3 <= size < 1e4:
        return f"{value:{plus}.{max(0, 2 - math.floor(math.log10(size)))}f}"
    return f"{value:{plus}.1e}"


def aligned(value: float, end: float, *, sign: bool = False) -> str:
    """`value` with as many decimals as three significant digits of `end` have, so that a column of scores lines up."""
    if not (math.isfinite(value) and 1e-3 <= end < 1e4):
        return number(value, sign=sign)
    shown = f"{value:{'+' if sign else '-'}.{max(0, 2 - math.floor(math.log10(end)))}f}"
    return shown if float(shown) else shown.lstrip("+-")


def percent(value: float) -> str:
    """A share as a percentage, one digit when small."""
    return f"{100 * value:.1f} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def visible(text: str) -> str:
    """`text` with control characters as signs; a new line stays as it is."""
    return "".join(c if c == "\n" else _sign(c) for c in text)


def one_line(text: str, width: int = 0) -> str:
    """`visible` on one line, cut to `width` characters with an ellipsis when `width` is given; spaces alone show as ␣."""
    line = visible(text).replace("\n", "⏎")
    line = line if line.strip() else line.replace(" ", "␣")
    return line if not width or len(line) <= width else line[: width - 1] + "…"


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th ..."""
    tail = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{tail}"


def plural(n: int, noun: str) -> str:
    """`1 text`, `3 texts`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _sign(c: str) -> str:
    code = ord(c)
    if code in _BIDI:
        return "\ufffd"
    if code < 0x20:
        return chr(0x2400 + code)
    return "\ufffd" if code == 0x7F or unicodedata.category(c) in ("Cc", "Cs") else c
