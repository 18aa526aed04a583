"""Cascading randomisation: does an explanation change when the model forgets what it learned, from the output down?

1. explain every text by every method;
2. shuffle the weights of the output, then also of the last layer, and so on down to the embeddings (each tensor's entries are
   permuted, so their distribution stays; layers that share weights go together; at most `n_steps` steps);
3. after each step ask the same question and explain it again; rank correlation with the first explanation, a mean over texts and
   over `n_twins` draws of random weights.

With every weight random nothing of the answer's reasons is left, so the correlation should be that of random orders (`n_random`
draws; their 95 % range is the band). A method whose whole interval lies above the band is flagged: it says the same whatever was
learned (an edge detector, a count of letters; magnitudes summed over the pieces of words, too, keep the number of pieces: ask for
unit="token" to leave that out). A method that gives all units one score has no order, and is told apart.

Score: what is lost of the order in the end, 1 - r. Chance is 0, what scores that never look at the model lose; control: what the
method loses by another seed alone, on the model as it is.
Cost: explanations, once and once a step and draw, and once for the control; the copies are made anew for every stretch of texts, a pass
over the weights a draw.
Reference: Adebayo et al. 2018, section 3.1. Permuted labels (their section 3.2) are the study `data_randomisation`.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.cascade import Cascade
from exegete.core.seed import derive, generator
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.evaluate.sanity.checking import Bench, SanityStudy, noted, settled
from exegete.methods.contracts.study import Divided
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.placement import need_here
from exegete.ops.rank import row_correlation
from exegete.ops.stats import bootstrap_mean

NAN = float("nan")
DRAWS = "Intervals are over texts; all meet the same draws of random weights. Another seed draws others."


class ForgottenText(Value):
    """One text: rank correlations along every cascade [method, draw, depth] (NaN where a method fails or gives no order), those
    under another seed [method], its number of units, and reasons of what failed. No units: it has fewer than two.
    """

    kept: np.ndarray = np.zeros(0)
    again: np.ndarray = np.zeros(0)
    n_units: int = 0
    failures: tuple[str, ...] = ()


@register
class CascadingRandomisation(SanityStudy, Divided):
    """How much of each method's explanations is left when the model's layers are randomised from the output down."""

    id: ClassVar[str] = "cascading_randomisation"
    techniques: ClassVar[tuple[str, ...]] = ("O18",)
    finds: ClassVar[type] = Cascade
    reference: ClassVar[Reference] = Reference(
        authors="Adebayo et al.", year=2018, title="Sanity Checks for Saliency Maps", where="arXiv:1810.03292", equation="section 3.1",
    )  # fmt: skip
    passes: ClassVar[str] = "explanations, n_twins * n_steps + 2 times"
    n_steps: int = Field(12, ge=1, le=1000, description="steps of the cascade at most")
    n_twins: int = Field(2, ge=1, le=100, description="draws of random weights, of which the mean is taken")
    n_random: int = Field(
        200, ge=1, le=100_000, description="random orders of every text, for the band of chance"
    )

    part: ClassVar[type[Value]] = ForgottenText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[ForgottenText]:
        """Each text by every method, after every step. The copies are the same whatever the texts."""
        benches = self.benches(lab, items, target)
        mine = [b for b in benches if b is not None]
        found = iter(self._forgotten(lab, mine) if mine else [])
        return [ForgottenText() if b is None else next(found) for b in benches]

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[ForgottenText], target: Target, n_failed: int = 0
    ) -> Cascade:  # fmt: skip
        """Every method after every step, over all texts."""
        mine = [p for p in parts if p.n_units]
        if not mine:
            raise self.nothing(len(items))
        names, steps = self.names, _merged(groups(lab.model), self.n_steps)
        each = np.mean(np.stack([p.kept for p in mine], axis=-1), axis=1)  # [method, depth, text]
        again = np.stack([p.again for p in mine], axis=-1)
        low, high = self._band([p.n_units for p in mine])
        scores = tuple(self._score(n, each[m, -1], again[m], n_failed) for m, n in enumerate(names))
        failures = Counter(w for p in mine for w in p.failures)
        flagged = tuple(_flag(s, high) for s in scores)
        return Cascade(
            title="Do these explanations depend on what the model learned?",
            lede=_lede(names, scores, flagged, high),
            methods=names,
            depths=("nothing", *(name for name, _ in steps)),
            kept=np.array([[_mean(v) for v in row] for row in each]),
            interval=np.array([[self._interval(v) for v in row] for row in each]),
            random=(low, high),
            flagged=flagged,
            trust=Trust(scores=scores, seed=self.seed, notes=(DRAWS, *noted(failures))),
        )

    def _forgotten(self, lab: Lab, benches: list[Bench]) -> list[ForgottenText]:
        """What is left of the explanations of each text, along every cascade."""
        steps = _merged(groups(lab.model), self.n_steps)
        first = [_explained(b) for b in benches]
        kept = np.full((len(benches), len(first[0]), self.n_twins, len(steps) + 1), NAN)
        with lab.working(self.n_twins * len(steps) + 1, "randomising layer after layer") as done:
            again = [_alike(own, _explained(b, seed=1)) for own, b in zip(first, benches)]
            done()
            for i, own in enumerate(first):
                kept[i, :, :, 0] = np.where(np.isnan(_alike(own, own)), NAN, 1.0)[:, None]
            for draw in range(self.n_twins):
                for k, twin in enumerate(cascade(lab.model, steps, derive(self.seed, "twin", draw))):
                    for i, (own, b) in enumerate(zip(first, benches)):
                        kept[i, :, draw, k + 1] = _alike(own, _explained(b, twin))
                    done()
        return [
            ForgottenText(kept=k, again=a, n_units=len(b.asked[0].units), failures=tuple(b.failures.elements()))
            for k, a, b in zip(kept, again, benches)
        ]  # fmt: skip

    def _band(self, n_units: list[int]) -> tuple[float, float]:
        """What 95 % of the means of random orders over the texts lie within."""
        rng = generator(self.seed, "random orders")
        drawn = [rng.random((2, self.n_random, n)) for n in n_units]
        draws = [row_correlation(a, b, "spearman") for a, b in drawn]
        low, high = np.quantile(np.mean(draws, axis=0), [0.025, 0.975])
        return float(low), float(high)

    def _interval(self, values: np.ndarray) -> tuple[float, float]:
        known = values[np.isfinite(values)]
        return (bootstrap_mean(known, self.seed) if len(known) else None) or (NAN, NAN)

    def _score(self, name: str, kept: np.ndarray, again: np.ndarray, failed: int) -> Score:
        """What is lost of the order [text] with every weight random."""
        known = kept[np.isfinite(kept)]
        seeds = again[np.isfinite(again)]
        return Score(
            name=f"{name}: order lost when every weight is random",
            value=_mean(1 - kept),
            chance=0.0,
            control=float(1 - seeds.mean()) if len(seeds) else None,
            control_name="another seed of the method",
            interval=bootstrap_mean(1 - known, self.seed) if len(known) else None,
            n=len(known),
            n_failed=len(kept) - len(known) + failed,
            skipped="" if len(seeds) else "its scores have no order",
        )


def groups(model: Model) -> list[tuple[str, tuple[str, ...]]]:
    """Names of weights by what they belong to, from the output down: the output, each layer, the embeddings.

    What is declared behind the last layer is the output's, what is declared before the first the embeddings'; a weight that two of
    them share (a tied table) is the embeddings'. An encoder-decoder gives its decoder's layers first.
    """
    paths: dict[str, str] = {}
    for stack in model.map.stacks:
        for i, layer in enumerate(model.map.tower(stack).layers):
            paths.setdefault(layer.path, f"{stack} layer {i}".strip())
    found: dict[str, list[str]] = {name: [] for name in ("embeddings", *paths.values(), "output")}
    begun = False
    for name, weight in model.module.named_parameters():
        if not weight.is_floating_point() or weight.device.type == "meta":
            continue
        home = next((paths[p] for p in paths if name.startswith(f"{p}.")), None)
        begun = begun or home is not None
        found[home or ("output" if begun else "embeddings")].append(name)
    return [(name, tuple(found[name])) for name in reversed(found) if found[name]]


def _merged(steps: list[tuple[str, tuple[str, ...]]], most: int) -> list[tuple[str, tuple[str, ...]]]:
    """At most `most` steps: neighbours go together; a step is called by its last."""
    parts = [p for p in np.array_split(np.arange(len(steps)), min(most, len(steps))) if len(p)]
    return [(steps[p[-1]][0], tuple(n for k in p for n in steps[k][1])) for p in parts]


def cascade(model: Model, steps: list[tuple[str, tuple[str, ...]]], seed: int) -> Iterator[Model]:
    """One copy of the model after each step; every step goes on from the one before, in the same copy."""
    need_here(model.module, f"You asked to randomise the weights of {model.name} from the output down.")
    module = copy.deepcopy(model.module)
    weights = dict(module.named_parameters())
    for _, names in steps:
        with torch.no_grad():
            for name in names:
                w = weights[name]
                draw = torch.Generator().manual_seed(derive(seed, "cascade", name))
                order = torch.randperm(w.numel(), generator=draw).to(w.device)
                w.copy_(w.flatten()[order].view_as(w))
        twin = Model(module, model.tokenizer, model.task, name=f"{model.name}, partly randomised")
        twin.token_budget = model.token_budget
        yield twin


def _explained(bench: Bench, model: Model | None = None, seed: int = 0) -> list[np.ndarray | None]:
    """Scores of one text by method."""
    return [bench.explain(m, 0, model, seed) for m in range(len(bench.methods))]


def _alike(first: list[np.ndarray | None], then: list[np.ndarray | None]) -> np.ndarray:
    """Rank correlations [method]; NaN where either is missing or has no order."""
    return np.array([_one(a, b) for a, b in zip(first, then)])


def _one(a: np.ndarray | None, b: np.ndarray | None) -> float:
    if a is None or b is None:
        return NAN
    return float(row_correlation(settled(a)[None], settled(b)[None], "spearman")[0])


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _flag(score: Score, high: float) -> bool:
    """Whether what is kept lies above the band with its whole interval."""
    return bool(1 - (score.interval or (score.value, score.value))[1] > high)


def _lede(names: tuple[str, ...], scores: tuple[Score, ...], flagged: tuple[bool, ...], high: float) -> str:
    known = {n: 1 - s.value for n, s in zip(names, scores) if np.isfinite(s.value)}
    bad = [n for n, f in zip(names, flagged) if f]
    none = [n for n in names if n not in known]
    told = ", ".join(f"{n} {r:.2f}" for n, r in sorted(known.items(), key=lambda p: -p[1]))
    parts = [
        f"With every weight random, explanations correlate with those of the real model by {told}; random orders reach {high:.2f}."
        if known
        else ""
    ]
    if bad:
        parts.append(f"{', '.join(bad)} {'stay' if len(bad) > 1 else 'stays'} more alike than that: what is shown is not what the model learned.")  # fmt: skip
    unsure = [n for n, f in zip(names, flagged) if n in known and known[n] > high and not f]
    if unsure:
        parts.append(
            f"{', '.join(unsure)} {'lie' if len(unsure) > 1 else 'lies'} above that, but not with the whole interval: undecided, take more texts."
        )
    if known and not bad and not unsure:
        parts.append("None stays more alike than that: all depend on what was learned, which does not yet make them right.")  # fmt: skip
    if none:
        parts.append(f"{', '.join(none)} {'give' if len(none) > 1 else 'gives'} no order to compare.")
    return " ".join(p for p in parts if p)
