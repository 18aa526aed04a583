"""Removing units of a text: the operators, and the game they make.

mask, pad, unk    the unit's tokens become the mask, padding or unknown token
delete            the unit's tokens are left out, positions close up
mean, zero        the unit's embeddings become the vocabulary's mean embedding, or zero
resample          the unit's tokens become random tokens of the vocabulary; the mean over `draws` (seeded)
infill            the unit's tokens become what a language model would put there (`models.refill`); the mean over `draws` (seeded)
auto              mask where the tokenizer has a mask token, else delete

`Game` is the set function v(S): what the model says when only the units in S are left. Everything that explains by
removing (occlusion, surrogates, Shapley values, the faithfulness metrics) asks a game, and two that ask the same
coalition pay for it once. `answers` is what the model itself decides: over several draws the most frequent decision.
`baseline` is the same idea for gradient methods, as embeddings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from exegete.core.errors import ModelError, UnknownName
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.models.infill import infiller
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.models.refill import Slots, refill

Removal = Literal["auto", "mask", "delete", "pad", "unk", "mean", "zero", "resample"]
Removing = Literal[Removal, "infill"]
Baseline = Literal["auto", "mask", "pad", "unk", "eos", "zero", "mean"]


@dataclass
class Game:
    """v(S) of one question over `units`; call it with keep masks [V, U] bool and get output values [V, R] float64."""

    question: Question
    units: tuple[Unit, ...]
    how: str = "auto"
    seed: int = 0
    draws: int = 4
    infiller: str | Model = "auto"  # auto: the model itself, for classifiers the embedded encoder
    _memo: dict[bytes, tuple[np.ndarray, int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.how = operator(self.question, self.how)

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.units)

    def __call__(self, keep: np.ndarray) -> np.ndarray:
        """Output values [V, R] when only the units with True are left."""
        slots = self.slots(np.atleast_2d(np.asarray(keep, dtype=bool)))
        if self.how == "delete":
            return self.question.ask(np.broadcast_to(self.question.ids, slots.shape), slots)
        if self.how in ("mean", "zero"):
            return np.stack([value for value, _ in self._embedded(slots)])
        texts = self.texts(slots)
        values = self.question.ask(texts.reshape(-1, texts.shape[-1]))
        return values.reshape(*texts.shape[:2], -1).mean(1)

    def answers(self, keep: np.ndarray) -> np.ndarray:
        """The model's own answer [V] (class or token) at the first output when only the units with True are left.

        Over several draws the most frequent one, the earlier drawn of two that are as frequent.
        """
        slots = self.slots(np.atleast_2d(np.asarray(keep, dtype=bool)))
        if self.how == "delete":
            return self.question.argmax(np.broadcast_to(self.question.ids, slots.shape), slots)
        if self.how in ("mean", "zero"):
            return np.array([answer for _, answer in self._embedded(slots)], dtype=np.int64)
        texts = self.texts(slots)
        return most_frequent(
            self.question.argmax(texts.reshape(-1, texts.shape[-1])).reshape(texts.shape[:2])
        )

    def texts(self, slots: Bool[np.ndarray, "variant slot"]) -> np.ndarray:
        """What the model reads in place of the text [V, draw, S], of operators that put tokens in; one draw where nothing is drawn."""
        if self.how == "infill":
            return self._infilled(slots)
        many = self.how == "resample"
        fillers = [self._drawn(d) for d in range(self.draws)] if many else [token_id(self.question, self.how)]
        return np.stack([np.where(slots, self.question.ids, f) for f in fillers], axis=1)

    def slots(self, keep: Bool[np.ndarray, "variant unit"]) -> Bool[np.ndarray, "variant slot"]:
        """Keep masks over slots [V, S] from keep masks over units [V, U]; slots in no unit are always kept."""
        member = np.zeros((len(self.units), len(self.question.ids)), dtype=bool)
        for u, unit in enumerate(self.units):
            member[u, list(unit.tokens)] = True
        return ~((~keep).astype(np.uint8) @ member.astype(np.uint8)).astype(bool)

    def _infilled(self, slots: np.ndarray) -> np.ndarray:
        """The text filled in anew [V, draw, S]; what was drawn once stays with the question, for whoever plays on it."""
        q = self.question
        filling = infiller(q.model, self.infiller)
        at = (filling, self.seed, q.ids.tobytes())
        todo = {s.tobytes(): s for s in slots if (*at, self.draws, s.tobytes()) not in q.fills}
        if todo:
            noise = np.stack(
                [generator(self.seed, "infill", d).random(len(q.ids)) for d in range(self.draws)]
            )
            keep = np.array(list(todo.values()))
            drawn = refill(Slots(q.ids, q.dec, q.parts), keep, noise, filling, q.model, q.meter)
            q.fills.update(((*at, self.draws, key), texts) for key, texts in zip(todo, drawn))
        return np.stack([q.fills[(*at, self.draws, s.tobytes())] for s in slots])

    def _drawn(self, d: int) -> np.ndarray:
        q = self.question
        special = set(getattr(q.model.tokenizer, "all_special_ids", []) or [])
        size = min(q.model.vocabulary, len(q.model.tokenizer))
        usable = np.array([i for i in range(size) if i not in special])
        return generator(self.seed, "resample", d).choice(usable, size=len(q.ids))

    def _embedded(self, slots: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Output values [R] and the answer of every variant."""
        q, keys = self.question, [s.tobytes() for s in slots]
        todo = [k for k in dict.fromkeys(keys) if k not in self._memo]
        own, filler = q.embeddings(), baseline(q, self.how)
        rows = [np.frombuffer(k, dtype=bool) for k in todo]

        def points(part: slice) -> Tensor:
            masks = torch.tensor(np.array(rows[part]), device=own.device)
            return torch.where(masks[..., None], own, filler)

        values, answers = q.answer_points(points, len(todo))
        q.meter.asked += len(keys) - len(todo)
        self._memo.update(zip(todo, zip(values, map(int, answers))))
        return [self._memo[k] for k in keys]


def most_frequent(answers: np.ndarray) -> np.ndarray:
    """The most frequent of each row of answers [V, D] -> [V]; of several as frequent the one that comes first."""
    counts = (answers[:, :, None] == answers[:, None, :]).sum(2)
    return answers[np.arange(len(answers)), counts.argmax(1)]


def operator(q: Question, how: str) -> str:
    """The removal operator that `how` stands for. Raises when the tokenizer lacks the token it needs."""
    if how not in get_args(Removing):
        raise UnknownName("removal", how, get_args(Removing))
    if how == "auto":
        return "mask" if _token(q, "mask") is not None else "delete"
    if how in ("mask", "pad", "unk"):
        token_id(q, how)
    return how


def token_id(q: Question, kind: str) -> int:
    """Id of the mask, pad, unk or eos token. Raises `ModelError` when the tokenizer has none."""
    found = _token(q, kind)
    if found is None:
        raise ModelError(
            f"You asked to remove tokens with the {kind} token.",
            f"The tokenizer of {q.model.name} has no {kind} token that the model knows.",
            "Use removal='delete' or 'mean' (for baselines: 'zero' or 'mean').",
        )
    return found


def _token(q: Question, kind: str) -> int | None:
    found = getattr(q.model.tokenizer, f"{kind}_token_id", None)
    return int(found) if isinstance(found, int) and 0 <= found < q.model.vocabulary else None


def baseline(q: Question, kind: str = "auto") -> Float[Tensor, "slot d"]:
    """Embeddings [S, d] of a text that says nothing: every slot the mask, pad, unk or eos token, zero, or the mean."""
    if kind not in get_args(Baseline):
        raise UnknownName("baseline", kind, get_args(Baseline))
    if kind == "auto":
        kind = next((k for k in ("mask", "pad", "unk", "eos") if _token(q, k) is not None), "zero")
    if kind == "zero":
        return torch.zeros_like(q.embeddings())
    if kind == "mean":
        return _mean_embedding(q)
    return q.embeddings(np.full(len(q.ids), token_id(q, kind)))


def _mean_embedding(q: Question) -> Tensor:
    """What the embedding module returns on average over the vocabulary, at each slot's stack."""
    out = q.embeddings().clone()
    with torch.no_grad():
        for stack, here in (("", ~q.dec), ("dec", q.dec)):
            if here.any():
                ids = torch.arange(q.model.vocabulary, device=out.device)
                out[torch.as_tensor(here)] = (
                    q.model.embedding(stack)(ids[None])[0].float().mean(0).to(out.dtype)
                )
    return out


def fill(q: Question, units: Sequence[Unit], kind: str = "auto") -> Float[Tensor, "slot d"]:
    """The input's embeddings [S, d] with the slots of `units` at the baseline; all other slots as they are."""
    own, base = q.embeddings(), baseline(q, kind)
    inside = torch.zeros(len(q.ids), dtype=torch.bool, device=own.device)
    inside[[i for u in units for i in u.tokens]] = True
    return torch.where(inside[:, None], base, own)
