"""Loading a model by name, by path, or as it is in memory; safe by default.

1. an embedded name (`terrarium/sentiment`) becomes a folder of the package;
2. the configuration says which tasks the checkpoint was saved for; `task` overrides;
3. remote code and pickled weights are refused unless asked for by flag;
4. weights are read once, in their own precision on a GPU and in float32 on a CPU, by Hugging Face's own loader;
5. a model larger than one device is spread over several by accelerate (`device_map`; `models.placement` says what that changes).

Cost: no forward pass. Memory: the weights (kept memory-mapped where Hugging Face does).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from exegete.core.embedded import PREFIX, embedded_names, embedded_path
from exegete.core.errors import ModelError, UnknownName, UsageError, near, suggest
from exegete.models.device_map import DeviceMap, beyond_cpu, check_device, check_map, room_aside
from exegete.models.model import TASKS, Model

_AUTO = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "sequence": "AutoModelForSequenceClassification",
    "token": "AutoModelForTokenClassification",
}
_SUFFIX = {
    "ForSequenceClassification": "sequence",
    "ForTokenClassification": "token",
    "ForMaskedLM": "masked",
    "ForPreTraining": "masked",
    "ForConditionalGeneration": "seq2seq",
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
    "LMHead": "causal",
}


def load(
    source: Any,
    *,
    task: str | None = None,
    revision: str | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    device_map: DeviceMap | None = None,
) -> Model:
    """A `Model` from a name, a folder, a `(module, tokenizer)` pair, or a `Model` (returned as it is).

    `task` is one of causal, masked, seq2seq, sequence, token; by default what the checkpoint was saved for. `device_map` spreads the
    weights over devices: "auto", or a device ("cpu" and "disk" too) for each module by name. It changes no number but by rounding,
    and is no part of the fingerprint.
    Raises `ModelError` (not found, offline, gated, unsafe) and `UsageError` (unknown task, a pair of the wrong things).
    """
    if task is not None and task not in TASKS:
        raise UnknownName("task", task, TASKS)
    check_map(device_map, device, source)
    if isinstance(source, Model):
        return source
    if isinstance(source, (tuple, list)) and len(source) == 2:
        return _wrap(source[0], source[1], task)
    if not isinstance(source, (str, Path)):
        raise UsageError(
            "You asked to load a model.",
            f"A {type(source).__name__} is neither a name, a path nor a (module, tokenizer) pair.",
            "Example: xg.load('gpt2') or xg.load((module, tokenizer)).",
        )
    name = str(source)
    where = embedded_path(name) or _path(name)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    place = str(where) if where is not None else name
    if where is not None:
        _check_folder(where, allow_pickle)
    check_device(device)
    config = _fetch("AutoConfig", place, name, options)
    task = _task(config, name, task)
    weights = {"use_safetensors": None if allow_pickle else True, "dtype": _dtype(dtype, device, device_map)}
    with room_aside(device_map) as aside:
        module, report = _fetch(
            _AUTO[task],
            place,
            name,
            options | weights | aside.options,
            config=config,
            output_loading_info=True,
        )
        aside.keep_for(module)
    _check_complete(report, name, task)
    tokenizer = _fetch("AutoTokenizer", place, name, options)
    if device is not None:
        _move(module, device, name)
    module.eval()
    for p in module.parameters():
        p.requires_grad_(False)
    return Model(module, tokenizer, task, name=name, revision=revision or _commit(config))


def load_encoder(name: str, device: str | torch.device | None = None) -> tuple[nn.Module, Any]:
    """The body of a checkpoint without its head, such as a sentence encoder's, and its tokenizer. Raises `ModelError`."""
    where = embedded_path(name) or _path(name)
    if where is not None:
        _check_folder(where, False)
    place, safe = str(where) if where is not None else name, {"use_safetensors": True}
    module, report = _fetch("AutoModel", place, name, safe, dtype=torch.float32, output_loading_info=True)
    report["missing_keys"] = [k for k in report.get("missing_keys", ()) if "pooler" not in k]  # not read
    _check_complete(report, name, "headless")
    tokenizer = _fetch("AutoTokenizer", place, name, {})
    if getattr(module.config, "is_encoder_decoder", False):
        module = module.get_encoder()
    if device is not None:
        _move(module, device, name)
    return module.eval().requires_grad_(False), tokenizer


def _path(name: str) -> Path | None:
    """The name as a folder (or file) that is there."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long for a path, a zero byte, no such user's home
        return None


def _move(module: nn.Module, device: Any, name: str) -> None:
    try:
        module.to(device)
    except (RuntimeError, AssertionError) as e:
        raise ModelError(
            f"You asked to put {name!r} on the device {str(device)!r}.",
            f"PyTorch cannot: {_first(str(e))}",
            "Choose another device, such as cpu.",
        ) from e


def _check_complete(report: dict[str, Any], name: str, task: str) -> None:
    """Refuse a checkpoint without some of the weights: they would be random, and explained as if they were not."""
    missing = sorted(report.get("missing_keys", ()))
    if missing:
        raise ModelError(
            f"You asked to load {name!r} as a {task} model.",
            f"The checkpoint lacks {len(missing)} of its weights ({', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}); they would be random.",
            "Load it for the task that it was trained for; to study an untrained model, give (module, tokenizer).",
        )


def task_of(module: nn.Module) -> str | None:
    """The task a module is built for, from its class name; None when the name does not tell."""
    name = type(module).__name__
    return next((task for suffix, task in _SUFFIX.items() if name.endswith(suffix)), None)


def _wrap(module: Any, tokenizer: Any, task: str | None) -> Model:
    if not isinstance(module, nn.Module) or not callable(tokenizer):
        raise UsageError(
            "You asked to load a (module, tokenizer) pair.",
            f"It holds a {type(module).__name__} and a {type(tokenizer).__name__}.",
            "Give a torch module with a Hugging Face config, and its tokenizer, in this order.",
        )
    wrapper: Any = module
    inner = wrapper.get_base_model() if hasattr(wrapper, "get_base_model") else module
    said = task_of(inner)
    if task and said not in (None, task, "seq2seq"):
        raise UsageError(
            f"You asked to load a {type(inner).__name__} for the task {task!r}.",
            f"By its class it is a {said} model.",
            f"Leave task out, or give a model for {task}.",
        )
    if not hasattr(inner, "config") or not hasattr(inner, "get_input_embeddings"):
        raise UsageError(
            f"You asked to load a {type(inner).__name__}.",
            "It has no config or no get_input_embeddings(), so it is no Hugging Face model.",
            "Give a transformers model, or a module with the same interface.",
        )
    found = task or said
    if found is None:
        raise UsageError(
            f"You asked to load a {type(inner).__name__}.",
            "Its class name does not say what it does (it may lack a head).",
            f"Say it: xg.load((module, tokenizer), task=...), one of {', '.join(TASKS)}.",
        )
    name = getattr(getattr(inner, "config", None), "_name_or_path", "") or type(inner).__name__
    return Model(module, tokenizer, found, name=name)


def _task(config: Any, name: str, task: str | None) -> str:
    """The task asked for, else the one saved for. The head of one kind of classifier is none of the other's."""
    names = getattr(config, "architectures", None) or []
    saved = next((t for a in names for suffix, t in _SUFFIX.items() if a.endswith(suffix)), None)
    if task and task != saved and {task, saved} == {"sequence", "token"}:
        raise UsageError(
            f"You asked to load {name!r} as a {task} classifier.",
            f"It was trained as a {saved} classifier.",
            f"Load it with task={saved!r}, or leave task out.",
        )
    if task or saved:
        return task or str(saved)
    raise UsageError(
        f"You asked to load {name!r}.",
        "Its configuration does not say which head it was saved with.",
        f"Say it with task=..., one of {', '.join(TASKS)}.",
    )


def _check_folder(path: Path, allow_pickle: bool) -> None:
    if not (path / "config.json").exists():
        raise ModelError(
            f"You asked to load {str(path)!r}.",
            "The folder holds no config.json." if path.is_dir() else "It is a file, not a model folder.",
            "Give the folder that save_pretrained wrote.",
        )
    safe = list(path.glob("*.safetensors"))
    pickled = list(path.glob("*.bin")) + list(path.glob("*.pt"))
    if not safe and pickled and not allow_pickle:
        raise ModelError(
            f"You asked to load {str(path)!r}.",
            f"Its weights are pickled ({pickled[0].name}); opening a pickle can run any code.",
            "Convert them to safetensors, or pass allow_pickle=True (--allow-pickle) if you trust the source.",
        )


def _fetch(factory: str, place: str, name: str, options: dict[str, Any], **extra: Any) -> Any:
    """Call one of Hugging Face's loaders and turn what it raises into a letter."""
    import transformers
    from safetensors import SafetensorError

    try:
        with _quiet(name):
            return getattr(transformers, factory).from_pretrained(place, **options, **extra)
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        ImportError,
        KeyError,
        RuntimeError,
        SafetensorError,
    ) as e:
        raise _letter(factory, name, e) from e


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """No progress bars of transformers for embedded models, which load in a moment; others keep theirs."""
    from transformers.utils import logging

    shown = name.startswith(PREFIX) and logging.is_progress_bar_enabled()
    if shown:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _letter(factory: str, name: str, e: Exception) -> ModelError:
    text = str(e) or type(e).__name__
    asked = f"You asked to load {name!r}."
    if "gated" in text.lower() or "401" in text or "403" in text:
        return ModelError(
            asked,
            "It is gated: its owner wants you to accept terms.",
            "Accept them on its page, then run `hf auth login`.",
        )
    if "trust_remote_code" in text or "custom code" in text:
        return ModelError(
            asked,
            "It brings its own Python code, which is not run by default.",
            "Read that code; if you trust it, pass trust_remote_code=True (--trust-remote-code).",
        )
    if "safetensors" in text and "bin" in text:
        return ModelError(
            asked,
            "It has no safetensors weights.",
            "Pass allow_pickle=True (--allow-pickle) if you trust the source.",
        )
    if factory == "AutoTokenizer":
        return ModelError(
            asked,
            f"Its tokenizer cannot be read: {_first(text)}",
            "Slow tokenizers need `pip install 'exegete[slow-tokenizers]'`.",
        )
    if isinstance(e, OSError) and (name.startswith(PREFIX) or _path(name) is not None):
        return ModelError(
            asked,
            f"The folder cannot be read as a model: {_first(text)}",
            "Give the folder that save_pretrained wrote.",
        )
    if isinstance(e, OSError):
        return ModelError(
            asked,
            "It is no folder on this machine, and the model hub does not answer or does not know it.",
            "Check the name and the network, or give a folder. "
            + (
                suggest(name, embedded_names())
                if near(name, embedded_names())
                else f"Embedded: {', '.join(embedded_names())}."
            ),
        )
    return ModelError(
        asked,
        f"Hugging Face could not load it: {_first(text)}",
        "Check the task, the dtype and the transformers version.",
    )


def _first(text: str) -> str:
    return text.strip().split("\n")[0][:300]


def _dtype(
    dtype: str | torch.dtype | None, device: str | torch.device | None, device_map: DeviceMap | None
) -> Any:
    if dtype is not None:
        return dtype
    on_gpu = beyond_cpu(device_map) or (device is not None and torch.device(device).type != "cpu")
    return "auto" if on_gpu else torch.float32


def _commit(config: Any) -> str:
    return str(getattr(config, "_commit_hash", "") or "")
