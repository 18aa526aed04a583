"""The contract of a method: a frozen value whose fields are its parameters, called on a question, returning a result.

Flags, web form, JSON schema and docs come from the declared fields (type, default, range, description). A method prints
nothing, keeps no state, and leaves the model as found. `needs` is checked before any work is done.
"""

import inspect
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from exegete.core.errors import MissingNeed, UsageError, suggest
from exegete.core.reference import Reference
from exegete.core.registry import METHODS, METRICS
from exegete.core.value import Value

Need = Literal["text", "logprobs", "gradients", "sites", "weights", "generate", "checkpoints", "training data"]


class Method(Value):
    """Base of everything registered. Subclasses set the class attributes and declare their parameters as fields."""

    id: ClassVar[str] = ""
    family: ClassVar[str] = ""
    techniques: ClassVar[tuple[str, ...]] = ()
    reference: ClassVar[Reference]
    needs: ClassVar[tuple[Need, ...]] = ("text",)
    passes: ClassVar[str] = ""  # cost in model passes, as a formula in words

    @classmethod
    def summary(cls) -> str:
        """First sentence of the docstring."""
        return inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split("\n")[0]

    @classmethod
    def build(cls, values: dict[str, Any]) -> "Method":
        """The method with parameters from flags or JSON. Raises `UsageError` naming the field and what it allows."""
        unknown = [k for k in values if k not in cls.model_fields]
        if unknown:
            raise UsageError(
                f"You set {unknown[0]!r} of the method {cls.id!r}.",
                "It has no parameter of that name.",
                suggest(unknown[0], cls.model_fields, "parameter"),
            )
        try:
            return cls.model_validate(values)
        except ValidationError as e:
            first = e.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise UsageError(
                f"You set {field!r} of the method {cls.id!r} to {first.get('input')!r}.",
                f"{first['msg']}.",
                f"{field}: {cls.model_fields[str(first['loc'][0])].description or 'see `exegete list methods`'}",
            ) from None

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
    return METHODS.get(method.replace("-", "_")).build(values or {})


def register(cls: type) -> type:
    """Class decorator: put a method or a metric into its registry under its `id`."""
    book = METRICS if cls.family == "metric" else METHODS  # type: ignore[attr-defined]
    return book.add(cls.id, cls)  # type: ignore[attr-defined]
