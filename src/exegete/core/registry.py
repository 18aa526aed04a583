"""Registries: a thing registers itself once, in the file that defines it; a miss names the near ones.

A registry knows the packages its built-ins live in and imports them at the first look-up, so that adding a file is all
it takes. Strangers come in by the same door: an installed package names a module under the entry-point group
`exegete.plugins`, and that module's `@register` lines do the rest.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from exegete.core.errors import ExegeteError, UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one `kind` by id. `packages` are imported, with their submodules, before the first look-up."""

    def __init__(self, kind: str, packages: tuple[str, ...]) -> None:
        self.kind, self.packages = kind, packages
        self._things: dict[str, T] = {}
        self._loaded = False

    def add(self, name: str, thing: T) -> T:
        """Register `thing` under `name`; a second thing of the same name is an error."""
        known = self._things.get(name)
        if known is not None and not _same_definition(known, thing):
            raise ExegeteError(
                f"The {self.kind} {name!r} was to be registered.",
                f"{_where(known)} already holds that name.",
                "Choose another id.",
            )
        self._things[name] = thing
        return thing

    def get(self, name: str) -> T:
        """The thing called `name`. Raises `UnknownName` listing the near ones."""
        if name not in self:
            raise UnknownName(self.kind, name, self._things)
        return self._things[name]

    def known(self, name: str) -> T | None:
        """What is registered under that name so far; nothing is imported for it."""
        return self._things.get(name)

    def ids(self) -> list[str]:
        """All names, sorted."""
        self.load()
        return sorted(self._things)

    def __iter__(self) -> Iterator[tuple[str, T]]:
        self.load()
        return iter(sorted(self._things.items()))

    def __contains__(self, name: str) -> bool:
        if name not in self._things and not self._loaded:
            self._import_file(name)
        if name not in self._things:
            self.load()
        return name in self._things

    def load(self) -> None:
        """Import the built-ins and the plugins, once."""
        if self._loaded:
            return
        self._loaded = True  # already now: what is imported below may ask
        try:
            self._import()
        except BaseException:
            self._loaded = False  # else the next look-up would find half of them, and say nothing
            raise

    def _import_file(self, name: str) -> None:
        """Import the file of that name alone: most things live in one that is called as they are, and all cost seconds."""
        if not name.isidentifier():
            return
        for package in self.packages:
            root = importlib.import_module(package)
            rooms = [i.name for i in pkgutil.iter_modules(root.__path__, f"{package}.") if i.ispkg]
            for home in (package, *rooms):
                if importlib.util.find_spec(f"{home}.{name}") is not None:
                    importlib.import_module(f"{home}.{name}")
                    return

    def _import(self) -> None:
        for package in self.packages:
            root = importlib.import_module(package)
            for info in pkgutil.walk_packages(root.__path__, f"{package}."):
                importlib.import_module(info.name)
        for plugin in entry_points(group="exegete.plugins"):
            plugin.load()


def drawer() -> Any:
    """The module that draws results (`terminal`, `notebook`, `page`), found by name as everything registered is."""
    return importlib.import_module("exegete.show.render")


def _where(thing: object) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__name__)}"


def _same_definition(a: object, b: object) -> bool:
    return a is b or _where(a) == _where(b)


METHODS: Registry[type] = Registry("method", ("exegete.methods", "exegete.evaluate"))
METRICS: Registry[type] = Registry("metric", ("exegete.evaluate",))
VIEWS: Registry[type] = Registry("view", ("exegete.show.views",))
