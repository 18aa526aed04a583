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
from exegete.core.value import Value
from exegete.methods.attention.bench import reader
from exegete.methods.attention.judged import beaten, mean_score
from exegete.methods.attention.token_routes import SUMS
from exegete.methods.attention.two_models import moved_copy, other_model, same_tokens
from exegete.methods.contracts.study import Divided
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


class ComparedText(Value):
    """One text in both models: divergence of attention [layer, head] and distance of flows [level], the same from copies moved at
    random (mean over them; NaN and why where there are none); `entropy` [model, layer, head], `flow` [model, level, token] from `token`.
    """

    other: str
    tokens: tuple[str, ...]
    token: int
    change: np.ndarray
    flow_change: np.ndarray
    random: np.ndarray
    flow_random: np.ndarray
    no_copy: str
    entropy: np.ndarray
    flow: np.ndarray


@register
class AttentionCompareStudy(Divided):
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

    part: ClassVar[type[Value]] = ComparedText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[ComparedText]:
        """Each text as both models and the moved copies attend to it."""
        model = other_model(lab, self.other, self.seed)
        other = Lab(model, seed=self.seed, meter=lab.meter)
        for item in items:
            same_tokens(lab, other, item, lab.read([item]).inputs["input_ids"])
        ours, theirs = ([_read(x, item) for item in items] for x in (lab, other))
        apart = [_apart(a, b) for a, b in zip(ours, theirs)]
        random, why = self._moved(lab, model, items, ours)
        return [
            ComparedText(
                other=model.name,
                tokens=lab.pieces(lab.read([item]).inputs["input_ids"][0].tolist()),
                token=a.token,
                change=change,
                flow_change=flow,
                random=np.mean([x[i][0] for x in random], 0) if random else np.full_like(change, np.nan),
                flow_random=np.mean([x[i][1] for x in random], 0) if random else np.full_like(flow, np.nan),
                no_copy=why,
                entropy=np.stack([_entropy(a), _entropy(b)]),
                flow=np.stack([a.flow, b.flow]),
            )
            for i, (item, a, b, (change, flow)) in enumerate(zip(items, ours, theirs, apart))
        ]

    def merge(
        self,
        lab: Lab,
        items: tuple[Any, ...],
        parts: Sequence[ComparedText],
        target: Target,
        n_failed: int = 0,
    ) -> AttentionComparison:
        """What is different over all texts; the flow of the first is shown."""
        first = parts[0]
        change, random = (np.stack([getattr(p, n) for p in parts]) for n in ("change", "random"))
        flow, flow_random = (np.stack([getattr(p, n) for p in parts]) for n in ("flow_change", "flow_random"))
        scores = self._scores(change, random, flow, flow_random, first.no_copy, n_failed)
        moved = _beyond(change, random, self.seed)
        names = (lab.model.name, first.other)
        return AttentionComparison(
            title=f"What is different in the attention of {names[1]}?",
            lede=_words(names[1], change, moved, scores),
            models=names,
            change=change,
            random=random,
            entropy=np.mean([p.entropy for p in parts], 0),
            tokens=first.tokens,
            token=first.token,
            flow=first.flow,
            flow_change=flow,
            flow_random=flow_random,
            moved=moved,
            checks=(_sums([p.flow for p in parts]),),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _moved(
        self, lab: Lab, other: Any, items: tuple[Any, ...], ours: list[_Read]
    ) -> tuple[list[list[tuple[np.ndarray, np.ndarray]]], str]:
        """Change and flow [copy][text] between the model and copies moved at random; none, and why, where skipped."""
        found = []
        for i in range(self.n_twins):
            twin, why = moved_copy(lab.model, other, lab.rng("moved", i))
            if twin is None:
                return [], why
            by = Lab(twin, seed=self.seed, meter=lab.meter)
            found.append([_apart(a, _read(by, item)) for a, item in zip(ours, items)])
        return found, ""

    def _scores(
        self,
        change: np.ndarray,
        random: np.ndarray,
        flow: np.ndarray,
        flow_random: np.ndarray,
        why: str,
        failed: int,
    ) -> tuple[Score, ...]:
        every = (
            ("change of attention (JSD, nats), mean over heads", change.mean((1, 2)), random.mean((1, 2))),
            ("change of the flow to input tokens (total variation)", flow[:, 0], flow_random[:, 0]),
        )
        name = "weights moved as far at random"
        return tuple(
            mean_score(label, x, control=y, control_name=name, failed=failed, skipped=why, seed=self.seed)
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


def _apart(a: _Read, b: _Read) -> tuple[np.ndarray, np.ndarray]:
    """Divergence of attention [layer, head] and distance of flows [level]."""
    flow = tvd(torch.from_numpy(a.flow), torch.from_numpy(b.flow)).numpy()
    return _rows(jsd(a.pattern, b.pattern), a.sees), flow


def _rows(values: Tensor, sees: Tensor) -> np.ndarray:
    """Mean of values [layer, head, query] over queries that see several keys [layer, head]; 0 where there is none."""
    several = (sees.sum(-1) > 1).double()
    return ((values * several).sum(-1) / several.sum(-1).clamp_min(1)).numpy()


def _entropy(read: _Read) -> np.ndarray:
    p = read.pattern
    return _rows(-(p * p.clamp_min(1e-30).log()).sum(-1), read.sees)


def _sums(flows: Sequence[np.ndarray]) -> Check:
    """The check that no influence is lost on the way down."""
    gap = max(float(np.abs(f.sum(2) - 1).max()) for f in flows)
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
