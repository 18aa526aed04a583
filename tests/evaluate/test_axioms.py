"""Axioms on planted models: methods of which it is proved keep them, gradients and removals fail them where theory says so."""

from typing import ClassVar

import numpy as np
import pytest

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.registry import METHODS
from exegete.core.store import open_result
from exegete.core.target import Target
from exegete.evaluate.truth import planted_saturated
from exegete.evaluate.truth.axioms import RULED, SATURATED, AxiomsStudy, _alone, _matters
from exegete.evaluate.truth.planted import planted, proven
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import Scores
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny

ROWS = ("exact_shapley", "integrated_gradients", "input_x_gradient", "occlusion", "even")


@pytest.fixture(scope="module", autouse=True)
def even():
    """A method that gives every word the same."""
    METHODS.load()
    before = dict(METHODS._things)

    @register
    class Even(Occlusion):
        """Deals the change out evenly: complete, and blind."""

        id: ClassVar[str] = "even"
        reference: ClassVar[Reference] = Reference(authors="", year=2000, title="even")

        def attribute(self, q, units):
            whole = float(q.total(q.value()))
            gone = q.ids.copy()
            gone[[i for u in units for i in u.tokens]] = q.model.tokenizer.mask_token_id
            change = whole - float(q.total(q.ask(gone[None]))[0])
            return Scores(total=np.full(len(units), change / len(units)))

    yield
    METHODS._things = before


@pytest.fixture(scope="module")
def found(even):
    return AxiomsStudy(explainers=ROWS, truths=("additive", "pairwise", SATURATED), n_texts=3)(
        load(tiny("gpt2"))
    )


def held(found, method):
    return found.kept[found.methods.index(method)].tolist()


def test_what_is_proved_holds(found):
    """Shapley values keep all three by theorem, path integrals too."""
    assert held(found, "exact_shapley") == [True, True, True]
    assert held(found, "integrated_gradients") == [True, True, True]
    np.testing.assert_allclose(found.gap[0], 0, atol=1e-9)


def test_gradients_fail_where_the_slope_is_flat_and_removals_where_words_act_together(found):
    m, flat = found.methods.index("input_x_gradient"), found.models.index(SATURATED)
    assert found.gap[m, flat] == pytest.approx(1, abs=0.05)  # a slope of zero adds up to nothing
    assert found.gap[m, 0] < 0.02  # and is exact where all is linear
    assert found.dummy[m, flat] > 0.3  # what is left is noise, on any word
    assert held(found, "input_x_gradient") == [False, False, False]
    o, both = found.methods.index("occlusion"), found.models.index("pairwise")
    assert found.gap[o, both] > 0.3  # each of two words takes what they are worth together
    assert found.gap[o, 0] < 0.02
    assert held(found, "occlusion") == [True, True, False]


def test_scores_dealt_evenly_are_complete_and_blind_at_the_level_of_chance(found):
    assert held(found, "even") == [False, False, True]
    scores = {s.name: s for s in found.trust.scores if s.name.startswith("even")}
    for name in ("share on the only word that matters", "share on words that never matter"):
        s = scores[f"even: {name}"]
        assert s.value == pytest.approx(s.chance)
        assert not s.beats_chance
    good = {s.name: s for s in found.trust.scores if s.name.startswith("exact_shapley")}
    assert all(s.beats_chance for s in good.values())
    assert good["exact_shapley: gap to f(x) - f(baseline)"].beats_control
    assert good["exact_shapley: share on words that never matter"].beats_control
    whole = good["exact_shapley: share on the only word that matters"]
    assert whole.interval[0] <= 0.025 ** (1 / whole.n) < whole.interval[1]  # few texts are no proof of all
    assert "control skipped: the axiom holds of every function" in whole.verdict
    assert "Completeness is kept by exact_shapley, integrated_gradients, even." in found.lede


@pytest.mark.parametrize("name", [*RULED, SATURATED])
def test_words_that_never_matter_do_not_move_the_bare_model(name):
    """Whatever the rule calls dummy is exchanged for another filler, and the logits stay."""
    what = planted_saturated.make() if name == SATURATED else planted(name)
    for t in what.texts(3, seed=4):
        words = t.text.split()
        matter = _matters(what, words)
        assert set(np.array(words)[matter]) >= set(t.words)
        other = " ".join(w if m else "corner" for w, m in zip(words, matter))
        a, b = (
            ask(what.model, x, Target(label=t.label)).reference()[0].flatten().numpy()
            for x in (t.text, other)
        )
        assert a == pytest.approx(b, abs=0.15)
        assert not matter.all()


def test_the_saturated_model_is_its_rule_and_flat():
    what = planted_saturated.make()
    proof = proven(what, what.texts(6))
    assert proof.least > 3.5
    assert proof.off < 0.1
    q = ask(what.model, proof.texts[0].text, Target(label=proof.texts[0].label, scale="logit"))
    own = q.embeddings()
    at = [i for i, t in enumerate(q.tokens) if t.text.strip() == proof.texts[0].words[0]]
    shorter = own.clone()
    shorter[at] = 0.9 * own[at]
    near, whole = (float(q.total_of(q.run(e[None]))[0]) for e in (shorter, own))
    assert near == pytest.approx(whole, abs=0.1)


def test_the_word_that_is_left_alone_is_the_heaviest():
    what = planted("additive")
    t = what.texts(1)[0]
    words = _alone(what, t.text.split(), t.label).split()
    left = [w for w in words if w != "<mask>"]
    assert len(words) == 10
    assert len(left) == 1
    worth = {w: what.rule([w]).get(t.label, 0) for w in t.text.split()}
    assert worth[left[0]] == max(worth.values())
    assert _alone(planted("ordered pair"), ["north", "harbour", "the"], "praise") == ""


def test_opens_again(found, tmp_path):
    assert open_result(found.save(tmp_path / "a.exg")) == found
    assert found.figures()[0].rows[0] == ("exact_shapley", "holds", "holds", "holds")
