"""The embedded models: small, trained on the terrarium, shipped with the package, found by name without a download."""

from importlib.resources import files
from pathlib import Path

from exegete.core.errors import UnknownName

PREFIX = "terrarium/"


def embedded_names() -> list[str]:
    """Names that `xg.load` takes for the embedded models, such as `terrarium/sentiment`."""
    root = _root()
    if not root.is_dir():
        return []
    return sorted(PREFIX + p.name for p in root.iterdir() if (p / "config.json").exists())


def embedded_path(name: str) -> Path | None:
    """Folder of the embedded model of that name; None when the name is not of that kind. Raises `UnknownName`."""
    if not name.startswith(PREFIX):
        return None
    path = _root() / name.removeprefix(PREFIX)
    if not (path / "config.json").exists():
        raise UnknownName("embedded model", name, embedded_names())
    return path


def _root() -> Path:
    return Path(str(files("exegete"))) / "terrarium" / "weights"
