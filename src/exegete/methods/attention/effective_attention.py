"""Effective attention: the part of attention that the values of its head can carry on to the output.

1. one pass keeps, of every attention, pattern A, what each query sees, and values V;
2. T = V W_o of each head; effective A is A without its part in the left null space of T, over the keys that a query sees
   (`ops.effective`). More visible keys than the head is wide: A is not identifiable, other weights give the same output;
3. the model is run once more with effective attention in the place of its own: nothing behind it may change.

Control: the effective share of the same attention under random values of the same shape, which is about rank / keys.
Effective weights may be negative and need not sum to 1.

Cost: 2 forwards a text, 2 more for the first, whose maps are shown (and those of a target that an encoder-decoder chooses).
Reference: Brunner et al. 2020, "On Identifiability in Transformers", sec. 3 (arXiv:1908.04211).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.identifiability import EffectiveAttention, EffectiveMaps
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Check, Trust
from exegete.core.value import Value
from exegete.methods.attention.judged import mean_score
from exegete.methods.attention.look import Attention, Look, attentions, by_head, first_row, look
from exegete.methods.contracts.study import Divided
from exegete.models.capture import Trace
from exegete.models.edit import Set
from exegete.models.lab import Lab
from exegete.ops.effective import effective, narrow

SAME = 1e-5  # of the largest output of a head
THROUGH = 1e-3  # of the largest number in the last residual: rounding of float32 through all layers


@dataclass(frozen=True)
class _Layer:
    """One attention on one text; arrays [head, query, key], `free` [head, query]; shares of special tokens."""

    site: Site
    pattern: np.ndarray
    effective: np.ndarray
    free: np.ndarray
    control: float
    wrong: float
    special: tuple[float, float]

    @property
    def open(self) -> np.ndarray:
        """Share of queries with other weights of the same output [head]."""
        return (self.free > 0).mean(1)

    @property
    def kept(self) -> np.ndarray:
        """Effective share of the squared norm [head]."""
        return (self.effective**2).sum((1, 2)) / (self.pattern**2).sum((1, 2))

    @property
    def agree(self) -> np.ndarray:
        """Correlation of effective with raw weights [head]."""
        pairs = zip(
            self.effective.reshape(len(self.pattern), -1), self.pattern.reshape(len(self.pattern), -1)
        )
        return np.array([_correlation(x, y) for x, y in pairs])


class EffectiveText(Value):
    """One text, by attention: effective share, correlation with raw weights, share of open queries [head]; weight of special tokens
    [attention, raw / effective]. `control`: effective share under random values; `wrong`, `moved`: how far outputs are changed.
    """

    attentions: tuple[str, ...]
    kept: tuple[np.ndarray, ...]
    agree: tuple[np.ndarray, ...]
    open: tuple[np.ndarray, ...]
    special: np.ndarray
    control: float
    wrong: float
    moved: float


@register
class EffectiveAttentionStudy(Divided):
    """How much of attention is effective: what is left without the part that no value carries."""

    id: ClassVar[str] = "effective_attention"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("B19",)
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = EffectiveAttention
    home: ClassVar[str] = "terrarium/encoder"
    reference: ClassVar[Reference] = Reference(
        authors="Brunner et al.", year=2020, title="On Identifiability in Transformers",
        where="ICLR; arXiv:1908.04211", equation="sec. 3",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "weights")
    passes: ClassVar[str] = "2 forwards a text, and 2"
    seed: int = Field(0, description="seed of the random values")

    part: ClassVar[type[Value]] = EffectiveText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[EffectiveText]:
        """Every attention of each text."""
        found = []
        with lab.working(len(items), "effective attention") as step:
            for item in items:
                found.append(self._text(lab, item, target)[0])
                step()
        return found

    def merge(
        self,
        lab: Lab,
        items: tuple[Any, ...],
        parts: Sequence[EffectiveText],
        target: Target,
        n_failed: int = 0,
    ) -> EffectiveAttention:
        """Means over texts; the maps of the first are made again, for they are too large to be kept of all."""
        table = {name: _table(parts, name) for name in ("kept", "agree", "open")}
        kept = np.array([np.mean([x.mean() for x in p.kept]) for p in parts])
        control = np.array([p.control for p in parts])
        name = "effective share of attention (squared norm), mean over heads"
        score = mean_score(
            name, kept, control=control, control_name="random values", failed=n_failed, seed=self.seed
        )
        special = np.mean([p.special for p in parts], 0)
        return EffectiveAttention(
            title="How much of attention can matter?",
            lede=_words(table, score.value, score.control or 0.0),
            attentions=parts[0].attentions,
            kept=table["kept"],
            agree=table["agree"],
            open=table["open"],
            special_raw=special[:, 0],
            special_effective=special[:, 1],
            maps=self._text(lab, items[0], target)[1],
            checks=(
                Check.at_most("same output of each head", max(p.wrong for p in parts), SAME, "A T with effective and raw A, relative"),
                Check.at_most(
                    "model runs on effective attention", max(p.moved for p in parts), max(THROUGH, 8 * torch.finfo(lab.model.dtype).eps),
                    "change of the last residual with effective attention in the place of the model's own, relative",
                ),
            ),
            trust=Trust(scores=(score,), seed=self.seed),
        )  # fmt: skip

    def _text(self, lab: Lab, item: Any, target: Target) -> tuple[EffectiveText, tuple[EffectiveMaps, ...]]:
        seen, every = look(lab, item, target), attentions(lab)
        kinds = ("pattern", "scores", "v")
        last = Site("final_in", stack=lab.model.map.stacks[-1])
        sites = [s for a in every for kind in kinds for s in a.kin(kind)]
        t = lab.run(seen.inputs, read=[*sites, last], rows=first_row(seen))
        rng = lab.rng(
            "values", *(seen.inputs[k].tolist() for k in sorted(seen.inputs) if k.endswith("input_ids"))
        )
        groups = [[_layer(lab, a, k, t, seen, rng) for k in range(len(a.sites))] for a in every]
        layers = [layer for group in groups for layer in group]
        edit = {x.site: Set(torch.from_numpy(x.effective)[None]) for x in layers}
        other = lab.run(seen.inputs, read=[last], edit=edit, rows=first_row(seen))
        maps = tuple(_maps(a, group, seen) for a, group in zip(every, groups))
        found = EffectiveText(
            attentions=tuple(str(layer.site) for layer in layers),
            kept=tuple(layer.kept for layer in layers),
            agree=tuple(layer.agree for layer in layers),
            open=tuple(layer.open for layer in layers),
            special=np.array([layer.special for layer in layers]),
            control=float(np.mean([layer.control for layer in layers])),
            wrong=max(layer.wrong for layer in layers),
            moved=_relative(other[last], t[last]),
        )
        return found, maps


def _layer(lab: Lab, a: Attention, k: int, t: Trace, seen: Look, rng: np.random.Generator) -> _Layer:
    """One attention of one text."""
    site = a.sites[k]
    pattern = by_head(t[site]).astype(np.float64)
    visible = np.isfinite(by_head(t[a.kin("scores")[k]]))
    values = by_head(t[a.kin("v")[k]]).astype(np.float64).repeat(len(pattern) // t[a.kin("v")[k]].shape[1], 0)
    weights = _out(lab, a, site, len(pattern))
    carried = np.stack([v @ narrow(w) for v, w in zip(values, weights)])
    own, free = effective(pattern, carried, visible)
    random, _ = effective(pattern, rng.standard_normal(carried.shape), visible)
    control = float(((random**2).sum((1, 2)) / (pattern**2).sum((1, 2))).mean())
    wrong = np.abs((own - pattern) @ carried).max() / max(np.abs(pattern @ carried).max(), 1e-30)
    marks = seen.reads[a.keys].special
    special = (_on(pattern, marks), _on(own, marks))
    return _Layer(site, pattern, own, free, control, float(wrong), special)


def _out(lab: Lab, a: Attention, site: Site, heads: int) -> np.ndarray:
    """The output weights [head, dh, d] of an attention."""
    part = "cross" if a.cross else "attn"
    weight, _ = lab.model.map.linear(lab.model.map.part_path(a.queries, site.layer, part, "proj"))
    return weight.detach().double().cpu().numpy().reshape(heads, -1, weight.shape[1])


def _on(weights: np.ndarray, marks: np.ndarray) -> float:
    """Share of absolute weight on marked keys."""
    size = np.abs(weights)
    return float(size[..., marks].sum() / max(size.sum(), 1e-30))


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation; 1 for equal weights, however even."""
    if np.allclose(x, y, atol=1e-9):
        return 1.0
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else 0.0


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))


def _table(found: Sequence[EffectiveText], name: str) -> np.ndarray:
    """Mean over texts [attention, head], NaN where an attention has fewer heads."""
    rows = [np.mean(each, 0) for each in zip(*(getattr(p, name) for p in found))]
    out = np.full((len(rows), max(map(len, rows))), np.nan)
    for line, row in zip(out, rows):
        line[: len(row)] = row
    return out


def _maps(a: Attention, group: list[_Layer], seen: Look) -> EffectiveMaps:
    pattern, own = (
        np.stack(x).astype(np.float32) for x in ([g.pattern for g in group], [g.effective for g in group])
    )
    queries, keys = seen.reads[a.queries].pieces, seen.reads[a.keys].pieces
    return EffectiveMaps(name=a.name, pattern=pattern, effective=own, queries=queries, keys=keys)


def _words(table: dict[str, np.ndarray], kept: float, control: float) -> str:
    open_ = float(np.nanmean(table["open"]))
    if open_ == 0:
        return (
            "Attention is identifiable here: no query sees more keys than its head's values can tell apart."
        )
    raw = f"{open_:.0%} of queries see more keys than their head's values can tell apart, so that other weights give the same output."
    against = "more" if kept > control else "NOT more"
    return f"{raw} {kept:.0%} of attention is effective, {against} than under random values ({control:.0%})."
