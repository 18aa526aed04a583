"""Errors are short letters: what was asked, what was found, what to do next.

One root, `ExegeteError`. Every error a user can meet is raised from here with three sentences, so that the text can be
tested and shown alike in a traceback, in the terminal and on a page. `near` lists the names closest to a misspelt one.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class ExegeteError(Exception):
    """Root of every error raised on purpose.

    Parameters are the three sentences of the letter: `asked` (what the user wanted), `found` (what stood in the way),
    `do` (the next step that would help). Any of them may be empty; at least one is not.
    """

    exit_code = 1

    def __init__(self, asked: str = "", found: str = "", do: str = "") -> None:
        self.asked, self.found, self.do = asked, found, do
        super().__init__(self.letter())

    def letter(self) -> str:
        """The letter as text: one line a sentence."""
        return "\n".join(line for line in (self.asked, self.found, self.do) if line)


class UsageError(ExegeteError):
    """The call itself is wrong: an unknown name, a bad value, options that exclude each other."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that is not registered; the letter lists the near ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        self.kind, self.name, self.known = kind, name, names
        super().__init__(
            f"You asked for the {kind} {name!r}.",
            f"There is no {kind} of that name.",
            suggest(name, names, kind),
        )


class InputError(ExegeteError):
    """The text, file or table to be explained cannot be used as it is."""


class TargetError(ExegeteError):
    """The target does not fit the model or the text."""


class ModelError(ExegeteError):
    """The model cannot be loaded, or computes something that cannot be explained (NaN, wrong kind)."""


class UnsupportedModel(ModelError):
    """The architecture is unknown and could not be mapped and proved, or lacks what a method needs."""


class SiteError(ModelError):
    """A place that does not exist in this model, or could not be proved."""


class MissingNeed(ModelError):
    """A method needs something the model does not offer; said before any work is done."""


class StoreError(ExegeteError):
    """A result file is broken, foreign, of a newer format, or cannot be written."""


class BudgetError(ExegeteError):
    """The forecast cost exceeds the budget that the user set."""


class MissingExtra(ExegeteError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}.",
            "It is not installed.",
            f"Install it with: pip install 'exegete[{extra}]'",
        )


def near(name: str, known: Iterable[str], n: int = 5) -> list[str]:
    """Up to `n` known names close to `name`, closest first; matching ignores case, `-` and `_`."""
    plain = {_plain(k): k for k in known}
    close = get_close_matches(_plain(name), plain, n=n, cutoff=0.5)
    inside = [k for k in plain if _plain(name) and _plain(name) in k and k not in close]
    return [plain[c] for c in [*close, *inside][:n]]


def suggest(name: str, known: Iterable[str], kind: str = "name") -> str:
    """The last sentence of a letter about a misspelt name."""
    names = list(known)
    close = near(name, names)
    if close:
        return f"Did you mean {', '.join(close)}?"
    shown = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    return f"Known: {shown}." if names else f"No {kind} is available here."


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
