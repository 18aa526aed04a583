"""`exegete features`: into which features do activations fall apart?

    exegete features train [TEXT|FILE] [--site 2.resid_post] [--out FILE.exg]
    exegete features show FILE [TEXT|FILE] --feature 12
    exegete features write FILE.exg FOLDER

1. the first word says which: `train` (also where none is given) makes a dictionary, `show` opens one and shows a feature,
   `write` puts one into a folder in the SAELens layout;
2. everything else is the verb of studies (`cli.study`), whose methods are the studies of the room.
"""

from dataclasses import replace
from functools import wraps
from typing import Any

from exegete.cli.params import EXTRA, Extra
from exegete.cli.study import verb
from exegete.core.errors import UsageError

TRAIN, SHOW = "sparse_autoencoder", "feature_show"
HELP = """Train a dictionary of sparse features, or show what one of its features stands for.

`features train [FILE]` trains and judges one; `features show DICTIONARY --feature 12` shows a feature; `features write
FILE.exg FOLDER` writes it in the SAELens layout."""
_study: Any = verb("features", TRAIN, HELP)


@wraps(_study)
def _command(*args: Any, **given: Any) -> int:
    words = list(given.get("words") or [])
    sub = words.pop(0) if words[:1] in (["train"], ["show"], ["write"]) else ""
    if sub == "write":
        return _write(words)
    if sub == "show" and not given.get("help_method"):
        _saved(words)
    if sub == "show" and given["method"] == TRAIN:
        given["method"] = SHOW
    given["words"] = words or None
    return _study(*args, **given)


def _saved(words: list[str]) -> None:
    """Take the dictionary's name off the words, and hand it on as the method's `saved`."""
    extra = EXTRA.get(Extra())
    if any(flag == "--saved" for flag, _ in extra.pairs):
        return
    if not words:
        raise UsageError(
            "You ran `exegete features show`.",
            "No dictionary was named.",
            "exegete features show FILE.exg --feature 12 (or a folder in the SAELens layout)",
        )
    EXTRA.set(replace(extra, pairs=(*extra.pairs, ("--saved", words.pop(0)))))


def _write(words: list[str]) -> int:
    """Write a saved dictionary into a folder as SAELens keeps one."""
    from exegete.cli.emit import say
    from exegete.core.results.features import SparseFeatures
    from exegete.core.store import open_result

    if len(words) != 2:
        raise UsageError(
            f"You ran `exegete features write {' '.join(words)}`.",
            "It takes a file and a folder.",
            "exegete features write FILE.exg FOLDER",
        )
    found = open_result(words[0])
    if not isinstance(found, SparseFeatures):
        raise UsageError(
            f"You asked to write the dictionary in {words[0]!r}.",
            f"The file holds a {type(found).__name__}.",
            "Give a file of `exegete features train --out FILE.exg`.",
        )
    say(f"wrote {found.dictionary.write(words[1])}")
    return 0


_command.__name__ = "features"
features = _command
