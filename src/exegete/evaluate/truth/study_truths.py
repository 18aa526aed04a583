"""Truths for studies: what is planted for methods of other families, and how their findings are held against it.

    concept_direction   the additive planted model adds to a class along one direction of its residual, which is known: the row
                        of its last layer. The direction found between texts of two classes is held against it by its cosine;
    layer_probe         the same model knows the class of a text and cannot know labels that were dealt at random.

Control: the same study on the same texts with their labels shuffled. Interval: over `DRAWS` draws of texts.
Cost: 4 forwards a text and draw. References: Zou et al. 2023 (arXiv:2310.01405); Hewitt & Liang 2019 (control tasks).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi, sqrt
from random import Random
from typing import Any

import numpy as np

from exegete.core.material import Mark, Marked
from exegete.core.method import Method
from exegete.core.results.concept_direction import ConceptDirections
from exegete.core.results.layer_profile import LayerProfile
from exegete.core.results.truth import TruthRow
from exegete.core.trust import Cost, Score
from exegete.evaluate.truth.planted import Planted, planted
from exegete.methods.concepts.concept_direction import ConceptDirection
from exegete.methods.probing.layer_probe import LayerProbe
from exegete.ops.stats import bootstrap_mean

DRAWS = 3
TEXTS = 80
FOR, AGAINST = "praise", "blame"
SHUFFLED = "the same with shuffled labels"


@dataclass(frozen=True)
class StudyTruth:
    """Something planted for a study: `ask` takes a seed and gives its rows."""

    name: str
    says: str
    ask: Callable[[int], tuple[TruthRow, ...]]


def marked(what: Planted, seed: int, shuffled: bool) -> list[Marked]:
    """Texts of two classes, each marked with its class, or with the classes dealt out anew."""
    random = Random(f"marked-{seed}")
    labels = [(FOR, AGAINST)[i % 2] for i in range(TEXTS)]
    texts = [what.draw(random, label).text for label in labels]
    if shuffled:
        random.shuffle(labels)
    return [Marked(text=t, marks=(Mark(label=label),)) for t, label in zip(texts, labels)]


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
    return (
        _row(
            ConceptDirection(),
            "planted direction",
            "|cosine| with the planted direction",
            chance,
            what,
            seed,
            cosine,
        ),
    )


def _probe(seed: int) -> tuple[TruthRow, ...]:
    """Held-out accuracy of the class of a text after the only layer."""
    what = planted("additive")

    def accuracy(items: Sequence[Marked], draw: int) -> tuple[float, Cost]:
        found = LayerProbe(n_seeds=1, min_count=2, pool="last", label="class", seed=draw)(what.model, items)
        last = float(found.score[-1]) if isinstance(found, LayerProfile) else float("nan")
        return last, found.cost

    return (_row(LayerProbe(), "planted property", "accuracy on held-out texts", 0.5, what, seed, accuracy),)


def _row(
    method: Method,
    truth: str,
    measure: str,
    chance: float,
    what: Planted,
    seed: int,
    ask: Callable[[Sequence[Marked], int], tuple[float, Cost]],
) -> TruthRow:
    """One row: over draws of texts, with true and with shuffled labels."""
    draws = [1000 * seed + i for i in range(DRAWS)]
    own = [ask(marked(what, d, False), d) for d in draws]
    other = [ask(marked(what, d, True), d)[0] for d in draws]
    values = np.array([v for v, _ in own])
    spent = sum((c for _, c in own), Cost())
    score = Score(
        name=measure, value=float(values.mean()), chance=chance, control=float(np.mean(other)), control_name=SHUFFLED,
        interval=bootstrap_mean(values, seed), n=DRAWS,
    )  # fmt: skip
    passes = (spent.forwards + spent.backwards) / (DRAWS * TEXTS) or float(
        "nan"
    )  # kept readings cost nothing
    return TruthRow(method=method.id, family=method.family, truth=truth, score=score, passes=passes)


STUDY_TRUTHS: dict[str, StudyTruth] = {
    "concept_direction": StudyTruth(
        "planted direction", "a classifier that adds to its classes along known directions of its residual", _direction
    ),
    "layer_probe": StudyTruth(
        "planted property", "a classifier that knows the class of a text, and cannot know shuffled labels", _probe
    ),
}  # fmt: skip
