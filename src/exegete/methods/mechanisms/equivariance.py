"""Equivariance: is there a permutation of the units of a layer that matches a transformation of the input?

1. read the units of a layer (neurons, or residual dimensions) at the last ordinary token of every text, and of every text
   transformed: written with a capital first letter, in capitals, or moved to the right by a filler;
2. find the permutation of units with the largest correlation, over one half of the texts, between unit i on the texts and
   unit P(i) on the transformed ones;
3. the statistic is the mean correlation under that permutation on the other half (so that nothing is gained by fitting);
   beside it stands the correlation of every unit with itself (invariance: P = identity);
4. null: the transformed texts of the other half in shuffled order.

Control: the same model with its weights shuffled.

Cost: 4 forwards a text. Reference: Olah et al. 2020, "Naturally Occurring Equivariance in Neural Networks", Distill
(vision); for text, defined here.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.structure import LayerStatistic
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import twin_of
from exegete.methods.mechanisms.permuted import Permuted
from exegete.models.lab import Lab
from exegete.ops.structure import correlations, matching


class Moved(Value):
    """One text and its transformation: the units [2, unit] of every layer, and of the model with shuffled weights (none: `why`)."""

    units: tuple[np.ndarray, ...]
    twin: tuple[np.ndarray, ...]
    why: str = ""


@register
class Equivariance(Divided):
    """Whether a permutation of the units of each layer matches a transformation of the input."""

    id: ClassVar[str] = "equivariance"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H8",)
    verb: ClassVar[str] = "circuit"
    asks: ClassVar[Any] = "texts"
    least: ClassVar[int] = 8
    finds: ClassVar[type] = LayerStatistic
    part: ClassVar[type[Value]] = Moved
    reference: ClassVar[Reference] = Reference(
        authors="Olah et al.", year=2020, title="Naturally Occurring Equivariance in Neural Networks",
        where="doi:10.23915/distill.00024.004",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "weights")
    passes: ClassVar[str] = "4 forwards a text"
    transformation: Literal["position", "case", "capitals", "paraphrase"] = Field(
        "position",
        description="position: a filler in front; case: capital first letter; capitals: all capitals; paraphrase: the "
        "`pair` of every text says the same in other words",
    )
    units: Literal["neurons", "residual"] = Field(
        "residual", description="neurons of the feed-forward part, or the residual"
    )
    n_units: int = Field(128, ge=4, le=2048, description="units taken, drawn at random where there are more")
    filler: str = Field("well, ", min_length=1, description="text in front, for `position`")
    n_permutations: int = Field(100, ge=20, le=10_000, description="draws of the null")
    seed: int = Field(0, description="seed of the draws of units, halves, permutations and weights")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Moved]:
        """The units on every text and on its transformation, in the model and in the one with shuffled weights."""
        pairs = [self._transformed(lab, item) for item in items]
        twin, why = twin_of(lab, self.seed)
        return [
            Moved(units=self._activations(lab, p), twin=self._activations(twin, p) if twin else (), why=why)
            for p in pairs
        ]

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Moved], target: Target, n_failed: int = 0
    ) -> LayerStatistic:
        """Over texts."""
        half, why = lab.rng("halves").permutation(len(parts)) % 2 == 0, parts[0].why
        here = self._matched(lab, [p.units for p in parts], half)
        control = (
            np.full(len(here[0]), np.nan) if why else self._matched(lab, [p.twin for p in parts], half)[0]
        )
        found = Permuted(here[0], here[1], control)
        score = found.score("correlation of matched units, held out", "the model with shuffled weights", why)
        word = "follow" if score.beats_chance else "do not follow"
        alike = score.beats_chance and score.beats_control is False
        than = ", but no more than in the model with shuffled weights" if alike else ""
        moved = 1 - here[3].mean()
        finding = LayerStatistic(
            title=f"Do the units follow the transformation ({self.transformation})?",
            lede=f"Units {word} it beyond chance (correlation {score.value:.2f}, shuffled texts {score.chance:.2f}){than}; "
            f"{moved:.0%} of them are matched with another unit than themselves.",
            statistic="correlation of matched units",
            layers=tuple(f"layer {i}" for i in range(len(here[0]))),
            control_name="shuffled weights",
            detail=np.stack([here[2], here[3]], -1),
            details=tuple(f"layer {i}" for i in range(len(here[0]))),
            columns=("correlation with itself (invariance)", "share matched with itself"),
            detail_title="Invariance beside equivariance",
            trust=Trust(scores=(score,)),
            value=found.value,
            null_low=found.low,
            null_mean=found.null.mean(1),
            null_high=found.high,
            control=found.control,
        )
        return with_failed(finding, n_failed)

    def _transformed(self, lab: Lab, item: Text) -> tuple[Text, Text]:
        text = lab.read([item.model_copy(update={"pair": None})]).encoded[0].text
        if self.transformation == "paraphrase":
            if item.pair is None:
                raise InputError(
                    "You asked whether units follow paraphrases.",
                    "A text has no paraphrase beside it.",
                    "Give Text(text=..., pair='the same in other words').",
                )
            return Text(text=text), Text(text=item.pair)
        change = {
            "case": text[:1].upper() + text[1:],
            "capitals": text.upper(),
            "position": self.filler + text,
        }
        other = change[self.transformation]
        if self._ids(lab, text) == self._ids(lab, other):
            raise InputError(
                f"You asked whether units follow the transformation {self.transformation!r}.",
                f"The tokenizer of {lab.model.name} reads {text[:40]!r} and {other[:40]!r} alike.",
                "Choose another one: transformation='position'.",
            )
        return Text(text=text), Text(text=other)

    @staticmethod
    def _ids(lab: Lab, text: str) -> tuple[int, ...]:
        return tuple(t.id for t in lab.read([text]).encoded[0].tokens)

    def _matched(
        self, lab: Lab, units: Sequence[tuple[np.ndarray, ...]], half: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """For each layer: held-out correlation, its null [layer, draw], correlation with itself, share matched with itself."""
        value, null, own, same = [], [], [], []
        for layer, each in enumerate(zip(*units)):
            a, b = np.stack(each, 1)
            permutation, _ = matching(a[half], b[half])
            other, moved = a[~half], b[~half][:, permutation]
            value.append(_mean_correlation(other, moved))
            draw = lab.rng("order", layer)
            null.append(
                [
                    _mean_correlation(other, moved[draw.permutation(len(moved))])
                    for _ in range(self.n_permutations)
                ]
            )
            own.append(float(np.diag(correlations(other, b[~half])).mean()))
            same.append(float((permutation == np.arange(len(permutation))).mean()))
        return np.array(value), np.array(null), np.array(own), np.array(same)

    def _activations(self, lab: Lab, texts: tuple[Text, Text]) -> tuple[np.ndarray, ...]:
        """Units at the last ordinary token of both texts, one array [2, unit] a layer."""
        bound = lab.model.map
        kind = "mlp_act" if self.units == "neurons" else "resid_post"
        sites = [
            Site(kind, layer=i, stack=bound.stacks[0])
            for i in range(len(bound.tower(bound.stacks[0]).layers))
        ]
        rows: list[list[np.ndarray]] = [[] for _ in sites]
        for text in texts:
            reading = lab.read([text])
            seen = lab.run(lab.passed(reading), read=sites)
            last = max(i for i, t in enumerate(reading.encoded[0].tokens) if not t.special)
            for k, site in enumerate(sites):
                rows[k].append(seen[site][0, last].double().cpu().numpy())
        every = [np.stack(r) for r in rows]
        return tuple(e[:, self._chosen(lab, e.shape[1])] for e in every)

    def _chosen(self, lab: Lab, width: int) -> np.ndarray:
        if width <= self.n_units:
            return np.arange(width)
        return np.sort(lab.rng("units", width).choice(width, self.n_units, replace=False))


def _mean_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over units of the correlation of x [N, U] and y [N, U], unit by unit."""
    return float(np.diag(correlations(x, y)).mean())
