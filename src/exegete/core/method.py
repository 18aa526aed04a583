"""The contract of a method: a frozen value whose fields are its parameters, called on a question, returning a result.

Flags, web form, JSON schema and docs come from the declared fields (type, default, range, description). A method prints
nothing, keeps no state, and leaves the model as found. `needs` is checked before any work is done.
"""

import inspect
from typing import Any, ClassVar, Literal

from exegete.core.errors import MissingNeed, UsageError
from exegete.core.reference import Reference
from exegete.core.registry import METHODS, METRICS
from exegete.core.value import Given

Need = Literal[
    "text", "logprobs", "gradients", "sites", "weights", "generate", "checkpoints", "training data"
]


class Method(Given):
    """Base of everything registered. Subclasses set the class attributes and declare their parameters as fields."""

    id: ClassVar[str] = ""
    family: ClassVar[str] = ""
    techniques: ClassVar[tuple[str, ...]] = ()
    reference: ClassVar[Reference]
    needs: ClassVar[tuple[Need, ...]] = ("text",)
    passes: ClassVar[str] = ""  # cost in model passes, as a formula in words
    over_data: ClassVar[str] = "in one piece"  # how `exegete run` does it over a data set

    @classmethod
    def summary(cls) -> str:
        """First sentence of the docstring."""
        return inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split("\n")[0]

    @classmethod
    def build(cls, values: dict[str, Any]) -> "Method":
        """The method with parameters from flags or JSON. Raises `UsageError` naming the field and what it allows."""
        return cls(**values)

    @classmethod
    def _called(cls) -> str:
        return f"the method {cls.id!r}"

    @property
    def row(self) -> str:
        """What a row of a table is called that is about this method."""
        return self.id

    def params(self) -> dict[str, Any]:
        """The parameters as plain JSON data."""
        return self.model_dump(mode="json")

    def require(self, offers: frozenset[str] | set[str], who: str) -> None:
        """Refuse, before any work, a model that lacks what the method needs."""
        missing = [n for n in self.needs if n not in offers]
        if missing:
            raise MissingNeed(
                f"You asked for the method {self.id!r} on {who}.",
                f"It needs {', '.join(missing)}, and this model offers only {', '.join(sorted(offers))}.",
                "Choose a method that needs less: `exegete list methods` shows what each one needs.",
            )


def method_of(method: "str | Method", values: dict[str, Any] | None = None) -> Method:
    """A method value from its id (with parameters) or from a value as it is."""
    if isinstance(method, Method):
        return method
    if not isinstance(method, str):
        what = f"the class {method.__name__}" if isinstance(method, type) else f"a {type(method).__name__}"
        raise UsageError(
            f"You gave {what} as the method.",
            "A method is an id or a method value.",
            "Give an id such as 'occlusion', or a value such as xg.Occlusion().",
        )
    return METHODS.get(method.replace("-", "_")).build(values or {})


def register(cls: type) -> type:
    """Class decorator: put a method or a metric into its registry under its `id`."""
    book = METRICS if cls.family == "metric" else METHODS  # type: ignore[attr-defined]
    return book.add(cls.id, cls)  # type: ignore[attr-defined]
