"""Branch specialisation: do the units of a layer sort themselves by head?

Vision models with grouped branches put features of one kind into one branch. The question for a transformer, where the
heads are the branches:

1. read z, the output of every head before it is mixed, over texts; a unit is one entry of it;
2. describe every token by what can be seen without the model: where it stands, how long and how frequent it is, whether it
   is punctuation, a repetition, the first of a word ...;
3. the type of a unit is the description that it correlates with most strongly;
4. the statistic of a layer is the mutual information between the head and the type of its units, in nats;
5. null: the units of the layer dealt to the heads at random.

Control: the same model with its weights shuffled, whose heads also differ by accident of their projections.

Cost: 2 forwards a text (model and control). Reference: Voss et al. 2021, "Branch Specialization", Distill (vision); the
statistic for text is defined here, since the paper compares by eye.
"""

from collections import Counter
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.structure import LayerStatistic
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import twin_of
from exegete.methods.mechanisms.permuted import Permuted
from exegete.models.lab import Lab, Reading
from exegete.ops.structure import correlations, mutual_information

DESCRIPTIONS = (
    "position", "length", "frequency", "punctuation", "repeated", "same as before", "starts a word", "last token",
)  # fmt: skip


@register
class BranchSpecialisation(Study):
    """Whether the units of each layer sort themselves by head, by the kind of token they respond to."""

    id: ClassVar[str] = "branch_specialisation"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H6",)
    verb: ClassVar[str] = "heads"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = LayerStatistic
    reference: ClassVar[Reference] = Reference(
        authors="Voss et al.",
        year=2021,
        title="Branch Specialization",
        where="doi:10.23915/distill.00024.008",
    )
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "weights")
    passes: ClassVar[str] = "2 forwards a text"
    n_permutations: int = Field(200, ge=20, le=10_000, description="draws of the null")
    seed: int = Field(0, description="seed of the permutations and of the shuffled weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> LayerStatistic:
        """Over texts."""
        types, shares = _types(lab, items)
        n_heads = lab.model.map.n_heads
        twin, why = twin_of(lab, self.seed)
        blind = [_statistic(t, n_heads) for t in _types(twin, items)[0]] if twin else [np.nan] * len(types)
        found = Permuted(
            value=np.array([_statistic(t, n_heads) for t in types]),
            null=np.array([self._null(lab, k, t, n_heads) for k, t in enumerate(types)]),
            control=np.array(blind),
        )
        score = found.score(
            "information between head and kind of unit", "the model with shuffled weights", why
        )
        word = "sort themselves by head" if score.beats_chance else "are not sorted by head beyond chance"
        than = ", but no more than in the model with shuffled weights" if score.beats_control is False else ""
        return LayerStatistic(
            title="Are the heads specialised?",
            lede=f"Units that respond to the same kind of token {word}{than}.",
            statistic="information between head and kind (nats)",
            layers=tuple(f"layer {i}" for i in range(len(types))),
            control_name="shuffled weights",
            detail=shares,
            details=tuple(f"{k}.h{h}" for k in range(len(types)) for h in range(n_heads)),
            columns=DESCRIPTIONS,
            detail_title="Share of each head's units by the description they follow",
            trust=Trust(scores=(score,)),
            value=found.value,
            null_low=found.low,
            null_mean=found.null.mean(1),
            null_high=found.high,
            control=found.control,
        )

    def _null(self, lab: Lab, layer: int, types: np.ndarray, n_heads: int) -> np.ndarray:
        draw = lab.rng("deal", layer)
        return np.array([_statistic(draw.permutation(types), n_heads) for _ in range(self.n_permutations)])


def _statistic(types: np.ndarray, n_heads: int) -> float:
    return mutual_information(np.repeat(np.arange(n_heads), len(types) // n_heads), types)


def _types(lab: Lab, items: tuple[Any, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    """The type of every unit of every layer [head * dh], and the share of each type a head [layer * head, type]."""
    stack = lab.model.map.stacks[0]
    sites = list(lab.model.map.sites("z", stack))
    rows: list[list[np.ndarray]] = [[] for _ in sites]
    described = []
    counts = Counter(t.id for item in items for t in lab.read([item]).encoded[0].tokens)
    for item in items:
        reading = lab.read([item])
        z = lab.run(lab.passed(reading), read=sites)
        real = [i for i, t in enumerate(reading.encoded[0].tokens) if not t.special]
        described.append(describe(reading, counts)[real])
        for k, site in enumerate(sites):
            rows[k].append(_units(z, site, real))
    about = np.concatenate(described)
    types = [np.abs(correlations(np.concatenate(r), about)).argmax(1) for r in rows]
    n_heads = lab.model.map.n_heads
    shares = [np.eye(len(DESCRIPTIONS))[t].reshape(n_heads, -1, len(DESCRIPTIONS)).mean(1) for t in types]
    return types, np.concatenate(shares)


def _units(z: Any, site: Site, real: list[int]) -> np.ndarray:
    """z of real tokens as [token, head * dh]."""
    x = z[site][0].transpose(0, 1).flatten(1)
    return x[real].double().cpu().numpy()


def describe(reading: Reading, counts: Counter[int]) -> np.ndarray:
    """What can be seen of each token of one text without the model [token, len(DESCRIPTIONS)]."""
    tokens = reading.encoded[0].tokens
    rows, before = [], []
    for i, t in enumerate(tokens):
        word = t.text.strip("▁Ġ ")
        rows.append(
            (
                i / max(len(tokens) - 1, 1),
                len(word),
                np.log(counts[t.id] + 1),
                word != "" and not any(c.isalnum() for c in word),
                t.id in before,
                bool(before) and before[-1] == t.id,
                i == 0 or tokens[i - 1].end < t.start or t.text[:1] in "▁Ġ ",
                i == len(tokens) - 1,
            )
        )
        before.append(t.id)
    return np.array(rows, dtype=np.float64)
