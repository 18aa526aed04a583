"""Ways to explain a text again that should not change its explanation. One `Change` names a way; `repeats` lists what it gives.

    Seeds       the same text, another seed of the method
    Nudge       the embedding of every token moved by `radius` of its length, in a random direction
    Padding     the same text beside padding, which the model must not read
    (rewordings)    other words, or other order: `evaluate.rewordings`

A nudge moves rows of the embedding table in use, not places of the text, so that methods that delete, mask or read gradients
all see the same nearby text. Whether the model's answer stays is for the caller to check. Cost: none beside asking the text again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from exegete.core.errors import ExegeteError, InputError
from exegete.core.method import Method
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.core.text import Unit
from exegete.models.encode import limit
from exegete.models.forward import Meter, pad_id, reads_alone
from exegete.models.model import Model
from exegete.models.question import Question

Around = Callable[[Model], AbstractContextManager[None]]


@dataclass(frozen=True)
class Subject:
    """What is explained again: the request, its question, its units and how they were cut, the target, and a seed."""

    request: Text
    question: Question
    units: tuple[Unit, ...]
    target: Target
    level: str = "word"
    prefix: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Repeat:
    """A text to be explained again: its question and units, and which [group] of own units stand for which of these.

    `around` is entered with the model (or its randomised twin) while the question is asked and explained; `near` says that the
    embedded texts have a distance.
    """

    question: Question
    units: tuple[Unit, ...]
    groups: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    around: Around = lambda _: nullcontext()
    near: bool = False
    turn: int = 0

    def own(self, scores: np.ndarray) -> np.ndarray:
        """Scores of the text [unit] summed by group [group]."""
        return np.array([scores[list(a)].sum() for a, _ in self.groups])

    def other(self, scores: np.ndarray) -> np.ndarray:
        """Scores of the changed text [unit] summed by group [group]."""
        return np.array([scores[list(b)].sum() for _, b in self.groups])


@dataclass(frozen=True)
class Change(ABC):
    """A way to explain a text again. `name` says it in words."""

    name: ClassVar[str] = ""

    @abstractmethod
    def repeats(self, subject: Subject, rng: np.random.Generator) -> Iterator[Repeat | ExegeteError]:
        """What is explained again, or the letter that says why one of them cannot be.

        Raises `InputError` saying why where the text has nothing to change.
        """

    def method(self, method: Method, turn: int) -> Method:
        """The method that explains repeat `turn`."""
        return method


def refusal(change: Change, why: str) -> InputError:
    """The letter that says why a change does not count for a text."""
    return InputError(
        f"You asked to explain a text again with {change.name}.", why, "It does not count for this text."
    )


def same(subject: Subject, around: Around = lambda _: nullcontext(), near: bool = False, turn: int = 0) -> Repeat:  # fmt: skip
    """The very same text, asked anew where something is put `around` it."""
    groups = tuple(((i,), (i,)) for i in range(len(subject.units)))
    anew = replace(subject.question, meter=Meter(), tick=None, _memo={}, _answers={})
    return Repeat(anew, subject.units, groups, around, near, turn)


@dataclass(frozen=True)
class Seeds(Change):
    """`n` other seeds of the method; a method without one is run again as it is."""

    n: int = 3
    name: ClassVar[str] = "another seed"

    def repeats(self, subject: Subject, rng: np.random.Generator) -> Iterator[Repeat]:
        """The same text, `n` times."""
        for turn in range(self.n):
            again = same(subject, turn=turn)
            again.question._memo.update(
                subject.question._memo
            )  # inputs that the seeds have in common are run once
            again.question._answers.update(subject.question._answers)
            yield again

    def method(self, method: Method, turn: int) -> Method:
        """The method with another seed."""
        old = getattr(method, "seed", None)
        return method if old is None else method.model_copy(update={"seed": old + 1 + turn})


@dataclass(frozen=True)
class Nudge(Change):
    """`n` times every embedding is moved by `radius` of its length; equal tokens move alike."""

    n: int = 4
    radius: float = 0.05
    name: ClassVar[str] = "a nudge of the embeddings"

    def repeats(self, subject: Subject, rng: np.random.Generator) -> Iterator[Repeat]:
        """The same text, nearby."""
        slots = [i for u in subject.units for i in u.tokens]
        fixed = set(getattr(subject.question.model.tokenizer, "all_special_ids", None) or ())
        ids = np.array(sorted({int(subject.question.ids[i]) for i in slots} - fixed), dtype=np.int64)
        for turn in range(self.n):
            seed = int(rng.integers(2**31))
            yield same(subject, lambda m, s=seed: moved(m, ids, self.radius, s), near=True, turn=turn)


@contextmanager
def moved(model: Model, ids: np.ndarray, radius: float, seed: int) -> Iterator[None]:
    """The embeddings of `ids` moved by `radius` of their lengths, in directions that `seed` draws."""
    tables = {
        id(t): t for t in (model.embedding(s) for s in (("", "dec") if model.task == "seq2seq" else ("",)))
    }
    handles = []
    try:
        for table in tables.values():
            with torch.no_grad():
                at = table(torch.as_tensor(ids, device=model.device)[None])[0]
            draw = torch.as_tensor(np.random.default_rng(seed).normal(size=tuple(at.shape))).to(at)
            step = radius * at.norm(dim=-1, keepdim=True) * draw / draw.norm(dim=-1, keepdim=True)
            rows = torch.cat([step, torch.zeros_like(step[:1])])
            which = torch.full((model.vocabulary,), len(ids), device=model.device)
            which[torch.as_tensor(ids, device=model.device)] = torch.arange(len(ids), device=model.device)
            handles.append(table.register_forward_hook(_adding(which, rows)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _adding(which: torch.Tensor, rows: torch.Tensor) -> Callable[[Any, Any, torch.Tensor], torch.Tensor]:
    """A hook that adds row `which[id]` of `rows` to the embedding of every id."""
    return lambda _, args, out: out + rows[which[args[0]]]


@dataclass(frozen=True)
class Padding(Change):
    """The text beside padding that it would meet in a batch of longer texts: 1, 2, 4, ... places, `n` times."""

    n: int = 2
    name: ClassVar[str] = "padding"

    def repeats(self, subject: Subject, rng: np.random.Generator) -> Iterator[Repeat]:
        """The same text, padded. Raises `InputError` where there is no room or no padding."""
        model, most = subject.question.model, limit(subject.question.model)
        if reads_alone(model):
            raise refusal(self, "The model has no padding token, and reads one text at a time.")
        room = 1 << self.n if most is None else most - len(subject.question.ids)
        widths = [1 << turn for turn in range(self.n) if 1 << turn <= room]
        if not widths:
            raise refusal(self, "The text fills the model's context.")
        for turn, width in enumerate(widths):
            again = same(subject, lambda m, w=width: padded(m, w), turn=turn)
            again.question.__dict__["cache_gap"] = float("nan")  # padding must not stand within a cache
            yield again


@contextmanager
def padded(model: Model, width: int) -> Iterator[None]:
    """Every pass reads `width` more places at its right, masked out."""
    fills: dict[str, int] = {"input_ids": pad_id(model), "attention_mask": 0, "token_type_ids": 0}

    def put(_: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        given = {k: kwargs[k] for k in fills if isinstance(kwargs.get(k), torch.Tensor)}
        if "input_ids" in given:
            given.setdefault("attention_mask", torch.ones_like(given["input_ids"]))
        wider = {k: torch.nn.functional.pad(v, (0, width), value=fills[k]) for k, v in given.items()}
        return args, kwargs | wider

    handle = model.module.register_forward_pre_hook(put, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
