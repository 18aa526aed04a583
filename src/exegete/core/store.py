"""One result, one file: safetensors (arrays) with a JSON header (type, provenance, scalars, text). No pickle.

Saving: (1) walk the value, take every array out under its path, (2) put the rest into the header as JSON, (3) write to a
temporary name in the same folder and rename. Opening is the reverse, with numpy alone. A file that is not ours, is cut
short, or is of a newer format is refused with a letter.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from exegete.core.errors import ExegeteError, StoreError
from exegete.core.result import Result, result_type
from exegete.core.trust import Cost
from exegete.core.value import Value

FORMAT = 1
_ARRAY, _TYPE = "__array__", "__result__"
_PLAIN = frozenset({str, int, float, bool, type(None)})  # themselves in JSON


def save(result: Result, path: str | os.PathLike[str]) -> str:
    """Write `result` to `path`, all or nothing. Raises `StoreError` when the folder is missing or not writable."""
    write_atomic(path, pack(result))
    return str(path)


def pack(value: Any, timeless: bool = False) -> bytes:
    """A value (a `Value`, or JSON data with numpy arrays in it) as the bytes of a file. `timeless`: seconds are left out of costs,
    so that the same work gives the same bytes.
    """
    return in_order(_packed(value, timeless, {"format": str(FORMAT)}))


def pack_part(value: Any) -> bytes:
    """A value as bytes that `unpack` reads: one of many in a file that says their format, timeless."""
    return _packed(value, True, {})  # a single name in its header has but one order


def _packed(value: Any, timeless: bool, told: dict[str, str]) -> bytes:
    from safetensors.numpy import save as to_bytes

    arrays: dict[str, np.ndarray] = {}
    header = json.dumps(_lower(value, "", arrays, timeless), ensure_ascii=False)
    return to_bytes(arrays, metadata={"exegete": header, **told})


def in_order(data: bytes) -> bytes:
    """The bytes of a safetensors file with the names in its header in order: the library writes those of metadata in any."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    told = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    told += b" " * (-len(told) % 8)
    return len(told).to_bytes(8, "little") + told + data[8 + size :]


def unpack(data: bytes, kind: type[Value] | None = None) -> Any:
    """What `pack` made bytes of: a result as it was, another `Value` where its `kind` is given, else JSON data with arrays."""
    from safetensors.numpy import load

    size = int.from_bytes(data[:8], "little")
    meta = json.loads(data[8 : 8 + size])["__metadata__"]
    found = _raise(_header("a part of a run", {"format": str(FORMAT), **meta}), load(data))
    return found if kind is None or found is None or isinstance(found, kind) else kind.model_validate(found)


def open_result(path: str | os.PathLike[str]) -> Result:
    """Read a result saved by `save`. Raises `StoreError` for a missing, broken or foreign file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as f:
            meta = f.metadata() or {}
            arrays = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (safe_open is not a mapping)
    except FileNotFoundError:
        raise StoreError(
            f"You asked to open {str(path)!r}.", "There is no such file.", "Check the path."
        ) from None
    except (SafetensorError, OSError, ValueError, TypeError) as e:
        raise StoreError(
            f"You asked to open {str(path)!r}.",
            f"It is not a result file, or it is cut short ({e}).",
            "Results are written by Result.save(path) or `exegete explain --out FILE`.",
        ) from None
    try:
        found = _raise(_header(path, meta), arrays)
    except (KeyError, TypeError, RecursionError) as e:
        raise StoreError(
            f"You asked to open {str(path)!r}.",
            f"Its header is damaged ({type(e).__name__}).",
            "Make it again.",
        ) from e
    if not isinstance(found, Result):
        raise StoreError(f"You asked to open {str(path)!r}.", "It holds no result.", "Make it again.")
    return found


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Refuse, before any work, a path that cannot be written. Returns it as a `Path`."""
    p = Path(path)
    try:
        reason = _obstacle(p)
    except (
        OSError,
        ValueError,
    ) as e:  # a name that is too long, holds a zero byte, or lies in a closed folder
        reason = f"The path cannot be used ({e})."
    if reason:
        raise StoreError(
            f"You asked to write {str(p)!r}.", reason, "Choose another path; nothing was computed yet."
        )
    return p


def check_folder(path: str | os.PathLike[str], mark: str) -> Path:
    """Refuse, before any work, a folder that cannot be written, or that holds other things: it must be new, empty, or have the
    file `mark`. Returns it as a `Path`.
    """
    p = Path(path)
    try:
        if not p.exists():
            return check_writable(p)
        reason = _in_the_way(p, mark)
    except (OSError, ValueError) as e:
        reason = f"The path cannot be used ({e})."
    if reason:
        raise StoreError(
            f"You asked to write {str(p)!r}.", reason, "Choose another folder; nothing was computed yet."
        )
    return p


def _in_the_way(p: Path, mark: str) -> str:
    """What keeps a run out of a folder that is there; "" when nothing does."""
    if not p.is_dir():
        return "It is no folder."
    if not (p / mark).exists() and any(p.iterdir()):
        return "The folder holds other things."
    return "" if os.access(p, os.W_OK) else "The folder is not writable."


def _obstacle(p: Path) -> str:
    """What stands in the way of writing to `p`; "" when nothing does."""
    folder = p.parent
    if "\0" in str(p):
        return "A path cannot hold a zero byte."
    if p.is_dir():
        return "It is a folder."
    if p.exists() and not p.is_file():
        return "It is a device or a pipe, not a file."
    if not folder.is_dir():
        return f"The folder {str(folder)!r} does not exist."
    if not os.access(folder, os.W_OK) or (p.exists() and not os.access(p, os.W_OK)):
        return "There is no permission to write there."
    return ""


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` under a temporary name, flush it to disk, and rename: `path` is whole or untouched."""
    p = check_writable(path)
    try:
        _replace(p, data)
    except OSError as e:
        raise StoreError(
            f"You asked to write {str(p)!r}.",
            f"The system refused ({e.strerror or e}); no part of it was left behind.",
            "Check the space and the permissions there, or choose another path.",
        ) from e


def _replace(p: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=p.parent, prefix=f".{p.name[:64]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, p)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _header(path: object, meta: dict[str, str]) -> Any:
    if "exegete" not in meta:
        raise StoreError(
            f"You asked to open {str(path)!r}.",
            "It is a safetensors file, but not a result of Exegete (model weights, perhaps?).",
            "Load models with xg.load; open results saved by Result.save.",
        )
    if not meta.get("format", "").isdecimal() or int(meta["format"]) > FORMAT:
        raise StoreError(
            f"You asked to open {str(path)!r}.",
            f"It has format {meta.get('format', 'none')!r:.40}, and this version reads up to {FORMAT}.",
            "Update Exegete.",
        )
    try:
        return json.loads(meta["exegete"])
    except (json.JSONDecodeError, RecursionError):
        raise StoreError(
            f"You asked to open {str(path)!r}.", "Its header is damaged.", "Make it again."
        ) from None


def _lower(value: Any, where: str, arrays: dict[str, np.ndarray], timeless: bool = False) -> Any:
    """What JSON can say of a value; its arrays are taken out, each under its path. Made for every row of a run, so plain values,
    which are most, cost no call and no path.
    """
    if isinstance(value, np.ndarray):
        arrays[where] = np.ascontiguousarray(value).reshape(
            value.shape
        )  # which makes a row of a single number
        return {_ARRAY: where}
    if isinstance(value, Value):
        head = {_TYPE: value.type} if isinstance(value, Result) else {}
        told = {f: getattr(value, f) for f in type(value).model_fields}
        if timeless and isinstance(value, Cost):
            told["seconds"] = 0.0
        dot = f"{where}." if where else ""
        return head | {
            f: v if type(v) in _PLAIN else _lower(v, f"{dot}{f}", arrays, timeless) for f, v in told.items()
        }
    if isinstance(value, dict):
        return {
            k: v if type(v) in _PLAIN else _lower(v, f"{where}.{k}", arrays, timeless)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [
            v if type(v) in _PLAIN else _lower(v, f"{where}.{i}", arrays, timeless)
            for i, v in enumerate(value)
        ]
    return value.item() if isinstance(value, np.generic) else value


def _raise(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_raise(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        return arrays[value[_ARRAY]]
    plain = {k: _raise(v, arrays) for k, v in value.items() if k != _TYPE}
    if _TYPE not in value:
        return plain
    try:
        return result_type(value[_TYPE]).model_validate(plain)
    except ExegeteError:
        raise
    except ValueError as e:
        raise StoreError(
            "A result file was opened.", f"Its content does not fit its type ({e}).", "Make it again."
        ) from e
