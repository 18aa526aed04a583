"""The contract of a view, and how one registers.

A view takes a result of one type to a *picture* (a frozen record of plain data, everything already in words) and draws the
picture twice: as a rich renderable, and through a template as HTML. Both say the same.
"""

from typing import Any, ClassVar, Protocol, runtime_checkable

from rich.console import RenderableType

from exegete.core.registry import VIEWS


@runtime_checkable
class View(Protocol):
    """`result` is the name of the result type, `template` a file of `show/templates`, `script` a file of `show/views`
    that makes the page move (it is called with the root element and the picture's `payload`) or empty."""

    result: ClassVar[str]
    template: ClassVar[str]
    script: ClassVar[str]

    @staticmethod
    def picture(result: Any) -> Any:
        """The result as a frozen record of plain data."""
        ...

    @staticmethod
    def terminal(picture: Any) -> RenderableType:
        """The picture for a terminal."""
        ...


def view(cls: type) -> type:
    """Class decorator: register a view under the name of the result type it draws."""
    return VIEWS.add(cls.result, cls)  # type: ignore[attr-defined]
