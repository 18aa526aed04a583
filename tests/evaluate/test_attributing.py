"""Many explanations put together: words against the mean of their texts, by hand; the trust line as the suite pools it."""

import numpy as np
import pytest

import exegete as xg
from exegete.core.job import ModelRef, Output, Row
from exegete.core.method import method_of
from exegete.core.result import Attribution
from exegete.evaluate.attributing import Attributing, flat_of
from exegete.evaluate.trust import judge_set

TEXTS = [
    f"the food was {w} and the {n} were kind"
    for w in ("good", "bad", "rude")
    for n in ("staff", "rooms", "beds")
]


def job(**more) -> Attributing:
    params = method_of("occlusion").params()
    return Attributing(
        model=ModelRef(source="terrarium/sentiment"), method="occlusion", params=params, **more
    )


@pytest.fixture(scope="module")
def found() -> list[Attribution]:
    return xg.explain("terrarium/sentiment", TEXTS, "occlusion", target="positive", trust="fast")


def merged(outputs):
    rows = [Row(str(n), n, {}) for n in range(len(outputs))]
    return job().merge(zip(rows, outputs), lambda: None)


def test_leads_are_means_over_texts_of_score_less_the_texts_mean(found):
    told = merged([Output(a, flat_of(a)) for a in found])
    by_hand = [
        a.total[i] - a.total.mean() for a in found for i, u in enumerate(a.units) if u.text.strip() == "kind"
    ]
    kind = next(w for w in told.leads if w.word == "kind")
    assert kind.n == len(TEXTS) and kind.lead == pytest.approx(np.mean(by_hand))
    assert kind.interval[0] > 0 and "'kind' for positive" in told.lede
    # a word that stands twice in a text counts once for it
    the = next(w for w in told.leads if w.word == "the")
    twice = [
        np.mean([a.total[i] for i, u in enumerate(a.units) if u.text.strip() == "the"]) - a.total.mean()
        for a in found
    ]
    assert the.n == len(TEXTS) and the.lead == pytest.approx(np.mean(twice))


def test_scores_dealt_out_at_random_lead_nowhere(found):
    rng = np.random.default_rng(0)
    shuffled = []
    for _ in range(6):
        for a in found:
            flat = flat_of(a)
            shuffled.append(Output(a, flat | {"scores": [float(x) for x in rng.permutation(flat["scores"])]}))
    told = merged(shuffled)
    sure = [w for w in told.leads if w.interval[0] > 0 or w.interval[1] < 0]
    assert not sure and "no word surely stands out" in told.lede


def test_the_trust_line_is_pooled_as_elsewhere_and_failures_are_counted(found):
    told = merged([*(Output(a, flat_of(a)) for a in found), Output(error=ValueError("no"))])
    assert (told.n, told.n_failed) == (len(TEXTS), 1) and told.failures == ("no",)
    whole = judge_set([a.trust for a in found], 0, tuple(s.name for s in found[0].trust.scores))
    for ours, theirs in zip(told.trust.scores, whole):
        assert ours.n == theirs.n and ours.n_failed == theirs.n_failed + 1
        assert (ours.value, ours.chance) == pytest.approx((theirs.value, theirs.chance))
        assert ours.interval == pytest.approx(theirs.interval)
