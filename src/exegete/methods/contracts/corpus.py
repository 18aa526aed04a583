"""Texts that a study learns from (a lens, a covariance): lines of a file that the user gives, or the terrarium's sentences.

Cost: reading the file once. A file that is missing, not text, or too short is refused by letter.
"""

from pathlib import Path

from exegete.core.errors import InputError
from exegete.terrarium import corpora


def corpus(path: str, n: int, seed: int, least: int = 2) -> list[str]:
    """Up to `n` non-empty lines of the text file at `path` (UTF-8); where `path` is empty, n sentences of the terrarium.

    Raises `InputError` for a file that cannot be read or has fewer than `least` lines.
    """
    if not path:
        return list(corpora.language(n, f"learn-{seed}"))
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(
            f"You asked to learn from the text file {path!r}.",
            f"It cannot be read as text ({type(e).__name__}).",
            "Give a UTF-8 text file with one text a line.",
        ) from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < least:
        raise InputError(
            f"You asked to learn from the text file {path!r}.",
            f"It has {len(lines)} lines with text; at least {least} are needed.",
            "Give a longer file, one text a line, or leave the file out to take the terrarium's sentences.",
        )
    return lines[:n]
