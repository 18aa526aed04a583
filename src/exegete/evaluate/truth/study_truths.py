"""Truths for studies, gathered: every file `<room>_truths.py` of this folder holds `TRUTHS` and `NO_TRUTH`, by method id.

STUDY_TRUTHS   what is planted for a study, and how its finding is held against it
NO_TRUTH       why nothing that a study says could be right or wrong, or what it would take that nothing here can plant
"""

import importlib
import pkgutil

from exegete.core.errors import ExegeteError
from exegete.evaluate.truth.study_truth import StudyTruth

_ROOM = __name__.rpartition(".")[0]


def _gathered() -> tuple[dict[str, StudyTruth], dict[str, str]]:
    """Both tables, of all files. A method that two files speak of is an error."""
    truths, reasons = {}, {}
    for info in pkgutil.iter_modules(importlib.import_module(_ROOM).__path__, f"{_ROOM}."):
        if not info.name.endswith("_truths") or info.name == __name__:
            continue
        file = importlib.import_module(info.name)
        own = [*getattr(file, "TRUTHS", {}), *getattr(file, "NO_TRUTH", {})]
        twice = [i for i in own if i in truths or i in reasons or own.count(i) > 1]
        if twice:
            raise ExegeteError(
                f"The truths of {info.name} were to be gathered.",
                f"There is a word about {', '.join(twice)} already.",
                "Keep what is planted for a method in one file, once.",
            )
        truths |= getattr(file, "TRUTHS", {})
        reasons |= getattr(file, "NO_TRUTH", {})
    return truths, reasons


STUDY_TRUTHS, NO_TRUTH = _gathered()
