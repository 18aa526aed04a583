"""Truths for statistics of structure and for judgements of circuits.

    branch_specialisation  the layer whose heads are sorted by what their units carry, and not the other (`compiled_layers`)
    equivariance           the layer whose hidden units a shift of the text permutes
    weight_banding         the layer whose weights stand in bands
    phase_change           the step from which on the last layer of a trained model attends at all: before, no head can do induction
    multiple_choice        the head that brings the letter (`compiled_choice`)
    circuit_faithfulness   the gold circuit, and the gold circuit with edges too many, among gold circuits with an edge too few
    circuit_overlap        the edges that two tasks of one compiled model share

Control: the same finding held against the next model, or random orders (`ranked`). Draws: models.
References: as for `compiled_layers`; Wang et al. 2022; Merullo et al. 2023; Olsson et al. 2022.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from exegete.core.material import Pair
from exegete.core.results.circuits import Circuit, CircuitOverlap
from exegete.core.results.induction import PhaseChange
from exegete.core.results.multiple_choice import MultipleChoice
from exegete.core.results.structure import LayerStatistic
from exegete.core.results.truth import TruthRow
from exegete.core.seed import generator
from exegete.core.trust import Cost
from exegete.evaluate.truth import circuit_truths, compiled_choice, compiled_layers
from exegete.evaluate.truth.compiled import Compiled
from exegete.evaluate.truth.ranked import Ranked, overlap, ranked_row
from exegete.evaluate.truth.study_truth import Draw, StudyTruth, told, truth_row
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.branch_specialisation import BranchSpecialisation
from exegete.methods.mechanisms.circuit_faithfulness import CircuitFaithfulness
from exegete.methods.mechanisms.circuit_overlap import CircuitOverlapStudy
from exegete.methods.mechanisms.edge_attribution_patching import EdgeAttributionPatching
from exegete.methods.mechanisms.equivariance import Equivariance
from exegete.methods.mechanisms.multiple_choice import MultipleChoiceStudy
from exegete.methods.mechanisms.phase_change import PhaseChangeStudy
from exegete.methods.mechanisms.weight_banding import WeightBanding
from exegete.models.load import load
from exegete.models.model import Model

TEXTS, PAIRS = 72, 6
LAYERED, TURN, CHOICE = (
    "layers that differ in a known way",
    "a turn at a known step",
    "a head that brings a letter",
)
NEXT = "the same finding held against the next model"
JUDGED = ("copy", "comparison", "by_place")  # judging takes seconds a circuit
GOLD, SHARED = "compiled circuits: faithful or not", "compiled circuits: what two tasks share"


# -- layers --------------------------------------------------------------------------------------------------------------


def _layer(
    study: Study,
    make: Callable[[int, int], Model],
    layers: int,
    items: Sequence[str] | None,
    n: int,
    seed: int,
) -> tuple[TruthRow, ...]:
    """Whether the layer whose statistic is furthest above what its null reaches is the one that was set."""
    best, spent = [], []
    for i in range(n):
        found = told(
            LayerStatistic, study, make(i % layers, seed + i), None if items is None else list(items)
        )
        best.append(int((found.value - found.null_high).argmax()))
        spent.append(found.cost)
    draws = [
        Draw(float(b == i % layers), float(b == (i + 1) % layers), c, len(items or (1,)), 1 / layers)
        for i, (b, c) in enumerate(zip(best, spent))
    ]
    return (truth_row(study, LAYERED, "share of models whose layer is found", draws, None, NEXT),)


def _branches(seed: int) -> tuple[TruthRow, ...]:
    study = BranchSpecialisation(n_permutations=20, seed=seed)
    return _layer(study, compiled_layers.sorted_heads, 2, compiled_layers.texts(TEXTS // 2, seed), 6, seed)


def _equivariant(seed: int) -> tuple[TruthRow, ...]:
    study = Equivariance(units="neurons", filler="a ", n_permutations=20, seed=seed)
    return _layer(study, compiled_layers.shifted, 3, compiled_layers.texts(TEXTS, seed), 6, seed)


def _bands(seed: int) -> tuple[TruthRow, ...]:
    return _layer(WeightBanding(seed=seed), compiled_layers.banded, 4, None, 4, seed)


# -- training ------------------------------------------------------------------------------------------------------------


def _turn(seed: int) -> tuple[TruthRow, ...]:
    """Whether both windows (of prefix matching and of in-context learning) are the step at which the turn was put."""
    model, steps = load("terrarium/repeats"), 6
    turns, founds = (2, 3, 5), []
    for turn in turns:
        with TemporaryDirectory() as folder:
            for step in range(1, steps + 1):
                _checkpoint(model, Path(folder) / f"step-{step}", blind=step < turn)
            study = PhaseChangeStudy(folder=folder, n_repeats=4, repeat_length=10, seed=seed)
            found = told(PhaseChange, study, model)
        windows = {name: (int(a), int(b)) for name, a, b in found.windows}
        founds.append((windows["prefix matching"], windows["in-context learning"], found.cost))
    draws = []
    for i, (prefix, learned, cost) in enumerate(founds):
        own, other = ((t - 1, t) for t in (turns[i], turns[(i + 1) % len(turns)]))
        hits = [np.mean([w == want for w in (prefix, learned)]) for want in (own, other)]
        draws.append(Draw(float(hits[0]), float(hits[1]), cost, steps, trials=2))
    measure = "share of curves whose turn is found"
    return (truth_row(PhaseChangeStudy(), TURN, measure, draws, 1 / (steps - 1), NEXT),)


def _checkpoint(model: Model, path: Path, blind: bool) -> None:
    """Save a trained model; blind: the last layer looks at everything alike."""
    module: Any = deepcopy(model.module)
    if blind:
        with torch.no_grad():
            module.model.layers[-1].self_attn.q_proj.weight.zero_()
    module.save_pretrained(path)
    model.tokenizer.save_pretrained(path)


# -- heads ---------------------------------------------------------------------------------------------------------------


def _choice(seed: int) -> tuple[TruthRow, ...]:
    """The head that brings the letter among all heads."""
    study = MultipleChoiceStudy(
        question="{prompt} ", option="{letter} {content} ", end="answer", letters=compiled_choice.LETTERS, n_top=1,
        ranks=(1,), n_draws=2, seed=seed,
    )  # fmt: skip
    cases = []
    for s in range(3):
        m = compiled_choice.make(s)
        found = told(MultipleChoice, study, m.model, m.facts())
        gold = np.zeros(found.effect.shape, dtype=bool)
        gold[m.at] = True
        cases.append(Ranked(m.model.name, found.effect.ravel(), gold.ravel(), found.cost, len(m.facts())))
    return (ranked_row(study, CHOICE, "AUROC of the head that brings the letter", cases, seed),)


# -- circuits ------------------------------------------------------------------------------------------------------------


def _faithful(seed: int) -> tuple[TruthRow, ...]:
    """Circuits that hold the gold one among circuits that lack one of its edges, by the faithfulness that they are given."""
    study = EdgeAttributionPatching(ig_steps=0, n_top=2, n_draws=1, n_dropped=1, n_sizes=2)
    cases = []
    for c in (circuit_truths.made(n) for n in JUDGED):
        pairs, scores, gold, spent = c.pairs(PAIRS, seed), [], [], Cost()
        drawn = told(Circuit, study, c.model, pairs)
        for keep, whole in _circuits(drawn, c, seed):
            found = _judged(drawn.model_copy(update={"kept": keep}), c, pairs, seed)
            scores.append(found.trust.scores[0].value)
            gold.append(whole)
            spent += found.cost
        cases.append(Ranked(c.name, np.array(scores), np.array(gold), spent, PAIRS * len(gold)))
    return (ranked_row(CircuitFaithfulness(), GOLD, "AUROC of circuits that hold the gold one", cases, seed),)


def _circuits(drawn: Circuit, c: Compiled, seed: int) -> list[tuple[np.ndarray, bool]]:
    """Masks [edge] with whether they hold the gold circuit: it alone, with edges added, and without each of its edges."""
    gold = np.array([(drawn.nodes[w], drawn.readers[r]) in set(c.edges) for w, r in drawn.edges])
    more = gold.copy()
    more[generator(seed, "more edges", c.name).choice(np.flatnonzero(~gold), 4, replace=False)] = True
    found = [(gold, True), (more, True)]
    for e in np.flatnonzero(gold):
        less = gold.copy()
        less[e] = False
        found.append((less, False))
    return found


def _judged(circuit: Circuit, c: Compiled, pairs: Sequence[Pair], seed: int) -> Circuit:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "circuit.exg"
        circuit.save(path)
        study = CircuitFaithfulness(circuit=str(path), n_draws=1, n_dropped=1, n_sizes=2, seed=seed)
        return told(Circuit, study, c.model, pairs)


TASKS: tuple[tuple[str, str, str, tuple[tuple[str, str], ...], int], ...] = (
    # model, two kinds of pairs, the edges that both use, edges of each circuit
    ("comparison", "first", "second", (("0.mlp", "logits"),), 3),
    ("copy", "place", "letter", (("0.h1", "logits"),), 2),
    ("induction", "last", "next", (("1.h0", "logits"),), 2),
)


def _overlap(seed: int) -> tuple[TruthRow, ...]:
    """F1 of the edges that are said to be shared; control: what two halves of one task share, held against the same edges."""
    draws = []
    for name, one, two, shared, n in TASKS:
        c, values, spent = circuit_truths.made(name), [], []
        study = CircuitOverlapStudy(n_edges=n, ig_steps=0, n_draws=2, seed=seed)
        for kinds in ((one, two), (one, one)):
            pairs = [
                p.model_copy(update={"id": f"{side}/{i}"})
                for side, kind in zip("ab", kinds)
                for i, p in enumerate(_of_kind(c, kind, side, seed))
            ]
            found = told(CircuitOverlap, study, c.model, pairs)
            names = {f"{w} -> {r}" for w, r in shared}
            values.append(overlap(set(found.shared), names))
            spent.append(found.cost)
        draws.append(Draw(values[0], values[1], spent[0], 2 * PAIRS, 1 / c.n_edges, ((name, values[0]),)))
    measure = "overlap (F1) with the edges that two tasks share"
    return (
        truth_row(
            CircuitOverlapStudy(),
            SHARED,
            measure,
            draws,
            None,
            "what two halves of one task share",
            paired=True,
        ),
    )


def _of_kind(c: Compiled, kind: str, side: str, seed: int) -> list[Pair]:
    pairs = c.pairs(4 * PAIRS * len(c.draws), seed + (side == "b"))
    return [p for p in pairs if p.id.split("/")[1].startswith(f"{kind}-")][:PAIRS]


TRUTHS: dict[str, StudyTruth] = {
    "branch_specialisation": StudyTruth(
        LAYERED, "models one layer of which was set apart from the others", _branches
    ),
    "equivariance": StudyTruth(
        LAYERED, "models one layer of which was set apart from the others", _equivariant
    ),
    "weight_banding": StudyTruth(LAYERED, "models one layer of which was set apart from the others", _bands),
    "phase_change": StudyTruth(
        TURN,
        "checkpoints of a trained model whose last layer looks at everything alike up to a known step",
        _turn,
    ),
    "multiple_choice": StudyTruth(
        CHOICE, "models that find the letter before what is asked for, by one head", _choice
    ),
    "circuit_faithfulness": StudyTruth(GOLD, circuit_truths.SAYS, _faithful),
    "circuit_overlap": StudyTruth(SHARED, circuit_truths.SAYS, _overlap),
}
