"""Passes of a model with some of its neurons changed, of which only the changed part runs.

1. texts are read in batches of like length; one base pass keeps the residual in front of every layer that may be changed;
2. an intervention says what becomes of the tensor at some places; the pass resumes at the first of their layers;
3. measured a text: the loss and the share that is right (masked models: of one token that is masked; causal ones: of every
   next token; classifiers: of what they said before), and what the last layer holds at the marked words.

Cost: a base pass a text, then (layers - first changed layer) / layers of one for each intervention.
Shapes: measures [text]; vectors of words [word, d].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.material import Marked
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.models.encode import Encoded, encode
from exegete.models.forward import buckets, reads_alone
from exegete.models.lab import Lab

Change = Callable[[Tensor], Tensor]
ChangeOf = Callable[["Batch"], Mapping[Site, Change]]


@dataclass(frozen=True)
class Batch:
    """Texts read together, by their number in `texts`; `inputs` of the pass, and the residuals in front of layers.

    `word` numbers the words of these texts among all; `row` and `token` say where each stands (its last token), `first` where
    it begins. `hidden` [text] is the masked position (-1: none), `ids` the tokens as they were.
    """

    texts: np.ndarray
    inputs: dict[str, Tensor]
    resid: dict[int, Tensor]
    word: np.ndarray
    row: np.ndarray
    first: np.ndarray
    token: np.ndarray
    hidden: Tensor
    ids: Tensor
    said: Tensor | None


@dataclass(frozen=True)
class Measured:
    """`loss` and `correct` [text]; `words` [word, d] what the last layer holds at the words."""

    loss: np.ndarray
    correct: np.ndarray
    words: np.ndarray


@dataclass
class Interventions:
    """Texts ready to be run with changes. `masked` [word] says which words hide a masked token."""

    lab: Lab
    last: Site
    batches: list[Batch]
    base: Measured
    masked: np.ndarray

    def run(self, change: ChangeOf) -> Measured:
        """Every text with `change`, from the first changed layer on."""
        parts = []
        for batch in self.batches:
            edit = {s: [c] for s, c in change(batch).items()}
            if not edit:
                return self.base
            layer = min(s.layer for s in edit if s.layer is not None)
            rows = _rows(self.lab, batch)
            trace = self.lab.resume(
                batch.inputs, layer, batch.resid[layer], stack=self.last.stack, read=[self.last], edit=edit, rows=rows
            )  # fmt: skip
            parts.append((batch, _measured(self.lab, batch, trace.logits, trace[self.last])))
        return _joined(parts)


def prepare(
    lab: Lab, items: Sequence[Marked], marks: Sequence[Sequence[int]], layers: Sequence[int], last: Site, hide: bool
) -> Interventions:  # fmt: skip
    """`items` with the words `marks[i]` of each, ready to be changed in `layers`; `hide`: mask one token a text, where the
    model fills in masks.
    """
    encoded = [encode(lab.model, Text(text=i.text, truncate=True)) for i in items]
    budget = 1 if reads_alone(lab.model) else lab.model.token_budget
    starts = np.cumsum([0, *map(len, marks)])
    entrances = {n: Site("resid_pre", layer=n, stack=last.stack) for n in sorted(set(layers))}
    hidden = lab.model.task == "masked" and hide
    rng = lab.rng("hidden")
    places = [_hidden(e, rng) if hidden else -1 for e in encoded]
    batches, parts, masked = [], [], np.zeros(int(starts[-1]), dtype=bool)
    for members in buckets([len(e.tokens) for e in encoded], budget):
        reading = lab.batch_of([encoded[i] for i in members])
        inputs = dict(lab.passed(reading))
        spots = [
            (int(starts[i]) + n, r, *_tokens(encoded[i], items[i].marks[m].spans))
            for r, i in enumerate(members)
            for n, m in enumerate(marks[i])
        ]
        word, row, first, token = (np.array(x, dtype=np.int64) for x in zip(*spots))
        at = torch.tensor([places[i] for i in members])
        ids = inputs["input_ids"].clone()
        if hidden:
            inputs["input_ids"] = ids.clone()
            inputs["input_ids"][torch.arange(len(members)), at] = lab.model.tokenizer.mask_token_id
            masked[word] = (first <= at.numpy()[row]) & (at.numpy()[row] <= token)
        batch = Batch(np.array(members), inputs, {}, word, row, first, token, at, ids, None)
        trace = lab.run(inputs, [*entrances.values(), last], rows=_rows(lab, batch))
        said = trace.logits.argmax(-1) if lab.model.task == "sequence" else None
        resid = {n: trace[s] for n, s in entrances.items()}
        batch = Batch(np.array(members), inputs, resid, word, row, first, token, at, ids, said)
        batches.append(batch)
        parts.append((batch, _measured(lab, batch, trace.logits, trace[last])))
    return Interventions(lab, last, batches, _joined(parts), masked)


def _hidden(encoded: Encoded, rng: np.random.Generator) -> int:
    """A token of the text, drawn."""
    return int(rng.choice([n for n, t in enumerate(encoded.tokens) if not t.special]))


def _tokens(encoded: Encoded, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """First and last token of a word (of the whole text where nothing is marked)."""
    if not spans:
        whole = [n for n, t in enumerate(encoded.tokens) if not t.special]
        return whole[0], whole[-1]
    start, end = spans[0]
    found = [
        n for n, t in enumerate(encoded.tokens) if not t.special and 0 <= t.start < end and start < t.end
    ]
    return found[0], found[-1]


def _rows(lab: Lab, batch: Batch) -> Tensor | None:
    """Where logits are wanted: at the mask, or anywhere once where none are; everywhere for causal models."""
    return batch.hidden[:, None].clamp_min(0) if lab.model.task == "masked" else None


def _measured(lab: Lab, batch: Batch, logits: Tensor, last: Tensor) -> Measured:
    n = len(batch.texts)
    at = torch.arange(n)
    words = last[torch.from_numpy(batch.row), torch.from_numpy(batch.token)].float().cpu().numpy()
    logs = logits.float().log_softmax(-1).cpu()
    ids, mask = batch.ids.cpu(), batch.inputs["attention_mask"].bool().cpu()
    if lab.model.task == "causal":
        told = logs[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
        right = (logs[:, :-1].argmax(-1) == ids[:, 1:]).float()
        real = mask[:, 1:].float()
        count = real.sum(1).clamp_min(1)
        loss, correct = -(told * real).sum(1) / count, (right * real).sum(1) / count
    elif lab.model.task == "masked":
        logs = logs[:, 0] if logs.shape[1] == 1 else logs[at, batch.hidden.clamp_min(0)]
        answer = ids[at, batch.hidden.clamp_min(0)]
        loss, correct = -logs[at, answer], (logs.argmax(-1) == answer).float()
    else:
        answer = logs.argmax(-1) if batch.said is None else batch.said.cpu()
        loss, correct = -logs[at, answer], (logs.argmax(-1) == answer).float()
    return Measured(loss.double().numpy(), correct.double().numpy(), words)


def _joined(parts: Sequence[tuple[Batch, Measured]]) -> Measured:
    """Measures of all texts, in their order."""
    texts = np.argsort(np.concatenate([b.texts for b, _ in parts]))
    words = np.argsort(np.concatenate([b.word for b, _ in parts]))
    return Measured(
        np.concatenate([m.loss for _, m in parts])[texts],
        np.concatenate([m.correct for _, m in parts])[texts],
        np.concatenate([m.words for _, m in parts])[words],
    )
