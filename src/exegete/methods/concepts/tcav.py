"""TCAV on text: does the model's answer depend on a concept, and does it more than on random sets of texts?

1. read texts of the concepts, and random texts, at every layer: mean over the tokens of a text;
2. deal them into sets that share no text: K units of a concept set against a random set, R units of random against random;
3. in every unit the concept vector is the normal that separates the two sides;
4. one gradient a text to explain gives, at every layer, the derivative of the target along any vector; TCAV is the share of texts
   on which it is positive; the effect is the derivative times the way from the random side to the concept side;
5. two-sided tests of the K shares, and of the K effects, against the R random ones, corrected over all layers, concepts and both
   kinds together (`ops.set_test`);
6. a vector that does not tell the concept from random texts of other units is refused.

Chance: one half. Control: the strongest layer of as many random-against-random units. Why sets share no text: many random sets
against one concept set give scores that move together, and the usual t-test over them finds a random concept "significant" more
often than not.

Cost: one forward a labelled text, one forward and one backward a text to explain; all layers, concepts and sets come from these.
Shapes: residuals [row, d] a layer. Reference: Kim et al. 2018, "Interpretability Beyond Feature Attribution: Quantitative
Testing with Concept Activation Vectors", eq. 1-2 and sec. 3.4.
"""

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.material import Marked, Parsed
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.concepts import ConceptBoard
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Trust
from exegete.methods.concepts.concept_sets import EXPLAIN, Dealt, Sorted, deal, sort_texts
from exegete.methods.concepts.slopes import explained, token_gradients
from exegete.methods.concepts.tcav_cells import Cells, How, all_cells, judged
from exegete.methods.concepts.tcav_verdict import lede, scores
from exegete.methods.contracts.corpus import corpus
from exegete.methods.contracts.harvested import Harvested
from exegete.models.encode import encode
from exegete.models.harvest import layer_sites
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.concept_vectors import Fit
from exegete.terrarium import material


@register
class Tcav(Harvested):
    """On which share of texts a concept's direction raises the target, layer by layer, against random sets of texts."""

    id: ClassVar[str] = "tcav"
    family: ClassVar[str] = "concepts"
    techniques: ClassVar[tuple[str, ...]] = ("G1", "G2", "G3", "G4")
    verb: ClassVar[str] = "concept"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "concept"
    usual: ClassVar[int | None] = 2000
    finds: ClassVar[type] = ConceptBoard
    home: ClassVar[str] = "terrarium/sentiment"
    tasks: ClassVar[tuple[str, ...]] = ("causal", "sequence")
    twinned: ClassVar[bool] = False
    reference: ClassVar[Reference] = Reference(
        authors="Kim et al.", year=2018, where="ICML 2018, arXiv:1711.11279", equation="eq. 1-2",
        title="Interpretability Beyond Feature Attribution: Quantitative Testing with Concept Activation Vectors",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients", "sites")
    passes: ClassVar[str] = "1 a labelled text; 1 forward and 1 backward a text to explain"
    explain: str = Field(
        "",
        description='file of the texts to explain, one a line; empty: texts labelled "explain", else the terrarium\'s',
    )
    n_texts: int = Field(60, ge=2, le=10_000, description="most texts to explain")
    of_class: bool = Field(
        True,
        description="explain only texts that a classifier gives to the target's class, where there are any",
    )
    n_sets: int = Field(10, ge=2, le=1000, description="separate sets a concept is dealt into")
    fit: Fit = Field("ridge", description="how a vector is made: difference, ridge or logistic")
    strength: float = Field(
        1.0, gt=0, description="penalty of ridge and logistic, in squared lengths of a row"
    )
    pool: Literal["mean", "last", "first"] = Field("mean", description="which tokens stand for a text")
    alpha: float = Field(0.05, gt=0, lt=1, description="level of the test over all layers and concepts")
    least_accuracy: float = Field(
        0.6, ge=0, le=1, description="vectors with a lower accuracy on other texts are refused"
    )
    n_permutations: int = Field(9999, ge=10, le=1_000_000, description="draws of the exact test")
    seed: int = Field(0, description="seed of the sets and of the exact test")

    def where(self, lab: Lab) -> tuple[Site, ...]:
        """Every layer, and what enters the first."""
        return layer_sites(lab.model)

    def marked(self, item: Any) -> Marked | None:
        """Texts of concepts and random ones; the gradients of those to explain are read when all are there."""
        return None if isinstance(item, Parsed) or str(item.labels[0]) == EXPLAIN else item

    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> ConceptBoard:
        """The board of all concepts and layers."""
        kept = tuple(i for i in items if _fits(lab, i.text))
        lost = len(items) - len(kept)
        texts = sort_texts(kept)
        dealt = deal(texts, self.n_sets, lab.rng("sets"))
        asked = self._explained(lab, texts)
        goal, name, asked = explained(lab, asked, target, self.of_class)
        sites = self.where(lab)
        gradients, _ = token_gradients(lab, asked, goal, sites)
        table = tables.own(texts.items, sites, self.pool)
        made = How(self.fit, self.strength)
        cells = all_cells(dealt, [(table.values[s], gradients[s]) for s in sites], made)
        judged(cells, self.alpha, self.least_accuracy, lab.rng("exact test"), self.n_permutations)
        return self._board(lab, texts, dealt, cells, sites, name, asked, (lost, table.notes))

    def _explained(self, lab: Lab, texts: Sorted) -> tuple[str, ...]:
        if self.explain:
            return tuple(corpus(self.explain, self.n_texts, self.seed))
        if texts.explain:
            return texts.explain[: self.n_texts]
        return tuple(str(t.text) for t in material.texts(lab.model.task, self.n_texts, self.seed))

    def _board(
        self, lab: Lab, texts: Sorted, dealt: Dealt, cells: Cells, sites: tuple[Site, ...], target: str, asked: tuple[str, ...],
        failed: tuple[int, tuple[str, ...]],
    ) -> ConceptBoard:  # fmt: skip
        names = tuple(dealt.concepts)
        layers = tuple("embeddings" if s.kind == "resid_pre" else f"layer {s.layer}" for s in sites)
        if cells.refused.all():
            raise InputError(
                f"You asked about the concepts {', '.join(map(repr, names))}.",
                f"At no layer do their vectors tell them from random texts (best accuracy {cells.accuracy.mean(2).max():.2f}; "
                f"{self.least_accuracy:g} is needed).",
                "Give more texts of each concept, or texts in which it is clearer.",
            )
        note = (
            f"{len(texts.pool)} different random texts, dealt into {self.n_sets} sets against each concept and "
            f"{cells.random.shape[1]} random pairs, {dealt.size} texts a side; no text is in two sets of a test."
        )
        lost, notes = failed
        if lost:
            notes += (f"{lost} texts are too long for the model, or have no token: they are in no set.",)
        told = scores(cells, names, layers, self.alpha, lab.rng("control"), self.seed)
        return ConceptBoard(
            title=f"Does {target} depend on these concepts?",
            lede=lede(cells, names, layers, target, self.alpha),
            concepts=names, layers=layers, target=target, n_texts=len(asked), set_size=dealt.size, alpha=self.alpha,
            share=cells.share.mean(2), share_random=cells.random.mean(1), effect=cells.effect.mean(2),
            effect_random=np.abs(cells.random_effect).mean(1), p=cells.p, p_corrected=cells.p_corrected, p_effect=cells.p_effect,
            p_effect_corrected=cells.p_effect_corrected,
            accuracy=cells.accuracy.mean(2), accuracy_random=cells.random_accuracy, stability=cells.stability,
            stability_random=cells.random_stability, refused=cells.refused, units=cells.share, units_random=cells.random,
            vectors=cells.vectors,
            trust=Trust(scores=tuple(s.model_copy(update={"n_failed": lost}) for s in told), seed=self.seed, notes=(note, *notes)),
        )  # fmt: skip


def _fits(lab: Lab, text: str) -> bool:
    """Whether the model can read the text, whole or cut as it was allowed to."""
    try:
        return bool(encode(lab.model, Text.of(text)).tokens)
    except InputError:
        return False  # counted as failed
