"""Phase change: when, in training, do induction heads form, and does in-context learning come at the same time?

At every checkpoint of a run, on the same random tokens said twice (`repeated`):

1. in-context learning: loss of the second saying minus that of the first;
2. prefix matching and previous-token attention of the strongest head (chosen on even rows, judged on odd ones);
3. the window of each curve: the shortest stretch of checkpoints that holds four fifths of its rise;
4. co-occurrence: the correlation of the changes of prefix matching and in-context learning from checkpoint to checkpoint,
   against random orders of the changes.

Controls: the same where nothing comes back; the first checkpoint. Co-occurrence is evidence, no proof: the knock-outs of
`induction_heads` are the intervention.

Cost: two forwards a row and checkpoint; one checkpoint is in memory at a time.
Reference: Olsson et al. 2022 (arXiv:2209.11895), arguments 1 and 2.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.induction import PhaseChange
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.repeated import repeats, strongest, upper, watch
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.series import checkpoints, spread
from exegete.ops.phase import together, window
from exegete.ops.stats import bootstrap_mean, midrank_percentile


@register
class PhaseChangeStudy(Study):
    """When induction heads form in training, and whether in-context learning comes with them."""

    id: ClassVar[str] = "phase_change"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H11",)
    verb: ClassVar[str] = "heads"
    asks: ClassVar[Any] = "nothing"
    finds: ClassVar[type] = PhaseChange
    home: ClassVar[str] = "terrarium/repeats"
    tasks: ClassVar[tuple[str, ...]] = ("causal",)
    reference: ClassVar[Reference] = Reference(
        authors="Olsson et al.", year=2022, title="In-context Learning and Induction Heads", where="arXiv:2209.11895",
        equation="arguments 1 and 2",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("logprobs", "sites")
    passes: ClassVar[str] = "2 forwards a repeat and checkpoint"
    folder: str = Field(
        "", description="folder of the training run, or an embedded model; the model's own when empty"
    )
    n_checkpoints: int = Field(40, ge=2, description="at most so many checkpoints, evenly spread")
    n_repeats: int = Field(16, ge=2, description="random texts")
    repeat_length: int = Field(25, ge=3, description="tokens that are said twice")
    seed: int = Field(0, description="seed of texts and of random orders")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> PhaseChange:
        """Over the checkpoints of a run; of the model given, only its name is used, where no folder is named."""
        source = self.folder or lab.model.name
        run = spread(checkpoints(source), self.n_checkpoints)
        with lab.working(len(run), "reading checkpoints") as step:
            points = []
            for _, path in run:
                model = load(path, device=lab.model.device)
                model.token_budget = lab.model.token_budget
                points.append(self._point(Lab(model, self.seed, lab.meter)))
                step()
        return _finding(source, np.array([s for s, _ in run], dtype=np.float64), points, lab)

    def _point(self, lab: Lab) -> "_Point":
        how = repeats(lab, self.n_repeats, self.repeat_length)
        said, fresh = watch(lab, how.said, how), watch(lab, how.fresh, how)
        prefix, head = strongest(said.kind("prefix"))
        previous, before = strongest(said.kind("previous"))
        return _Point(
            learned=how.learned(said.loss),
            fresh=how.learned(fresh.loss),
            prefix=prefix,
            prefix_fresh=fresh.kind("prefix")[1::2, head[0], head[1]],
            previous=previous,
            heads=(f"{head[0]}.h{head[1]}", f"{before[0]}.h{before[1]}"),
            first=float(said.loss[:, how.lead : how.lead + how.length - 1].mean()),
            chance=how.chance["prefix"],
        )


@dataclass(frozen=True)
class _Point:
    """One checkpoint: values by row, and the names of its strongest heads."""

    learned: np.ndarray
    fresh: np.ndarray
    prefix: np.ndarray
    prefix_fresh: np.ndarray
    previous: np.ndarray
    heads: tuple[str, str]
    first: float
    chance: float


def _finding(source: str, steps: np.ndarray, points: list[_Point], lab: Lab) -> PhaseChange:
    mean = {
        k: np.array([getattr(p, k).mean() for p in points])
        for k in ("learned", "fresh", "prefix", "previous")
    }
    band = {k: np.array([_band(getattr(p, k)) for p in points]).T for k in ("learned", "prefix")}
    rises = {
        "in-context learning": -mean["learned"],
        "prefix matching": mean["prefix"],
        "previous token": mean["previous"],
    }
    spans = ((name, window(x)) for name, x in rises.items())
    windows = tuple((name, float(steps[i]), float(steps[j])) for name, (i, j) in spans)
    scores = (_formed(points), _together(mean, lab))
    return PhaseChange(
        title="When do induction heads form?",
        lede=_lede(windows, scores, mean),
        context=(("checkpoints", f"{len(steps)} of {source}, steps {steps[0]:.0f} to {steps[-1]:.0f}"),),
        steps=steps,
        learned=mean["learned"],
        learned_low=band["learned"][0],
        learned_high=band["learned"][1],
        learned_fresh=mean["fresh"],
        prefix=mean["prefix"],
        prefix_low=band["prefix"][0],
        prefix_high=band["prefix"][1],
        prefix_fresh=np.array([p.prefix_fresh.mean() for p in points]),
        previous=mean["previous"],
        heads=tuple(p.heads for p in points),
        first_loss=np.array([p.first for p in points]),
        windows=windows,
        trust=Trust(scores=scores),
    )


def _formed(points: list[_Point]) -> Score:
    first, last = points[0], points[-1]
    return Score(
        name="prefix matching at the last checkpoint",
        value=float(last.prefix.mean()),
        chance=last.chance,
        control=max(upper(first.prefix), upper(last.prefix_fresh)),
        control_name="the first checkpoint, or where nothing comes back",
        interval=bootstrap_mean(last.prefix),
        n=len(last.prefix),
    )


def _together(mean: dict[str, np.ndarray], lab: Lab) -> Score:
    value, draws = together(mean["prefix"], -mean["learned"], lab.rng("orders"))
    fresh, _ = together(mean["prefix"], -mean["fresh"], lab.rng("orders"), 1)
    return Score(
        name="correlation of the changes of prefix matching and in-context learning",
        value=value,
        chance=float(draws.mean()),
        control=fresh,
        control_name="where nothing comes back",
        percentile=midrank_percentile(value, draws),
        n=len(mean["prefix"]) - 1,
    )


def _lede(
    windows: tuple[tuple[str, float, float], ...], scores: tuple[Score, ...], mean: dict[str, np.ndarray]
) -> str:
    formed, together_ = scores
    if not (formed.beats_control and formed.beats_chance):
        return f"No induction head forms: prefix matching ends at {formed.value:.2f} (control {formed.control:.2f})."
    (_, a, b), (_, c, d), _ = windows
    meet = "at the same time" if max(a, c) < min(b, d) else "NOT at the same time"
    return (
        f"Prefix matching rises from {mean['prefix'][0]:.2f} to {formed.value:.2f}, most of it between steps {c:.0f} and {d:.0f}; "
        f"in-context learning comes between {a:.0f} and {b:.0f}: {meet}. Their changes correlate at {together_.value:.2f} "
        f"({'more' if together_.beats_chance else 'NOT more'} than in random orders)."
    )


def _band(values: np.ndarray) -> tuple[float, float]:
    return bootstrap_mean(values) or (np.nan, np.nan)
