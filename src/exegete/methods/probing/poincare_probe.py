"""Poincare probe: is the tree of a sentence better seen in hyperbolic space?

1. as the structural probe: sentences read once, dealt, punctuation left out (`tree_table`);
2. at every layer train P and Q so that the squared distance of exp_0(Q P h_i) and exp_0(Q P h_j) in the Poincare ball is the
   distance in the tree: there is exponentially much room towards the rim, as there is in a tree towards its leaves;
3. beside it the Euclidean probe of the same rank, trained in the same way, and the same probe on randomised weights; each has its
   layer chosen on development sentences, and is held against at the layer of the hyperbolic probe where it is better there.

There is no hyperbolic depth probe: the distance of exp_0(v) from the middle is 2 |v|, so that it would be the Euclidean one.

Cost: 2 forwards a sentence, then no pass. Reference: Chen et al. 2021, "Probing BERT in Hyperbolic Spaces".
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.tree_by_layer import TreeByLayer
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.twins import TWIN
from exegete.methods.probing.tree_profile import CHANCE, Profile, score, stacked, trained
from exegete.methods.probing.tree_study import TreeStudy
from exegete.methods.probing.tree_table import examples, layer_name
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.tree_scores import DSPR, UUAS, linear_read

FLAT = "the Euclidean probe of the same rank"


@register
class PoincareProbe(TreeStudy):
    """Trees read off hyperbolic distances between words at every layer, against Euclidean ones."""

    id: ClassVar[str] = "poincare_probe"
    techniques: ClassVar[tuple[str, ...]] = ("E8",)
    usual: ClassVar[int | None] = 300
    reference: ClassVar[Reference] = Reference(
        authors="Chen et al.", year=2021, title="Probing BERT in Hyperbolic Spaces", where="arXiv:2104.03869",
        equation="sec. 3",
    )  # fmt: skip
    n_steps: int = Field(1000, ge=1, le=1_000_000, description="most training steps of a probe")

    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> TreeByLayer:
        """Over parsed sentences."""
        read = self.read(lab, items, tables)
        sites, table, parts, how = read.sites, read.table, read.parts, read.how
        fitted = trained(lab, table, parts, how)
        own = Profile.of(lab, table, parts, fitted, "hyperbolic probes", ("hyperbolic",))
        flat = Profile.of(lab, table, parts, fitted, "Euclidean probes", ("distance",))
        plain = None
        if read.other is not None:
            fitted = trained(lab, read.other, parts, how)
            plain = Profile.of(
                lab, read.other, parts, fitted, "probes of randomised weights", ("hyperbolic",)
            )
        linear = linear_read(table.gold.part(parts[2]), table.gold.part(parts[0]))
        bars = ((flat, FLAT, ", against flat space"), (plain, TWIN, ""))
        scores = tuple(
            score(lab, own.chosen(m), m, linear, None if bar is None else bar.held(m, own.best(m))[0], name, read.reason, table.n_failed, words)
            for m in (UUAS, DSPR) for bar, name, words in bars
        )  # fmt: skip
        at = own.best(UUAS)
        return TreeByLayer(
            title="Is the tree of a sentence better seen in hyperbolic space?",
            lede=_words(
                scores,
                layer_name(sites[at]),
                *(None if p is None else layer_name(sites[p.held(UUAS, at)[1]]) for p in (flat, plain)),
            ),
            layers=tuple(layer_name(s) for s in sites),
            measures=own.measures,
            values=own.values(),
            intervals=own.intervals(lab),
            controls=(FLAT, TWIN),
            rivals=(FLAT,),
            by_control=stacked((flat, plain), own.values().shape),
            chance=np.array([linear.value(m) for m in own.measures]),
            chance_name=CHANCE,
            best=tuple(own.best(m) for m in own.measures),
            seeds=np.array([own.test[at].value(UUAS)]),
            probe="the hyperbolic probe",
            sentences=examples(table, parts[2], own.distances[at], own.test[at].right, own.test[at].total),
            trust=Trust(scores=scores, seed=self.seed, notes=read.notes),
        )


def _words(scores: Sequence[Score], layer: str, flat: str | None, plain: str | None) -> str:
    """`flat` and `plain`: the layers at which the two controls stand."""
    against, own = scores[:2]
    twin = "" if plain is None else f", the same on randomised weights {own.control:.0%} (at {plain})"
    told = (
        f"At {layer}, hyperbolic distances give {own.value:.0%} of the edges of the tree, flat ones of the same rank "
        f"{against.control:.0%} (at {flat}); joining neighbours gives {own.chance:.0%}{twin}."
    )
    if not own.beats_chance or own.beats_control is False:
        return f"{told} That does not beat these controls: the tree is not shown to be there."
    if not against.beats_control:
        return f"{told} Hyperbolic space is not shown to be better."
    return told
