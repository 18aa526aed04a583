"""`Lab`: the counted way of a study to a model: encode, run, edit, resume, differentiate, measure.

1. `read` makes texts into one padded batch with the place of every token;
2. `run` and `resume` are `capture.run` and `resume.resume`, counted, in evaluation mode, without parameter gradients, and
   unembedding only the rows that are measured;
3. an `Aim` is what is measured at the output of one text or of several: rows, ids and scale, from the same `Target` that
   attributions explain, so that every study speaks of logits, probabilities and contrasts in the same way.

Cost: what is asked for, and it is counted: `lab.meter`. Shapes: logits [batch, tok, vocab] or, for the rows of an aim,
[batch, row, vocab]; measures [batch].
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError, TargetError
from exegete.core.request import Text
from exegete.core.seed import generator
from exegete.core.site import Stack
from exegete.core.target import Target
from exegete.models import capture
from exegete.models import resume as resuming
from exegete.models.ask import ask
from exegete.models.capture import EditMap, Reducers, SiteLike, Trace
from exegete.models.encode import Encoded, encode
from exegete.models.forward import Meter, gathered, pad, pad_id, pick
from exegete.models.model import Model, still
from exegete.models.randomise import Randomiser
from exegete.models.scale import Row, finite, score


@dataclass(frozen=True)
class Reading:
    """Texts as the model reads them: `inputs` of one right-padded batch, and for each text its encoding."""

    inputs: dict[str, Tensor]
    encoded: tuple[Encoded, ...]

    @property
    def mask(self) -> Tensor:
        """Real tokens [batch, tok] bool."""
        return self.inputs["attention_mask"].bool()

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens a text."""
        return tuple(len(e.tokens) for e in self.encoded)


@dataclass(frozen=True)
class Aim:
    """What is measured at the output of n texts: `rows[i]` of text i, on `scale`; several rows of one text are summed.

    `tokens[i]` are the pieces the main stack reads (the decoder's in an encoder-decoder), `answers[i]` and `foils[i]` the
    names of what is scored.
    """

    inputs: dict[str, Tensor]
    rows: tuple[tuple[Row, ...], ...]
    scale: str
    tokens: tuple[tuple[str, ...], ...]
    answers: tuple[str, ...]
    foils: tuple[str, ...]
    encoded: tuple[Encoded, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def pooled(self) -> bool:
        """Whether the model makes one output a text (a sequence classifier) rather than one a token."""
        return self.rows[0][0].position is None

    @property
    def positions(self) -> Tensor | None:
        """Where the rows are read [batch, row], shorter ones repeated to the longest; None for a pooled model."""
        if self.pooled:
            return None
        most = max(map(len, self.rows))
        at = [[r.position for r in rows] + [rows[-1].position] * (most - len(rows)) for rows in self.rows]
        return torch.tensor(at, device=next(iter(self.inputs.values())).device)

    def measure(self, logits: Tensor) -> Tensor:
        """Values [batch], differentiable, from logits of whole texts [batch, tok, vocab], of the aim's rows
        [batch, row, vocab], or pooled [batch, class]. One text may be measured in many rows of a batch.
        """
        logits = self.at_rows(logits)
        return torch.stack([self._one(logits[i], self.rows[i % len(self)]) for i in range(len(logits))])

    def at_rows(self, logits: Tensor) -> Tensor:
        """Logits [batch, row, vocab] where the aim reads them, from those of whole texts [batch, tok, vocab], of these rows
        themselves, or pooled [batch, class] (one row). The aim's texts may stand in the batch several times, in turn.
        """
        if logits.dim() == 2:
            return logits[:, None]
        if logits.shape[1] == self._width or (at := self.positions) is None:
            return logits
        return pick(logits, at.to(logits.device).repeat(len(logits) // len(self), 1))

    def only(self, i: int) -> "Aim":
        """The aim at text i alone, without the padding that the others need."""
        size = {k: len(v[i]) for k, v in self.inputs.items()}
        for ids, mask in (("input_ids", "attention_mask"), ("decoder_input_ids", "decoder_attention_mask")):
            if mask in self.inputs:
                size[ids] = size[mask] = int(self.inputs[mask][i].sum())
        size["token_type_ids"] = size["input_ids"]
        inputs = {k: v[i : i + 1, : size[k]] for k, v in self.inputs.items()}
        one = slice(i, i + 1)
        return Aim(
            inputs, self.rows[one], self.scale, self.tokens[one], self.answers[one], self.foils[one], self.encoded[one]
        )  # fmt: skip

    @property
    def _width(self) -> int:
        return max(map(len, self.rows))

    def _one(self, logits: Tensor, rows: tuple[Row, ...]) -> Tensor:
        values = score(logits[None, : len(rows)], rows, self.scale)[0]
        return values.prod() if self.scale == "prob" else values.sum()


@dataclass
class Lab:
    """One study's way to one model; counts what it spends."""

    model: Model
    seed: int = 0
    meter: Meter = field(default_factory=Meter)
    randomiser: Randomiser | None = None  # keeps its copy from one stretch of items to the next
    progress: Any = None  # what the front door shows progress with: start(total, words), advance(n), stop()

    def rng(self, *names: object) -> np.random.Generator:
        """The random draw called `names` under the study's seed."""
        return generator(self.seed, *names)

    # ---- reading texts -------------------------------------------------------------------------------------------

    def read(self, texts: Sequence[Text | str]) -> Reading:
        """Texts as one right-padded batch of the main stack. Raises `InputError` for what cannot be read."""
        if not texts:
            raise InputError("You asked about texts.", "There are none.", "Give at least one.")
        return self.batch_of([encode(self.model, Text.of(t)) for t in texts])

    def batch_of(self, encoded: Sequence[Encoded]) -> Reading:
        """Texts that were read by the tokenizer before, as one right-padded batch."""
        return Reading(self._batch([np.array([t.id for t in e.tokens]) for e in encoded]), tuple(encoded))

    def passed(self, reading: Reading) -> dict[str, Tensor]:
        """Inputs of a pass over texts whose output is not measured: an encoder-decoder's decoder reads its start token."""
        inputs = dict(reading.inputs)
        if self.model.task == "seq2seq":
            start = getattr(self.model.config, "decoder_start_token_id", None) or 0
            inputs["decoder_input_ids"] = inputs["input_ids"].new_full((len(inputs["input_ids"]), 1), start)
        return inputs

    def aim(
        self, texts: Sequence[Text | str], targets: Sequence[Target | str | int | None] | Target | str | int | None = None
    ) -> Aim:  # fmt: skip
        """What is measured on texts: one target for all, or one each. Costs a pass a text whose target the model chooses.

        Raises `TargetError` for a contrast of continuations (they are read in two passes).
        """
        each: list[Any] = list(targets) if isinstance(targets, (list, tuple)) else [targets] * len(texts)
        found = [ask(self.model, Text.of(t), target) for t, target in zip(texts, each, strict=True)]
        for q in found:
            if len(q.branches) > 1:
                raise TargetError(
                    f"You asked for {q.target!r} rather than {q.against!r}.",
                    "One of them has several tokens, so they are read in two passes that cannot be edited as one.",
                    "Choose answers of one token each.",
                )
            self._count(q.meter)
        main = [np.concatenate([q.ids[~q.dec], _tail(q, "main")]) for q in found]
        dec = [np.concatenate([q.ids[q.dec], _tail(q, "dec")]) for q in found] if found[0].dec.any() else None
        types = [q.parts[~q.dec] for q in found] if any(q.parts.any() for q in found) else None
        return Aim(
            inputs=self._batch(main, dec, types),
            rows=tuple(q.branches[0].rows for q in found),
            scale=found[0].scale,
            tokens=tuple(self._pieces(d if dec is not None else m) for m, d in zip(main, dec or main)),
            answers=tuple(q.target for q in found),
            foils=tuple(q.against for q in found),
            encoded=tuple(q.encoded for q in found),
        )

    def pieces(self, ids: Iterable[int]) -> tuple[str, ...]:
        """Token ids as the words a reader sees."""
        return self._pieces(np.array(list(ids)))

    # ---- running ---------------------------------------------------------------------------------------------------

    def run(
        self,
        inputs: Mapping[str, Any],
        read: Iterable[SiteLike] = (),
        edit: EditMap | None = None,
        *,
        reduce: Reducers | None = None,
        keep_graph: bool = False,
        rows: Tensor | None = None,
    ) -> Trace:
        """One counted pass, as `capture.run`. `rows` [batch, row]: only these positions are unembedded, so that
        `trace.logits` is [batch, row, vocab] (whole where the head does not allow it: `Aim.measure` takes both).
        """
        with self._working(inputs, rows) as inputs:
            return capture.run(self.model, inputs, read, edit, reduce=reduce, keep_graph=keep_graph)

    def resume(
        self,
        inputs: Mapping[str, Any],
        layer: int,
        resid: Tensor,
        *,
        stack: Stack | None = None,
        read: Iterable[SiteLike] = (),
        edit: EditMap | None = None,
        reduce: Reducers | None = None,
        keep_graph: bool = False,
        rows: Tensor | None = None,
    ) -> Trace:
        """The counted pass from `layer` on, as `resume.resume`; counted as a forward a residual."""
        inputs = dict(inputs)
        with self._working(inputs, rows, len(resid)) as inputs:
            return resuming.resume(
                self.model, inputs, layer, resid, stack=stack, read=read, edit=edit, reduce=reduce, keep_graph=keep_graph
            )  # fmt: skip

    def measure(self, aim: Aim, edit: EditMap | None = None, copies: int = 1) -> Tensor:
        """The aim's values [batch] under edits, without a graph. `copies` repeats a single text, one row a copy."""
        inputs, rows = aim.inputs, aim.positions
        if copies != 1:
            inputs = {k: v.expand(copies, *v.shape[1:]) for k, v in inputs.items()}
            rows = None if rows is None else rows.expand(copies, -1)
        values = aim.measure(self.run(inputs, edit=edit, rows=rows).logits)
        finite(values, "output")
        return values

    def gradients(self, total: Tensor, wanted: Sequence[Tensor], keep: bool = False) -> tuple[Tensor, ...]:
        """Gradients of a scalar with respect to tensors of a trace that kept its graph; counted as one backward a row.

        What does not influence the scalar gets zeros.
        """
        started = time.perf_counter()
        found = torch.autograd.grad(total, list(wanted), retain_graph=keep, allow_unused=True)
        self.meter.backwards += len(wanted[0]) if len(wanted) else 0
        self.meter.seconds += time.perf_counter() - started
        return tuple(torch.zeros_like(w) if g is None else g for g, w in zip(found, wanted))

    def chunks(self, n: int, length: int) -> Iterator[slice]:
        """Slices of n rows of `length` tokens that fit the token budget."""
        size = max(1, self.model.token_budget // max(length, 1))
        return (slice(i, min(i + size, n)) for i in range(0, n, size))

    def working(self, total: int, words: str) -> "_Shown":
        """A context that shows progress; its value is called with the number of steps done."""
        return _Shown(self.progress, total, words)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _working(
        self, inputs: Mapping[str, Any], rows: Tensor | None, copies: int | None = None
    ) -> "_Working":
        return _Working(self, inputs, rows, copies)

    def _batch(
        self,
        main: Sequence[np.ndarray],
        dec: Sequence[np.ndarray] | None = None,
        types: Sequence[np.ndarray] | None = None,
    ) -> dict[str, Tensor]:
        model = self.model
        ids, mask = pad(main, pad_id(model), model.device)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if dec is not None:
            given = pad(dec, pad_id(model), model.device)
            inputs["decoder_input_ids"], inputs["decoder_attention_mask"] = given
        if types is not None:
            inputs["token_type_ids"] = pad(types, 0, model.device)[0]
        return inputs

    def _pieces(self, ids: np.ndarray) -> tuple[str, ...]:
        decode = self.model.tokenizer.decode
        return tuple(str(decode([int(i)])) for i in ids)

    def _count(self, other: Meter) -> None:
        for name in ("forwards", "backwards", "tokens", "asked", "distinct", "seconds"):
            setattr(self.meter, name, getattr(self.meter, name) + getattr(other, name))


class _Working:
    """Around one pass: evaluation mode, the asked rows only, and the count."""

    def __init__(self, lab: Lab, inputs: Mapping[str, Any], rows: Tensor | None, copies: int | None) -> None:
        self.lab, self.inputs, self.rows, self.copies = lab, dict(inputs), rows, copies
        self.stack = ExitStack()

    def __enter__(self) -> dict[str, Any]:
        model, ids = self.lab.model, self.inputs["input_ids"]
        main = self.inputs.get("decoder_input_ids", ids)
        head = model.unembedding()
        self.stack.enter_context(still(model.module))
        if self.rows is not None and head is not None and self.rows.shape[1] <= main.shape[1]:
            rows = self.rows if self.copies is None else self.rows.expand(self.copies, -1)
            self.stack.enter_context(gathered(head, rows.to(model.device), main.shape[1]))
        if model.task in ("causal", "seq2seq"):
            self.inputs.setdefault("use_cache", False)
        n = len(ids) if self.copies is None else self.copies
        width = ids.shape[1] + (main.shape[1] if main is not ids else 0)
        self.lab.meter.forwards += n
        self.lab.meter.tokens += n * width
        self.started = time.perf_counter()
        return self.inputs

    def __exit__(self, *failure: Any) -> None:
        self.lab.meter.seconds += time.perf_counter() - self.started
        self.stack.__exit__(*failure)


class _Shown:
    """Progress of a known number of steps; silent where nobody watches."""

    def __init__(self, progress: Any, total: int, words: str) -> None:
        self.progress, self.total, self.words = progress, total, words

    def __enter__(self) -> "_Shown":
        if self.progress is not None:
            self.progress.start(self.total, self.words)
        return self

    def __call__(self, n: int = 1) -> None:
        """`n` more steps are done."""
        if self.progress is not None:
            self.progress.advance(n)

    def __exit__(self, *_: object) -> None:
        if self.progress is not None:
            self.progress.stop()


def _tail(q: Any, stack: str) -> np.ndarray:
    """Tokens of a continuation that are read but not asked about, in the stack that makes the output."""
    here = "dec" if q.dec.any() else "main"
    return np.array(q.branches[0].tail if stack == here else (), dtype=np.int64)
