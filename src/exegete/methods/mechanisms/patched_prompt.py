"""A prompt with a place at its end for hidden states of other texts; and those states.

1. `states` reads residuals of texts at chosen places, before layer 0 and after every layer, and what the model says there;
2. `PatchedPrompt.of` runs the prompt once and keeps its residuals;
3. `says` puts states at its last position before a layer and runs on from there (the layers before are never run again);
4. `generated` writes on greedily: every pass reads prompt and new tokens whole, with the state in its place.

Shapes: states [layer + 1, place, d]; tops [place, k]. Cost: given at each function.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.site import Site
from exegete.models.edit import Set
from exegete.models.lab import Lab, Reading
from exegete.models.model import Model


@dataclass(frozen=True, eq=False)
class States:
    """Residuals [layer + 1, place, d], the tokens that the model itself says next there [place], their probability [place]."""

    resid: Tensor
    next: Tensor
    probability: np.ndarray


@dataclass(frozen=True, eq=False)
class Said:
    """What is said next: the likeliest tokens [place, k], and the probability of the model's own next token [place]."""

    top: np.ndarray
    probability: np.ndarray


def states(lab: Lab, reading: Reading, places: Sequence[tuple[int, int]]) -> States:
    """States at places (text, position). Costs a forward a text."""
    sites = _sites(lab)
    resid: list[list[Tensor]] = [[] for _ in sites]
    logits = []
    texts = sorted({i for i, _ in places})
    for rows in lab.chunks(len(texts), max(reading.lengths)):
        few = texts[rows]
        here = [(few.index(i), p) for i, p in places if i in few]
        at = torch.tensor(here).T
        width = max(reading.lengths[i] for i in few)
        inputs = {k: v[few, :width] for k, v in reading.inputs.items()}

        def pick(x: Tensor, at: Tensor = at) -> Tensor:
            row, tok = at.to(x.device)
            return x[row, tok].detach().clone()

        seen = lab.run(inputs, reduce=dict.fromkeys(sites, pick))
        for kept, site in zip(resid, sites):
            kept.append(seen[site])
        logits.append(pick(seen.logits).float().log_softmax(-1))
    logp = torch.cat(logits)
    best = logp.max(-1)
    return States(
        torch.stack([torch.cat(r) for r in resid]), best.indices, best.values.exp().double().cpu().numpy()
    )


@dataclass(frozen=True, eq=False)
class PatchedPrompt:
    """The prompt `text`, its inputs, its residual before every layer [1, tok, d], the layer states go to (None: the one after
    theirs), and the token it says next when left alone.
    """

    lab: Lab
    text: str
    inputs: dict[str, Tensor]
    resid: tuple[Tensor, ...]
    into: int | None
    alone: int

    @classmethod
    def of(cls, lab: Lab, reading: Reading, into: int | None) -> "PatchedPrompt":
        """Run the prompt once."""
        sites = _sites(lab)[:-1]
        seen = lab.run(reading.inputs, read=sites, rows=torch.tensor([[reading.lengths[0] - 1]]))
        resid = tuple(seen[s] for s in sites)
        return cls(
            lab, reading.encoded[0].text, reading.inputs, resid, into, int(seen.logits[0, -1].argmax())
        )

    @property
    def length(self) -> int:
        """Tokens of the prompt; the last holds the place."""
        return self.resid[0].shape[1]

    def says(self, state: Tensor, row: int, own: Tensor, k: int) -> Said:
        """What the prompt says with states [place, d] taken at row `row` (0: before layer 0). Costs, a state, the layers left."""
        layer = row if self.into is None else self.into
        if layer == len(self.resid):  # behind the last layer there is nothing left to run
            return self.lens(state, own, k)
        found = []
        for some in self.lab.chunks(len(state), self.length):
            given = self.resid[layer].repeat(len(state[some]), 1, 1)
            given[:, -1] = state[some]
            out = self.lab.resume(self.inputs, layer, given, rows=torch.tensor([[self.length - 1]]))
            found.append(_said(out.logits[:, -1], own[some], k))
        return _joined(found)

    def lens(self, state: Tensor, own: Tensor, k: int) -> Said:
        """What final norm and unembedding alone say of states [place, d]. Costs no pass."""
        some = self.lab.chunks(len(state), 1)
        return _joined([_said(self.lab.model.map.unembed(state[s]), own[s], k) for s in some])

    def copied(self, ids: Sequence[int]) -> np.ndarray:
        """Whether the prompt, left alone, repeats each of `ids` [n] written at its end. Costs a forward a different id."""
        distinct, back = np.unique(np.array(ids), return_inverse=True)
        found = []
        for some in self.lab.chunks(len(distinct), self.length):
            wanted = torch.from_numpy(distinct[some]).to(self.inputs["input_ids"].device)
            inputs = {key: v.repeat(len(wanted), 1) for key, v in self.inputs.items()}
            inputs["input_ids"][:, -1] = wanted
            rows = torch.full((len(wanted), 1), self.length - 1)
            found.append((self.lab.run(inputs, rows=rows).logits[:, -1].argmax(-1) == wanted).cpu().numpy())
        return np.concatenate(found)[back]

    def generated(self, states: Tensor, n_new: int) -> list[str]:
        """How the prompt goes on greedily with each layer's state of one text [layer + 1, d]. Costs n_new forwards a layer."""
        n = len(states) if n_new else 0
        found = [
            self._generated(states, list(range(n))[rows], n_new)
            for rows in self.lab.chunks(n, self.length + n_new)
        ]
        return [line for lines in found for line in lines] or [""] * len(states)

    def _generated(self, states: Tensor, taken: list[int], n_new: int) -> list[str]:
        sites = _sites(self.lab)
        edit: dict[Site, list[Set]] = {}
        for row, i in enumerate(taken):
            site = sites[i if self.into is None else self.into]
            edit.setdefault(site, []).append(Set(states[i], rows=[row], positions=[self.length - 1]))
        ids = self.inputs["input_ids"].repeat(len(taken), 1)
        for _ in range(n_new):
            rows = torch.full((len(ids), 1), ids.shape[1] - 1)
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            new = self.lab.run(inputs, edit=edit, rows=rows).logits[:, -1].argmax(-1)
            ids = torch.cat([ids, new[:, None]], 1)
        ends = _ends(self.lab.model)
        lines = [_cut(line, ends) for line in ids[:, self.length :].tolist()]
        return [str(self.lab.model.tokenizer.decode(line)) for line in lines]


def _sites(lab: Lab) -> list[Site]:
    """Where states are taken: before layer 0, and after every layer (where the next one begins)."""
    stack, n = lab.model.map.stacks[-1], lab.model.map.n_layers
    before = [Site("resid_pre", layer=i, stack=stack) for i in range(n)]
    return [*before, Site("resid_post", layer=n - 1, stack=stack)]


def _ends(model: Model) -> set[int]:
    """Tokens that end a text."""
    told = getattr(getattr(model.module, "generation_config", None), "eos_token_id", None)
    told = told if told is not None else getattr(model.tokenizer, "eos_token_id", None)
    return set() if told is None else set(told) if isinstance(told, list | tuple) else {int(told)}


def _cut(line: list[int], ends: set[int]) -> list[int]:
    """A line up to its first end, included."""
    stop = next((k + 1 for k, i in enumerate(line) if i in ends), len(line))
    return line[:stop]


def _said(logits: Tensor, own: Tensor, k: int) -> Said:
    p = logits.float().softmax(-1)
    top = p.topk(min(k, p.shape[-1]), -1).indices
    return Said(top.cpu().numpy(), p.gather(1, own[:, None])[:, 0].double().cpu().numpy())


def _joined(found: list[Said]) -> Said:
    return Said(np.concatenate([f.top for f in found]), np.concatenate([f.probability for f in found]))
