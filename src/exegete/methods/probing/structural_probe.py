"""Structural probe: is the sentence's tree in the geometry of the words?

1. read every sentence once; a word is the mean of its tokens (`tree_table`);
2. at every layer train B so that |B(h_i - h_j)|^2 is the distance in the tree, and another so that |B h_i|^2 is the depth
   (`ops.tree_probe`), on training sentences, stopped on development sentences;
3. the layer of each measure is chosen on development sentences; test sentences are judged: UUAS and DSpr of the distance probe,
   root accuracy and NSpr of the depth probe;
4. the same, layer choice included, on the model with randomised weights, and with random projections that nothing was trained
   of (or at the layer of the probe, if they are better there); the embeddings (words without their sentence) are the first layer;
5. the distance probe of the best layer is trained anew from other random starts.

Chance knows the order of the words alone: the chain of neighbours, distance in words, the most usual place of a root.

Cost: 2 forwards a sentence, then no pass. Reference: Hewitt & Manning 2019.
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
from exegete.methods.probing.tree_profile import CHANCE, Profile, score, stacked, trained, untrained
from exegete.methods.probing.tree_study import TreeStudy
from exegete.methods.probing.tree_table import WORDS_ONLY, Parts, TreeTable, examples, layer_name
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.tree_probe import Training
from exegete.ops.tree_scores import MEASURES, UUAS, TreeRead, linear_read, read_trees

RANDOM = "random projections, untrained"
WORDS = "the embeddings of the words alone"


@register
class StructuralProbe(TreeStudy):
    """Trees read off the distances between words at every layer: UUAS, DSpr, roots and depths."""

    id: ClassVar[str] = "structural_probe"
    techniques: ClassVar[tuple[str, ...]] = ("E7",)
    reference: ClassVar[Reference] = Reference(
        authors="Hewitt and Manning", year=2019, title="A Structural Probe for Finding Syntax in Word Representations",
        where="NAACL-HLT", equation="eq. 1-3, sec. 4",
    )  # fmt: skip
    n_seeds: int = Field(
        3, ge=1, le=100, description="random starts that the best layer's probe is trained from"
    )

    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> TreeByLayer:
        """Over parsed sentences."""
        read = self.read(lab, items, tables)
        sites, table, parts, how = read.sites, read.table, read.parts, read.how
        own = Profile.of(lab, table, parts, trained(lab, table, parts, how), "training probes")
        random = Profile.of(lab, table, parts, untrained(lab, parts, how), "random projections")
        plain = None
        if read.other is not None:
            fitted = trained(lab, read.other, parts, how)
            plain = Profile.of(lab, read.other, parts, fitted, "training probes of randomised weights")
        linear = linear_read(table.gold.part(parts[2]), table.gold.part(parts[0]))
        scores = _scores(lab, own, plain, random, linear, read.reason, table.n_failed)
        at = own.best(UUAS)
        seeds = self._seeds(lab, table, parts, how, own)
        return TreeByLayer(
            title="Is the tree of a sentence in the geometry of its words?",
            lede=_words(scores, layer_name(sites[at]), "" if plain is None else layer_name(sites[plain.held(UUAS, at)[1]])),
            layers=tuple(layer_name(s) for s in sites),
            measures=MEASURES,
            values=own.values(),
            intervals=own.intervals(lab),
            controls=(TWIN, RANDOM),
            by_control=stacked((plain, random), own.values().shape),
            chance=np.array([linear.value(m) for m in MEASURES]),
            chance_name=CHANCE,
            best=tuple(own.best(m) for m in MEASURES),
            seeds=np.array(seeds),
            probe="the probe",
            sentences=examples(table, parts[2], own.distances[at], own.test[at].right, own.test[at].total),
            trust=Trust(scores=scores, seed=self.seed, notes=(*read.notes, _told_seeds(seeds))),
        )  # fmt: skip

    def _seeds(self, lab: Lab, table: TreeTable, parts: Parts, how: Training, own: Profile) -> list[float]:
        """UUAS of the best layer from every random start, the first included."""
        at, test = own.best(UUAS), table.gold.part(parts[2])
        x = list(table.values.values())[at]
        found = [own.test[at].value(UUAS)]
        for start in range(1, self.n_seeds):
            probe = trained(lab, table, parts, how, start)(x, "distance", at)
            read = read_trees(probe.predict([x[i] for i in parts[2]]), test.depths, test)
            found.append(read.value(UUAS))
        return found


def _scores(
    lab: Lab, own: Profile, plain: Profile | None, random: Profile, linear: TreeRead, reason: str, failed: int
) -> tuple[Score, ...]:  # fmt: skip
    """Every measure against the untrained model; UUAS also against words alone and against random projections."""
    first, *rest = [
        score(lab, own.chosen(m), m, linear, None if plain is None else plain.held(m, own.best(m))[0], TWIN, reason, failed)
        for m in MEASURES
    ]  # fmt: skip
    bars = ((own.test[0].value(UUAS), WORDS, " beyond words"), (random.held(UUAS, own.best(UUAS))[0], RANDOM, " beyond random projections"))  # fmt: skip
    more = [score(lab, own.chosen(UUAS), UUAS, linear, bar, name, failed=failed, words=said) for bar, name, said in bars]  # fmt: skip
    return (first, *more, *rest)


def _told_seeds(seeds: Sequence[float]) -> str:
    if len(seeds) < 2:
        return "The probe of the best layer was trained from one random start."
    return f"Trained from {len(seeds)} random starts, the best layer's UUAS is {min(seeds):.1%} to {max(seeds):.1%}."


def _words(scores: Sequence[Score], layer: str, plain: str) -> str:
    """`layer` of the probe, and of the one on randomised weights."""
    first, words = scores[:2]
    twin = (
        ""
        if first.control is None
        else f", the same probe on randomised weights {first.control:.0%} (at {plain})"
    )
    told = (
        f"At {layer}, distances between words give {first.value:.0%} of the edges of the tree; joining neighbours gives "
        f"{first.chance:.0%}{twin}."
    )
    alone = layer == WORDS_ONLY
    told += "" if alone else f" Words alone, without their sentence, give {words.control:.0%}."
    if not first.beats_chance or first.beats_control is False:
        return f"{told} It does not beat these controls: the tree is not shown to be there."
    if alone:
        return f"{told} That is the words alone, without their sentence: no layer is better."
    return told if words.beats_control else f"{told} The layers do not add to that."
