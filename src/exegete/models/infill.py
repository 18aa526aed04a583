"""What a language model would put into a text, and how natural it finds a text.

fillers      log-probabilities of every token at given places: of a masked model with those places masked, of a causal
             model after what stands before them
naturalness  mean log-probability a token: of a causal model as it reads, of a masked model with every `FOLDS`-th token
             masked in turn (an approximation to the pseudo-log-likelihood at FOLDS passes)

The language model must read the same tokens as the model that is explained.
Cost: one forward a call of `fillers`; one (causal) or FOLDS (masked) forwards a text. Shapes: ids [S], logits [vocab].
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from exegete.core.errors import ModelError
from exegete.models.forward import Batch, Meter, Runner, empty_id
from exegete.models.load import load
from exegete.models.model import Model, still

FOLDS = 4
LOGITS_IN_MEMORY = 1 << 25  # floats of logits made at a time


def language_model(model: Model, name: str) -> Model:
    """The model called `name`, or `model` itself for "self". Raises `ModelError` unless it reads the same tokens."""
    found = model if name == "self" else load(name)
    if found.task not in ("causal", "masked"):
        raise ModelError(
            f"You asked {found.name} to fill in words.",
            f"It is a {found.task} model, which does not predict words.",
            "Name a masked or causal language model with the same tokenizer, for example infill='terrarium/encoder'.",
        )
    if found is not model and found.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise ModelError(
            f"You asked {found.name} to fill in words for {model.name}.",
            "Their tokenizers differ, so that a token of one means something else to the other.",
            "Name a masked or causal language model that was trained with the same tokenizer.",
        )
    return found


def fillers(model: Model, ids: np.ndarray, places: Sequence[int], meter: Meter) -> np.ndarray:
    """Log-probabilities [len(places), vocab] of what stands at `places` of `ids` [S], all of them hidden."""
    if model.task == "masked":
        hidden = ids.copy()
        hidden[list(places)] = _mask(model)
        return _log_probabilities(model, [hidden], np.array([places]), meter)[0]
    read = np.concatenate([[empty_id(model)], ids]) if places[0] == 0 else ids
    rows = np.array([places]) if places[0] == 0 else np.array([places]) - 1
    return _log_probabilities(model, [read], rows, meter)[0]


def naturalness(model: Model, texts: Sequence[np.ndarray], meter: Meter) -> np.ndarray:
    """Mean log-probability a token [V] of texts given as ids; the model's own special tokens are not scored."""
    score = _read_score if model.task == "causal" else _masked_score
    return np.array([score(model, t, meter) for t in texts])


def _read_score(model: Model, ids: np.ndarray, meter: Meter) -> float:
    if len(ids) < 2:
        ids = np.concatenate([[empty_id(model)], ids])
    if len(ids) < 2:
        return 0.0
    rows = np.arange(len(ids) - 1)
    parts = [
        _log_probabilities(model, [ids], rows[part][None], meter)[0][np.arange(len(rows[part])), ids[rows[part] + 1]]
        for part in _slices(model, len(rows))
    ]
    return float(np.concatenate(parts).mean())


def _masked_score(model: Model, ids: np.ndarray, meter: Meter) -> float:
    special = set(getattr(model.tokenizer, "all_special_ids", []) or [])
    places = np.array([i for i, t in enumerate(ids) if int(t) not in special])
    if not len(places):
        return 0.0
    found = []
    for fold in range(min(FOLDS, len(places))):
        here = places[fold::FOLDS]
        found.append(fillers(model, ids, here.tolist(), meter)[np.arange(len(here)), ids[here]])
    return float(np.concatenate(found).mean())


def _slices(model: Model, n: int) -> Iterator[slice]:
    step = max(1, LOGITS_IN_MEMORY // max(model.vocabulary, 1))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))


def _log_probabilities(model: Model, texts: list[np.ndarray], rows: np.ndarray, meter: Meter) -> np.ndarray:
    with torch.inference_mode(), still(model.module):
        return Runner(model, meter)(Batch(texts, rows)).double().log_softmax(-1).cpu().numpy()


def _mask(model: Model) -> int:
    found = getattr(model.tokenizer, "mask_token_id", None)
    if not isinstance(found, int):
        raise ModelError(
            f"You asked {model.name} to fill in words.",
            "Its tokenizer has no mask token.",
            "Name a masked language model whose tokenizer has one.",
        )
    return found
