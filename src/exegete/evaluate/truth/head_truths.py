"""Truths for studies of heads: models whose heads were set by hand to be of known kinds, dealt anew for every draw.

    head_types          the type of every head that was set to one (`compiled_kinds`)
    induction_heads     the induction head, and the heads that look at the previous token
    head_pruning        the two heads that are needed, by each measure of importance
    head_redundancy     the two heads that look alike among all pairs
    head_syntax         the head that follows a relation (`compiled_syntax`)
    self_repair         the head that is made up for, and the one that steps in (`compiled_backup`); control: a twin without backup
    attention_steering  the head that reads what is looked at (`compiled_steering`)

Control: the same finding held against the next model's heads, or random orders (`ranked`). Draws: three models.
References: as for the compiled models.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from exegete.core.results.head_pruning import HeadPruning
from exegete.core.results.head_redundancy import HeadRedundancy
from exegete.core.results.head_syntax import HeadSyntax
from exegete.core.results.heads import HeadTypes
from exegete.core.results.induction import InductionHeads
from exegete.core.results.resilience import SelfRepair
from exegete.core.results.steering import Steering
from exegete.core.results.truth import TruthRow
from exegete.evaluate.truth import compiled_backup, compiled_kinds, compiled_steering, compiled_syntax
from exegete.evaluate.truth.compiled_kinds import HEADS, LAYERS, NEEDED, TYPES, Kinds
from exegete.evaluate.truth.ranked import Ranked, overlap, ranked_row
from exegete.evaluate.truth.study_truth import Draw, StudyTruth, told, truth_row
from exegete.methods.attention.head_importance import KIND, HeadPruningStudy
from exegete.methods.attention.head_redundancy import HeadRedundancyStudy
from exegete.methods.attention.head_syntax import HeadSyntaxStudy
from exegete.methods.attention.head_types import HeadTypesStudy
from exegete.methods.mechanisms.attention_steering import AttentionSteering
from exegete.methods.mechanisms.induction_heads import InductionHeadsStudy
from exegete.methods.mechanisms.self_repair import SelfRepairStudy

SEEDS = (0, 1, 2)
TEXTS, TREES = 6, 60
KINDS, BACKUP, SYNTAX, READER = (
    "heads of known kinds",
    "a head with a backup",
    "heads that follow grammar",
    "a head that reads what is looked at",
)
NEXT = "the same finding held against the next model's heads"
kinds_of: Callable[[int], Kinds] = cache(compiled_kinds.make)


def models() -> tuple[Kinds, ...]:
    """The models with heads of known kinds."""
    return tuple(kinds_of(s) for s in SEEDS)


# -- kinds ---------------------------------------------------------------------------------------------------------------


def _types(seed: int) -> tuple[TruthRow, ...]:
    """The share of set heads that get their type."""
    study = HeadTypesStudy(n_repeats=4, repeat_length=8, n_twins=1, n_maps=5, seed=seed)
    every = models()
    found = [told(HeadTypes, study, m.model, m.texts(TEXTS, seed=seed)) for m in every]

    def right(f: HeadTypes, m: Kinds) -> dict[str, float]:
        return {k: float(f.label[f.places.index(at)] == TYPES[k]) for k, at in m.at.items()}

    draws = []
    for i, (f, m) in enumerate(zip(found, every)):
        own, other = right(f, m), right(f, every[(i + 1) % len(every)])
        value, control = (float(np.mean(list(x.values()))) for x in (own, other))
        draws.append(Draw(value, control, f.cost, TEXTS, parts=tuple(own.items()), trials=len(own)))
    named = [TYPES[k] for k in every[0].at]
    chance = max(named.count(t) for t in named) / len(named)  # the type of most, said of all
    return (truth_row(study, KINDS, "share of heads whose type is found", draws, chance, NEXT),)


def _induction(seed: int) -> tuple[TruthRow, ...]:
    """F1 of the heads found, each as what it is."""
    study = InductionHeadsStudy(n_repeats=6, repeat_length=8, n_random=1, seed=seed)
    every, founds = models(), []
    for m in every:
        f = told(InductionHeads, study, m.model)
        founds.append(
            ({("induction", *h) for h in f.induction} | {("previous", *h) for h in f.previous_heads}, f.cost)
        )
    golds = [
        {(k if k == "induction" else "previous", *m.at[k]) for k in ("induction", "previous", "echo")}
        for m in every
    ]
    draws = [
        Draw(
            overlap(names, golds[i]),
            overlap(names, golds[(i + 1) % len(golds)]),
            cost,
            study.n_repeats,
            trials=len(golds[i]),
        )
        for i, (names, cost) in enumerate(founds)
    ]
    measure, chance = "overlap (F1) with the heads that were set", 3 / (2 * HEADS * LAYERS)
    return (truth_row(study, KINDS, measure, draws, chance, NEXT),)


def _pruning(seed: int) -> tuple[TruthRow, ...]:
    """Needed heads among all heads, by each measure that looks at the model."""
    study = HeadPruningStudy(
        n_points=3, n_random=1, n_steps=60, batch=4, n_repeats=2, repeat_length=8, n_maps=5, seed=seed
    )
    cases = []
    for m in models():
        found = told(HeadPruning, study, m.model, m.texts(TEXTS, seed=seed))
        gold = np.array([at in [m.at[k] for k in NEEDED] for at in found.places])
        cases += [
            Ranked(name, np.array(values), gold, found.cost, TEXTS)
            for name, values in zip(found.measures, found.importance)
            if name != KIND  # a rule of thumb of what kinds of heads matter elsewhere
        ]
    return (ranked_row(study, KINDS, "AUROC of the heads that are needed", cases, seed),)


def _redundancy(seed: int) -> tuple[TruthRow, ...]:
    """The pair that looks alike among all pairs."""
    study, cases = HeadRedundancyStudy(n_points=3, n_random=1, seed=seed), []
    for m in models():
        found = told(HeadRedundancy, study, m.model, m.texts(TEXTS, seed=seed))
        one, two = np.triu_indices(len(found.heads), 1)
        twins = {found.places.index(m.at[k]) for k in ("previous", "echo")}
        gold = np.array([{int(i), int(j)} == twins for i, j in zip(one, two)])
        cases.append(Ranked(m.model.name, -found.apart[one, two], gold, found.cost, TEXTS))
    return (ranked_row(study, KINDS, "AUROC of the pair that looks alike", cases, seed),)


def _syntax(seed: int) -> tuple[TruthRow, ...]:
    """The share of relations whose head is found."""
    study = HeadSyntaxStudy(least_arcs=5, n_steps=10, seed=seed)
    every = [compiled_syntax.make(s) for s in SEEDS]
    found = [told(HeadSyntax, study, m.model, m.trees(TREES, seed)) for m in every]

    def right(f: HeadSyntax, m: compiled_syntax.Syntax) -> float:
        hits = [
            f.heads[f.best[f.relations.index(r)]] == f"{layer}.h{head}" for r, (layer, head) in m.at.items()
        ]
        return float(np.mean(hits))

    draws = [
        Draw(
            right(f, m),
            right(f, every[(i + 1) % len(every)]),
            f.cost,
            TREES,
            parts=((m.model.name, right(f, m)),),
            trials=len(m.at),
        )
        for i, (f, m) in enumerate(zip(found, every))
    ]
    chance = 1 / len(found[0].heads)
    return (truth_row(study, SYNTAX, "share of relations whose head is found", draws, chance, NEXT),)


# -- what heads do -------------------------------------------------------------------------------------------------------


def _repair(seed: int) -> tuple[TruthRow, ...]:
    """Whether the first head is named, found to be made up for, and the second one to step in; and the same of the twin."""
    study, draws = SelfRepairStudy(n_backups=1, seed=seed), []
    for s in SEEDS:
        hits, spent = [], []
        for backed in (True, False):
            m = compiled_backup.make(s, backed)
            found = told(SelfRepair, study, m.model, m.texts(TEXTS, seed))
            direct, total = found.direct[m.first], found.total[m.first]
            hits.append(found.lost == m.first and found.backup[0][:2] == m.second and total < 0.5 * direct)
            spent.append(found.cost)
        draws.append(Draw(float(hits[0]), float(hits[1]), spent[0], TEXTS))
    measure = "share of models whose lost head, its repair and its backup are found"
    chance = 1 / (HEADS * LAYERS * HEADS)  # one of all heads, and one of the later ones
    return (truth_row(study, BACKUP, measure, draws, chance, "the same of a twin without backup"),)


def _steering(seed: int) -> tuple[TruthRow, ...]:
    """The reader among all heads, by what turning each alone gains."""
    study, cases = AttentionSteering(n_top=1, n_draws=1, seed=seed), []
    for s in SEEDS:
        m = compiled_steering.make(s)
        found = told(Steering, study, m.model, m.facts(TEXTS, seed))
        gold = np.zeros(found.effect.shape, dtype=bool)
        gold[m.at] = True
        cases.append(Ranked(m.model.name, found.effect.ravel(), gold.ravel(), found.cost, TEXTS))
    return (ranked_row(study, READER, "AUROC of the head that reads", cases, seed),)


_SAYS = "models of two layers whose heads were set to look at known places; two of them are needed"
TRUTHS: dict[str, StudyTruth] = {
    "head_types": StudyTruth(KINDS, _SAYS, _types),
    "induction_heads": StudyTruth(KINDS, _SAYS, _induction),
    "head_pruning": StudyTruth(KINDS, _SAYS, _pruning),
    "head_redundancy": StudyTruth(KINDS, _SAYS, _redundancy),
    "head_syntax": StudyTruth(
        SYNTAX,
        "models with a head that looks for subjects and one that looks for verbs, at any distance",
        _syntax,
    ),
    "self_repair": StudyTruth(
        BACKUP,
        "models with a head that says what another one says once that one is lost; their twins have none",
        _repair,
    ),
    "attention_steering": StudyTruth(
        READER,
        "models with one head that copies whatever it is made to look at, and no other that does anything",
        _steering,
    ),
}
