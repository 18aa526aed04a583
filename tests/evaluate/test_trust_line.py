"""The trust line: planted truth beats chance and control, a guess does not, and what was left out is said."""

import numpy as np
import pytest
import torch
from scipy import stats

from exegete.core.errors import InputError, UnknownName
from exegete.core.request import Text
from exegete.core.result import Attribution, UnitInfo
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.evaluate.contract import judging
from exegete.evaluate.forecast import forecast
from exegete.evaluate.trust import Control, judge, judge_set, judging_inputs, pool, units_of
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import explain
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.randomise import Randomiser
from exegete.models.remove import Game
from exegete.models.tiny import tiny
from support.planted import additive, some_ids, weights_of

TEXT = "the food was not good but the staff were fine"


def planted(n=10, seed=0):
    """A question to the additive model about n distinct tokens."""
    model = additive(seed)
    return ask(model, Text(ids=some_ids(model, n, seed)), Target(label="yes"))


def told(q, scores, level="token"):
    """An attribution with scores of one's own."""
    units = tuple(UnitInfo(text=u.text, tokens=u.tokens, role=u.role) for u in q.units(level))
    return Attribution(
        text="", units=units, level=level, outputs=q.outputs, scores=scores[None], total=scores, target=q.target, scale=q.scale, value=0.0
    )  # fmt: skip


def by_name(trust):
    return {s.name: s for s in trust.scores}


def test_the_planted_truth_beats_chance_and_control():
    q = planted()
    line = by_name(judge(q, told(q, weights_of(q.model, q.ids)), Occlusion()))
    for score in line.values():
        assert score.percentile > 98 and score.beats_chance and score.beats_control, score
        assert score.n == 1 and score.interval is None and score.control_name == "randomised weights"


def test_the_opposite_of_the_truth_is_at_the_bottom():
    q = planted()
    for score in judge(q, told(q, -weights_of(q.model, q.ids)), Occlusion(), "fast").scores:
        assert score.percentile < 2 and score.beats_chance is False
        assert "fast" in score.skipped and "control skipped" in score.verdict


def percentiles(scores_of, trials=200):
    """Percentiles by metric of made-up explanations of one text, the random orders drawn anew for each."""
    q = planted()
    judged = judging(q)
    found = [
        judge(q, told(q, scores_of(q, s)), Occlusion(), "fast", seed=s, judged=judged) for s in range(trials)
    ]
    return {s.name: np.array([by_name(t)[s.name].percentile for t in found]) / 100 for s in found[0].scores}


def guess(q, seed):
    return np.random.default_rng(10_000 + seed).normal(size=len(q.ids))


def test_a_guess_has_a_uniform_percentile():
    for found in percentiles(guess).values():
        assert stats.kstest(found, "uniform").pvalue > 0.01
        assert np.mean(found >= 0.95) < 0.11, "a guess rarely beats chance"


def test_that_test_can_fail():
    """An explanation that knows half of the truth is not uniform."""
    found = percentiles(lambda q, s: guess(q, s) + weights_of(q.model, q.ids), 50)
    assert stats.kstest(found["comprehensiveness"], "uniform").pvalue < 1e-4


def test_chance_is_the_mean_over_random_orders_by_brute_force():
    q = planted(4)
    scores = weights_of(q.model, q.ids)
    line = by_name(judge(q, told(q, scores), Occlusion(), "fast", n_random=4000))
    game = Game(judging(q), q.units("token"))
    f = lambda keep: float(game(np.array(keep, dtype=bool))[0, 0])  # noqa: E731
    from itertools import permutations

    falls = []
    for order in permutations(range(4)):
        one = [u != order[0] for u in range(4)]
        two = [u not in order[:2] for u in range(4)]
        falls.append(f([1] * 4) - (4 * f(one) + f(two)) / 5)
    score = line["comprehensiveness"]
    assert score.chance == pytest.approx(np.mean(falls), abs=0.01)
    best = sorted(falls)[-1]
    assert score.value == pytest.approx(best) and score.percentile == pytest.approx(
        100 * (1 - 0.5 / 12), abs=1.5
    )


def test_the_control_is_the_same_method_on_the_randomised_model():
    model = load(tiny("bert", "sequence"))
    q = ask(model, TEXT)
    a, maker = explain(Occlusion(), q), Randomiser(3)
    score = by_name(judge(q, a, Occlusion(), seed=3, randomiser=maker))["comprehensiveness"]
    twin = explain(Occlusion(), ask(maker(model, a.provenance.fingerprint), TEXT, Target(label=q.target)))
    same = twin.model_copy(update={"provenance": a.provenance})  # an explanation of other weights is refused
    assert score.control == pytest.approx(
        by_name(judge(q, same, Occlusion(), "fast"))["comprehensiveness"].value
    )


def test_the_model_is_bit_identical_afterwards():
    model = load(tiny("gpt2"))
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    q = ask(model, TEXT)
    logits = q.reference()[0]
    judge(q, explain(Occlusion(), q), Occlusion())
    assert all(torch.equal(v, before[k]) for k, v in model.module.state_dict().items())
    assert torch.equal(q.reference()[0], logits)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())


def test_the_same_seed_gives_the_same_line():
    q = ask(load(tiny("gpt2")), TEXT)
    a = explain(Occlusion(), q)
    one, same, other = (judge(q, a, Occlusion(), seed=s) for s in (1, 1, 2))
    assert one.scores == same.scores and one.scores != other.scores


@pytest.mark.parametrize(
    ("family", "task", "target"),
    [("gpt2", "causal", Target(label="and so on")), ("t5", "seq2seq", Target(kind="generated", max_new_tokens=4)), ("bert", "sequence", Target(label=0, against=2)), ("bert", "token", None)],
)  # fmt: skip
def test_every_kind_of_target_is_judged(family, task, target):
    q = ask(load(tiny(family, task)), TEXT, target)
    prefix = q.n_outputs > 1
    found = judge(q, explain(Occlusion(), q, "word", prefix), Occlusion(), n_random=10)
    assert all(np.isfinite([s.value, s.chance, s.control]).all() for s in found.scores)


def test_the_bound_on_inputs_holds_and_is_not_idle():
    for n in (1, 3, 10, 24):
        q = planted(n)
        cost = judge(q, told(q, weights_of(q.model, q.ids)), Occlusion(), "fast").cost
        assert cost.distinct == cost.forwards <= judging_inputs(n, level="fast")
    assert cost.distinct > 0.6 * judging_inputs(24, level="fast")
    assert judging_inputs(10, level="none") == 0


def test_what_was_not_judged_is_said():
    q = planted()
    none = judge(q, told(q, guess(q, 0)), Occlusion(), "none")
    assert not none.scores and "Not judged" in none.notes[0] and none.cost.forwards == 0
    broken = judge(q, told(q, np.full(10, np.nan)), Occlusion())
    assert not broken.scores and "NaN" in broken.notes[0]
    small = judge(q, told(q, guess(q, 0)), Occlusion(), randomiser=Randomiser(most_parameters=1))
    assert all("copies are made up to 1" in s.skipped and s.control is None for s in small.scores)


def test_few_units_and_ties_are_said():
    q = planted(2)
    assert any(
        "Only 2 units" in n for n in judge(q, told(q, np.array([1.0, 2.0])), Occlusion(), "fast").notes
    )
    q = planted(10)
    assert any(
        "All scores are equal" in n for n in judge(q, told(q, np.zeros(10)), Occlusion(), "fast").notes
    )
    half = np.arange(10) // 2.0
    assert any("Equal scores" in n for n in judge(q, told(q, half), Occlusion(), "fast").notes)
    assert not any("qual" in n for n in judge(q, told(q, guess(q, 0)), Occlusion(), "fast").notes)
    one = judge(planted(1), told(planted(1), np.ones(1)), Occlusion(), "fast")
    assert by_name(one)["comprehensiveness"].percentile == 50.0


def test_letters():
    q = planted()
    with pytest.raises(UnknownName, match="fast"):
        judge(q, told(q, guess(q, 0)), Occlusion(), "fst")
    with pytest.raises(InputError, match="do not fit"):
        judge(planted(4), told(q, guess(q, 0)), Occlusion())


def test_units_are_those_of_the_explanation():
    q = ask(load(tiny("bert", "sequence")), TEXT)
    for level in ("token", "word", "sentence"):
        assert units_of(q, explain(Occlusion(), q, level)) == q.units(level)


def test_a_set_has_means_intervals_and_failures():
    lines = [
        Trust(scores=(Score(name="comprehensiveness", value=v, chance=0.1, control=c, control_name="x", percentile=90.0),))
        for v, c in ((0.5, 0.2), (0.7, None), (0.6, 0.4))
    ]  # fmt: skip
    (score,) = judge_set([*lines, None, Trust()])
    assert (score.value, score.chance, score.control) == pytest.approx((0.6, 0.1, 0.3))
    assert score.interval[0] < 0.6 < score.interval[1] and (score.n, score.n_failed) == (3, 2)
    assert score.beats_chance and score.beats_control
    assert judge_set([None, None]) == ()
    (lost,) = judge_set([None, None], names=("sufficiency",))
    assert lost.n == 0 and lost.n_failed == 2 and lost.better == "lower" and np.isnan(lost.value)
    assert pool([lines[0].scores[0], Score(name="x", value=float("nan"))], "x", "higher").n_failed == 1


def test_one_value_beats_chance_only_above_95_percent_of_the_draws():
    middling = Score(name="x", value=0.5, chance=0.4, percentile=80.0)
    assert middling.beats_chance is False and middling.model_copy(update={"percentile": 97.0}).beats_chance
    assert middling.model_copy(update={"interval": (0.45, 0.55)}).beats_chance


def test_a_control_that_fails_is_named():
    class Breaks(Occlusion):
        def attribute(self, q, units):
            raise RuntimeError("no room left")

    q = planted()
    line = judge(q, told(q, guess(q, 0)), Breaks())
    assert all("no room left" in s.skipped for s in line.scores)
    assert Control().scores is None


def test_a_regression_is_judged_on_its_value():
    """Its only class has probability 1 whatever is removed."""
    model = load(tiny("bert", "sequence", overrides={"id2label": {0: "score"}, "label2id": {"score": 0}}))
    q = ask(model, Text(text=TEXT))
    assert judging(q).scale == "logit"
    trust = judge(q, explain(Occlusion(), q), Occlusion(), "fast", 10)
    assert all(abs(s.value) > 1e-4 for s in trust.scores)


@pytest.mark.parametrize(
    "target",
    [Target(label="dog", against="a small house"), Target(kind="generated", max_new_tokens=8), Target()],
    ids=["contrast", "generated", "predicted"],
)
def test_the_forecast_counts_what_asking_costs(target):
    """Both branches of a contrast, and the passes in which the model chooses its own target."""
    model, text = load(tiny("gpt2")), Text(text="the food was")
    most = forecast(model, text, Occlusion(), target, "word", False, "none")
    spent = explain(Occlusion(), ask(model, text, target)).cost
    assert 0 < spent.forwards <= most.forwards <= 2 * spent.forwards


@pytest.mark.parametrize("error", [KeyError("planted"), TypeError("planted"), AttributeError("planted")])
def test_a_method_that_breaks_on_random_weights_in_whatever_way_has_no_control_and_says_why(error):
    """Whatever a plugin raises there, the explanation itself is judged."""
    q = ask(load(tiny("bert", "sequence")), TEXT, Target(label=0))

    class Breaks(Occlusion):
        def attribute(self, question, units):
            if "randomised" in question.model.name:
                raise error
            return super().attribute(question, units)

    line = by_name(judge(q, explain(Breaks(), q), Breaks(), n_random=5))
    assert all(s.control is None and "planted" in s.skipped for s in line.values())
    assert all(np.isfinite(s.value) for s in line.values())


def test_chance_is_held_against_a_set_text_by_text():
    """Texts differ far more than an explanation and a guess do on one of them; and a guess may be all of what varies."""
    rng = np.random.default_rng(0)
    easy = rng.uniform(size=30)

    def row(value, chance, control):
        return Score(name="comprehensiveness", value=value, chance=chance, control=control)

    better = pool(
        [row(e + 0.05 + 0.01 * x, e, e + 0.04) for e, x in zip(easy, rng.normal(size=30))],
        "comprehensiveness",
        "higher",
    )
    assert better.interval[0] < better.chance  # the texts alone spread more
    assert better.beats_chance and better.beats_control
    worse = pool([row(-e - 0.05, -e, None) for e in easy], "comprehensiveness", "lower")
    assert worse.beats_chance
    # always the same value, while chance is far below it in one half of the texts and far above in the other
    same = pool([row(0.5, 0.1 if i % 2 else 0.85, None) for i in range(10)], "comprehensiveness", "higher")
    assert same.interval == (0.5, 0.5) and same.chance < 0.5
    assert not same.beats_chance


def test_scores_that_are_all_equal_are_a_guess_wherever_the_words_that_matter_stand():
    """In the order of the text they would name its first words, which here decide: percentile 100 for saying nothing."""
    found = []
    for seed in range(12):
        ids = some_ids(additive(), 8, seed)
        model = additive(weights=dict(zip(ids, (4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.01))))
        q = ask(model, Text(ids=ids), Target(label="yes", against="no"))
        found.append(judge(q, told(q, np.full(8, 0.3)), Occlusion(), "fast", n_random=20, seed=seed))
        assert any("random one" in n for n in found[-1].notes)
    for score in judge_set(found):
        assert abs(score.percentile - 50) < 30
        assert not score.beats_chance
