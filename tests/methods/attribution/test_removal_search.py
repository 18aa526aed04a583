"""Input reduction, input marginalisation, inlier weights and context citation against slow twins and planted answers."""

import numpy as np
import pytest
import torch

from exegete.core.errors import ModelError, TargetError, UsageError
from exegete.core.request import Segment, Text
from exegete.core.target import Target
from exegete.core.text import Unit
from exegete.methods.attribution.context_cite import ContextCite, ablations
from exegete.methods.attribution.inlier import Inlier
from exegete.methods.attribution.input_reduction import InputReduction
from exegete.methods.attribution.marginalisation import InputMarginalisation
from exegete.methods.contracts.attribution import explain
from exegete.models.ask import ask
from exegete.models.infill import naturalness
from exegete.models.load import load
from exegete.models.odds import log_odds
from exegete.models.tiny import tiny
from support.planted import additive, weights_of

TEXT = "the food was not good but the staff"


def logits(model, ids):
    with torch.no_grad():
        x = torch.as_tensor(np.asarray(ids))[None]
        return model.module(input_ids=x, attention_mask=torch.ones_like(x)).logits[0].double()


# ---- input reduction -------------------------------------------------------------------------------------------------


def greedy(q, units):
    """Slow twin: one removal at a time, each text run alone; the order of removals."""
    model, gone = q.model, []

    def run(dropped):
        out = {t for u in dropped for t in units[u].tokens}
        return logits(model, [i for s, i in enumerate(q.ids) if s not in out])

    answer = int(run([]).argmax())
    while len(gone) < len(units) - 1:
        options = [u for u in range(len(units)) if u not in gone and int(run([*gone, u]).argmax()) == answer]
        if not options:
            break
        gone.append(max(options, key=lambda u: float(run([*gone, u]).log_softmax(-1)[answer])))
    return gone


@pytest.mark.parametrize("seed", range(4))
def test_reduction_is_the_slow_greedy_one(seed):
    q = ask(load(tiny("bert", "sequence", seed=seed)), TEXT)
    units = q.units("word")
    gone = greedy(q, units)
    found = InputReduction().attribute(q, units)
    order = np.argsort(found.total)[: len(gone)]
    assert order.tolist() == gone
    assert sorted(found.total) == pytest.approx((1 + np.arange(len(units))) / len(units))
    assert all(c.passed for c in found.checks)


def test_reduction_gives_up_what_speaks_against_first():
    q = ask(additive(), TEXT, "yes")
    units = q.units("word")
    w = np.array([weights_of(q.model, q.ids)[list(u.tokens)].sum() for u in units])
    sign = 1 if w.sum() > 0 else -1
    assert (np.argsort(InputReduction().attribute(q, units).total) == np.argsort(sign * w)).all()


def test_wider_beams_reduce_at_least_as_far_and_each_is_irreducible():
    lengths = {}
    for width in (1, 4):
        for seed in range(5):
            q = ask(load(tiny("bert", "sequence", seed=seed)), TEXT)
            r = explain(InputReduction(beam_width=width), q)
            kept = r.notes[-1].split("(")[1].split(" ")[0]
            lengths[width, seed] = int(kept)
            assert r.cost.forwards <= InputReduction(beam_width=width).estimate(len(r.units), 1)[0] + 6
    assert all(lengths[4, s] <= lengths[1, s] for s in range(5))


def test_reduction_keeps_the_prediction_not_the_target_and_says_so():
    q = ask(load(tiny("bert", "sequence")), TEXT)
    other = ask(q.model, TEXT, (q.branches[0].rows[0].id + 1) % 3)
    same, found = (InputReduction().attribute(x, x.units("word")) for x in (q, other))
    assert np.array_equal(same.total, found.total)
    assert "not the target" in found.notes[-1]
    assert len(same.notes) == 1


@pytest.mark.parametrize("removal", ["delete", "mask", "pad", "unk"])
def test_reduction_by_every_operator_and_on_a_language_model(removal):
    r = explain(InputReduction(removal=removal), ask(load(tiny("bert", "sequence")), TEXT))
    assert all(c.passed for c in r.checks)
    r = explain(InputReduction(), ask(load(tiny("gpt2")), TEXT, " were kind"), prefix=True)
    assert "first output" in r.notes[-1]


# ---- input marginalisation -------------------------------------------------------------------------------------------


def test_marginalisation_of_a_masked_model_is_the_slow_sum():
    model = load(tiny("bert", "masked"))
    q = ask(model, "the food was [MASK] good", Target(scale="logprob"))
    units, goal = q.units("token"), q.branches[0].rows[0]
    at, method = goal.position, InputMarginalisation(threshold=0.004, max_candidates=1000)
    p_whole = float(logits(model, q.ids)[at].softmax(-1)[goal.id])
    special, want = set(model.tokenizer.all_special_ids), []
    for u in units:
        place, masked = u.tokens[0], q.ids.copy()
        masked[place] = model.tokenizer.mask_token_id
        prior = logits(model, masked)[place].softmax(-1).numpy()
        total = mass = 0.0
        for v in range(len(prior)):
            if prior[v] >= 0.004 and v not in special:
                text = q.ids.copy()
                text[place] = v
                total += prior[v] * float(logits(model, text)[at].softmax(-1)[goal.id])
                mass += prior[v]
        p = total / mass
        want.append(np.log(p_whole / (1 - p_whole)) - np.log(p / (1 - p)))
    assert method.attribute(q, units).total == pytest.approx(np.array(want), abs=1e-4)


def test_marginalisation_of_two_tokens_is_the_joint_sum():
    """A causal model: p(v1) p(v2 | v1), every pair tried."""
    model = load(tiny("gpt2"))
    q = ask(model, "the dog saw", " a")
    i, j = 1, 2
    unit = Unit("", (i, j))
    special = model.tokenizer.all_special_ids
    rows, p = [], []
    first = logits(model, q.ids)[i - 1].softmax(-1).numpy()
    for v in np.argsort(-first)[:12]:
        text = q.ids.copy()
        text[i] = v
        second = logits(model, text)[i].softmax(-1).numpy()
        for u in np.argsort(-second)[:200]:
            rows.append((v, u))
            p.append(first[v] * second[u])
    keep = [k for k in np.argsort(-np.array(p)) if not {*rows[k]} & {*special}][:8]
    texts, log_p, share = InputMarginalisation(threshold=0.0, max_candidates=5000)._candidates(q, model, unit)
    assert np.exp(log_p).sum() == pytest.approx(1)
    assert 0.8 < share < 1
    assert [tuple(t[[i, j]]) for t in texts[:8]] == [tuple(rows[k]) for k in keep]
    assert np.exp(log_p[:8]) * share == pytest.approx(np.array(p)[keep], rel=1e-4)


def test_marginalisation_of_a_classifier_by_a_model_on_disk(tmp_path):
    module, tokenizer = tiny("bert", "masked", seed=3)
    module.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    q = ask(load(tiny("bert", "sequence")), "the food was good")
    r = explain(InputMarginalisation(infill=str(tmp_path)), q)
    assert np.isfinite(r.total).all()
    assert np.abs(r.total).max() > 1e-3
    r = explain(Inlier(judge=str(tmp_path), n_samples=30), q)
    assert np.isfinite(r.total).all()
    other = ask(load(tiny("roberta", "sequence")), "the food was good")
    for method in (InputMarginalisation(infill=str(tmp_path)), Inlier(judge=str(tmp_path))):
        with pytest.raises(ModelError, match="tokenizers differ"):
            explain(method, other)


def test_a_unit_that_nothing_depends_on_scores_zero():
    """The planted masked model below answers from one token only; whatever stands elsewhere changes nothing."""
    model = load(tiny("gpt2"))
    q = ask(
        model,
        "the dog saw",
        " a small",
    )
    units = q.units("word", prefix=True)
    found = InputMarginalisation(max_candidates=10).attribute(q, units)
    assert (found.each[~q.available(units)] == 0).all()
    assert np.abs(found.each[q.available(units)]).min() > 0


def test_contrast_is_the_log_ratio_and_entropy_is_refused():
    model = load(tiny("gpt2"))
    q = ask(model, "the dog saw", Target(kind="next", label=5, against=9))
    units = q.units("token")
    swapped = ask(model, "the dog saw", Target(kind="next", label=9, against=5))
    one, two = (InputMarginalisation(max_candidates=10).attribute(x, units).total for x in (q, swapped))
    assert one == pytest.approx(-two, abs=1e-6)
    with pytest.raises(TargetError, match="entropy"):
        InputMarginalisation().attribute(ask(model, "the dog saw", "entropy"), units)


def test_log_odds():
    p = np.array([1e-9, 0.3, 0.5, 1 - 1e-9])
    assert log_odds(np.log(p)) == pytest.approx(np.log(p / (1 - p)), rel=1e-6)
    assert np.isfinite(log_odds(np.zeros(1))).all()
    assert log_odds(np.log(p), np.log(p[::-1])) == pytest.approx(np.log(p / p[::-1]))


# ---- inlier weights --------------------------------------------------------------------------------------------------


def test_naturalness_is_the_slow_mean_log_probability():
    model = load(tiny("gpt2"))
    ids = ask(model, TEXT, " a").ids
    log = logits(model, ids).log_softmax(-1).numpy()
    want = np.mean([log[i - 1, ids[i]] for i in range(1, len(ids))])
    q = ask(model, TEXT, " a")
    assert naturalness(model, [ids, ids[:1]], q.meter)[0] == pytest.approx(want, abs=1e-5)

    model = load(tiny("bert", "masked"))
    ids = np.array(model.tokenizer(TEXT)["input_ids"])
    places, logs = list(range(1, len(ids) - 1)), []
    for fold in range(4):
        text = ids.copy()
        text[places[fold::4]] = model.tokenizer.mask_token_id
        logs += [float(logits(model, text).log_softmax(-1)[p, ids[p]]) for p in places[fold::4]]
    assert naturalness(model, [ids], q.meter)[0] == pytest.approx(np.mean(logs), abs=1e-5)


def test_inlier_weights_move_the_scores_and_vanish_with_temperature():
    q = ask(load(tiny("bert", "sequence")), TEXT)
    units = q.units("word")
    flat, sharp = (Inlier(temperature=t).attribute(q, units) for t in (1e9, 0.02))
    assert flat.checks[0].value == pytest.approx(256, rel=1e-6)
    assert sharp.checks[0].value < 200
    assert np.abs(flat.total - sharp.total).max() > 1e-3


# ---- context citation ------------------------------------------------------------------------------------------------

DOCUMENTS = tuple(
    Segment(text=t + " ", role="document") for t in ("the old house", "a good cat", "paris is", "the river")
)


def test_documents_of_an_additive_box_are_cited_exactly():
    """Log-odds of sigmoid(sum of weights) are the sum of weights; the question, no document, is never left out."""
    request = Text.of_segments(*DOCUMENTS, Segment(text="who was not good", role="question"))
    q = ask(additive(), request, "yes")
    units = q.units("segment")
    w = weights_of(q.model, q.ids)
    want = np.array([w[list(u.tokens)].sum() for u in units])
    want[-1] = 0
    found = ContextCite(alpha=0.0).attribute(q, units)
    assert found.total == pytest.approx(want, abs=1e-3)
    assert "All 16 combinations" in found.notes[-1]
    assert found.checks == ()


def test_lasso_drops_what_matters_little_and_the_fit_is_tested_on_unseen_ablations():
    q = ask(additive(), TEXT, "yes")
    units = q.units("word")
    w = np.array([weights_of(q.model, q.ids)[list(u.tokens)].sum() for u in units])
    found = ContextCite(alpha=0.3).attribute(q, units)
    assert 0 < (found.total == 0).sum() < len(units)
    assert (np.sign(found.total) == np.sign(w))[found.total != 0].all()
    exact = ContextCite(alpha=0.0).attribute(q, units)
    assert [c.value for c in exact.checks] == pytest.approx([1, 1], abs=1e-3)
    assert all(c.passed for c in exact.checks)


def test_held_out_ablations_were_never_fitted():
    keep, held = ablations(np.random.default_rng(0), 7, 60, 16)
    assert keep.shape == (60, 7)
    assert 0 < len(held) <= 16
    assert not {r.tobytes() for r in keep} & {r.tobytes() for r in held}
    keep, held = ablations(np.random.default_rng(0), 5, 32, 16)
    assert len({r.tobytes() for r in keep}) == 32
    assert len(held) == 0


def test_a_poor_fit_fails_its_check():
    """Parity of the sources: no linear model predicts it."""
    from exegete.methods.attribution.context_cite import _fit_checks

    rng = np.random.default_rng(1)
    fit, rank = _fit_checks(rng.normal(size=40), rng.normal(size=40))
    assert not fit.passed
    assert not rank.passed


def test_unknown_role_is_refused():
    q = ask(additive(), Text.of_segments(*DOCUMENTS), "yes")
    with pytest.raises(UsageError, match="document"):
        ContextCite(role="source").attribute(q, q.units("segment"))


def test_context_of_a_continuation_and_of_a_contrast():
    q = ask(load(tiny("gpt2")), "the dog saw. a cat ran. we left", " and then")
    r = explain(ContextCite(n_ablations=4, n_held_out=4), q, "sentence")
    assert r.scores.shape == (q.n_outputs, 3)
    assert np.isfinite(r.scores).all()
    q = ask(load(tiny("gpt2")), "the dog saw. a cat ran. we left", Target(label=" and then", against=" or"))
    assert np.isfinite(explain(ContextCite(), q, "sentence").total).all()
