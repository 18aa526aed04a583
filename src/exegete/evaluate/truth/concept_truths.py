"""Truths for studies of concepts.

    concept_direction   the additive planted model adds to a class along one direction of its residual, which is known: the row
                        of its last layer. The direction found between texts of two classes is held against it by its cosine.

Control: shuffled labels (`marked_texts`). Cost: 4 forwards a text and draw. Reference: Zou et al. 2023 (arXiv:2310.01405).
"""

from collections.abc import Sequence
from math import pi, sqrt
from typing import Any

import numpy as np

from exegete.core.material import Marked
from exegete.core.results.concept_direction import ConceptDirections
from exegete.core.results.truth import TruthRow
from exegete.core.trust import Cost
from exegete.evaluate.truth.marked_texts import AGAINST, FOR, marked_row
from exegete.evaluate.truth.planted import planted
from exegete.evaluate.truth.study_truth import StudyTruth
from exegete.methods.concepts.concept_direction import ConceptDirection


def _direction(seed: int) -> tuple[TruthRow, ...]:
    """The cosine of the direction found with the one planted."""
    what = planted("additive")
    module: Any = what.model.module
    head = module.score.weight.detach().numpy()
    gold = head[what.model.labels.index(FOR)] - head[what.model.labels.index(AGAINST)]
    gold = gold / np.linalg.norm(gold)

    def cosine(items: Sequence[Marked], draw: int) -> tuple[float, Cost]:
        study = ConceptDirection(concept=FOR, against=AGAINST, pool="last", n_shuffles=1, seed=draw)
        found = study(what.model, items)
        near = found.direction(layer="layer 0") @ gold if isinstance(found, ConceptDirections) else np.nan
        return abs(float(near)), found.cost

    chance = sqrt(2 / (pi * len(gold)))  # the mean |cosine| of random directions of that width
    name, measure = "planted direction", "|cosine| with the planted direction"
    return (marked_row(ConceptDirection(), name, measure, chance, what, seed, cosine),)


TRUTHS: dict[str, StudyTruth] = {
    "concept_direction": StudyTruth(
        "planted direction", "a classifier that adds to its classes along known directions of its residual", _direction
    ),
}  # fmt: skip
NO_TRUTH: dict[str, str] = {}
