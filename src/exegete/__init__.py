"""Exegete explains any transformer language model, and says how far each explanation can be trusted.

    import exegete as xg
    model = xg.load("terrarium/sentiment")
    xg.explain(model, "the food was not good but the staff were wonderful")

Names are looked up when first used, so that importing costs little and loads neither torch nor transformers.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "load": "exegete.front",
    "explain": "exegete.front",
    "compare": "exegete.front",
    "evaluate": "exegete.front",
    "forecast": "exegete.front",
    "prove": "exegete.front",
    "study": "exegete.front",
    "edited": "exegete.models.rewrite",
    "apply": "exegete.models.rewrite",
    "undo": "exegete.models.rewrite",
    "run": "exegete.front",
    "open": "exegete.front",
    "show": "exegete.front",
    "methods": "exegete.front",
    "metrics": "exegete.front",
    "Model": "exegete.models.model",
    "Method": "exegete.core.method",
    "Text": "exegete.core.request",
    "Segment": "exegete.core.request",
    "Target": "exegete.core.target",
    "Site": "exegete.core.site",
    "Pair": "exegete.core.material",
    "Fact": "exegete.core.material",
    "Parsed": "exegete.core.material",
    "Mark": "exegete.core.material",
    "Marked": "exegete.core.material",
    "Minimal": "exegete.core.material",
    "Choice": "exegete.core.material",
    "Rationale": "exegete.core.rationale",
    "read_rationales": "exegete.core.read_rationales",
    "Finding": "exegete.core.results.finding",
    "Result": "exegete.core.result",
    "Attribution": "exegete.core.result",
    "Comparison": "exegete.core.result",
    "MetricTable": "exegete.core.result",
    "Listing": "exegete.core.result",
    "Trust": "exegete.core.trust",
    "Score": "exegete.core.trust",
    "Check": "exegete.core.trust",
    "Cost": "exegete.core.trust",
    "ExegeteError": "exegete.core.errors",
}

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from exegete.core.errors import ExegeteError as ExegeteError
    from exegete.core.material import Choice as Choice
    from exegete.core.material import Fact as Fact
    from exegete.core.material import Mark as Mark
    from exegete.core.material import Marked as Marked
    from exegete.core.material import Minimal as Minimal
    from exegete.core.material import Pair as Pair
    from exegete.core.material import Parsed as Parsed
    from exegete.core.method import Method as Method
    from exegete.core.rationale import Rationale as Rationale
    from exegete.core.read_rationales import read_rationales as read_rationales
    from exegete.core.request import Segment as Segment
    from exegete.core.request import Text as Text
    from exegete.core.result import Attribution as Attribution
    from exegete.core.result import Comparison as Comparison
    from exegete.core.result import Listing as Listing
    from exegete.core.result import MetricTable as MetricTable
    from exegete.core.result import Result as Result
    from exegete.core.results.finding import Finding as Finding
    from exegete.core.site import Site as Site
    from exegete.core.target import Target as Target
    from exegete.core.trust import Check as Check
    from exegete.core.trust import Cost as Cost
    from exegete.core.trust import Score as Score
    from exegete.core.trust import Trust as Trust
    from exegete.front import compare as compare
    from exegete.front import evaluate as evaluate
    from exegete.front import explain as explain
    from exegete.front import forecast as forecast
    from exegete.front import load as load
    from exegete.front import methods as methods
    from exegete.front import metrics as metrics
    from exegete.front import open as open
    from exegete.front import prove as prove
    from exegete.front import show as show
    from exegete.front import study as study
    from exegete.models.model import Model as Model
    from exegete.models.rewrite import apply as apply
    from exegete.models.rewrite import edited as edited
    from exegete.models.rewrite import undo as undo


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    book = import_module("exegete.core.registry").METHODS
    found = {cls.__name__: cls for _, cls in book} if name[:1].isupper() else {}
    if name in found:
        return found[name]
    from exegete.core.errors import suggest

    hint = suggest(name, [*_HOMES, *found]) if not name.startswith("_") else ""
    raise AttributeError(f"exegete has no {name!r}. {hint}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Door(ModuleType):
    """Keeps the verbs: importing the room `exegete.evaluate` must not hide the verb `xg.evaluate` behind a module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Door
