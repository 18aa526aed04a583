"""What the flags of `explain`, `compare` and `evaluate` mean, as values for the front door."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from exegete.cli.params import EXTRA, Extra, values
from exegete.core.errors import UnknownName, UsageError
from exegete.core.method import Method, method_of
from exegete.core.registry import METHODS
from exegete.core.request import Text
from exegete.core.target import Scale, Target
from exegete.core.text import LEVELS

TRUSTS = ("full", "fast", "none")


@dataclass(frozen=True)
class Ask:
    """The target, the unit and the trust level, checked before a model is loaded."""

    target: Target
    unit: str
    trust: Any  # one of TRUSTS, checked

    @staticmethod
    def requests(texts: Sequence[str], truncate: bool) -> list[Text]:
        """The texts as requests."""
        return [Text(text=t, truncate=truncate) for t in texts]


def ask_of(target: str | None, against: str | None, scale: str, unit: str, trust: str = "full") -> Ask:
    """The question of the flags. Raises `UnknownName` for a scale, unit or trust that does not exist."""
    if scale not in get_args(Scale):
        raise UnknownName("scale", scale, get_args(Scale))
    if unit not in LEVELS:
        raise UnknownName("unit", unit, LEVELS)
    if trust not in TRUSTS:
        raise UnknownName("trust", trust, TRUSTS)
    return Ask(Target.of(target, against=against, scale=scale), unit, trust)  # type: ignore[arg-type]


def loaded(
    source: str,
    task: str | None,
    revision: str | None,
    dtype: str | None,
    device: str | None,
    trust_remote_code: bool,
    allow_pickle: bool,
    device_map: str | None,
) -> Any:
    """The model, loaded through the front door."""
    from exegete import front

    return front.load(
        source,
        task=task,
        revision=revision,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        device_map=device_map,
    )


def method_value(name: str, verb: str, seed: int = 0) -> tuple[Method, list[str]]:
    """The method with the parameters that the extra flags set, and words after a switch that turned out to be text."""
    if name.replace("-", "_") not in METHODS:
        own = [i for i, cls in METHODS if getattr(cls, "verb", "explain") == verb]
        raise UnknownName("method", name, own or METHODS.ids())
    book = METHODS.get(name.replace("-", "_"))
    params, words = values(EXTRA.get(Extra()), book, verb)
    own_seed = {"seed": seed} if "seed" in book.model_fields else {}  # --seed is the seed of everything
    return method_of(name, own_seed | params), words


def task_of(task: str | None, name: str) -> str | None:
    """The model's task. `--task` that is none of a model, for a method that has tasks too, is handed on to the method."""
    from exegete.models.load import TASKS

    own = METHODS.get(name.replace("-", "_")).model_fields if name.replace("-", "_") in METHODS else {}  # type: ignore[attr-defined]
    if task is None or task in TASKS or "task" not in own:
        return task
    extra = EXTRA.get(Extra())
    EXTRA.set(replace(extra, pairs=(*extra.pairs, ("--method-task", task))))
    return None


def names(text: str | None) -> list[str] | None:
    """Ids from a list separated by commas; None when nothing was given."""
    found = [part.strip().replace("-", "_") for part in (text or "").split(",") if part.strip()]
    if text is not None and not found:
        raise UsageError("You gave a list of ids.", "It is empty.", "Separate ids by commas: lime,occlusion")
    return found or None
