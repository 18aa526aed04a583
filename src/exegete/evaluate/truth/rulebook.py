"""`Rulebook`: rules about words, written into the weights of a classifier.

1. a closing token reads all words at once: a head whose weight rests on the beginning of the text (a sink) but for a small,
   nearly constant share a word, which is scaled up again: sums and counts of words, whatever their number;
2. what is summed goes to the classes at once, or to axes that hidden units combine ("both words are there");
3. the default class has a constant of its own, so that a text that says nothing has an answer that no word gives;
4. noise, distractors and rotation as in every compiled model, with less noise, as the sums are scaled up.

Two classes would not do: with everything removed the model would already say one of them, and an explanation of that one could
not be told from the baseline. Cost: no pass. Reference: as for `blueprint`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any

import torch
from torch import Tensor

from exegete.evaluate.truth.blueprint import Blueprint
from exegete.models.bare import BOS
from exegete.models.bare_classifier import EOS, MASK, bare_classifier
from exegete.models.model import Model

SINK = 20.0  # how many words the beginning of the text weighs as much as
LENGTH = 10  # words a text: what the sums are exact for (with words masked; nearly so with words deleted)
DEFAULT = 1.0  # what the default class scores in every text


@dataclass
class Rulebook(Blueprint):
    """A blueprint of a classifier of `labels`, of which the first is the default."""

    labels: tuple[str, ...] = field(default=(), kw_only=True)
    leak: float = 0.0002

    def __post_init__(self) -> None:
        self.words = (EOS, MASK, *self.words)
        self.spaces = {**self.spaces, "class": len(self.labels)}
        super().__post_init__()
        self.embed[self.vocabulary.index(EOS), self.where["class"].start] = DEFAULT

    def sums(self, layer: int, head: int, read: Tensor, write: Tensor) -> None:
        """The closing token gets, for every word, what it holds along `read` [n, width], along `write` [n, width]."""
        self.favour(layer, head, self.axes("token", [BOS])[0], log(SINK))
        self.move(layer, head, read, (SINK + LENGTH + 1) * write)

    def counts_for(self, layer: int, head: int, weights: Mapping[str, Mapping[str, float]]) -> None:
        """Each word adds its weight to each class: `weights` of a word by label."""
        rows = [self.towards(told) for told in weights.values()]
        self.sums(layer, head, self.axes("token", list(weights)), torch.stack(rows))

    def towards(self, weights: Mapping[str, float]) -> Tensor:
        """The direction [width] that adds so much to each class, by label."""
        return sum((w * self.label_axis(label) for label, w in weights.items()), torch.zeros(self.width))

    def label_axis(self, label: str) -> Tensor:
        """The axis [width] of a class."""
        return self.axes("class")[self.labels.index(label)]

    def both(self, layer: int, one: Tensor, two: Tensor, write: Tensor) -> None:
        """`write` [width] is added where both axes [width] hold one; nothing where one alone does."""
        self.unit(layer, one + two, -1.5, 2 * write)

    def build(self, name: str) -> Model:
        """The classifier: distractors, noise, rotation. The same for the same seed."""
        model = super().build(name)
        model.name = f"planted/{name}"
        return model

    def _empty(self) -> tuple[Any, Any, str]:
        module, tokenizer = bare_classifier(
            self.words[2:], self.labels, layers=self.layers, heads=self.heads, width=self.width, inner=self.inner,
            positions=self.n_positions,
        )  # fmt: skip
        return module, tokenizer, "sequence"

    def _write_head(self, module: Any, turn: Tensor, leak: Callable[[Tensor], Tensor]) -> None:
        module.score.weight.copy_(leak(self.axes("class")) @ turn)
