"""The heads of a multiple-choice prompt: patched from the turned question, looked at, and cut to a low rank.

1. `read` makes a question into tokens: where each option stands, the ids of the right letter and of the turned one;
2. `Heads` keeps, for every question, the residuals that enter each layer, the difference
   logit(right letter) - logit(turned letter), and what every head of the turned question says at its last token;
3. `effects` patches the heads of a layer in one batch, resumed at the layer; `joint` several heads at once; `looks` reads
   their attention; `ranks` cuts the keys of the options to a subspace.

Shapes: z [head, dh] at the last token; patterns read at the last token [key]. Cost: see `multiple_choice`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.models.edit import Set
from exegete.models.lab import Lab, Reading


@dataclass(frozen=True)
class Sheet:
    """One question: its text, the characters (start, end) of each option, and which option is right."""

    text: str
    spans: tuple[tuple[int, int], ...]
    right: int


@dataclass(frozen=True)
class Asked:
    """A question as read: inputs of one text, the tokens [option] of each option and which is right, right and turned letter."""

    inputs: dict[str, Tensor]
    places: tuple[tuple[int, ...], ...]
    option: int
    right: int
    turned: int
    last: int


def read(lab: Lab, sheet: Sheet, ids: list[int], back: int) -> Asked:
    """A sheet as the model reads it. `back`: by how many letters it was turned already."""
    reading: Reading = lab.read([Text(text=sheet.text)])
    tokens = reading.encoded[0].tokens
    places = tuple(
        tuple(i for i, t in enumerate(tokens) if t.start >= 0 and t.start < b and t.end > a)
        for a, b in sheet.spans
    )
    n = len(ids)
    original = (sheet.right - back) % n
    return Asked(reading.inputs, places, sheet.right, ids[original], ids[(original + 1) % n], len(tokens) - 1)


def answers(lab: Lab, asked: Asked, ids: list[int]) -> int:
    """Which letter the model prefers."""
    rows = torch.tensor([[asked.last]], device=lab.model.device)
    logits = _last(lab.run(asked.inputs, rows=rows).logits, asked)
    return int(logits[0, ids].argmax())


def _last(logits: Tensor, asked: Asked) -> Tensor:
    """Logits [batch, vocab] at the last token."""
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, asked.last]


class Heads:
    """What the heads of questions do: patched from the turned questions, looked at, and cut to a low rank."""

    def __init__(self, lab: Lab, asked: list[Asked], turned: list[Asked]) -> None:
        self.lab, self.asked = lab, asked
        layers = range(lab.model.map.n_layers)
        self.z = [Site("z", layer=k) for k in layers]
        enters = [Site("resid_pre", layer=k) for k in layers]
        self.base, self.other, self.enters = [], [], []
        for a, t in zip(asked, turned):
            seen = lab.run(a.inputs, read=enters, rows=self._rows(a))
            self.base.append(self._difference(seen.logits, a))
            self.enters.append([seen[s] for s in enters])
            came = lab.run(t.inputs, read=self.z, rows=self._rows(t))
            self.other.append([came[s][0, :, t.last] for s in self.z])

    def _rows(self, a: Asked) -> Tensor:
        return torch.tensor([[a.last]], device=self.lab.model.device)

    def _difference(self, logits: Tensor, a: Asked) -> Tensor:
        x = _last(logits, a)
        return x[:, a.right] - x[:, a.turned]

    def effects(self) -> np.ndarray:
        """Base minus patched difference [question, layer, head]."""
        n_layers, heads = len(self.z), self.lab.model.map.n_heads
        out = np.zeros((len(self.asked), n_layers, heads))
        with self.lab.working(len(self.asked), "patching heads") as step:
            for i, a in enumerate(self.asked):
                for k in range(n_layers):
                    for part in self.lab.chunks(heads, a.last + 1):
                        picked = list(range(heads))[part]
                        edits = [
                            Set(self.other[i][k][h], rows=[j], heads=[h], positions=[a.last])
                            for j, h in enumerate(picked)
                        ]
                        entering = self.enters[i][k].expand(len(picked), -1, -1)
                        t = self.lab.resume(
                            a.inputs, k, entering, edit={self.z[k]: edits}, rows=self._rows(a)
                        )
                        out[i, k, part] = (self.base[i] - self._difference(t.logits, a)).cpu().numpy()
                step()
        return out

    def joint(self, heads: tuple[tuple[int, int], ...]) -> np.ndarray:
        """Base minus patched difference [question] with several heads patched at once."""
        out = []
        for i, a in enumerate(self.asked):
            edits: dict[Site, list[Set]] = {}
            for k, h in heads:
                edits.setdefault(self.z[k], []).append(
                    Set(self.other[i][k][h], heads=[h], positions=[a.last])
                )
            t = self.lab.run(a.inputs, edit=edits, rows=self._rows(a))
            out.append(float(self.base[i] - self._difference(t.logits, a)))
        return np.array(out)

    def looks(self, heads: tuple[tuple[int, int], ...]) -> np.ndarray:
        """Attention from the last token to the right option, to a wrong one (mean), elsewhere [head, 3]."""
        sites = list({k: Site("pattern", layer=k) for k, _ in heads}.values())
        out = np.zeros((len(heads), 3))
        for a in self.asked:
            seen = self.lab.run(a.inputs, read=sites, rows=self._rows(a))
            for row, (k, h) in enumerate(heads):
                pattern = seen[Site("pattern", layer=k)][0, h, a.last]
                each = np.array([float(pattern[list(p)].sum()) for p in a.places])
                wrong = np.delete(each, a.option)
                out[row] += (each[a.option], wrong.mean(), 1 - each.sum())
        return out / len(self.asked)

    def ranks(self, head: tuple[int, int], ranks: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Share of the mean difference kept when the head's keys at the options are cut to a rank: leading, random."""
        bound = self.lab.model.map
        layer, group = head[0], head[1] // (bound.n_heads // bound.n_kv_heads)
        site = Site("k", layer=layer)
        keys = [self.lab.run(a.inputs, read=[site], rows=self._rows(a))[site][0, group] for a in self.asked]
        at = [sorted({t for p in a.places for t in p}) for a in self.asked]
        every = torch.cat([k[p] for k, p in zip(keys, at)])
        middle = every.mean(0)
        leading = torch.linalg.svd(every - middle, full_matrices=False).Vh
        noise = torch.from_numpy(self.lab.rng("directions").standard_normal((every.shape[1],) * 2)).to(every)
        random = torch.linalg.qr(noise).Q
        return tuple(  # type: ignore[return-value]
            np.array([self._kept(site, group, keys, at, middle, basis[:r]) for r in ranks])
            for basis in (leading, random)
        )

    def _kept(
        self, site: Site, group: int, keys: list[Tensor], at: list[list[int]], middle: Tensor, basis: Tensor
    ) -> float:
        done = []
        for a, k, p in zip(self.asked, keys, at):
            cut = middle + (k[p] - middle) @ basis.T @ basis
            edit = {site: Set(cut, heads=[group], positions=p)}
            done.append(
                float(self._difference(self.lab.run(a.inputs, edit=edit, rows=self._rows(a)).logits, a))
            )
        whole = float(torch.cat(self.base).mean())
        return float(np.mean(done)) / whole if whole else float("nan")
