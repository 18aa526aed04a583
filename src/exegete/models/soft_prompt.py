"""Prompts that are vectors: slots in a text whose embeddings are set to vectors that can be learned.

1. a case is a text, m slots after it (and, for masked models, a mask after those), and the token that should be said there;
   slots hold any id, and what the input embedding makes of them is replaced;
2. `says` gives the logits at the asked place of every case, differentiable in the vectors;
3. `learn` turns the vectors by Adam on the cross-entropy of the wanted tokens, over the whole vocabulary or some options; the
   weights of the model are not touched.

Cost: one forward and one backward a case and step. Shapes: vectors [slot, d], or [layer, slot, d] for
vectors that stand in the slots at the entry of every layer (prefix tuning); logits [case, vocab].
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from exegete.core.errors import ModelError
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.models.edit import EditLike
from exegete.models.encode import encode
from exegete.models.forward import pad, pad_id
from exegete.models.infill import mask_id
from exegete.models.lab import Lab


@dataclass(frozen=True)
class Slotted:
    """Cases as one batch: `slots` [case, tok] is the slot that stands at a token (-1: none), `rows` [case] where the answer is
    read, `wanted` [case] its id.
    """

    inputs: dict[str, Tensor]
    slots: Tensor
    rows: Tensor
    wanted: Tensor

    def __len__(self) -> int:
        return len(self.wanted)

    def some(self, index: np.ndarray) -> "Slotted":
        """The cases at `index`."""
        at = torch.from_numpy(np.asarray(index, dtype=np.int64)).to(self.wanted.device)
        inputs = {k: v[at] for k, v in self.inputs.items()}
        return Slotted(inputs, self.slots[at], self.rows[at], self.wanted[at])


def slotted(
    lab: Lab, texts: Sequence[Text | str], wanted: Sequence[int], n_slots: int, before: bool = False
) -> Slotted:
    """Cases with `n_slots` slots after each text, or `before` it. Raises `ModelError` for models that continue nothing."""
    model = lab.model
    if model.task not in ("causal", "masked"):
        raise ModelError(
            f"You asked {model.name} to complete a text.",
            f"It is a {model.task} model.",
            "Use a causal or a masked language model.",
        )
    rows, ids, slots = [], [], []
    for text in texts:
        tokens = encode(model, Text.of(text)).tokens
        own = [i for i, t in enumerate(tokens) if not t.special]
        lead = [t.id for t in tokens[: own[0]]]
        tail = [t.id for t in tokens[own[-1] + 1 :]] if model.task == "masked" else []
        said = [t.id for t in tokens[own[0] : own[-1] + 1]]
        hole = [mask_id(model)] if model.task == "masked" else []
        free = said[:1] * n_slots  # no padding id: some models count positions by it
        body = [*free, *said, *hole] if before else [*said, *free, *hole]
        first = len(lead) + (0 if before else len(said))
        ids.append(np.array([*lead, *body, *tail]))
        mark = np.full(len(ids[-1]), -1)
        mark[first : first + n_slots] = np.arange(n_slots)
        slots.append(mark)
        rows.append(len(lead) + len(body) - 1)
    padded, mask = pad(ids, pad_id(model), model.device)
    at = torch.from_numpy(
        np.stack([np.pad(s, (0, padded.shape[1] - len(s)), constant_values=-1) for s in slots])
    )
    told = (torch.tensor(list(x), device=model.device) for x in (rows, wanted))
    return Slotted({"input_ids": padded, "attention_mask": mask}, at.to(model.device), *told)


def says(
    lab: Lab, cases: Slotted, vectors: Tensor, edit: dict[Site, EditLike] | None = None, graph: bool = False
) -> Tensor:
    """Logits [case, vocab] at the asked place; `edit`: further edits of the pass.

    `vectors` [slot, d] stand in the slots as input embeddings; [layer, slot, d] as what every layer reads there.
    """
    found = []
    for part in lab.chunks(len(cases), cases.slots.shape[1]) if not graph else (slice(0, len(cases)),):
        inputs = {k: v[part] for k, v in cases.inputs.items()}
        slots, deep = cases.slots[part], vectors.dim() == 3
        edits = {**(edit or {}), **(_deep(lab, slots, cases.rows[part], vectors) if deep else {})}
        with nullcontext() if deep else _filled(lab, slots, vectors):
            logits = lab.run(inputs, edit=edits, rows=cases.rows[part, None], keep_graph=graph).logits
        found.append(
            logits[:, 0] if logits.shape[1] == 1 else logits[torch.arange(len(logits)), cases.rows[part]]
        )
    return torch.cat(found)


@contextmanager
def _filled(lab: Lab, slots: Tensor, vectors: Tensor) -> Iterator[None]:
    """While open, the input embeddings at `slots` [case, tok] are the vectors."""
    place, index = (slots >= 0)[..., None], slots.clamp(min=0)

    def put(_: nn.Module, args: object, out: Tensor) -> Tensor | None:
        return (
            torch.where(place, vectors.to(out.dtype)[index], out) if out.shape[:-1] == slots.shape else None
        )

    handle = lab.model.embedding("").register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


def _deep(lab: Lab, slots: Tensor, rows: Tensor, vectors: Tensor) -> dict[Site, EditLike]:
    """The edits that set what each layer reads at its slots; a slot that answers is set at the first layer only, and reads on."""
    place, index = (slots >= 0)[..., None], slots.clamp(min=0)
    answering = torch.arange(slots.shape[1], device=slots.device)[None] == rows[:, None]
    inner = place & ~answering[..., None]

    def put(own: Tensor, where: Tensor) -> EditLike:
        return lambda x: torch.where(where, own.to(x.dtype)[index], x)

    sites = lab.model.map.sites("resid_pre")
    return {site: put(own, inner if i else place) for i, (site, own) in enumerate(zip(sites, vectors))}


def learn(
    lab: Lab,
    cases: Slotted,
    start: Tensor,
    n_steps: int,
    rate: float,
    batch: int,
    options: Tensor | None = None,
) -> Tensor:
    """Vectors, of the shape of `start`, that make the wanted tokens likely; `options`: ids that alone are compared."""
    vectors = start.clone().requires_grad_(True)
    adam = torch.optim.Adam([vectors], lr=rate)
    rng = lab.rng("soft prompt", len(cases))
    with torch.enable_grad():
        for step in range(n_steps):
            for group in adam.param_groups:
                group["lr"] = rate * (1 - step / n_steps)
            pick = rng.permutation(len(cases))[:batch]
            some = cases.some(np.sort(pick))
            logits = says(lab, some, vectors, graph=True)
            wanted = some.wanted
            if options is not None:
                logits, wanted = logits[:, options], (options[None] == wanted[:, None]).float().argmax(1)
            loss = torch.nn.functional.cross_entropy(logits.float(), wanted)
            (vectors.grad,) = lab.gradients(loss, [vectors])
            adam.step()
    return vectors.detach()


def start_vectors(lab: Lab, n_slots: int, name: str) -> Tensor:
    """Embeddings of `n_slots` random tokens [slot, d], to start from."""
    table = embeddings(lab)
    pick = lab.rng("slots", name).integers(0, len(table), n_slots)
    return table[torch.from_numpy(pick).to(table.device)].float().clone()


def deep_start(lab: Lab, cases: Slotted) -> Tensor:
    """What every layer reads in the slots where random tokens stand [layer, slot, d], the mean over cases, to start from."""
    sites = lab.model.map.sites("resid_pre")
    n = int(cases.slots.max()) + 1
    with _filled(lab, cases.slots, start_vectors(lab, n, "deep")):
        trace = lab.run(cases.inputs, read=sites, rows=cases.rows[:, None])
    each = [torch.stack([trace[s][cases.slots == k].mean(0) for k in range(n)]) for s in sites]
    return torch.stack(each).float()


def nearest(lab: Lab, vectors: Tensor) -> tuple[str, ...]:
    """The token whose embedding has the largest cosine with each vector."""
    table = torch.nn.functional.normalize(embeddings(lab).float(), dim=-1)
    ids = (torch.nn.functional.normalize(vectors.float(), dim=-1) @ table.T).argmax(-1)
    return lab.pieces(ids.tolist())


def embeddings(lab: Lab) -> Tensor:
    """What the input embedding makes of every token [vocab, d]; some models scale their table."""
    module = lab.model.embedding("")
    with torch.no_grad():
        return module(torch.arange(lab.model.vocabulary, device=lab.model.device)[None])[0]
