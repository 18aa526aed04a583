"""Flags of a method, taken from its fields: `--n-steps 64` sets `n_steps`.

The arguments of a verb are cut in two before the command line is read: options that the verb itself declares, and the
rest, which must be fields of the chosen method. A flag that is neither gets a letter with the near names.
"""

import json
import types
from collections.abc import Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from exegete.core.errors import UsageError, suggest

# verbs whose method's fields are flags too
WITH_METHOD = (
    *("explain", "attend", "lens", "trace", "patch", "circuit", "heads", "edit"),
    *("probe", "pairs", "cloze", "neurons", "features", "concept", "reason", "sanity", "run"),
)
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Extra:
    """(flag, value or None) pairs that a verb does not declare, and the flags that it does."""

    pairs: tuple[tuple[str, str | None], ...] = ()
    options: tuple[str, ...] = ()


EXTRA: ContextVar[Extra] = ContextVar("extra")  # of the command that runs; typer has no way to pass it on


def split(args: Sequence[str], options: Mapping[str, bool]) -> tuple[list[str], Extra]:
    """Cut `args` into those the verb declares and the others.

    `options` tells for each flag of the verb whether it takes a value. The value of an unknown flag is the argument after
    it, unless that is a flag too; whether it was meant so is settled by `values`, which knows the fields.
    """
    own: list[str] = []
    others: list[tuple[str, str | None]] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        name, joined, value = arg.partition("=")
        if arg == "--":
            return [*own, arg, *rest], Extra(tuple(others), tuple(options))
        if not arg.startswith("--") or name in options:
            own.append(arg)
            if arg in options:
                own += [rest.pop(0)] if options[arg] and rest else []
        elif joined:
            others.append((name, value))
        else:
            others.append((name, rest.pop(0) if rest and not rest[0].startswith("--") else None))
    return own, Extra(tuple(others), tuple(options))


def values(extra: Extra, method: type, verb: str) -> tuple[dict[str, Any], list[str]]:
    """Field values from the extra flags, and words that were taken for the value of a switch but are text.

    Raises `UsageError` for a flag that neither the verb nor the method has, and for a missing value.
    """
    fields = method.model_fields  # type: ignore[attr-defined]
    out: dict[str, Any] = {}
    text: list[str] = []
    for flag, value in extra.pairs:
        name = flag[2:].replace("-", "_")
        name = name if name in fields else name.removeprefix("method_")
        negated = name.removeprefix("no_")
        if name not in fields and negated in fields and _switch(fields[negated].annotation):
            out[negated] = False
            text += [value] if value is not None else []
        elif name not in fields:
            known = [
                *(o for o in extra.options if o.startswith("--")),
                *("--" + f.replace("_", "-") for f in fields),
            ]
            raise UsageError(
                f"You gave the flag {flag!r}.",
                f"Neither `exegete {verb}` nor the method {method.id!r} has it.",  # type: ignore[attr-defined]
                suggest(flag, known, "flag"),
            )
        elif _switch(fields[name].annotation):
            out[name] = _WORDS.get((value or "true").lower(), True)
            text += [value] if value is not None and value.lower() not in _WORDS else []
        elif value is None:
            raise UsageError(
                f"You gave the flag {flag!r}.", "It needs a value.", f"{flag}: {fields[name].description}"
            )
        else:
            out[name] = _parse(value, fields[name].annotation)
    return out, text


def flag_of(field: str, options: Collection[str]) -> str:
    """The flag of a field: its name, with `method-` before it where the verb has an option of that name."""
    flag = "--" + field.replace("_", "-")
    return flag if flag not in options or field == "seed" else "--method-" + flag[2:]


def kind(annotation: Any) -> str:
    """A field's type in words: `int`, `a | b | c` for choices, `list` for sequences."""
    origin = get_origin(annotation)
    if origin is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if origin in (Union, types.UnionType):
        return " | ".join("none" if a is type(None) else kind(a) for a in get_args(annotation))
    if origin in (tuple, list):
        return "list"
    return getattr(origin or annotation, "__name__", str(annotation))


def bounds(field: Any) -> str:
    """A field's range in words, such as `>= 1, <= 4096`."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "multiple of"}
    found = [(sign, getattr(m, name, None)) for m in field.metadata for name, sign in signs.items()]
    return ", ".join(f"{sign} {value}" for sign, value in found if value is not None)


def _switch(annotation: Any) -> bool:
    return annotation is bool


def _parse(value: str, annotation: Any) -> Any:
    """A value as the field's type wants it before validation: JSON for brackets, a list for sequences, none for none."""
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    if value[:1] in "[{":
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    if value.lower() == "none" and type(None) in members:
        return None
    if any(get_origin(m) in (tuple, list) or m in (tuple, list) for m in members):
        return [part.strip() for part in value.split(",")]
    return value
