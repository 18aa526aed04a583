"""Any result to a terminal picture, a notebook fragment, or a self-contained page.

1. `view_for` finds the view of the result's type; 2. the view makes the picture (plain data); 3. the terminal gets the
view's renderable, HTML its template, with the data the script needs in a JSON block in which no tag can end.

A page makes no network request: its content security policy forbids every source but what stands in the file. All text
is escaped by the templates. jinja2 is imported when the first HTML is asked for.
"""

import json
import secrets
from functools import cache
from importlib.resources import files
from typing import Any

from rich.console import RenderableType

from exegete.core.registry import VIEWS
from exegete.core.result import Result
from exegete.show import color


def view_for(result: Result) -> type:
    """The view of the result's type, or of the nearest type it extends. Raises `UnknownName` when no view draws it."""
    names = [base.__name__ for base in type(result).__mro__ if issubclass(base, Result)]
    return VIEWS.get(next((name for name in names if name in VIEWS), result.type))


def terminal(result: Result) -> RenderableType:
    """The result as a rich renderable."""
    view = view_for(result)
    return view.terminal(view.picture(result))


def notebook(result: Result) -> str:
    """The result as an HTML fragment that stands on its own in a notebook cell."""
    return str(
        _environment()
        .get_template("notebook.html.j2")
        .render(part=_part(result, f"xg-{secrets.token_hex(4)}"))
    )


def page(*results: Result, title: str = "") -> str:
    """The results as one HTML document, without any network request."""
    parts = [_part(r, f"xg-{i}") for i, r in enumerate(results)]
    heading = title or (getattr(parts[0]["p"], "title", "") if parts else "") or "Exegete"
    return str(_environment().get_template("page.html.j2").render(parts=parts, title=heading))


def json_block(data: Any) -> str:
    """JSON for a script element: `<`, `>` and `&` are written as escapes, so that no text can end the element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _part(result: Result, uid: str) -> dict[str, Any]:
    """What a template needs for one result."""
    view = view_for(result)
    picture = view.picture(result)
    data = getattr(picture, "payload", None)
    return {
        "uid": uid,
        "p": picture,
        "template": view.template,
        "script": _script(view.script) if view.script else "",
        "data": json_block(data) if view.script else "",
    }


@cache
def _environment() -> Any:
    """The templates, escaping everything; scripts, styles and JSON blocks are marked safe by name."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("exegete.show", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(light=color.LIGHT, dark=color.DARK)
    made.filters["minus"] = lambda text: text.replace("-", "\u2212")  # numbers get a true minus sign
    return made


@cache
def _script(name: str) -> str:
    return files("exegete.show").joinpath("views", name).read_text(encoding="utf-8")
