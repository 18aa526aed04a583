"""Stability metrics: each formula against a plain loop and by hand, theorems on models whose answer is known, the suite around them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from exegete.core.errors import UsageError
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.core.text import Unit
from exegete.core.text import words as words_of
from exegete.evaluate.again import Again, Made
from exegete.evaluate.changes import Nudge, Padding, Seeds, Subject
from exegete.evaluate.contract import Pairing, StabilityMetric, judge_of
from exegete.evaluate.rewordings import Insertion, Piece, Reorder, Rewrite, Synonyms, aligned, matched
from exegete.evaluate.stability.local_lipschitz import LocalLipschitz
from exegete.evaluate.stability.max_sensitivity import MaxSensitivity
from exegete.evaluate.stability.order_map import OrderMap
from exegete.evaluate.stability.paraphrase_stability import ParaphraseStability
from exegete.evaluate.stability.relative_input_stability import RelativeInputStability
from exegete.evaluate.stability.relative_output_stability import RelativeOutputStability
from exegete.evaluate.stability.seed_stability import SeedStability
from exegete.evaluate.stability.top_k_jaccard import TopKJaccard
from exegete.evaluate.suite import evaluate
from exegete.methods.attribution.input_x_gradient import InputXGradient
from exegete.methods.attribution.kernel_shap import KernelShap
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.attribution.saliency import Saliency
from exegete.methods.contracts.attribution import Scores
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.planted import additive, some_ids, weights_of

OWN = np.array([[0.5, -0.2, 0.1, 0.0], [0.4, 0.3, 0.2, 0.1]])
OTHER = np.array([[0.4, -0.1, 0.3, 0.1], [0.1, 0.2, 0.3, 0.4]])
PAIR = Pairing(OWN, OTHER, 0.5, 0.25, 2.0)
ALL = (
    "seed_stability", "top_k_jaccard", "max_sensitivity", "local_lipschitz", "relative_input_stability", "relative_output_stability",
    "paraphrase_stability", "reorder_stability", "padding_stability", "order_map",
)  # fmt: skip


class Dice(Occlusion):
    """Random scores that look at nothing but a counter."""

    id: ClassVar[str] = "dice"
    thrown: ClassVar[list[int]] = [0]

    def attribute(self, q, units):
        self.thrown[0] += 1
        return Scores(total=np.random.default_rng(self.thrown[0]).normal(size=len(units)))


class Length(Occlusion):
    """Scores a unit by its length, whatever the model."""

    id: ClassVar[str] = "length"

    def attribute(self, q, units):
        return Scores(total=np.array([len(u.text) + 0.01 * sum(map(ord, u.text)) for u in units]))


class ByPlace(Occlusion):
    """Scores a unit by its place: the opposite of stable where words move."""

    id: ClassVar[str] = "place"

    def attribute(self, q, units):
        return Scores(total=np.arange(len(units), dtype=float))


def cell(table, method, metric):
    return table.trusts[table.methods.index(method)].scores[table.metrics.index(metric)]


# ---- formulas ---------------------------------------------------------------------------------------------------------


def test_by_hand():
    assert MaxSensitivity().score_pairing(PAIR)[0] == pytest.approx(
        (0.01 + 0.01 + 0.04 + 0.01) ** 0.5 / 0.3**0.5
    )
    assert LocalLipschitz().score_pairing(PAIR)[0] == pytest.approx(0.07**0.5 / 0.5)
    relative = (0.2**2 + 0.5**2 + 2.0**2 + (0.1 / 1e-6) ** 2) ** 0.5  # a score of zero is divided by eps
    assert RelativeInputStability(log=False).score_pairing(PAIR)[0] == pytest.approx(relative / 0.25)
    assert RelativeOutputStability(log=False).score_pairing(PAIR)[0] == pytest.approx(relative / 2.0)
    assert RelativeOutputStability().score_pairing(PAIR)[0] == pytest.approx(np.log10(relative / 2.0))
    # strongest two by size: units 0, 1 against 0, 2
    assert TopKJaccard(k=2).score_pairing(PAIR)[0] == pytest.approx(1 / 3)
    # orders 0 2 3 1 and 0 2 3 1
    assert OrderMap().score_pairing(PAIR)[0] == pytest.approx(1.0)
    # orders 0 1 2 3 and 3 2 1 0: shared 0, 0, 2, 4
    assert OrderMap().score_pairing(PAIR)[1] == pytest.approx((0 + 0 + 2 / 3 + 1) / 4)
    assert SeedStability().score_pairing(PAIR)[1] == pytest.approx(-1)


def slow_map(own, other):
    a, b = np.argsort(-own, kind="stable").tolist(), np.argsort(-other, kind="stable").tolist()
    return np.mean([sum(x in a[:i] for x in b[:i]) / i for i in range(1, len(a) + 1)])


def slow_jaccard(own, other, k):
    a, b = (set(np.argsort(-np.abs(x), kind="stable")[:k].tolist()) for x in (own, other))
    return len(a & b) / len(a | b)


def test_against_plain_loops():
    rng = np.random.default_rng(0)
    own, other = rng.normal(size=(2, 6, 7)).round(1)
    pair = Pairing(own, other, 1, 1, 1)
    np.testing.assert_allclose(OrderMap().score_pairing(pair), [slow_map(a, b) for a, b in zip(own, other)])
    np.testing.assert_allclose(
        TopKJaccard().score_pairing(pair), [slow_jaccard(a, b, 3) for a, b in zip(own, other)]
    )


def test_worst_or_mean_over_changed_texts():
    far = Pairing(OWN, OTHER + 1, 0.5, 0.25, 2.0)
    one, two = (MaxSensitivity().score_pairing(p) for p in (PAIR, far))
    np.testing.assert_allclose(MaxSensitivity().score_pairings([PAIR, far]), np.maximum(one, two))
    maps = [OrderMap().score_pairing(p) for p in (PAIR, Pairing(OTHER, OTHER))]
    np.testing.assert_allclose(
        OrderMap().score_pairings([PAIR, Pairing(OTHER, OTHER)]), np.mean(maps, axis=0)
    )
    assert np.isnan(OrderMap().score_pairings([])).all()
    assert np.isnan(SeedStability().score_pairings([Pairing(np.ones((1, 4)), OWN[:1])])).all()


# ---- theorems on the additive model: one weight a token ------------------------------------------------------------------


def near(model, ids, method, metric):
    """The metric of a method on one text of ids."""
    table = evaluate(
        model,
        Text(ids=ids),
        [method],
        [metric],
        Target(label="yes", scale="logit"),
        unit="token",
        trust="fast",
    )
    return cell(table, method.id, metric.id).value


def test_gradients_of_a_linear_model_do_not_move():
    model = additive()
    ids = some_ids(model, 7, 1)
    method = Saliency()
    assert near(model, ids, method, LocalLipschitz()) == pytest.approx(0, abs=1e-6)
    assert near(model, ids, method, MaxSensitivity()) == pytest.approx(0, abs=1e-6)


def test_input_x_gradient_of_a_linear_model_moves_as_its_text_does():
    """e(x) = x where the model is the sum of its inputs: Lipschitz 1, RIS 1, relative change the radius."""
    model = additive()
    ids = some_ids(model, 7, 1)
    assert near(model, ids, InputXGradient(), LocalLipschitz()) == pytest.approx(1, abs=1e-4)
    assert near(model, ids, InputXGradient(), MaxSensitivity(radius=0.03)) == pytest.approx(0.03, abs=1e-4)
    assert near(model, ids, InputXGradient(), RelativeInputStability()) == pytest.approx(0, abs=1e-4)
    # 7 tokens each moved by 3 % of themselves; the logit moves by the sum of these steps, at least once in 4 by less than all
    ros = 10 ** near(model, ids, InputXGradient(), RelativeOutputStability(radius=0.03))
    w = weights_of(model, np.array(ids))
    assert ros >= 0.03 * 7**0.5 / (0.03 * np.abs(w).sum()) - 1e-4


def test_occlusion_sees_the_same_nearby_text():
    """Removal by deletion shifts places; the nudge belongs to tokens, so it stays with them."""
    model = additive()
    ids = some_ids(model, 7, 1)
    for removal in ("mask", "delete"):
        assert near(model, ids, Occlusion(removal=removal), LocalLipschitz()) == pytest.approx(1, abs=1e-3)


def test_a_nudge_is_taken_back_and_moves_what_it_says():
    model = load(tiny("bert", "sequence"))
    q = ask(model, "the food was good")
    before = q.embeddings()
    subject = Subject(Text(text="the food was good"), q, q.units("word"), Target())
    for again in Nudge(2, 0.1).repeats(subject, np.random.default_rng(0)):
        with again.around(model):
            step = again.question.embeddings() - before
        words = [i for u in again.units for i in u.tokens]
        np.testing.assert_allclose((step.norm(dim=1) / before.norm(dim=1))[words].numpy(), 0.1, rtol=1e-4)
        rest = [i for i in range(len(q.ids)) if i not in words]
        assert float(step[rest].abs().max()) == 0
    assert torch.equal(q.embeddings(), before)


# ---- changed words -------------------------------------------------------------------------------------------------------


def said(pieces):
    return "".join(p.text for p in pieces)


def test_clauses_change_places():
    rng = np.random.default_rng(0)
    for text, other in (
        ("the food was bad but the staff were kind", "the staff were kind but the food was bad"),
        ("It rained. We left.", "We left. It rained."),
        ("the room was small , dirty and cold .", "cold and the room was small , dirty ."),
    ):
        made = [said(p) for p in Reorder().rewritten(text, rng)]
        assert other in made
        for p in Reorder().rewritten(text, rng)[0]:
            assert text[p.start : p.end] == p.text
    assert Reorder().rewritten("the food was bad", rng) == []


def test_words_are_put_in_and_exchanged():
    rng = np.random.default_rng(0)
    text = "The movie was great"
    for pieces in Insertion(neutral=("also",)).rewritten(text, rng):
        assert sorted(said(pieces).split()) == sorted([*text.split(), "also"])
        assert not said(pieces).startswith("also")
    assert next(said(p) for p in Synonyms().rewritten(text, rng)) == "The film was wonderful"
    assert {said(p) for p in Synonyms().rewritten("Great", rng)} == {"Wonderful"}
    assert Synonyms().rewritten("we sat", rng) == []


def units_at(text):
    return tuple(Unit(text[a:b], (i,), a, b) for i, (a, b) in enumerate(words_of(text)))


def test_units_are_matched_by_what_they_hold():
    old, new = "a big dog ran home", "home ran a really huge dog"
    groups = matched(units_at(old), units_at(new), aligned(old, new), old)
    names = [([units_at(old)[i].text for i in a], [units_at(new)[i].text for i in b]) for a, b in groups]
    assert (["a"], ["a"]) in names
    assert (["dog"], ["dog"]) in names
    assert not any("huge" in b or "really" in b for _, b in names)
    # one word for two: they stand for each other as a group, and scores are summed
    pieces = [Piece("a ", 0, 2), Piece("very large", 2, 5), Piece(" dog ran home", 5, 18)]
    groups = matched(units_at(old), units_at(said(pieces)), pieces, old)
    assert groups[1] == ((1,), (1, 2))
    assert [len(g[0]) for g in groups] == [1] * 5


# ---- the suite -------------------------------------------------------------------------------------------------------------


TEXTS = [
    "the food was good but the staff were rude",
    "we sat on the mat and the cat was big",
    "a long evening",
]


@pytest.fixture(scope="module")
def model():
    return load(tiny("bert", "sequence"))


@pytest.fixture(scope="module")
def table(model):
    return evaluate(model, TEXTS, [Length(), Dice(), "occlusion"], ALL, n_random=40, seed=1)


def test_what_looks_at_nothing_is_stable_and_dice_stand_at_chance(table):
    for metric in ("seed_stability", "padding_stability"):
        assert cell(table, "length", metric).value == pytest.approx(1)
        assert cell(table, "occlusion", metric).value == pytest.approx(1, abs=0.02)
        assert abs(cell(table, "dice", metric).value - cell(table, "dice", metric).chance) < 0.4
    assert cell(table, "length", "max_sensitivity").value == 0
    assert cell(table, "length", "order_map").value > 0.8
    assert 25 < np.mean([cell(table, "dice", m).percentile for m in ALL]) < 75
    assert 25 < np.mean([cell(table, "random", m).percentile for m in ALL]) < 75
    assert cell(table, "length", "max_sensitivity").beats_chance
    assert (
        cell(table, "length", "max_sensitivity").beats_control is False
    )  # and nothing is learnt of the model
    assert any("Stability alone says nothing" in n for n in table.notes)


def test_what_cannot_be_changed_is_told(table):
    assert (
        cell(table, "occlusion", "reorder_stability").n
        + cell(table, "occlusion", "reorder_stability").n_failed
        == 3
    )
    assert cell(table, "occlusion", "reorder_stability").n_failed >= 1
    assert any("other order of clauses does not count" in n for n in table.notes)


def test_the_control_explains_the_same_changed_texts_on_the_twin(table):
    for metric in ALL:
        score = cell(table, "occlusion", metric)
        assert score.control is not None, metric
        assert score.control_name == "randomised weights"


def test_place_is_not_meaning(model):
    table = evaluate(model, TEXTS[:1], [ByPlace()], ["reorder_stability"], trust="fast")
    assert cell(table, "place", "reorder_stability").value < 0


def test_seeds_differ_only_where_there_is_a_seed(model):
    table = evaluate(model, TEXTS[:1], [KernelShap(n_samples=16)], [SeedStability()], trust="fast")
    assert cell(table, "kernel_shap", "seed_stability").value < 1


def test_metrics_share_what_is_explained_again(model):
    cost = [
        evaluate(model, TEXTS[:1], ["occlusion"], metrics, trust="fast").cost.forwards
        for metrics in (
            ["max_sensitivity"],
            ["max_sensitivity", "local_lipschitz", "relative_input_stability", "relative_output_stability"],
        )
    ]
    assert cost[0] == cost[1]


def test_answers_that_change_do_not_count():
    """A text at the boundary: a nudge turns the answer now and then, and that is told."""
    ids = some_ids(additive(), 4, 0)
    model = additive(weights=dict(zip(ids, (1.0, -1.0, 0.5, -0.499))))
    q = ask(model, Text(ids=ids), Target(label="yes"))
    units = q.units("token")
    subject = Subject(Text(ids=ids), q, units, Target(label="yes"), "token")
    again = Again(subject, [Made(0, "length", np.arange(4.0), None, Length())], None)
    own, _ = again.pairings(Nudge(12, 0.2), 0)
    turned = sum("answer changes" in t for t in again.told)
    assert len(own) + turned == 12
    assert 0 < turned < 12
    assert again.pairings(Insertion(), 0) == ([], [])
    assert "plain text" in again.told[-1]


def test_padding_reaches_the_model_and_seeds_reach_the_method(model):
    q = ask(model, TEXTS[0])
    subject = Subject(Text(text=TEXTS[0]), q, q.units("word"), Target())
    value, widths = q.value(), []
    handle = model.module.register_forward_hook(
        lambda m, a, kw, out: widths.append(kw["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        for again in Padding(3).repeats(subject, np.random.default_rng(0)):
            with again.around(model):
                assert again.question.value() == pytest.approx(value, abs=1e-5)
    finally:
        handle.remove()
    assert {w - len(q.ids) for w in widths} == {1, 2, 4}
    assert [Seeds().method(KernelShap(seed=3), t).params()["seed"] for t in range(2)] == [4, 5]
    assert Seeds().method(Saliency(), 0) == Saliency()


def test_causal_models_and_pairs():
    decoder = load(tiny("gpt2", "causal"))
    table = evaluate(decoder, "the cat sat on the mat and we can go to the", ["occlusion"], ALL, Target(label=" lake"), trust="fast")  # fmt: skip
    assert np.isfinite(cell(table, "occlusion", "max_sensitivity").value) or table.notes
    assert cell(table, "occlusion", "padding_stability").value == pytest.approx(1, abs=0.02)
    encoder = load(tiny("bert", "sequence"))
    pair = Text(text="the movie was long and the cat sat", pair="we can do this")
    table = evaluate(encoder, pair, [Length()], ["paraphrase_stability", "reorder_stability"], trust="fast")
    assert cell(table, "length", "reorder_stability").value == pytest.approx(1)


def test_paraphrases_from_a_file(model, tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text('{"text": "a long evening", "paraphrase": "an evening that was long"}\n')
    table = evaluate(model, ["a long evening"], [Length()], [ParaphraseStability(paraphrases=str(file))], trust="fast")  # fmt: skip
    assert cell(table, "length", "paraphrase_stability").value == pytest.approx(1) or table.notes


def test_alone_it_has_no_ground(model):
    metric = judge_of("seed_stability")
    assert isinstance(metric, StabilityMetric)
    q = ask(model, TEXTS[0])
    with pytest.raises(UsageError, match="suite"):
        metric.ground(q, q.units("word"), None)


@dataclass(frozen=True)
class Unreadable(Rewrite):
    """One word that the model does not know, then one that it does."""

    name: ClassVar[str] = "a word put in"

    def rewritten(self, text, rng):
        """Two texts."""
        return [[Piece("☃ "), Piece(text, 0, len(text))], [Piece("the "), Piece(text, 0, len(text))]]


def test_a_rewording_that_cannot_be_read_does_not_stop_the_next(model):
    text = "food was good here"
    q = ask(model, text, Target(label=0))
    subject = Subject(Text(text=text), q, q.units("word"), Target(label=0))
    scores = np.arange(4.0)
    again = Again(subject, [Made(0, "occlusion", scores, method=Occlusion())], None)
    own, _ = again.pairings(Unreadable(), 0)
    refused = [t for t in again.told if "does not know" in t]
    assert len(refused) == 1
    assert len(own) + sum("answer changes" in t for t in again.told) == 1
