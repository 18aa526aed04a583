"""What the studies of the debate share: one text with its attention, ready to be run with another one.

1. `see` runs a text once and keeps patterns, what each query sees, values, residuals and the output distribution;
2. `Seen.weights` is attention read as an explanation: the mean weight a token gets from the query whose output is measured
   (the mask, the last token, the first special token of an encoder's classifier; all queries where there is no single one),
   over all layers and heads;
3. `Seen.outputs` runs copies of the text under edits; `deleted` runs it without one token, for each token;
4. `gradients` gives gradient x embedding of every token and the gradients of all patterns.

The attention is that of the stack that reads the text (the encoder of an encoder-decoder). Tokens of one text are never
padded. Shapes: patterns [layer, head, query, key]; outputs [copy, row, class], probabilities in float64.
Cost: `see` 1 forward, `deleted` a forward a token, `gradients` 1 forward + 1 backward.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from exegete.core.site import Site, Stack
from exegete.models.edit import Set
from exegete.models.lab import Aim, Lab
from exegete.ops.divergence import tvd

ROUNDING = (
    1e-6  # probabilities of a float32 model differ by this much when it runs the same thing in another batch
)
LEAST_TOKENS = 2  # fewer tokens that can be ranked make no order
T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """One text as a model reads it.

    `aim` is at this text alone; `pattern` and `visible` [layer, head, query, key], `v` [layer, head, key, dh], `resid`
    [layer][1, tok, d] enters each layer, `out` [row, class]; `rows` are the queries that are read, `words` [tok] bool the
    tokens that may be ranked (they stand for text and are not where the output is read).
    """

    lab: Lab
    aim: Aim
    pattern: Tensor
    visible: Tensor
    v: Tensor
    resid: tuple[Tensor, ...]
    out: Tensor
    rows: tuple[int, ...]
    words: np.ndarray

    @property
    def stack(self) -> Stack:
        """The stack whose attention is looked at."""
        return reader(self.lab)

    @property
    def n_layers(self) -> int:
        """Layers of that stack."""
        return len(self.pattern)

    @property
    def length(self) -> int:
        """Tokens of the text."""
        return self.pattern.shape[-1]

    @property
    def name(self) -> str:
        """The text, shortened, as a reader knows it."""
        text = self.aim.encoded[0].text
        return text if len(text) <= 60 else text[:57] + "..."

    @property
    def key(self) -> str:
        """The ids that are read: what random draws for this text are named by."""
        read = (self.aim.inputs[k] for k in ("input_ids", "decoder_input_ids") if k in self.aim.inputs)
        return "|".join(",".join(map(str, ids[0].tolist())) for ids in read)

    @property
    def label(self) -> int:
        """The class or token decided for, at the first output."""
        return int(self.out[0].argmax())

    def sites(self, kind: str) -> list[Site]:
        """The sites of a kind, one a layer."""
        return [Site(kind, layer=k, stack=self.stack) for k in range(self.n_layers)]

    def weights(self, by_key: Tensor | None = None) -> np.ndarray:
        """Mean over layers, heads and read queries [key], of the attention or of a tensor of its shape."""
        whole = self.pattern if by_key is None else by_key
        return whole[:, :, list(self.rows)].double().mean((0, 1, 2)).cpu().numpy()

    def outputs(self, edit: Any, copies: int, layer: int = 0) -> Tensor:
        """Output distributions [copies, row, class] under edits that hold a value a copy; resumed at `layer`."""
        aim = self.aim
        rows = None if aim.positions is None else aim.positions.expand(copies, -1)
        if layer == 0:
            inputs = {k: v.expand(copies, *v.shape[1:]) for k, v in aim.inputs.items()}
            logits = self.lab.run(inputs, edit=edit, rows=rows).logits
        else:
            entering = self.resid[layer].expand(copies, -1, -1)
            where = None if rows is None else aim.positions
            t = self.lab.resume(aim.inputs, layer, entering, stack=self.stack, edit=edit, rows=where)
            logits = t.logits
        return probabilities(aim, logits)

    def set_patterns(self, patterns: Tensor) -> dict[Site, Any]:
        """The edit that puts patterns [copy, layer, head, query, key] in the place of the model's own."""
        return {site: Set(patterns[:, k]) for k, site in enumerate(self.sites("pattern"))}


def reader(lab: Lab) -> Stack:
    """The stack that reads the text: the encoder where there is one."""
    return lab.model.map.stacks[0]


def answers_apart(lab: Lab) -> bool:
    """Whether the output is read in another stack (a decoder) than the one that reads the text."""
    return lab.model.task == "seq2seq" or lab.model.rereads


def benches(lab: Lab, items: Sequence[Any], target: Any, least: int = LEAST_TOKENS) -> tuple[list[Seen], int]:
    """The texts that have at least `least` tokens to rank, and how many have not."""
    aim = lab.aim(items, target)
    seen = [see(lab, aim.only(i)) for i in range(len(aim))]
    usable = [s for s in seen if int(s.words.sum()) >= least]
    return usable, len(seen) - len(usable)


def each_text(
    lab: Lab, items: Sequence[Any], target: Any, work: Callable[[Seen], T], short: T, words: str
) -> list[T]:
    """What `work` makes of each text, alone; `short` for those with fewer than `LEAST_TOKENS` tokens to rank."""
    aim, found = lab.aim(items, target), []
    with lab.working(len(aim), words) as step:
        for i in range(len(aim)):
            seen = see(lab, aim.only(i))
            found.append(work(seen) if int(seen.words.sum()) >= LEAST_TOKENS else short)
            step()
    return found


def see(lab: Lab, aim: Aim) -> Seen:
    """One text, run once. `aim` is at one text."""
    stack, n = reader(lab), len(lab.model.map.tower(reader(lab)).layers)
    kinds = ("scores", "pattern", "v", "resid_pre")
    sites = {kind: [Site(kind, layer=k, stack=stack) for k in range(n)] for kind in kinds}
    t = lab.run(aim.inputs, read=[s for each in sites.values() for s in each], rows=aim.positions)
    scores, pattern, v = (torch.stack([t[s][0] for s in sites[kind]]) for kind in kinds[:3])
    visible = scores != -torch.inf
    v = v.repeat_interleave(pattern.shape[1] // v.shape[1], 1)
    rows = _rows(lab, aim, visible)
    resid = tuple(t[s] for s in sites["resid_pre"])
    return Seen(
        lab, aim, pattern, visible, v, resid, probabilities(aim, t.logits)[0], rows, _words(lab, aim, rows)
    )


def probabilities(aim: Aim, logits: Tensor) -> Tensor:
    """Output distributions [batch, row, class] of whole logits, of those of the rows, or of pooled ones."""
    at = aim.positions
    if logits.dim() == 2:
        logits = logits[:, None]
    elif at is not None and logits.shape[1] != at.shape[1]:
        logits = logits.gather(1, at.expand(len(logits), -1)[..., None].expand(-1, -1, logits.shape[-1]))
    x = logits.double()
    if x.shape[-1] == 1:
        p = x.sigmoid()
        return torch.cat([1 - p, p], -1)
    return x.softmax(-1)


def distance(outs: Tensor, out: Tensor) -> Tensor:
    """Total variation distance [copy] of outputs [copy, row, class] from [row, class], mean over rows; rounding counts as 0."""
    found = tvd(outs, out).mean(-1)
    return torch.where(found < ROUNDING, 0.0, found)


def deleted(seen: Seen) -> tuple[np.ndarray, Tensor]:
    """The measured values [word] and output distributions [word, row, class] without each token that may be ranked."""
    aim, lab = seen.aim, seen.lab
    gone = np.flatnonzero(seen.words)
    values, outs = [], []
    for part in lab.chunks(len(gone), seen.length):
        inputs, at = _without(seen, gone[part])
        logits = lab.run(inputs, rows=at).logits
        if at is not None and logits.shape[1] != at.shape[1]:
            logits = logits.gather(1, at[..., None].expand(-1, -1, logits.shape[-1]))
        values.append(_measured(aim, logits).double().cpu())
        outs.append(probabilities(aim, logits))
    return torch.cat(values).numpy(), torch.cat(outs)


def gradients(seen: Seen) -> tuple[np.ndarray, Tensor]:
    """|gradient x embedding| [tok] of the measured value, and its gradients by pattern [layer, head, query, key]."""
    embed, sites = Site("embed", stack=seen.stack), seen.sites("pattern")
    with torch.enable_grad():
        t = seen.lab.run(seen.aim.inputs, read=[embed, *sites], keep_graph=True, rows=seen.aim.positions)
        total = seen.aim.measure(t.logits).sum()
        first, *by_layer = seen.lab.gradients(total, [t[embed], *(t[s] for s in sites)])
    by_token = (first * t[embed]).detach()[0].double().sum(-1).abs().cpu().numpy()
    return by_token, torch.stack([g[0] for g in by_layer]).detach()


def noise_like(change: Tensor, rng: np.random.Generator) -> Tensor:
    """Random vectors of the length of those in the last axis of `change`."""
    draw = torch.from_numpy(rng.standard_normal(tuple(change.shape))).to(change)
    return draw * (change.norm(dim=-1, keepdim=True) / draw.norm(dim=-1, keepdim=True).clamp_min(1e-12))


def _measured(aim: Aim, logits: Tensor) -> Tensor:
    """The aim's values [batch] of logits that are those of its rows already."""
    if aim.pooled:
        return aim.measure(logits)
    rows = tuple(replace(r, position=i) for i, r in enumerate(aim.rows[0]))
    return replace(aim, rows=(rows,)).measure(logits)


def _without(seen: Seen, gone: np.ndarray) -> tuple[dict[str, Tensor], Tensor | None]:
    """Inputs of the text without one token, a row a token, and where the outputs then stand [row, output]."""
    aim, n = seen.aim, seen.length
    keep = torch.tensor([[i for i in range(n) if i != g] for g in gone], device=seen.pattern.device)
    own = ("input_ids", "attention_mask", "token_type_ids")
    inputs = {k: v[0][keep] if k in own else v.expand(len(gone), *v.shape[1:]) for k, v in aim.inputs.items()}
    at = aim.positions
    if at is None:
        return inputs, None
    at = at.expand(len(gone), -1)
    if answers_apart(seen.lab):
        return inputs, at
    return inputs, at - (at > torch.as_tensor(gone, device=at.device)[:, None]).to(at.dtype)


def _rows(lab: Lab, aim: Aim, visible: Tensor) -> tuple[int, ...]:
    """The queries whose attention is read as the explanation."""
    n = visible.shape[-1]
    if answers_apart(lab):
        return tuple(range(n))
    if not aim.pooled:
        return tuple(sorted({int(r.position or 0) for r in aim.rows[0]}))
    if (
        not bool(visible[:, :, 0, -1].any()) and n > 1
    ):  # the first token does not see the last: a causal classifier
        return (n - 1,)
    return (0,) if aim.encoded[0].tokens[0].special else tuple(range(n))


def _words(lab: Lab, aim: Aim, rows: tuple[int, ...]) -> np.ndarray:
    out = np.zeros(int(aim.inputs["input_ids"].shape[1]), dtype=bool)
    for i, token in enumerate(aim.encoded[0].tokens):
        out[i] = not token.special
    if not aim.pooled and not answers_apart(lab):
        out[list(rows)] = False
    return out
