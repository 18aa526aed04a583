"""What a language model would put into a text, and how natural it finds a text.

infiller     who fills in for a model: itself, or another that reads the same tokens
filler       distribution of the token at one place of each text: of a masked model with that place (and others) masked,
             of a causal model after what stands before it
naturalness  mean log-probability a token: of a causal model as it reads, of a masked model with every `FOLDS`-th token
             masked in turn (the pseudo-log-likelihood, approximated in FOLDS passes)

The language model must read the same tokens as the model that is explained.
Cost: one forward a text for `filler`; one (causal) or FOLDS (masked) a text for `naturalness`. Shapes: ids [V, S].
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from exegete.core.errors import ModelError
from exegete.models.forward import Batch, Meter, Runner, empty_id
from exegete.models.load import load
from exegete.models.model import Model, still

FOLDS = 4
EMBEDDED = "terrarium/encoder"  # fills in for the embedded classifiers, which read the same tokens
LANGUAGE = ("causal", "masked")  # tasks whose models say how likely a word is
LOGITS_IN_MEMORY = 1 << 24  # logits made at a time


def language_model(model: Model, name: str | Model, tasks: Sequence[str] = LANGUAGE) -> Model:
    """The model called `name`, or `model` itself for "self". Raises `ModelError` unless it reads the same tokens."""
    found = model if name == "self" else load(name)
    if found.task not in tasks:
        raise ModelError(
            f"You asked {found.name} to judge or fill in words.",
            f"It is a {found.task} model, which does not predict words.",
            "Name a masked or causal language model with the same tokenizer.",
        )
    if found is not model and found.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise ModelError(
            f"You asked {found.name} to judge or fill in words for {model.name}.",
            "Their tokenizers differ, so that a token of one means something else to the other.",
            "Name a masked or causal language model with the same tokenizer as the model that is explained.",
        )
    return found


def infiller(model: Model, name: str | Model = "auto") -> Model:
    """Who fills in for `model`: the model called `name`; auto: itself where it makes words, else the embedded encoder.

    Raises `ModelError` where that is no language model, or reads other tokens.
    """
    able = (*LANGUAGE, "seq2seq")
    if name != "auto":
        return language_model(model, name if isinstance(name, Model) else _loaded(name, model), able)
    if model.task in able:
        return model
    found = _named(EMBEDDED)
    if found.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise ModelError(
            f"You asked to fill in words that are removed from a text of {model.name}.",
            "It is a classifier, which makes no words, and no language model was named for it.",
            "Name one with the same tokenizer: infiller='path/to/model' (--infiller).",
        )
    return found


def _loaded(name: str, model: Model) -> Model:
    return model if name == "self" else _named(name)


@lru_cache(maxsize=2)  # so that all who play on a text fill in by the same model, and share what it drew
def _named(name: str) -> Model:
    return load(name)


def barred(model: Model, width: int) -> np.ndarray:
    """Tokens that never stand for text [width] bool: special ones, and those the model has no embedding for."""
    out = np.arange(width) >= min(model.vocabulary, len(model.tokenizer))
    out[[i for i in getattr(model.tokenizer, "all_special_ids", []) or [] if i < width]] = True
    return out


def filler(model: Model, ids: np.ndarray, place: int, hidden: Sequence[int], meter: Meter) -> np.ndarray:
    """Log-probabilities [V, vocab] of the token at `place` of `ids` [V, S]; a masked model sees `hidden` places masked."""
    if model.task == "masked":
        ids = ids.copy()
        ids[:, list(hidden)] = mask_id(model)
    elif place == 0:
        ids = np.concatenate([np.full((len(ids), 1), empty_id(model)), ids[:, 1:]], axis=1)
    row = place if model.task == "masked" else max(place - 1, 0)
    return _log_probabilities(model, list(ids), np.full((len(ids), 1), row), meter)[:, 0]


def naturalness(model: Model, texts: Sequence[np.ndarray], meter: Meter) -> np.ndarray:
    """Mean log-probability a token [V] of texts given as ids; special tokens are not scored by a masked model."""
    score = _read_score if model.task == "causal" else _masked_score
    return np.array([score(model, np.asarray(t), meter) for t in texts])


def _read_score(model: Model, ids: np.ndarray, meter: Meter) -> float:
    if len(ids) < 2:
        ids = np.concatenate([[empty_id(model)], ids])
    places = np.arange(1, len(ids))
    found = _log_probabilities(model, [ids], places[None] - 1, meter)[0] if len(places) else np.zeros((0, 1))
    return float(found[places - 1, ids[1:]].mean()) if len(places) else 0.0


def _masked_score(model: Model, ids: np.ndarray, meter: Meter) -> float:
    special = set(getattr(model.tokenizer, "all_special_ids", []) or [])
    places = np.array([i for i, t in enumerate(ids) if int(t) not in special], dtype=np.int64)
    parts = [places[fold::FOLDS] for fold in range(min(FOLDS, len(places)))]
    if not parts:
        return 0.0
    texts = [np.where(np.isin(np.arange(len(ids)), here), mask_id(model), ids) for here in parts]
    rows = np.stack([np.resize(here, len(parts[0])) for here in parts])
    logp = _log_probabilities(model, texts, rows, meter)
    return float(np.concatenate([logp[f, np.arange(len(h)), ids[h]] for f, h in enumerate(parts)]).mean())


def _log_probabilities(model: Model, texts: list[np.ndarray], rows: np.ndarray, meter: Meter) -> np.ndarray:
    """[V, row, vocab], in passes that stay within the token budget and the logits that fit in memory."""
    size = max(
        1, min(model.token_budget // len(texts[0]), LOGITS_IN_MEMORY // (rows.shape[1] * model.vocabulary))
    )
    run = Runner(model, meter)
    with torch.inference_mode(), still(model.module):
        parts = [
            run(Batch(texts[i : i + size], rows[i : i + size])).double().log_softmax(-1).cpu().numpy()
            for i in range(0, len(texts), size)
        ]
    return np.concatenate(parts)


def mask_id(model: Model) -> int:
    """The mask token of a masked model. Raises `ModelError` when its tokenizer has none."""
    found = getattr(model.tokenizer, "mask_token_id", None)
    if not isinstance(found, int):
        raise ModelError(
            f"You asked {model.name} to judge or fill in words.",
            "Its tokenizer has no mask token.",
            "Name a masked language model whose tokenizer has one, or a causal one.",
        )
    return found
