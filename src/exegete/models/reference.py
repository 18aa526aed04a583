"""A model by reference: what a worker in another process loads, from the plain data of a plan, and what it must be to be the same.

A folder that is named from where one stands (`models/mine`) is remembered by its whole path too, so that a run goes on from elsewhere.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from exegete.core.embedded import PREFIX
from exegete.core.job import ModelRef
from exegete.models.load import load
from exegete.models.model import Model


def load_ref(ref: ModelRef) -> Model:
    """The model that a reference names. Raises `ModelError` as `load` does."""
    told = ref.model_dump(exclude={"source", "folder"})
    if ref.folder is None or not Path(ref.folder).exists():
        return load(ref.source, **told)
    model = load(ref.folder, **told)
    model.name = ref.source  # as it is called in results, wherever it is loaded
    return model


def found_at(ref: ModelRef) -> ModelRef:
    """The reference with the whole path of its folder, where it names one."""
    if ref.source.startswith(PREFIX):  # an embedded model, whatever lies here
        return ref
    try:
        lies = Path(ref.source).expanduser()
        return ref.model_copy(update={"folder": str(lies.resolve())}) if lies.is_dir() else ref
    except (OSError, ValueError, RuntimeError):  # no path: a name
        return ref


def identity(model: Model) -> str:
    """Hash of architecture, weights and tokenizer: what must be the same for texts to be read and answered alike."""
    told = json.dumps(_tokenizer(model.tokenizer), sort_keys=True, default=str)
    return f"{model.fingerprint}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _tokenizer(tokenizer: Any) -> dict[str, Any]:
    """What a tokenizer does, as JSON data; how it was last told to pad and to cut is left out."""
    names = ("model_max_length", "chat_template", "special_tokens_map", "padding_side", "truncation_side")
    told: dict[str, Any] = {name: getattr(tokenizer, name, None) for name in names}
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None and hasattr(fast, "to_str"):
        return told | json.loads(fast.to_str()) | {"truncation": None, "padding": None}
    flags = {
        k: v for k, v in getattr(tokenizer, "init_kwargs", {}).items() if isinstance(v, bool | int | float)
    }
    words = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else {}
    return told | {"kind": type(tokenizer).__name__, "words": words, "flags": flags}
