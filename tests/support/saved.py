"""Tiny models written to folders, so that the command line can be tested as it is used: `--model FOLDER`."""

from functools import cache
from pathlib import Path

from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny import tiny


@cache
def loaded(family: str, task: str | None = None) -> Model:
    """A tiny model, loaded once. Tests must leave it as it is."""
    return load(tiny(family, task))


def saved(folder: Path, family: str, task: str | None = None) -> str:
    """The folder of a tiny model, written when it is not there yet."""
    place = folder / f"{family}-{task}"
    if not place.exists():
        module, tokenizer = tiny(family, task)
        module.save_pretrained(place)
        tokenizer.save_pretrained(place)
    return str(place)
