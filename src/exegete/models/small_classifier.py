"""A small classifier of whole words, trained in seconds: what retraining studies train, again and again, from given texts.

A GPT-2 of few layers with fresh weights, read at a closing token (`bare_classifier` has the tokenizer). It reads from left to
right, so that which of two words came first is easily learned. AdamW, a warm-up of a tenth of the steps, then a line to zero.
First weights, order of the texts and everything else come from the seed: the same seed and texts give the same weights, and no
random state of the caller's is moved.

Shapes: ids [batch, tok]. Cost: n_steps forwards and backwards of `batch` texts; 300 steps take about two seconds on one core.
Reference: Radford et al. 2019 (the architecture); Loshchilov & Hutter 2019 (arXiv:1711.05101), AdamW.
"""

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import GPT2ForSequenceClassification

from exegete.core.errors import InputError
from exegete.core.seed import derive, generator
from exegete.models.attention_classifier import AttentionClassifier, Scaling
from exegete.models.bare_classifier import bare_classifier
from exegete.models.load import load
from exegete.models.model import Model

ROOM = 6  # positions beside the words: both ends, and some for words that are put in
_WORDS = re.compile(r"\w+")
Labelled = tuple[Sequence[str], Sequence[str]]
"""Texts of blank-separated words, and the label of each."""


@dataclass(frozen=True)
class Recipe:
    """How a small classifier is built and trained."""

    width: int = 48
    layers: int = 2
    heads: int = 4
    n_steps: int = 300
    batch: int = 32
    rate: float = 4e-3
    decay: float = 0.01


def plain_words(text: str, most: int = 24) -> str:
    """The first `most` words of a text, in small letters, with one blank between them and no punctuation."""
    return " ".join(_WORDS.findall(text.lower())[:most])


def trained(
    words: Sequence[str], labels: Sequence[str], draw: Callable[[np.random.Generator, int], Labelled], n_positions: int,
    recipe: Recipe, seed: int = 0, name: str = "small classifier",
) -> Model:  # fmt: skip
    """A classifier of `labels` over the vocabulary `words`, trained on the batches that `draw` makes (a generator, a size).

    `n_positions` is the number of words of the longest text. Raises `InputError` for fewer than two labels.
    """
    if len(set(labels)) < 2:
        raise InputError(
            "You asked to train a classifier.",
            f"All texts have the same label, {labels[0]!r}." if labels else "No text has a label.",
            "Give texts of at least two labels.",
        )
    module, tokenizer = _fresh(words, labels, n_positions + ROOM, recipe, derive(seed, "first weights"))
    return fitted(module, tokenizer, labels, draw, recipe, seed, name)


def fitted(
    module: Any, tokenizer: Any, labels: Sequence[str], draw: Callable[[np.random.Generator, int], Labelled], recipe: Recipe,
    seed: int, name: str,
) -> Model:  # fmt: skip
    """A classifier with fresh weights, `module`, trained on the batches that `draw` makes, and loaded."""
    number = {label: i for i, label in enumerate(labels)}
    rng = generator(seed, "batches")
    optimiser = torch.optim.AdamW(module.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    warm = max(1, recipe.n_steps // 10)
    module.train()
    with torch.enable_grad():
        for step in range(recipe.n_steps):
            texts, told = draw(rng, recipe.batch)
            batch = tokenizer(list(texts), padding=True, return_tensors="pt")
            loss = torch.nn.functional.cross_entropy(
                module(**batch).logits, torch.tensor([number[x] for x in told])
            )
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate * min((step + 1) / warm, (recipe.n_steps - step) / recipe.n_steps)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
    module.zero_grad(set_to_none=True)
    found = load((module.eval().requires_grad_(False), tokenizer), task="sequence")
    found.name = name
    return found


def from_texts(texts: Sequence[str], told: Sequence[str]) -> Callable[[np.random.Generator, int], Labelled]:
    """Batches of given texts with their labels: every text once, in random order, then anew."""
    left: list[int] = []

    def draw(rng: np.random.Generator, size: int) -> Labelled:
        while len(left) < size:
            left.extend(map(int, rng.permutation(len(texts))))
        at = [left.pop(0) for _ in range(size)]
        return [texts[i] for i in at], [told[i] for i in at]

    return draw


def answers(model: Model, texts: Sequence[str]) -> list[str]:
    """The label that the model gives each text, a hundred texts a pass."""
    found: list[str] = []
    for start in range(0, len(texts), 100):
        batch = model.tokenizer(list(texts[start : start + 100]), padding=True, return_tensors="pt")
        with torch.no_grad():
            best = model.module(**batch).logits.argmax(-1).tolist()
        found += [model.labels[i] for i in best]
    return found


def trained_attention(
    data_words: Sequence[str], labels: Sequence[str], draw: Callable[[np.random.Generator, int], Labelled], n_positions: int,
    recipe: Recipe, seed: int, scaling: Scaling,
) -> Model:  # fmt: skip
    """The same of an `AttentionClassifier`; the words and the seed of every form are the same."""
    _, tokenizer = bare_classifier(
        data_words, labels, layers=1, heads=1, width=8, inner=8, positions=n_positions + ROOM
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "first weights"))
        module = AttentionClassifier(len(tokenizer), labels, recipe.width, scaling)
    return fitted(module, tokenizer, labels, draw, recipe, seed, f"attention classifier, {scaling}")


def _fresh(words: Sequence[str], labels: Sequence[str], positions: int, recipe: Recipe, seed: int):
    module, tokenizer = bare_classifier(
        words, labels, layers=recipe.layers, heads=recipe.heads, width=recipe.width, inner=2 * recipe.width, positions=positions
    )  # fmt: skip
    config = copy.deepcopy(module.config)
    config.activation_function = "gelu_new"
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = GPT2ForSequenceClassification(config)
    return fresh.float(), tokenizer
