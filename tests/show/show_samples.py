"""Results made by hand, with known numbers, for the tests of pictures and of the command line."""

import numpy as np

from exegete.core.result import Attribution, Comparison, Listing, MetricTable, Provenance, UnitInfo
from exegete.core.text import words
from exegete.core.trust import Check, Cost, Score, Trust

TEXT = "The food was not good, but the staff were wonderful."
NASTY = "</script><img src=x onerror=alert(1)>"

COMP = Score(
    name="comprehensiveness", value=0.61, chance=0.21, control=0.12, control_name="randomised weights",
    interval=(0.55, 0.66), percentile=99, n=100,
)  # fmt: skip
SUFF = Score(
    name="sufficiency", value=0.08, better="lower", chance=0.33, control=0.05, control_name="randomised weights",
    percentile=97, n=100, n_failed=1,
)  # fmt: skip
HOLDS = Check.at_most("completeness gap", 0.002, 0.05, "scores do not add up")
FAILS = Check.at_most("completeness gap", 0.43, 0.05, "The scores do not add up: raise n_steps.")


def attribution(text=TEXT, *, outputs=("positive",), signed=True, sampled=False, fail=False, seed=0, **more):
    """An attribution of every word of `text` with drawn scores."""
    units = tuple(
        UnitInfo(text=text[a:b], tokens=(i + 1,), start=a, end=b) for i, (a, b) in enumerate(words(text))
    )
    scores = np.random.default_rng(seed).normal(size=(len(outputs), len(units)))
    scores = scores if signed else np.abs(scores)
    total = scores.sum(0)
    values = dict(  # noqa: C408 (reads as the call it prepares)
        text=text, units=units, level="word", outputs=tuple(outputs), scores=scores, total=total,
        stderr=np.abs(total) * 0.1 + 0.01 if sampled else None, target="".join(outputs), scale="logit", value=3.214,
        base_value=0.117, signed=signed, prediction={"positive": 0.968, "negative": 0.032}, predicted="positive",
        checks=(FAILS if fail else HOLDS,), trust=Trust(scores=(COMP, SUFF), cost=Cost(forwards=302, seconds=0.8)),
        cost=Cost(forwards=34, backwards=32, tokens=544, asked=34, distinct=30, seconds=0.21), notes=("a note",),
        provenance=Provenance(model="terrarium/sentiment", method="integrated_gradients", params={"n_steps": 32}),
    )  # fmt: skip
    return Attribution(**(values | more))


def comparison():
    """Three methods on one text."""
    a, b, c = attribution(), attribution(seed=1, fail=True), attribution(seed=2, signed=False)
    return Comparison(
        text=TEXT, methods=("integrated_gradients", "lime", "occlusion"), attributions=(a, b, c),
        rank_correlation=np.array([[1, 0.62, -0.3], [0.62, 1, 0.1], [-0.3, 0.1, 1]]),
        top_overlap=np.array([[1, 0.67, 0.33], [0.67, 1, 0], [0.33, 0, 1]]), trusts=(a.trust, b.trust, c.trust),
    )  # fmt: skip


def metric_table():
    """Two methods by two metrics; the second lacks a score."""
    beaten = Score(
        name="comprehensiveness", value=0.3, chance=0.2, interval=(0.1, 0.4), n=40, skipped="too costly"
    )
    return MetricTable(
        methods=("integrated_gradients", "lime"), metrics=("comprehensiveness", "sufficiency"),
        trusts=(Trust(scores=(COMP, SUFF)), Trust(scores=(beaten,))), n_texts=40, failures=("lime on text 7",),
    )  # fmt: skip


def listing(ok=True):
    """A table with a passing and a failing row."""
    rows = (("residual sums", "1e-7", "ok"), ("pattern @ v == z", "0.4", "ok" if ok else "FAIL"))
    return Listing(
        title="Proof of tiny", columns=("check", "gap", "result"), rows=rows, ok=ok, footer="2 checks"
    )


def every_result():
    """One of each result type."""
    return [attribution(), comparison(), metric_table(), listing()]
