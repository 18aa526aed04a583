"""`Value`: the frozen, typed base of everything that is data here (pydantic v2, extra fields forbidden); `Given`: one that people write.

A value that holds numpy arrays compares them by shape, dtype and content, so that "saved, opened, equal" can be tested.
"""

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from exegete.core.errors import UsageError, suggest


class Value(BaseModel):
    """A frozen record with declared fields; two values are equal when their type and every field are."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=()
    )

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(same(getattr(self, f), getattr(other, f)) for f in type(self).model_fields)

    def __hash__(self) -> int:
        return hash((type(self), self.model_dump_json()))


class Given(Value):
    """A value that people write in code or in flags: a field that does not fit is answered with a `UsageError`."""

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as e:
            raise self._letter(e) from None

    @classmethod
    def _letter(cls, error: ValidationError) -> UsageError:
        """The first fault in three sentences: the field, what is wrong, what it allows."""
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            return UsageError(
                f"You set {field!r} of {cls._called()}.",
                "It has no parameter of that name.",
                suggest(field, cls.model_fields, "parameter"),
            )
        info = cls.model_fields.get(field)
        allowed = (info.description if info else "") or f"see help({cls.__name__})"
        given = "" if first["type"] == "missing" else f" to {first.get('input')!r:.80}"
        return UsageError(
            f"You set {field!r} of {cls._called()}{given}.", f"{first['msg']}.", f"{field}: {allowed}."
        )

    @classmethod
    def _called(cls) -> str:
        return f"a {cls.__name__}"


def same(a: Any, b: Any) -> bool:
    """Equality that looks into arrays and sequences; NaN equals NaN."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        both = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        return both and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return bool(a == b)
