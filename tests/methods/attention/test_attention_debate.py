"""The debate on models where the answer is known: attention that cannot matter, and attention that is all there is."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from exegete.core.errors import UsageError
from exegete.core.method import method_of
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.methods.attention.attention_baselines import frozen
from exegete.methods.attention.attention_erasure import erasing, flip
from exegete.methods.attention.bench import benches, deleted, gradients, probabilities
from exegete.methods.attention.polarity_violation import rollout
from exegete.models.capture import run
from exegete.models.edit import Scale
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.divergence import jsd, tvd
from exegete.ops.reattend import erased, shuffled, uniform
from support.looking import LOOK, looked_at, looking

FAMILIES = (
    ("gpt2", "causal"),
    ("bert", "sequence"),
    ("bert", "masked"),
    ("gemma2", "causal"),
    ("t5", "token"),
    ("albert", "token"),
)


def seen_of(model, texts):
    """The texts as the debate reads them."""
    return benches(Lab(model), texts, Target())[0]


def some(family, task):
    model = load(tiny(family, task))
    mask = f" {model.tokenizer.mask_token}" if task == "masked" else ""
    return seen_of(model, [Text(text=t + mask) for t in ("the small dog saw a bird", "a cat sat on the mat")])


# ---- arithmetic ------------------------------------------------------------------------------------------------------


def patterns(seed=0, causal=True):
    draw = torch.Generator().manual_seed(seed)
    visible = torch.ones(5, 5, dtype=torch.bool).tril() if causal else torch.ones(5, 5, dtype=torch.bool)
    scores = torch.randn(2, 3, 5, 5, generator=draw).masked_fill(~visible, -torch.inf)
    return scores.softmax(-1), visible.expand(2, 3, 5, 5)


def test_divergences_against_scipy_and_their_bounds():
    p, q = torch.rand(6, 9).softmax(-1).double(), (3 * torch.rand(6, 9)).softmax(-1).double()
    assert np.allclose(jsd(p, q), [jensenshannon(a, b) ** 2 for a, b in zip(p, q)], atol=1e-9)
    assert np.allclose(
        tvd(p, q), [sum(abs(x - y) for x, y in zip(a, b)) / 2 for a, b in zip(p.tolist(), q.tolist())]
    )
    eye = torch.eye(2)
    assert float(jsd(eye[0], eye[1])) == pytest.approx(math.log(2), abs=1e-6)
    assert float(tvd(eye[0], eye[1])) == 1.0
    assert float(jsd(p[0], p[0])) < 1e-9
    # an entry of 0 passes a finite gradient
    x = torch.tensor([0.0, 0.0], requires_grad=True)
    row = torch.tensor([0.0, -torch.inf]) + x
    jsd(row.softmax(-1), torch.tensor([0.5, 0.5])).backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("causal", [True, False])
def test_shuffled_rows_hold_the_same_weights_among_visible_keys(causal):
    pattern, visible = patterns(causal=causal)
    new = shuffled(pattern, visible, torch.rand(pattern.shape))
    assert (new[~visible] == 0).all()
    assert torch.equal(new.sort(-1).values, pattern.masked_fill(~visible, 0).sort(-1).values)
    assert not torch.equal(new, pattern)
    # every key gets every weight as often: 3 visible keys, 6 orders
    counts = [
        tuple(
            shuffled(pattern[:1, :1], visible[:1, :1], torch.rand(1, 1, 5, 5))[0, 0, 2, :3].argsort().tolist()
        )
        for _ in range(300)
    ]
    assert len(set(counts)) == 6
    assert min(counts.count(c) for c in set(counts)) > 20


def test_uniform_and_erased_against_loops():
    pattern, visible = patterns()
    gone = torch.tensor([True, False, True, False, False])
    new = erased(pattern, visible, gone)
    for b in range(2):
        for h in range(3):
            for i in range(5):
                kept = {j: float(pattern[b, h, i, j]) for j in range(i + 1) if not gone[j] or j == i}
                for j in range(5):
                    assert float(new[b, h, i, j]) == pytest.approx(
                        kept.get(j, 0.0) / sum(kept.values()), abs=1e-6
                    )
    assert torch.allclose(uniform(visible)[0, 0, 2], torch.tensor([1 / 3, 1 / 3, 1 / 3, 0, 0]))
    # a query whose every weight is erased looks at itself
    sharp = torch.zeros(1, 1, 5, 5)
    sharp[..., 0] = 1.0
    assert torch.equal(erased(sharp, visible[:1, :1], gone)[0, 0, 3], torch.eye(5)[3])


# ---- the bench -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "task"), FAMILIES)
def test_deletion_is_reading_the_text_without_the_token(family, task):
    for text in some(family, task):
        _, outs = deleted(text)
        ids = text.aim.inputs["input_ids"][0].tolist()
        for row, j in enumerate(np.flatnonzero(text.words)):
            logits = text.lab.model.module(input_ids=torch.tensor([ids[:j] + ids[j + 1 :]])).logits[0]
            at = text.aim.rows[0][0].position
            logits = logits if at is None else logits[at - (at > j)]
            assert torch.allclose(outs[row, 0], logits.double().softmax(-1), atol=1e-5)


@pytest.mark.parametrize(("family", "task"), FAMILIES)
def test_own_attention_put_back_changes_nothing_and_resuming_agrees(family, task):
    text = some(family, task)[0]
    same = text.outputs(text.set_patterns(text.pattern[None].expand(2, -1, -1, -1, -1)), 2)
    assert torch.allclose(same, text.out.expand_as(same), atol=1e-5)
    last = text.n_layers - 1
    zero = {text.sites("pattern")[last]: Scale(0.0)}
    assert torch.allclose(text.outputs(zero, 2, last), text.outputs(zero, 2), atol=1e-5)
    assert not torch.allclose(text.outputs(zero, 2), text.out.expand_as(same), atol=1e-5)


@pytest.mark.parametrize(("family", "task"), FAMILIES[:4])
def test_uniform_attention_is_attention_without_scores(family, task):
    """Scores times 0 give every visible key the same weight: the model's own softmax is the other implementation."""
    text = some(family, task)[0]
    new = uniform(text.visible, text.pattern.dtype)
    ours = text.outputs(text.set_patterns(new[None]), 1)
    t = run(
        text.lab.model,
        text.aim.inputs,
        edit={s: (lambda x: x.masked_fill(torch.isfinite(x), 0.0)) for s in text.sites("scores")},
    )
    assert torch.allclose(ours[0], probabilities(text.aim, t.logits)[0], atol=1e-5)


def test_gradients_of_patterns_against_finite_differences():
    text = some("gpt2", "causal")[0]
    _, slope = gradients(text)
    last = len(text.pattern) - 1
    for h, j in ((0, 1), (3, 2)):
        ends = []
        for sign in (1, -1):
            moved = text.pattern.clone()
            moved[last, h, text.rows[0], j] += sign * 1e-2
            t = run(
                text.lab.model,
                text.aim.inputs,
                edit={text.sites("pattern")[last]: (lambda _, m=moved: m[last][None])},
            )
            ends.append(float(text.aim.measure(t.logits)[0]))
        assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(
            float(slope[last, h, text.rows[0], j]), rel=0.02, abs=1e-3
        )


def test_rollout_against_a_loop():
    text = some("bert", "sequence")[0]
    whole = np.eye(text.length)
    for layer in text.pattern.double().mean(1).numpy():
        whole = (0.5 * np.eye(text.length) + 0.5 * layer) @ whole
    assert np.allclose(rollout(text), whole[text.rows[0]])


# ---- attention that is all there is, and attention that cannot matter --------------------------------------------------


def test_the_planted_model_looks_where_it_was_told():
    for text in seen_of(looking(), looked_at()):
        ids = text.aim.inputs["input_ids"][0].tolist()
        assert text.weights()[ids.index(LOOK)] > 0.99
        assert text.label == 1


def test_permutation_moves_only_what_attention_carries():
    matters = method_of("attention_permutation", {"n_permutations": 20})(looking(), looked_at())
    cannot = method_of("attention_permutation", {"n_permutations": 20})(looking("same"), looked_at())
    assert matters.tvd.min() > 0.5
    assert cannot.tvd.max() < 1e-5
    assert matters.trust.scores[0].beats_control
    assert not cannot.trust.scores[0].beats_control
    assert "no more than" in cannot.lede
    # one layer: shuffling it alone is shuffling all
    assert np.allclose(matters.layer_tvd[:, 0], matters.tvd)


def test_permutation_of_chosen_heads_leaves_the_others():
    model = load(tiny("bert", "sequence"))
    none = method_of("attention_permutation", {"n_permutations": 3, "layers": (1,), "heads": (2,)})(
        model, looked_at(2)
    )
    assert none.layer_tvd.shape == (2, 1)
    with pytest.raises(UsageError, match="Count from 0 to 3"):
        method_of("attention_permutation", {"heads": (4,)})(model, looked_at(2))


def test_erasure_flips_with_the_one_token_that_is_looked_at():
    found = method_of("attention_erasure")(looking(), looked_at())
    lengths = np.array([len(t.ids) for t in looked_at()])
    assert np.allclose(found.fraction[0], 1 / lengths)
    assert found.trust.scores[0].beats_control
    cannot = method_of("attention_erasure")(looking("same"), looked_at())
    assert (cannot.never == 1).all()
    assert (cannot.fraction == 1).all()
    assert not cannot.trust.scores[0].beats_control


def test_the_flip_is_that_of_single_forwards():
    text = some("bert", "sequence")[0]
    order = np.flatnonzero(text.words)
    said = []
    for size in range(1, len(order) + 1):
        gone = torch.zeros(1, text.length, dtype=torch.bool)
        gone[0, order[:size].tolist()] = True
        said.append(int(text.outputs(erasing(text, gone), 1)[0, 0].argmax()))
    turned = [i for i, s in enumerate(said) if s != text.label]
    assert flip(text, order) == ((turned[0] + 1) / len(order) if turned else 2.0)


def test_the_adversary_is_free_only_where_attention_does_not_matter():
    free = method_of("adversarial_attention")(looking("same"), looked_at())
    bound = method_of("adversarial_attention")(looking(), looked_at())
    for found in (free, bound):
        assert (found.tvd <= found.eps).all()
        assert (found.jsd <= math.log(2) + 1e-6).all()
        assert found.checks[1].passed
    assert free.jsd.min() > 0.5
    assert bound.jsd.max() < 0.15
    assert "100%" in free.lede


def test_the_adversary_beats_random_search_where_there_is_room():
    """Two keys of equal value: weight may move between them at no cost, and only gradients find it."""
    model, texts = looking(strength=0.0), looked_at(2)
    found = method_of("adversarial_attention", {"eps": 0.01})(model, texts)
    assert (found.jsd > found.random_jsd).all()
    assert found.random_tvd.max() > 0.1


def test_baselines_flip_what_attention_decides():
    found = method_of("attention_baselines")(looking(), looked_at(6))
    assert (found.flipped[0] == 1).all()
    assert (method_of("attention_baselines")(looking("same"), looked_at(6)).changed < 1e-5).all()


def test_frozen_attention_against_a_loop():
    seen = some("bert", "sequence")
    n = min(s.length for s in seen)
    other = seen[1].pattern[..., :n, :n]
    mine = frozen(seen, 0)[..., :n, :n]
    assert torch.allclose(mine, other / other.sum(-1, keepdim=True), atol=1e-6)


def test_another_checkpoint_that_is_the_same_attends_the_same():
    model = load("terrarium/sentiment")
    texts = [Text(text=t) for t in ("the film was not good", "a dull story, badly told")]
    found = method_of("attention_baselines", {"others": ("terrarium/sentiment",)})(model, texts)
    assert found.between.max() < 1e-9
    assert found.twin.min() > 1e-3
    with pytest.raises(UsageError, match="different vocabularies"):
        method_of("attention_baselines", {"others": ("terrarium/sentiment",)})(
            load(tiny("bert", "sequence")), texts
        )


def test_polarity_is_kept_by_the_planted_model_and_broken_by_the_opposite():
    kept = method_of("polarity_violation")(looking(), looked_at())
    assert (kept.violated[0] == 0).all()
    assert (kept.effect[0] > 0).all()
    broken = method_of("polarity_violation")(
        looking(), looked_at(), "0"
    )  # the class that LOOK speaks against
    assert (broken.violated[0] == 1).all()


def test_the_debate_says_no_where_attention_cannot_matter():
    light = {"n_permutations": 5, "n_steps": 15, "n_draws": 2}
    cannot = method_of("attention_debate", light)(looking("same"), looked_at(6))
    assert cannot.verdict.startswith("Attention should not")
    assert "yes" not in cannot.answers
    matters = method_of("attention_debate", light)(looking(), looked_at(6))
    answers = dict(zip(matters.questions, matters.answers))
    assert answers["Does shuffled attention change the output?"] == "yes"
    assert answers["Is it the only attention with this output?"] == "yes"
    assert answers["Is learned attention needed, rather than a uniform one?"] == "yes"
    assert not matters.verdict.startswith("Attention should not")


def test_texts_too_short_to_rank_are_counted():
    found = method_of("attention_erasure")(looking(), [*looked_at(2), Text(ids=(LOOK,))])
    assert found.trust.scores[0].n == 2
    assert found.trust.scores[0].n_failed == 1
