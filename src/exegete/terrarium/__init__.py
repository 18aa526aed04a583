"""The terrarium: a small generated world of English with known answers, and small models trained on it.

`names()` lists the embedded models and `path(name)` gives a directory that `transformers` can load. The
language and its gold are in `grammar`, `corpora`, `facts`, `stories` and `agreement`; none of them needs
torch. `python -m exegete.terrarium.train` makes the models again from a seed.
"""

from pathlib import Path

from exegete.core.errors import UnknownName
from exegete.terrarium.gold import (
    LABELS,
    Agreement,
    Cloze,
    Contrast,
    Evidence,
    Fact,
    MinimalPair,
    Sentence,
    Story,
    Word,
)
from exegete.terrarium.grammar import Grammar

__all__ = [
    "LABELS", "Agreement", "Cloze", "Contrast", "Evidence", "Fact", "Grammar", "MinimalPair", "Sentence", "Story",
    "Word", "names", "path",
]  # fmt: skip

_WEIGHTS = Path(__file__).with_name("weights")


def names() -> tuple[str, ...]:
    """The embedded models, in alphabetical order: those whose weights are in the package."""
    return tuple(sorted(found.parent.name for found in _WEIGHTS.glob("*/model.safetensors")))


def path(name: str) -> Path:
    """The directory of an embedded model; raises `UnknownName` with near names for any other."""
    if name not in names():
        raise UnknownName("embedded model", name, names())
    return _WEIGHTS / name
