"""`exegete list`: what there is: methods, metrics, families, techniques, models."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output
from exegete.cli.params import WITH_METHOD
from exegete.core.errors import UsageError, suggest

if TYPE_CHECKING:
    from exegete.core.result import Listing


DETAILS = "Parameters, reference and cost of one: exegete list {} NAME"


class What(StrEnum):
    """What can be listed."""

    methods = "methods"
    metrics = "metrics"
    families = "families"
    techniques = "techniques"
    models = "models"


def list_things(
    what: Annotated[str, typer.Argument(metavar="|".join(What), help="What to list.")],
    name: Annotated[
        str | None,
        typer.Argument(
            help="One method or metric: its parameters, reference and cost. Or a verb (lens): the methods it takes."
        ),
    ] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Techniques: what implements each here.")
    ] = False,
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """List methods, metrics, model families, techniques or embedded models; name one method for its parameters."""
    what = _what(what)
    output = Output(None, html, open_page, as_json)
    output.check()
    if name is not None and what not in (What.methods, What.metrics):
        raise UsageError(
            f"You asked for one of the {what}: {name!r}.",
            "Only methods and metrics have details.",
            f"exegete list {what}",
        )
    if coverage and what != What.techniques:
        raise UsageError(
            f"You asked for the coverage of {what}.",
            "Coverage is of techniques.",
            "exegete list techniques --coverage",
        )
    output.emit([_listing(what, name, coverage)])
    return 0


def _what(word: str) -> What:
    """What the word names. Raises `UsageError`, which says where a method, a metric or a verb of that name is listed."""
    if word in tuple(What):
        return What(word)
    from exegete.core.registry import METHODS, METRICS

    plain = word.replace("-", "_")
    asked, lists = f"You asked to list {word!r}.", f"Lists are of {', '.join(What)}"
    if plain in METHODS:
        raise UsageError(asked, f"{lists}; this is a method.", f"exegete list methods {plain}")
    if plain in METRICS:
        raise UsageError(asked, f"{lists}; this is a metric.", f"exegete list metrics {plain}")
    if word in WITH_METHOD:
        raise UsageError(asked, f"{lists}; this is a verb.", f"exegete list methods {word}")
    raise UsageError(asked, f"{lists}.", suggest(word, What, "list"))


def _listing(what: What, name: str | None, coverage: bool) -> "Listing":
    if what == What.methods and (name is None or name in WITH_METHOD):
        return methods(name)
    if name is not None:
        return method_listing(name, metric=what == What.metrics)
    if what == What.techniques:
        return technique_listing(coverage)
    return {What.metrics: metrics, What.families: families, What.models: models}[what]()


def methods(verb: str | None = None) -> "Listing":
    """All registered methods, or those that a verb of the command line takes."""
    from exegete.cli.material import KINDS
    from exegete.core.registry import METHODS
    from exegete.core.result import Listing

    asks = {name: getattr(m, "asks", "a text") for name, m in METHODS}
    rows = [
        (name, getattr(m, "verb", "explain"), m.family, KINDS.get(asks[name], asks[name]), m.summary())
        for name, m in METHODS
    ]
    if verb == "run":
        return runnable()
    shown = [r for r in rows if verb in (None, r[1])]
    return Listing(
        title=f"{len(shown)} method{'' if len(shown) == 1 else 's'}"
        + (f" of `exegete {verb}`" if verb else ""),
        columns=("method", "verb", "family", "asked about", "what it does"),
        rows=tuple(sorted(shown, key=lambda r: (r[1] != "explain", r[1], r[2], r[0]))),
        footer=DETAILS.format("methods"),
    )


def runnable() -> "Listing":
    """How each method is done over a data set by `exegete run`."""
    from exegete.core.registry import METHODS
    from exegete.core.result import Listing

    known = [(name, m) for name, m in METHODS if getattr(m, "asks", "") != "nothing"]
    rows = [(name, getattr(m, "asks", "texts"), m.over_data) for name, m in known]
    return Listing(
        title=f"{len(rows)} methods for `exegete run`",
        columns=("method", "a row is one of", "over data"),
        rows=tuple(sorted(rows, key=lambda r: (r[2] == "in one piece", r[2], r[0]))),
        footer="In one piece: it looks at all its rows at once; one process makes it. Also: metrics (with --methods), evaluate, harvest.",
    )


def metrics() -> "Listing":
    """All registered metrics."""
    from exegete.core.registry import METRICS
    from exegete.core.result import Listing

    rows = tuple((name, m.summary()) for name, m in METRICS)
    return Listing(
        title=f"{len(rows)} metrics",
        columns=("metric", "what it judges"),
        rows=rows,
        footer=DETAILS.format("metrics"),
    )


def families() -> "Listing":
    """All model families with a table."""
    from exegete.core.result import Listing
    from exegete.models.family import family_tables

    types: dict[str, list[str]] = {}
    for model_type, family in family_tables().items():
        types.setdefault(family.name, []).append(model_type)
    rows = tuple((name, ", ".join(known)) for name, known in sorted(types.items()))
    return Listing(
        title=f"{len(rows)} model families",
        columns=("family", "model types (config.model_type)"),
        rows=rows,
        footer="Another architecture is tried by discovery and proved, or refused with the reason.",
    )


def models() -> "Listing":
    """The embedded models."""
    from exegete.core.embedded import embedded_names
    from exegete.core.result import Listing

    rows = tuple((name,) for name in embedded_names())
    footer = "Any Hugging Face model can take their place: --model NAME or --model FOLDER."
    return Listing(title=f"{len(rows)} embedded models", columns=("model",), rows=rows, footer=footer)


def technique_listing(coverage: bool) -> "Listing":
    """The catalogue of techniques, with what implements each when `coverage` is asked for."""
    from exegete.core.result import Listing
    from exegete.core.techniques import coverage as joined
    from exegete.core.techniques import techniques

    if not coverage:
        rows = tuple((t.id, "core" if t.core else "", t.name, t.section, t.source) for t in techniques())
        return Listing(
            title=f"{len(rows)} techniques", columns=("id", "", "technique", "section", "source"), rows=rows
        )
    found = joined()
    rows = tuple(
        (c.technique.id, "core" if c.technique.core else "", ", ".join(c.by) or "–", c.technique.name)
        for c in found
    )
    done = [c for c in found if c.by]
    core = [c for c in found if c.technique.core]
    return Listing(
        title=f"{len(done)} of {len(found)} techniques implemented",
        columns=("id", "", "implemented by", "technique"),
        rows=rows,
        footer=f"{sum(bool(c.by) for c in core)} of {len(core)} core techniques.",
    )


def method_listing(name: str, metric: bool = False) -> "Listing":
    """One method: its parameters with type, default, range and help; reference and cost below."""
    from exegete.cli.main import flags_of
    from exegete.cli.params import bounds, flag_of, kind
    from exegete.core.registry import METHODS, METRICS
    from exegete.core.result import Listing

    method = (METRICS if metric else METHODS).get(name.replace("-", "_"))
    options = flags_of(getattr(method, "verb", "explain"))
    rows = tuple(
        (
            flag_of(field, options),
            kind(info.annotation),
            "required" if info.is_required() else str(info.get_default(call_default_factory=True)),
            bounds(info),
            info.description or "",
        )
        for field, info in method.model_fields.items()
    )
    lines = [
        method.summary(),
        f"Reference: {method.reference}",
        f"Cost in model passes: {method.passes or 'see its page'}",
    ]
    if not metric:
        lines.append(f"Over a data set (exegete run): {method.over_data}")
    lines += [f"Needs: {', '.join(method.needs)}", f"Techniques: {', '.join(method.techniques) or 'none'}"]
    return Listing(
        title=f"{method.id} ({method.family})",
        columns=("flag", "type", "default", "range", "meaning"),
        rows=rows,
        footer="\n".join(lines),
    )
