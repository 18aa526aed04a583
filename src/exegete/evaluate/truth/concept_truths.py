"""Truths for studies of concepts, all of the additive planted model (or of the same with an empty layer before it, `late`).

    concept_direction   it adds to a class along one direction of its residual, which is known: the row of its last layer. The
                        direction found between texts of two classes is held against it by its cosine
    tcav                words of praise are added to the class that is explained; words of places out of doors are in the residual, and
                        are read by nothing: does the class depend on the one, and not on the other?
    concept_erasure     the same two: do the answers draw near to each other when the one is erased, and not when the other is?
    concept_steering    the same two: is the class raised along the direction of the one, and not along that of the other?

Controls: shuffled labels (`marked_texts`), concepts of texts dealt at random, random directions. Cost: that of the studies, twice a draw.
References: Zou et al. 2023 (arXiv:2310.01405); Kim et al. 2018; Belrose et al. 2023; Turner et al. 2023.
"""

from collections.abc import Sequence
from functools import cache
from math import pi, sqrt
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from exegete.core.material import Marked
from exegete.core.results.concept_direction import ConceptDirections
from exegete.core.results.truth import TruthRow
from exegete.core.target import Target
from exegete.core.trust import Cost
from exegete.evaluate.truth.marked_texts import AGAINST, FOR, marked_row
from exegete.evaluate.truth.planted import planted
from exegete.evaluate.truth.planted_words import FILLERS, LABELS, SAYS, additive_weights
from exegete.evaluate.truth.rulebook import LENGTH as RULE_LENGTH
from exegete.evaluate.truth.rulebook import Rulebook
from exegete.evaluate.truth.study_truth import Draw, StudyTruth, truth_row
from exegete.methods.concepts.concept_direction import ConceptDirection
from exegete.methods.concepts.concept_erasure import ConceptErasureStudy
from exegete.methods.concepts.concept_steering import ConceptSteeringStudy
from exegete.methods.concepts.tcav import Tcav
from exegete.models.model import Model

USED, UNUSED, NEITHER = FOR, "outdoors", "indoors"
WORDS = {
    USED: SAYS[FOR],
    AGAINST: SAYS[AGAINST],
    UNUSED: ("street", "bridge", "garden", "corner"),
    NEITHER: ("room", "table", "window", "paper"),
}
PLAIN = tuple(w for w in FILLERS if w not in (*WORDS[UNUSED], *WORDS[NEITHER]))
LENGTH, N_DRAWS = 6, 8
SIZE = 0.1  # logits: what an effect must be to count as one
NAME = "used and unused concepts"
CONCEPTS = "a classifier that adds words of praise to a class, and holds words of places that nothing reads"


@cache
def late() -> Model:
    """The additive classifier with an empty layer before the one that adds, so that what is held there is yet to be used."""
    weights = additive_weights()
    b = Rulebook((*FILLERS, *weights), n_positions=RULE_LENGTH + 6, spaces={}, labels=LABELS, layers=2)
    b.counts_for(1, 0, weights)
    return b.build("late additive")


def _text(random: Random, concept: str) -> str:
    """Words that weigh nothing, two of them of the concept (none for "")."""
    own = random.sample(WORDS[concept], 2) if concept else []
    words = [*own, *random.sample(PLAIN, LENGTH - len(own))]
    random.shuffle(words)
    return " ".join(words)


def concept_texts(concepts: Sequence[str], n: int, seed: int) -> list[Marked]:
    """`n` different texts of each concept; "" is called random."""
    random, found = Random(f"concepts-{seed}"), {}
    for concept in concepts:
        start = len(found)
        while len(found) < start + n:
            found.setdefault(_text(random, concept), concept or "random")
    return [Marked.of(text, label) for text, label in found.items()]


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


def _tcav(seed: int) -> tuple[TruthRow, ...]:
    """Whether the class is said to depend on what it is made of, and not on what nothing reads.

    By significance alone, and with the size of the effect: where a model is linear, the least leak of a weight has one sign on
    every text, which no random set has, and so is significant.
    """
    draws: tuple[list[Draw], ...] = ([], [])
    for draw in (1000 * seed + i for i in range(N_DRAWS)):
        items = concept_texts((USED, UNUSED, "", "", "", ""), 24, draw)
        random = Random(f"explained-{draw}")
        explain = [Marked.of(_text(random, USED), "explain") for _ in range(12)]
        labels = [m.labels[0] for m in items]
        random.shuffle(labels)
        dealt = [Marked.of(m.text, label) for m, label in zip(items, labels)]
        study = Tcav(n_sets=6, least_accuracy=0.0, seed=draw)
        found: Any = study(late(), [*items, *explain], Target(label=USED, scale="logit"))
        blind: Any = study(late(), [*dealt, *explain], Target(label=USED, scale="logit"))
        n = len(items) + len(explain)
        for kept, size in zip(draws, (0.0, SIZE)):
            parts = _depends(found, size)
            kept.append(
                Draw(
                    _mean(parts), _mean(_depends(blind, size)), found.cost, n, parts=parts, trials=len(parts)
                )
            )
    control = "the same with concepts dealt at random"
    measures = (
        "concepts told to be used or unused, by significance",
        "concepts told to be used or unused, by significance and size",
    )
    return tuple(truth_row(Tcav(), NAME, m, d, 0.5, control) for m, d in zip(measures, draws))


def _depends(found: Any, size: float) -> tuple[tuple[str, float], ...]:
    """Of each concept whether the board is right about it; what is used must raise the class, by more than `size`."""
    told = found.significant & (found.effect > size)
    rows = {c: bool(told[i].any()) for i, c in enumerate(found.concepts)}
    return (USED, float(rows[USED])), (UNUSED, float(not rows[UNUSED]))


def _erasure(seed: int) -> tuple[TruthRow, ...]:
    """Whether the answers to two kinds of text draw near to each other when what tells them apart is erased, where it is used."""
    draws = []
    for draw in (1000 * seed + i for i in range(N_DRAWS)):
        parts, blind, cost = [], [], Cost()
        for concept, against in ((USED, AGAINST), (UNUSED, NEITHER)):
            items = concept_texts((concept, against), 40, draw)
            study = ConceptErasureStudy(
                concept=concept, against=against, layer=0, n_random=2, n_texts=4, seed=draw
            )
            found: Any = study(late(), items)
            used = concept == USED
            parts.append((concept, float(_fell(found.gap[0], found.gap[1]) == used)))
            blind.append(float(_fell(found.gap[0], found.gap[2]) == used))
            cost += found.cost
        draws.append(
            Draw(_mean(parts), float(np.mean(blind)), cost, 160, parts=tuple(parts), trials=len(parts))
        )
    measure, control = "concepts told to be used or unused", "the same when random labels are erased"
    return (truth_row(ConceptErasureStudy(), NAME, measure, draws, 0.5, control),)


def _fell(before: float, after: float) -> bool:
    """Whether there was a gap, and nine tenths of it are gone."""
    return bool(before > 0.1 and after < before / 10)


def _steering(seed: int) -> tuple[TruthRow, ...]:
    """Whether the class rises along a concept's direction, where it is used, and not where it is not."""
    draws = []
    for draw in (1000 * seed + i for i in range(N_DRAWS)):
        parts, blind, cost = [], [], Cost()
        for concept, against in ((USED, AGAINST), (UNUSED, NEITHER)):
            items = concept_texts((concept, against), 40, draw)
            with TemporaryDirectory() as folder:
                path = Path(folder) / "texts.txt"
                random = Random(f"steered-{draw}")
                path.write_text("\n".join(_text(random, "") for _ in range(12)), encoding="utf-8")
                study = ConceptSteeringStudy(
                    concept=concept, against=against, layer=0, doses=(0.0, 1.0), n_random=3, n_texts=12, texts=str(path), seed=draw
                )  # fmt: skip
                found: Any = study(late(), items, Target(label=USED))
            used = concept == USED
            rise = found.response[1] - found.response[0]
            random_rise = found.response_random[:, 1] - found.response_random[:, 0]
            parts.append((concept, float(_rose(float(rise)) == used)))
            blind += [float(_rose(float(x)) == used) for x in random_rise]
            cost += found.cost
        draws.append(
            Draw(_mean(parts), float(np.mean(blind)), cost, 160, parts=tuple(parts), trials=len(parts))
        )
    measure, control = "concepts told to be used or unused", "random directions"
    return (truth_row(ConceptSteeringStudy(), NAME, measure, draws, 0.5, control),)


def _rose(by: float) -> bool:
    """Whether the probability of the class rose by more than a little."""
    return by > 0.1


def _mean(parts: Sequence[tuple[str, float]]) -> float:
    return float(np.mean([x for _, x in parts]))


TRUTHS: dict[str, StudyTruth] = {
    "concept_direction": StudyTruth(
        "planted direction", "a classifier that adds to its classes along known directions of its residual", _direction
    ),
    "tcav": StudyTruth(NAME, CONCEPTS, _tcav),
    "concept_erasure": StudyTruth(NAME, CONCEPTS, _erasure),
    "concept_steering": StudyTruth(NAME, CONCEPTS, _steering),
}  # fmt: skip
NO_TRUTH: dict[str, str] = {}
