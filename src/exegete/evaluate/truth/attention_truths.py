"""Truths for the debate on attention: a model whose answer is where its attention is, and one in which attention is idle.

    attention_permutation     the output moves more where attention is used than where it is idle
    attention_baselines       the same, with uniform attention in its place
    adversarial_attention     attention can be another one where it is idle, and cannot where it is used
    polarity_violation        removing the most attended token moves the output as attention says where it is used
    attention_erasure         where attention is used, erasing one token, the most attended one, flips the answer
    attention_debate          attention is not called misleading where it is used, and is not called an explanation where it is idle
    hidden_token_attribution  the last hidden state consists of the word that its head looks at, beside its own
    attribution_tree          heads of the compiled circuits by what the output owes to their attention
    effective_attention       heads whose values tell keys apart, among heads whose values are all the same (`compiled_values`)
    attention_compare         the one head of a trained model whose queries were changed

Control: random orders (`ranked`), or the idle model. Draws: three models of each kind.
References: as for `compiled_attention`; Serrano & Smith 2019 (arXiv:1906.03731); Bibal et al. 2022.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from exegete.core.results.attention_attribution import AttributionTree
from exegete.core.results.attention_compare import AttentionComparison
from exegete.core.results.debate import (
    AdversarialAttention,
    AttentionBaselines,
    AttentionDebate,
    AttentionErasure,
    AttentionPermutation,
    PolarityViolation,
)
from exegete.core.results.identifiability import EffectiveAttention, HiddenTokenAttribution
from exegete.core.results.truth import TruthRow
from exegete.core.trust import Cost
from exegete.evaluate.truth import circuit_truths, compiled_values
from exegete.evaluate.truth.compiled_attention import LENGTH, Attending, make, mark
from exegete.evaluate.truth.ranked import Ranked, ranked_row
from exegete.evaluate.truth.study_truth import Draw, StudyTruth, told, truth_row
from exegete.methods.attention.adversarial_attention import AdversarialAttentionStudy
from exegete.methods.attention.attention_baselines import AttentionBaselinesStudy
from exegete.methods.attention.attention_compare import AttentionCompareStudy
from exegete.methods.attention.attention_debate import AttentionDebateStudy
from exegete.methods.attention.attention_erasure import AttentionErasureStudy
from exegete.methods.attention.attention_permutation import AttentionPermutationStudy
from exegete.methods.attention.attribution_tree import AttributionTreeStudy
from exegete.methods.attention.effective_attention import EffectiveAttentionStudy
from exegete.methods.attention.hidden_token_attribution import HiddenTokenAttributionStudy
from exegete.methods.attention.polarity_violation import PolarityViolationStudy
from exegete.methods.contracts.study import Study
from exegete.models.load import load
from exegete.models.model import Model

SEEDS = (0, 1, 2)
TEXTS = 6
DEBATED = 6  # models of each kind
USED, IDLE = "attention that is used or idle", "the same of a model whose attention is idle"
SAYS = "two models of one head that looks at one word: in one it is the answer, in the other nothing depends on it"
attending: Callable[[bool, int], Attending] = cache(make)


def _apart(
    study: Study, measure: str, scores: Callable[[Model, Sequence[str]], tuple[Any, Cost]], seed: int
) -> TruthRow:
    """A row on whether texts of the model that uses attention score higher than those of the idle one."""
    cases = []
    for s in SEEDS:
        both = [scores(m.model, m.texts(TEXTS, seed)) for m in (attending(True, s), attending(False, s))]
        values = np.concatenate([np.asarray(x, dtype=float) for x, _ in both])
        gold = np.arange(2 * TEXTS) < TEXTS
        cases.append(Ranked(f"models {s}", values, gold, both[0][1] + both[1][1], 2 * TEXTS))
    return ranked_row(study, USED, f"AUROC of texts whose attention is used, by {measure}", cases, seed)


def _permutation(seed: int) -> tuple[TruthRow, ...]:
    study = AttentionPermutationStudy(n_permutations=5, by_layer=False, seed=seed)

    def moved(model: Model, texts: Sequence[str]) -> tuple[Any, Cost]:
        found = told(AttentionPermutation, study, model, list(texts))
        return found.tvd, found.cost

    return (_apart(study, "what shuffling moves", moved, seed),)


def _baselines(seed: int) -> tuple[TruthRow, ...]:
    study = AttentionBaselinesStudy(by_layer=False, seed=seed)

    def moved(model: Model, texts: Sequence[str]) -> tuple[Any, Cost]:
        found = told(AttentionBaselines, study, model, list(texts))
        return found.changed[found.kinds.index("uniform")], found.cost

    return (_apart(study, "what uniform attention moves", moved, seed),)


def _adversarial(seed: int) -> tuple[TruthRow, ...]:
    study = AdversarialAttentionStudy(n_steps=15, n_draws=1, seed=seed)

    def same(model: Model, texts: Sequence[str]) -> tuple[Any, Cost]:
        found = told(AdversarialAttention, study, model, list(texts))
        return -found.jsd, found.cost

    return (_apart(study, "how little it can differ", same, seed),)


def _polarity(seed: int) -> tuple[TruthRow, ...]:
    """How rarely the sign of attention is violated where it is used; where it is idle, the sign is a guess."""
    study, draws = PolarityViolationStudy(seed=seed), []
    for s in SEEDS:
        share, spent = [], []
        for m in (attending(True, s), attending(False, s)):
            found = told(PolarityViolation, study, m.model, list(m.texts(TEXTS, seed)))
            share.append(1 - float(found.violated[0].mean()))
            spent.append(found.cost)
        draws.append(Draw(share[0], share[1], spent[0], TEXTS, trials=TEXTS))
    measure = "share of texts that move as the sign of the most attended token says"
    return (truth_row(study, USED, measure, draws, 0.5, IDLE),)


def _erasure(seed: int) -> tuple[TruthRow, ...]:
    """Whether erasing the most attended token alone flips the answer; control: of the idle model, where nothing flips it."""
    study, draws = AttentionErasureStudy(n_draws=1, seed=seed), []
    for s in SEEDS:
        share, spent = [], []
        for m in (attending(True, s), attending(False, s)):
            found = told(AttentionErasure, study, m.model, list(m.texts(TEXTS, seed)))
            share.append(float((found.fraction[0] < 1.5 / (LENGTH + 1)).mean()))
            spent.append(found.cost)
        draws.append(Draw(share[0], share[1], spent[0], TEXTS, trials=TEXTS))
    measure = "share of texts that flip when the most attended token alone is erased"
    return (truth_row(study, USED, measure, draws, 1 / LENGTH, IDLE),)


def _debate(seed: int) -> tuple[TruthRow, ...]:
    """Whether used attention gets more of the tests than idle attention; control: the idle attention of the next model.

    A coin is right half of the time, and three models would not tell a study from a coin: six do.
    """
    study = AttentionDebateStudy(n_permutations=4, n_steps=10, n_draws=1, seed=seed)
    used, idle = (
        [told(AttentionDebate, study, m.model, list(m.texts(TEXTS, seed))) for m in both]
        for both in zip(*((attending(True, s), attending(False, s)) for s in range(DEBATED)))
    )
    for_it = [np.array([f.answers.count("yes") - f.answers.count("no") for f in fs]) for fs in (used, idle)]
    hits, misses = for_it[0] > for_it[1], np.roll(for_it[1], -1) > for_it[1]
    draws = [
        Draw(float(hit), float(miss), a.cost + b.cost, 2 * TEXTS)
        for hit, miss, a, b in zip(hits, misses, used, idle)
    ]
    measure = "share of models whose used attention gets more of the tests than idle attention"
    return (truth_row(study, USED, measure, draws, 0.5, "idle attention of the next model"),)


def _hidden(seed: int) -> tuple[TruthRow, ...]:
    """Whether the mark is what the last state consists of most, its own token aside; held against the next text's mark too."""
    study, draws = HiddenTokenAttributionStudy(n_draws=4, seed=seed), []
    for s in SEEDS:
        m = attending(True, s)
        texts = m.texts(TEXTS, seed)
        found = [told(HiddenTokenAttribution, study, m.model, t) for t in texts]
        best = [int(f.shares[-1, -1, :-1].argmax()) for f in found]
        places = [len(f.tokens) - LENGTH + mark(t) for f, t in zip(found, texts)]
        hits = [[b == p for b, p in zip(best, ps)] for ps in (places, places[1:] + places[:1])]
        spent = sum((f.cost for f in found), Cost())
        draws.append(Draw(float(np.mean(hits[0])), float(np.mean(hits[1])), spent, TEXTS, trials=TEXTS))
    measure = "share of texts whose last state consists of the marked word, beside its own"
    return (truth_row(study, USED, measure, draws, 1 / LENGTH, "held against the next text's mark"),)


def _tree(seed: int) -> tuple[TruthRow, ...]:
    """Gold heads of the compiled circuits by importance."""
    study, cases = AttributionTreeStudy(n_points=1, n_random=1, seed=seed), []
    for c in circuit_truths.models():
        texts = [p.clean.text for p in c.pairs(TEXTS, seed)]
        found = told(AttributionTree, study, c.model, texts)
        gold = circuit_truths.table(found.importance.shape, circuit_truths.heads_of(c))
        cases.append(Ranked(c.name, found.importance.ravel(), gold, found.cost, TEXTS))
    return (ranked_row(study, "compiled circuits: heads", "AUROC of gold heads", cases, seed),)


def _effective(seed: int) -> tuple[TruthRow, ...]:
    """Heads whose values tell keys apart, by the share of their attention that is effective."""
    study, cases = EffectiveAttentionStudy(seed=seed), []
    for s in SEEDS:
        m = compiled_values.make(s)
        found = told(EffectiveAttention, study, m.model, list(m.texts(TEXTS, seed)))
        cases.append(Ranked(m.model.name, found.kept.ravel(), np.array(m.telling), found.cost, TEXTS))
    name = "values that tell keys apart, or do not"
    return (ranked_row(study, name, "AUROC of heads all of whose attention is effective", cases, seed),)


def _compare(seed: int) -> tuple[TruthRow, ...]:
    """The head of the last layer that was changed, among all heads."""
    model, cases = load("terrarium/decoder"), []
    n, heads = model.map.n_layers, model.map.n_heads
    texts = ["the small dog saw a bird", "mary went to the market with john", "the food was good"]
    with TemporaryDirectory() as folder:
        for s in SEEDS:
            path = Path(folder) / str(s)
            _with_other_head(model, s % heads, path)
            study = AttentionCompareStudy(other=str(path), n_twins=1, seed=seed)
            found = told(AttentionComparison, study, model, texts)
            gold = np.zeros((n, heads), dtype=bool)
            gold[-1, s % heads] = True
            cases.append(
                Ranked(
                    f"head {s % heads}", found.change.mean(0).ravel(), gold.ravel(), found.cost, len(texts)
                )
            )
    name = "one head changed"
    return (ranked_row(study, name, "AUROC of the head that was changed", cases, seed),)


def _with_other_head(model: Model, head: int, path: Path) -> None:
    """Save the model with the queries of one head of the last layer turned round."""
    module: Any = deepcopy(model.module)
    queries, width = module.model.layers[-1].self_attn.q_proj.weight, model.map.d_head
    with torch.no_grad():
        queries[head * width : (head + 1) * width] *= -1
    module.save_pretrained(path)
    model.tokenizer.save_pretrained(path)


TRUTHS: dict[str, StudyTruth] = {
    "attention_permutation": StudyTruth(USED, SAYS, _permutation),
    "attention_baselines": StudyTruth(USED, SAYS, _baselines),
    "adversarial_attention": StudyTruth(USED, SAYS, _adversarial),
    "polarity_violation": StudyTruth(USED, SAYS, _polarity),
    "attention_erasure": StudyTruth(USED, SAYS, _erasure),
    "attention_debate": StudyTruth(USED, SAYS, _debate),
    "hidden_token_attribution": StudyTruth(USED, SAYS, _hidden),
    "attribution_tree": StudyTruth("compiled circuits: heads", circuit_truths.SAYS, _tree),
    "effective_attention": StudyTruth(
        "values that tell keys apart, or do not",
        "models of four heads, two of which hand on the same whatever they look at",
        _effective,
    ),
    "attention_compare": StudyTruth(
        "one head changed",
        "a trained model and copies in which the queries of one head are turned round",
        _compare,
    ),
}
