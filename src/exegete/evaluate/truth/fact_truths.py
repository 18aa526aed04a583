"""Truths for studies of facts and of what layers say: three models whose facts are looked up in layer 1, 2 or 3 (`compiled_facts`).

    causal_tracing      cells (layer, token) whose state or whose feed-forward part carries the fact: known for all of them
    layer_removal       layers that are needed, and layers that hold distractors only
    logit_lens          "thing" after every layer up to the one that says the pet
    patchscope          the pet, from the layer on in which the end of the text holds it, in a prompt that names nobody
    ffn_keys            units that fire where their value says what comes next: those that say pets
    ffn_values          the unit that says the pet of this text
    knowledge_neurons   the unit that looks this person up, and the unit that says the pet (it looks for units where the answer is
                        read, and so misses the first of them, which fires at the subject: 2/3)
    rank_one_edit       a place where one key is one person: the subject's last token, up to the layer that looks it up
    laser               the one matrix that is better smaller, because a short row of it speaks for a wrong answer

Control: random orders (`ranked`), or the same findings held against another model, person or text. Draws: the three models.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from exegete.core.results.edits import FactEdit
from exegete.core.results.feedforward import FeedForwardValues
from exegete.core.results.feedforward_keys import FeedForwardKeys
from exegete.core.results.knowledge import KnowledgeNeurons
from exegete.core.results.lens import LensGrid
from exegete.core.results.low_rank import LowRank
from exegete.core.results.patchscope import PatchscopeFinding
from exegete.core.results.resilience import LayerRemoval
from exegete.core.results.tracing import CausalTrace
from exegete.core.results.truth import TruthRow
from exegete.core.trust import Cost
from exegete.evaluate.truth.compiled_facts import LAYERS, N_UNITS, PETS, THING, Facts, make
from exegete.evaluate.truth.ranked import Ranked, overlap, ranked_row
from exegete.evaluate.truth.study_truth import Draw, StudyTruth, told, truth_row
from exegete.methods.mechanisms.causal_tracing import CausalTracing
from exegete.methods.mechanisms.ffn_keys import FfnKeys
from exegete.methods.mechanisms.ffn_values import FfnValues
from exegete.methods.mechanisms.knowledge_neurons import KnowledgeNeuronStudy
from exegete.methods.mechanisms.laser import Laser
from exegete.methods.mechanisms.layer_removal import LayerRemovalStudy
from exegete.methods.mechanisms.logit_lens import LogitLens
from exegete.methods.mechanisms.patchscope import Patchscope
from exegete.methods.mechanisms.rank_one_edit import RankOneEdit

PLACES = (1, 2, 3)  # layers in which facts are looked up
FACTS, EDITS = 4, 3  # edits: draws a model, of which each chooses one place
NAME = "facts looked up in a known place"
SAYS = "three models that look a person's pet up in a hidden unit of a known layer, read it from there and say it later"
OTHER_MODEL = "the same findings held against the next model"
built: Callable[..., Facts] = cache(make)


def models() -> tuple[Facts, ...]:
    """The three models."""
    return tuple(built(at) for at in PLACES)


# -- where it is ---------------------------------------------------------------------------------------------------------


def carries(at: int, layer: int, token: str, kind: str) -> bool:
    """Whether a clean state brings the answer back when both names are noise: the residual after a layer, or a part's write."""
    if kind == "mlp":
        return (layer, token) in ((at, "subject"), (at + 2, "end"))
    return layer <= at if token == "subject" else token == "end" and layer > at


def _tracing(seed: int) -> tuple[TruthRow, ...]:
    """Cells that carry the fact among all cells of residual and feed-forward parts.

    Those of the first name are left out: noise along all axes writes facts of its own there, which a clean state takes away.
    """
    study = CausalTracing(kinds=("residual", "mlp"), noise=6.0, n_samples=6, window=1, seed=seed)
    cases = []
    for f in models():
        found = told(CausalTrace, study, f.model, f.facts(FACTS, seed))
        scores, gold = [], []
        for case in found.cases:
            for k, kind in enumerate(found.kinds):
                grid = case.effect[k]
                for layer, tok in np.ndindex(grid.shape):
                    if case.roles[tok] == "first subject":
                        continue
                    last = tok == grid.shape[1] - 1
                    token = {"last subject": "subject"}.get(case.roles[tok], "end" if last else "")
                    scores.append(grid[layer, tok])
                    gold.append(carries(f.at, layer, token, kind))
        cases.append(Ranked(f.model.name, np.array(scores), np.array(gold), found.cost, FACTS))
    return (ranked_row(study, NAME, "AUROC of states that carry the fact", cases, seed),)


def _removal(seed: int) -> tuple[TruthRow, ...]:
    """Layers that are needed among all layers."""
    study, cases = LayerRemovalStudy(swap=False, seed=seed), []
    for f in models():
        texts = [x.prompt for x in f.facts(FACTS, seed)]
        found = told(LayerRemoval, study, f.model, texts)
        gold = np.array([i in f.used for i in range(LAYERS)])
        cases.append(Ranked(f.model.name, found.kl_removed.mean(1), gold, found.cost, FACTS))
    return (ranked_row(study, NAME, "AUROC of layers that are needed", cases, seed),)


# -- what layers say -----------------------------------------------------------------------------------------------------


def _lens(seed: int) -> tuple[TruthRow, ...]:
    """Whether the guesses at the end of a text are those planted, in every layer."""
    study, told_by = LogitLens(seed=seed), []
    for f in models():
        facts = f.facts(FACTS, seed)
        found = [told(LensGrid, study, f.model, x.prompt) for x in facts]
        guesses = [[row[-1].strip() for row in g.top[-LAYERS:]] for g in found]
        told_by.append((f, [x.answer for x in facts], guesses, sum((g.cost for g in found), Cost())))

    def right(at: int, pets: Sequence[str], guesses: Sequence[Sequence[str]]) -> float:
        want = [[THING] * (at + 2) + [pet] * (LAYERS - at - 2) for pet in pets]
        return float(np.mean([list(g) == w for g, w in zip(guesses, want)]))

    draws = [
        Draw(right(f.at, pets, g), right(f.at % len(PLACES) + 1, pets, g), cost, FACTS, trials=FACTS)
        for f, pets, g, cost in told_by
    ]
    measure = "share of texts whose guess is the planted one after every layer"
    return (truth_row(study, NAME, measure, draws, len(PETS) ** -LAYERS, OTHER_MODEL),)


def _scope(seed: int) -> tuple[TruthRow, ...]:
    """Whether a prompt that names nobody says the pet from the layer on that drafts it, and not before."""
    study, draws = Patchscope(prompt="today has a", n_new=0, seed=seed), []
    for f in models():
        facts = f.facts(2 * FACTS, seed)
        found = told(PatchscopeFinding, study, f.model, [x.prompt for x in facts])
        says = np.array([[w.strip() == x.answer for w, x in zip(row, facts)] for row in found.top[-LAYERS:]])
        layers = np.arange(LAYERS)[:, None]
        own, other = ((says == (layers > at)).all(0) for at in (f.at, f.at % len(PLACES) + 1))
        draws.append(Draw(float(own.mean()), float(other.mean()), found.cost, len(facts), trials=len(facts)))
    measure = "share of texts whose pet is said from the layer on that holds it, and not before"
    return (truth_row(study, NAME, measure, draws, len(PETS) ** -LAYERS, OTHER_MODEL),)


# -- hidden units --------------------------------------------------------------------------------------------------------


def _keys(seed: int) -> tuple[TruthRow, ...]:
    """Whether the units that agree most with what comes next are those that say pets."""
    study = FfnKeys(n_units=N_UNITS, n_triggers=5, n_top=len(PETS), seed=seed)
    golds, founds = [], []
    for f in models():
        found = told(FeedForwardKeys, study, f.model, f.sentences(60, seed))
        founds.append(({(u.layer, u.unit) for u in found.keys}, found.cost))
        golds.append({(f.at + 2, i) for i in range(len(PETS))})
    draws = [
        Draw(
            overlap(units, golds[i]),
            overlap(units, golds[(i + 1) % len(golds)]),
            cost,
            60,
            trials=len(golds[i]),
        )
        for i, (units, cost) in enumerate(founds)
    ]
    chance = len(PETS) / (LAYERS * N_UNITS)
    return (truth_row(study, NAME, "overlap (F1) with the units that say pets", draws, chance, OTHER_MODEL),)


def _values(seed: int) -> tuple[TruthRow, ...]:
    """Whether the unit with the largest share is the one that says the pet, and the pet is what it pushes up."""
    study, draws = FfnValues(n_draws=1, n_random=8, n_units=2, n_top=1, seed=seed), []
    for f in models():
        hits = []
        facts = f.facts(FACTS, seed)
        found = [told(FeedForwardValues, study, f.model, [x.prompt], x.answer) for x in facts]
        units = [((g.units[0].layer, g.units[0].unit), g.units[0].up[0].strip()) for g in found]
        golds = [((f.at + 2, PETS.index(x.answer)), x.answer) for x in facts]
        hits = [
            [u == g for u, g in zip(units, golds)],
            [u == g for u, g in zip(units, golds[1:] + golds[:1])],
        ]
        spent = sum((g.cost for g in found), Cost())
        draws.append(Draw(float(np.mean(hits[0])), float(np.mean(hits[1])), spent, FACTS, trials=FACTS))
    measure, chance = (
        "share of texts whose strongest unit is the one that says the pet",
        1 / (LAYERS * N_UNITS),
    )
    return (truth_row(study, NAME, measure, draws, chance, "held against the next text's pet"),)


def _neurons(seed: int) -> tuple[TruthRow, ...]:
    """F1 of the units of a fact with the two that carry it; control: those of the next fact."""
    study, draws = KnowledgeNeuronStudy(n_draws=1, n_steps=8, seed=seed), []
    for f in models():
        facts = f.facts(FACTS, seed)
        found = told(KnowledgeNeurons, study, f.model, facts)
        golds = {x.prompt: f.units(_person(x.subject)) for x in facts}
        names = list(golds)
        own = [overlap(c.units, golds[c.name]) for c in found.cases]
        other = [overlap(c.units, golds[names[(names.index(c.name) + 1) % len(names)]]) for c in found.cases]
        draws.append(Draw(float(np.mean(own)), float(np.mean(other)), found.cost, FACTS, trials=FACTS))
    measure, chance = "overlap (F1) with the two units that carry the fact", 2 / (LAYERS * N_UNITS)
    return (truth_row(study, NAME, measure, draws, chance, "held against the next fact's units"),)


def _person(name: str) -> tuple[str, str]:
    first, last = name.split()
    return first, last


# -- edits ---------------------------------------------------------------------------------------------------------------


def _edit(seed: int) -> tuple[TruthRow, ...]:
    """Whether the place chosen for the edit is one in which a key is a person; and whether what is written is said."""
    draws, done = [], []
    with TemporaryDirectory() as folder:
        for f, draw in ((f, 1000 * seed + i) for f in models() for i in range(EDITS)):
            path = Path(folder) / f"{f.at}.txt"
            path.write_text("\n".join(f.sentences(80, draw)), encoding="utf-8")
            study = RankOneEdit(
                corpus=str(path), n_corpus=60, n_held_out=4, n_trial=1, n_prefixes=0, essence="{subject}", n_steps=20,
                n_generated=0, seed=draw,
            )  # fmt: skip
            found = told(FactEdit, study, f.model, f.facts(FACTS + 1, draw))
            right = found.token == "subject" and found.layer <= f.at
            draws.append(Draw(float(right), float("nan"), found.cost, FACTS + 1, (f.at + 1) / (2 * LAYERS)))
            done.append(float(np.mean([all(c.said) and c.kept[0] == c.kept[1] for c in found.cases])))
    parts = [
        Draw(d.value, d.control, d.cost, d.items, d.chance, (("facts said anew, neighbours kept", x),))
        for d, x in zip(draws, done)
    ]
    return (truth_row(RankOneEdit(), NAME, "chosen place is one where a key is a person", parts),)


def _laser(seed: int) -> tuple[TruthRow, ...]:
    """Whether the matrix chosen is the one with the harmful row; control: the other layer that has distractors only."""
    study, draws = Laser(keep=(0.05, 0.25), n_draws=1, seed=seed), []
    for at in PLACES:
        for harm in built(at).idle:
            f = built(at, harm)
            found = told(LowRank, study, f.model, f.facts(2 * FACTS, seed))
            kind, layer, _ = found.place
            mine = found.types[kind] == "mlp.c_proj"
            own, other = (mine and found.layers[layer] == f"layer {i}" for i in (harm, sum(f.idle) - harm))
            guess = 1 / (len(found.types) * LAYERS)
            draws.append(Draw(float(own), float(other), found.cost, 2 * FACTS, guess))
    measure = "share of models whose harmful matrix is chosen"
    return (
        truth_row(study, "a harmful row in a known matrix", measure, draws, None, "the other idle layer"),
    )


TRUTHS: dict[str, StudyTruth] = {
    "causal_tracing": StudyTruth(NAME, SAYS, _tracing),
    "layer_removal": StudyTruth(NAME, SAYS, _removal),
    "logit_lens": StudyTruth(NAME, SAYS, _lens),
    "patchscope": StudyTruth(NAME, SAYS, _scope),
    "ffn_keys": StudyTruth(NAME, SAYS, _keys),
    "ffn_values": StudyTruth(NAME, SAYS, _values),
    "knowledge_neurons": StudyTruth(NAME, SAYS, _neurons),
    "rank_one_edit": StudyTruth(NAME, SAYS, _edit),
    "laser": StudyTruth(
        "a harmful row in a known matrix",
        "models with one matrix whose shortest row speaks for a wrong answer",
        _laser,
    ),
}
NO_TRUTH: dict[str, str] = {
    "tuned_lens": "a trained lens reads a name from what distracting parts leave at the end, so that the first layer that tells "
    "the fact is not known; it would need a model with no parts but those that were set",
}
