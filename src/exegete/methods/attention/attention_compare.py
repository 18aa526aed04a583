"""Attention of two models on the same texts: which heads changed, and how differently influence flows (fine-tuning).

1. both models read the same texts; the attention of the stack that reads the text is kept;
2. change of a head: Jensen-Shannon divergence of its rows in the two models, mean over queries that see several keys;
3. flow of influence: from one token (the last of a causal model, else the first) at the top, share by share down through the
   layers, half of each layer attention (mean over heads) and half residual path; every level is kept, per text;
4. control: copies of the first model whose weights moved as far from it as the other's are, in random directions.

Without another model the first is compared with itself with shuffled weights: what training did to its attention.

Cost: 2 + n_twins forwards a text. Reference: DeRose, Wang & Berger 2020, "Attention Flows: Analyzing and Comparing Attention
Mechanisms in Language Models" (arXiv:2009.07053); the flow is rollout, Abnar & Zuidema 2020.
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
from exegete.core.results.attention_compare import AttentionComparison
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.methods.attention.bench import reader
from exegete.methods.attention.judged import beaten, mean_score
from exegete.methods.attention.token_routes import SUMS
from exegete.methods.attention.two_models import moved_copy, other_model, same_tokens
from exegete.methods.contracts.study import Study
from exegete.models.lab import Lab
from exegete.ops.divergence import jsd, tvd
from exegete.ops.routes import carried, single
from exegete.ops.stats import bootstrap_mean


@dataclass(frozen=True)
class _Read:
    """One text as one model attends to it: `pattern` [layer, head, query, key], `flow` [level, token] from `token`."""

    pattern: Tensor
    sees: Tensor
    token: int
    flow: np.ndarray


@register
class AttentionCompareStudy(Study):
    """Which heads attend otherwise in another model (before and after fine-tuning), and how influence flows in each."""

    id: ClassVar[str] = "attention_compare"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("B7",)
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = AttentionComparison
    home: ClassVar[str] = "terrarium/encoder"
    reference: ClassVar[Reference] = Reference(
        authors="DeRose, Wang & Berger", year=2020, where="arXiv:2009.07053", equation="sec. 4",
        title="Attention Flows: Analyzing and Comparing Attention Mechanisms in Language Models",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "weights")
    passes: ClassVar[str] = "2 + n_twins forwards a text"
    other: str = Field(
        "", description="the other model, by name or path; none: the same with shuffled weights"
    )
    n_twins: int = Field(3, ge=1, le=100, description="copies moved at random, for the control")
    seed: int = Field(0, description="seed of the random moves")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> AttentionComparison:
        """Over texts."""
        model = other_model(lab, self.other, self.seed)
        other = Lab(model, seed=self.seed, meter=lab.meter)
        for item in items:
            same_tokens(lab, other, item, lab.read([item]).inputs["input_ids"])
        ours, theirs = ([_read(x, item) for item in items] for x in (lab, other))
        change, flow = _apart(ours, theirs)
        random, flow_random, why = self._moved(lab, model, items, ours, change, flow)
        scores = self._scores(change, random, flow, flow_random, why)
        moved = _beyond(change, random, self.seed)
        names = (lab.model.name, model.name)
        return AttentionComparison(
            title=f"What is different in the attention of {names[1]}?",
            lede=_words(names[1], change, moved, scores),
            models=names,
            change=change,
            random=random,
            entropy=np.stack([np.mean([_entropy(r) for r in each], 0) for each in (ours, theirs)]),
            tokens=lab.pieces(lab.read([items[0]]).inputs["input_ids"][0].tolist()),
            token=ours[0].token,
            flow=np.stack([ours[0].flow, theirs[0].flow]),
            flow_change=flow,
            flow_random=flow_random,
            moved=moved,
            checks=(_sums((*ours, *theirs)),),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _moved(
        self,
        lab: Lab,
        other: Any,
        items: tuple[Any, ...],
        ours: list[_Read],
        change: np.ndarray,
        flow: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Change and flow between the model and copies moved at random, mean over copies; NaN and why where skipped."""
        found = []
        for i in range(self.n_twins):
            twin, why = moved_copy(lab.model, other, lab.rng("moved", i))
            if twin is None:
                return np.full_like(change, np.nan), np.full_like(flow, np.nan), why
            by = Lab(twin, seed=self.seed, meter=lab.meter)
            found.append(_apart(ours, [_read(by, item) for item in items]))
        changes, flows = zip(*found)
        return np.mean(changes, 0), np.mean(flows, 0), ""

    def _scores(
        self, change: np.ndarray, random: np.ndarray, flow: np.ndarray, flow_random: np.ndarray, why: str
    ) -> tuple[Score, ...]:
        every = (
            ("change of attention (JSD, nats), mean over heads", change.mean((1, 2)), random.mean((1, 2))),
            ("change of the flow to input tokens (total variation)", flow[:, 0], flow_random[:, 0]),
        )
        name = "weights moved as far at random"
        return tuple(
            mean_score(label, x, control=y, control_name=name, skipped=why, seed=self.seed)
            for label, x, y in every
        )


def _read(lab: Lab, text: Any) -> _Read:
    """One text, run once."""
    reading = lab.read([text])
    inputs, tokens = lab.passed(reading), reading.encoded[0].tokens
    if any(t.part for t in tokens):
        inputs["token_type_ids"] = torch.tensor([[t.part for t in tokens]], device=lab.model.device)
    stack = reader(lab)
    layers = range(len(lab.model.map.tower(stack).layers))
    sites = {kind: [Site(kind, layer=k, stack=stack) for k in layers] for kind in ("pattern", "scores")}
    first = torch.zeros((1, 1), dtype=torch.long, device=lab.model.device)
    t = lab.run(inputs, read=[*sites["pattern"], *sites["scores"]], rows=first)
    pattern = torch.stack([t[s][0].double().cpu() for s in sites["pattern"]])
    sees = torch.stack([(t[s][0] > -torch.inf).cpu() for s in sites["scores"]])
    n = pattern.shape[-1]
    token = (
        0 if n == 1 or bool(sees[:, :, 0, -1].any()) else n - 1
    )  # a first token that does not see the last: causal
    levels = carried(single(list(pattern.mean(1).numpy()), True), np.eye(n)[[token]])
    return _Read(pattern, sees, token, np.concatenate(levels))


def _apart(ours: Sequence[_Read], theirs: Sequence[_Read]) -> tuple[np.ndarray, np.ndarray]:
    """Divergence of attention [text, layer, head] and distance of flows [text, level]."""
    change = [_rows(jsd(a.pattern, b.pattern), a.sees) for a, b in zip(ours, theirs)]
    flow = [tvd(torch.from_numpy(a.flow), torch.from_numpy(b.flow)).numpy() for a, b in zip(ours, theirs)]
    return np.stack(change), np.stack(flow)


def _rows(values: Tensor, sees: Tensor) -> np.ndarray:
    """Mean of values [layer, head, query] over queries that see several keys [layer, head]; 0 where there is none."""
    several = (sees.sum(-1) > 1).double()
    return ((values * several).sum(-1) / several.sum(-1).clamp_min(1)).numpy()


def _entropy(read: _Read) -> np.ndarray:
    p = read.pattern
    return _rows(-(p * p.clamp_min(1e-30).log()).sum(-1), read.sees)


def _sums(reads: Sequence[_Read]) -> Check:
    """The check that no influence is lost on the way down."""
    gap = max(float(np.abs(r.flow.sum(1) - 1).max()) for r in reads)
    return Check.at_most(
        "flow kept", gap, SUMS, "shares of each level sum to 1; largest difference over levels and texts"
    )


def _beyond(change: np.ndarray, random: np.ndarray, seed: int) -> tuple[tuple[int, int], ...]:
    """Heads whose change beats the random one by the whole interval over texts."""
    found = []
    for at in np.ndindex(*change.shape[1:]):
        difference = (change - random)[(slice(None), *at)]
        interval = bootstrap_mean(difference, seed) if np.isfinite(difference).all() else None
        if interval is not None and interval[0] > 0:
            found.append((int(at[0]), int(at[1])))
    return tuple(found)


def _words(
    name: str, change: np.ndarray, moved: tuple[tuple[int, int], ...], scores: tuple[Score, ...]
) -> str:
    mean = change.mean(0)
    if not mean.any():
        return f"Attention is the same in {name}, head by head."
    most = np.unravel_index(int(mean.argmax()), mean.shape)
    first = f"In {name} head {most[0]}.h{most[1]} changed most (divergence {mean.max():.2f} nats, {mean.mean():.2f} on average)."
    if scores[0].control is None:
        return first
    won = "more" if beaten(scores[0]) else "NOT more"
    return f"{first} That is {won} than under weights moved as far at random; {len(moved)} of {mean.size} heads changed more."
