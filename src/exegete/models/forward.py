"""One pass of the model over a batch, unembedding only the rows that are asked for.

1. sequences are padded on the right, with an attention mask (positions, and with them every score, do not move);
2. where points are given, the output of the input embedding is replaced by them (a hook, so that pooling, position ids
   and pad logic still see the tokens);
3. a hook in front of the unembedding keeps only the asked positions of each sequence, so that a 100,000-word
   vocabulary is multiplied with R rows instead of all; where a head does not allow it, rows are picked afterwards;
4. the meter counts rows through the model, tokens and seconds.

Cost: one forward. Shapes: ids [batch, tok], points [batch, slot, d], rows [batch, row], logits [batch, row, vocab].
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from exegete.core.errors import ModelError
from exegete.core.trust import Cost
from exegete.models.model import Model
from exegete.models.turns import Ids, shared


@dataclass
class Meter:
    """What has been spent since it was made."""

    forwards: int = 0
    backwards: int = 0
    tokens: int = 0
    asked: int = 0
    distinct: int = 0
    seconds: float = 0.0

    def cost(self) -> Cost:
        """The count so far, frozen."""
        return Cost(
            forwards=self.forwards,
            backwards=self.backwards,
            tokens=self.tokens,
            asked=self.asked,
            distinct=self.distinct,
            seconds=self.seconds,
        )


@dataclass(frozen=True)
class Batch:
    """Sequences of one pass: main-stack ids, decoder ids (encoder-decoder models), the row positions read from each.

    `points` [batch, slot, d] replace the first embeddings of the main stack, `dec_points` those of the decoder. `types` say
    which text of a pair each main-stack token belongs to (`token_type_ids`); None where the model is told nothing.
    """

    main: Sequence[np.ndarray]
    rows: np.ndarray | None = None
    dec: Sequence[np.ndarray] | None = None
    points: Tensor | None = None
    dec_points: Tensor | None = None
    types: Sequence[np.ndarray] | None = None

    def only(self, i: int) -> "Batch":
        """The batch of sequence `i` alone."""
        one = slice(i, i + 1)
        parts = (self.main, self.rows, self.dec, self.points, self.dec_points, self.types)
        return Batch(*(None if part is None else part[one] for part in parts))  # type: ignore[arg-type]


@dataclass
class Runner:
    """Runs batches of one model and counts them."""

    model: Model
    meter: Meter = field(default_factory=Meter)
    alone: bool = False  # never wait for a shared pass

    def __call__(self, batch: Batch) -> Tensor:
        """Logits at the asked rows [batch, row, vocab], or class logits [batch, 1, class]."""
        lane = (
            None if self.alone or batch.points is not None or torch.is_grad_enabled() else shared(self.model)
        )
        if lane is not None:
            return lane.wait(Ids(self.model, batch, self.meter))
        if len(batch.main) > 1 and reads_alone(self.model):
            return torch.cat([self(batch.only(i)) for i in range(len(batch.main))])
        started = time.perf_counter()
        inputs = self._inputs(batch)
        with ExitStack() as stack:
            if batch.points is not None:
                stack.enter_context(replaced(self.model.embedding(""), batch.points))
                if self.model.rereads:
                    stack.enter_context(replaced(self.model.embedding("dec"), batch.points[:, :-1], 1))
            if batch.dec_points is not None:
                stack.enter_context(replaced(self.model.embedding("dec"), batch.dec_points))
            logits = self._logits(inputs, batch, stack)
        n = sum(map(len, batch.main)) + sum(map(len, batch.dec or ()))
        self.meter.forwards += len(batch.main)
        self.meter.tokens += n
        self.meter.seconds += time.perf_counter() - started
        return logits

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        model = self.model
        ids, mask = pad(batch.main, pad_id(model), model.device)
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if batch.dec is not None:
            inputs["decoder_input_ids"], inputs["decoder_attention_mask"] = pad(
                batch.dec, pad_id(model), model.device
            )
        if batch.types is not None:
            inputs["token_type_ids"] = pad(batch.types, 0, model.device)[0]
        if model.task in ("causal", "seq2seq"):
            inputs["use_cache"] = False
        return inputs

    def _logits(self, inputs: dict[str, Any], batch: Batch, stack: ExitStack) -> Tensor:
        if batch.rows is None:
            return self._read(inputs, 2)[:, None]
        rows = torch.as_tensor(batch.rows, device=self.model.device)
        width = (inputs["decoder_input_ids"] if batch.dec is not None else inputs["input_ids"]).shape[1]
        head = self.model.unembedding()
        if head is not None and rows.shape[1] < width:
            stack.enter_context(gathered(head, rows, width))
        logits = self._read(inputs, 3)
        return logits if logits.shape[1] == rows.shape[1] < width else pick(logits, rows)

    def _read(self, inputs: dict[str, Any], axes: int) -> Tensor:
        """The logits of one pass, which must have `axes` axes. Raises `ModelError` for a model that gives no such thing."""
        model = self.model
        try:
            out = model.module(**inputs)
        except (ValueError, IndexError, TypeError) as e:
            raise ModelError(
                f"You asked to run {model.name}.",
                f"The model itself refused the input: {str(e).strip().splitlines()[0] if str(e).strip() else e!r}",
                "Check that the tokenizer belongs to the model, and that the text fits its context.",
            ) from e
        logits = logits_in(out)
        if isinstance(logits, Tensor) and logits.dim() == axes:
            return logits
        found = (
            f"logits of {logits.dim()} axes" if isinstance(logits, Tensor) else "no logits (it has no head)"
        )
        raise ModelError(
            f"You asked to explain {model.name} as a {model.task} model.",
            f"It returns {found}; a model for this task returns {axes} axes.",
            "Load it for the task that it was made for: xg.load(..., task=...).",
        )


def buckets(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in chunks of like length; a chunk, padded to its longest, holds at most `budget` tokens (one text at least)."""
    chunk: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda v: lengths[v]):
        if chunk and (len(chunk) + 1) * max(lengths[i], 1) > budget:
            yield chunk
            chunk = []
        chunk.append(i)
    if chunk:
        yield chunk


def pad(sequences: Sequence[np.ndarray], fill: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Right-padded ids and attention mask, both [batch, tok] int64."""
    width = max(map(len, sequences))
    ids = np.full((len(sequences), width), fill, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, s in enumerate(sequences):
        ids[row, : len(s)] = s
        mask[row, : len(s)] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def pad_id(model: Model) -> int:
    """The id that fills up short sequences; masked out, so any will do where the model has none of its own."""
    for owner in (model.config, model.tokenizer):
        found = getattr(owner, "pad_token_id", None)
        if isinstance(found, int) and 0 <= found < model.vocabulary:
            return found
    return 0


def logits_in(out: Any) -> Any:
    """The logits of what a module returned (an output object, or a tuple that starts with them); None without any."""
    return out[0] if isinstance(out, tuple) and out else getattr(out, "logits", None)


def reads_alone(model: Model) -> bool:
    """Whether a classifier must be given one text at a time: without a padding token it cannot tell where a shorter text ends."""
    if model.task != "sequence":
        return False
    found = getattr(model.config, "pad_token_id", None)
    return not (isinstance(found, int) and 0 <= found < model.vocabulary)


def empty_id(model: Model) -> int:
    """The token that stands for an empty text: the model's own start, end or padding token."""
    for name in ("bos_token_id", "eos_token_id", "cls_token_id"):
        found = getattr(model.tokenizer, name, None)
        if isinstance(found, int) and 0 <= found < model.vocabulary:
            return found
    return pad_id(model)


def pick(
    values: Float[Tensor, "batch tok x"], rows: Int[Tensor, "batch row"]
) -> Float[Tensor, "batch row x"]:
    """`values[b, rows[b, r]]` for [batch, tok, x] values and [batch, row] positions."""
    return values.gather(1, rows[..., None].expand(-1, -1, values.shape[-1]))


@contextmanager
def gathered(head: nn.Module, rows: Tensor, width: int) -> Iterator[None]:
    """Let only the asked positions reach `head`; other calls (other widths) pass untouched."""

    def keep(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if args and isinstance(args[0], Tensor) and args[0].dim() == 3 and args[0].shape[1] == width:
            return (pick(args[0], rows.to(args[0].device)), *args[1:])
        return None

    handle = head.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def replaced(embedding: nn.Module, points: Tensor, first: int = 0) -> Iterator[None]:
    """Replace the embeddings of each sequence from place `first` on by `points` [batch, slot, d], in calls that have as many.

    Raises `ModelError` when the model did not use the embedding at all: points must never be dropped in silence.
    """
    used: list[bool] = []

    def put(_: nn.Module, args: Any, out: Tensor) -> Tensor | None:
        if out.dim() != 3 or out.shape[0] != points.shape[0] or out.shape[1] < first + points.shape[1]:
            return None
        used.append(True)
        return torch.cat(
            [out[:, :first], points.to(out.device, out.dtype), out[:, first + points.shape[1] :]], 1
        )

    handle = embedding.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()
    if not used:
        raise ModelError(
            "You asked what the model makes of other embeddings.",
            "It did not read them where its input embedding is said to be.",
            "Use a method that removes tokens by their ids (removal='mask' or 'delete').",
        )
