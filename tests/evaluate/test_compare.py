"""`compare`: agreement against scipy, the better method first, failures counted and listed."""

from typing import ClassVar

import numpy as np
import pytest
from scipy import stats

from exegete.core.errors import InputError, MissingNeed, UnknownName, UsageError
from exegete.core.request import Text
from exegete.core.store import open_result
from exegete.core.target import Target
from exegete.evaluate.cases import labels, texts_of
from exegete.evaluate.compare import compare
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import AttributionMethod, Scores
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.planted import additive, some_ids

TEXTS = ["the food was not good but the staff were fine", "a long and slow evening", "it was fine"]


class Upside(Occlusion):
    """Occlusion, turned over: wrong by construction."""

    id: ClassVar[str] = "upside"

    def attribute(self, q, units):
        return Scores(total=-super().attribute(q, units).total)


class Size(Occlusion):
    """Occlusion without its sign."""

    id: ClassVar[str] = "size"

    def attribute(self, q, units):
        return Scores(total=np.abs(super().attribute(q, units).total), signed=False)


class Breaks(Occlusion):
    """Fails on texts with a slow evening in them."""

    id: ClassVar[str] = "breaks"

    def attribute(self, q, units):
        if "slow" in q.encoded.text:
            raise RuntimeError("the evening was too slow")
        return super().attribute(q, units)


class Shows:
    """Progress that remembers what it was told."""

    def __init__(self):
        self.told = []

    def start(self, total, words):
        self.told.append(total)

    def advance(self, n=1):
        self.told.append(n)

    def stop(self):
        self.told.append("stop")


@pytest.fixture(scope="module")
def model():
    return load(tiny("bert", "sequence"))


def test_the_better_method_comes_first():
    model = additive()
    found = compare(
        model, Text(ids=some_ids(model, 12)), [Upside(), Occlusion()], Target(label="yes"), unit="token"
    )
    assert found.methods == ("occlusion", "upside")
    good, bad = found.trusts
    assert all(s.beats_chance for s in good.scores) and not any(s.beats_chance for s in bad.scores)
    assert found.rank_correlation == pytest.approx(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert found.top_overlap == pytest.approx(np.ones((2, 2)))  # by magnitude they name the same units
    assert [a.provenance.method for a in found.attributions] == list(found.methods)
    assert found.attributions[0].trust == good


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_agreement_is_the_mean_of_scipys_over_texts(model, kind):
    methods = [Occlusion(), Occlusion(removal="delete"), Size()]
    found = compare(model, TEXTS, methods, "neutral", trust="none", correlation=kind)
    assert found.methods == ("occlusion", "occlusion(removal=delete)", "size") and found.attributions == ()
    measure = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind]
    slow = np.zeros((3, 3))
    for text in TEXTS:
        made = [m(model, text, "neutral") for m in methods]
        for i, a in enumerate(made):
            for j, b in enumerate(made):
                x, y = (a.total, b.total) if a.signed and b.signed else (abs(a.total), abs(b.total))
                slow[i, j] += measure(x, y)[0] / len(TEXTS)
    assert found.rank_correlation == pytest.approx(slow, abs=1e-5)


def test_methods_share_passes(model):
    once = compare(model, TEXTS[0], [Occlusion()], trust="none").cost
    twice = compare(model, TEXTS[0], [Occlusion(), Occlusion(removal="mask"), Upside()], trust="none").cost
    extra = twice.forwards - once.forwards
    assert extra <= 2 * 2, "only the self-checks of the other two run anything"


def test_a_failing_text_and_method_are_counted_and_listed(model):
    shows = Shows()
    found = compare(model, [*TEXTS, ""], [Breaks(), Occlusion()], n_random=10, progress=shows)
    counts = {m: [(s.n, s.n_failed) for s in t.scores] for m, t in zip(found.methods, found.trusts)}
    assert counts == {"occlusion": [(3, 1)] * 2, "breaks": [(2, 2)] * 2}
    assert any("text 4 ('')" in n for n in found.notes)
    assert any("breaks on text 2" in n and "too slow" in n for n in found.notes)
    assert all(s.interval is not None for t in found.trusts for s in t.scores)
    assert shows.told[0] == 8 and sum(shows.told[1:-1]) == 8 and shows.told[-1] == "stop"


def test_a_method_that_fails_on_the_only_text_stands_last_without_an_explanation(model):
    found = compare(model, TEXTS[1], [Breaks(), Occlusion()], n_random=10)
    assert found.methods == ("occlusion", "breaks") and len(found.attributions) == 1
    assert [(s.n, s.n_failed) for s in found.trusts[1].scores] == [(0, 1), (0, 1)]
    assert np.isnan(found.rank_correlation[0, 1])


def test_when_nothing_can_be_explained_the_first_error_is_raised(model):
    with pytest.raises(InputError):
        compare(model, ["", " "], [Occlusion()])
    with pytest.raises(RuntimeError, match="slow"):
        compare(model, TEXTS[1], [Breaks()])


def test_refused_before_any_work(model):
    class Greedy(Occlusion):
        needs: ClassVar = ("training data",)

    with pytest.raises(UnknownName, match="occlusion"):
        compare(model, TEXTS, ["oclusion"])
    with pytest.raises(MissingNeed, match="training data"):
        compare(model, TEXTS, [Occlusion(), Greedy()])
    with pytest.raises(UsageError, match="None was given"):
        compare(model, TEXTS, [])
    with pytest.raises(InputError, match="no text"):
        compare(model, [], ["occlusion"])


def test_it_is_saved_and_opened_and_repeats(model, tmp_path):
    found = compare(model, TEXTS[:2], ["occlusion", Upside()], n_random=10, seed=5)
    again = compare(model, TEXTS[:2], ["occlusion", Upside()], n_random=10, seed=5)
    assert found.trusts[0].scores == again.trusts[0].scores
    assert open_result(found.save(str(tmp_path / "c.exg"))) == found
    assert found.provenance.method == "compare" and found.provenance.params["methods"][0]["id"] == "occlusion"


def test_what_counts_as_one_text():
    assert texts_of("a") == ("a",)
    assert texts_of([5, 6, 7]) == ([5, 6, 7],)
    assert len(texts_of([{"role": "user", "content": "x"}])) == 1
    assert texts_of(["a", "b"]) == ("a", "b")


def test_labels_tell_methods_apart():
    assert labels([Occlusion(), Upside()]) == ("occlusion", "upside")
    assert labels([Occlusion(), Occlusion(removal="pad")]) == ("occlusion", "occlusion(removal=pad)")
    assert len(set(labels([Occlusion(), Occlusion()]))) == 2
    assert isinstance(Occlusion(), AttributionMethod)
