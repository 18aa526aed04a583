"""ferret's metrics beside ours on the embedded sentiment model: the same numbers to 1e-4, once both define the same thing.

"Theirs" is what ferret-xai 0.4.2 defines, twice: written out here over the bare model (always run), and the package itself where it
is installed. It pins transformers below 5 and numpy below 2, so it goes beside the project only by hand:
pip install --no-deps ferret-xai==0.4.2 with datasets, seaborn, lime, shap, captum, pytreebank, thermostat-datasets.

Where the definitions differ, and what is done about it (n units, P of them with a score above zero):
- AOPC: theirs removes floor(n p), p = 0.1 ... 1.0, of which only units with positive scores count, equal sets count once, and a
  size of nothing not at all; ours removes what `bins` says, rounded up. `bins` of their sizes gives their number.
- Removal: theirs leaves tokens out, so ours is asked with removal="delete" where the tokenizer has a mask. What is left is written
  down and read anew, which may give other tokens where a word has several: the texts here have one token a word.
- tau-LOO is correlation with rho="kendall".
- AUPRC: theirs starts its curve at precision 1 even where many units share the top score; the same where the top is one unit.
- Token F1 and IOU: theirs takes top_k_rationale (5) units; ours a share, or as many as are marked. IOU of masks is F1 / (2 - F1);
  our iou_f1 is another number, ERASER's F1 over stretches.
- Equal scores: ours in text order, theirs as numpy happens to sort them. No test here has any.
"""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from exegete.core.target import Target
from exegete.evaluate.contract import Ranking, judging
from exegete.evaluate.faithfulness.comprehensiveness import Comprehensiveness
from exegete.evaluate.faithfulness.correlation import Correlation
from exegete.evaluate.faithfulness.sufficiency import Sufficiency
from exegete.evaluate.plausibility.auprc import Auprc
from exegete.evaluate.plausibility.token_f1 import TokenF1
from exegete.models.ask import ask
from exegete.models.load import load
from support.peers import package

pytestmark = pytest.mark.filterwarnings("ignore")
HOW = "pip install --no-deps ferret-xai==0.4.2, and what it needs: see this test"
TEXTS = {  # and the class that is asked about: one that the words left can change
    "the food was not good but the staff were wonderful": "positive",
    "the room was small and dirty": "negative",
    "the soup was cold but the waiter was friendly": "positive",
}


@pytest.fixture(scope="module")
def model():
    return load("terrarium/sentiment")


@pytest.fixture(scope="module", params=TEXTS)
def case(request, model):
    """One text: its question on the probability of a class, its units, two explanations and the marks of a person."""
    q = judging(ask(model, request.param, Target.of(TEXTS[request.param])))
    units, rng = q.units("token"), np.random.default_rng(len(request.param))
    assert len(units) == len(request.param.split())
    mixed = rng.normal(size=len(units))
    marked = rng.random(len(units)) < 0.4
    marked[mixed.argmax()] = True
    scores = {"mixed": mixed, "positive": mixed - mixed.min() + 0.1}
    return SimpleNamespace(
        q=q, units=units, text=request.param, label=model.labels.index(TEXTS[request.param]), scores=scores,
        marked=marked, n=len(units),
    )  # fmt: skip


class WrittenOut:
    """Their definitions, a text at a time over the bare model."""

    def __init__(self, model) -> None:
        self.model = model

    def said(self, case, keep) -> float:
        """The probability of the class when only the tokens of `keep` stand between the text's ends."""
        ids = case.q.ids[1:-1][sorted(keep)]
        with torch.no_grad():
            whole = torch.tensor([[case.q.ids[0], *ids, case.q.ids[-1]]])
            return float(self.model.module(input_ids=whole).logits.softmax(-1)[0, case.label])

    def aopc(self, case, scores, left) -> float:
        sets: list[set] = []
        for p in np.arange(0.1, 1.1, 0.1):
            top = {int(i) for i in np.argsort(-scores)[: int(p * case.n)] if scores[i] > 0}
            if top and (not sets or top != sets[-1]):
                sets.append(top)
        whole = self.said(case, range(case.n))
        return float(np.mean([whole - self.said(case, left(set(range(case.n)), top)) for top in sets]))

    def comprehensiveness(self, case, scores) -> float:
        return self.aopc(case, scores, lambda every, top: every - top)

    def sufficiency(self, case, scores) -> float:
        return self.aopc(case, scores, lambda every, top: top)

    def tau_loo(self, case, scores) -> float:
        every, whole = set(range(case.n)), self.said(case, range(case.n))
        return float(stats.kendalltau([whole - self.said(case, every - {i}) for i in every], scores)[0])

    def auprc(self, case, scores) -> float:
        """Every threshold on the scores with what lies below zero at zero, from (0, 1) on."""
        scores, points = scores.clip(0), [(0.0, 1.0)]
        for cut in sorted(set(scores), reverse=True):
            taken = scores >= cut
            hits = (taken & case.marked).sum()
            points.append((hits / case.marked.sum(), hits / taken.sum()))
        return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))

    def f1(self, case, scores, k) -> float:
        top, marked = set(np.argsort(-scores)[:k]), set(np.flatnonzero(case.marked))
        return 2 * len(top & marked) / (len(top) + len(marked))

    def iou(self, case, scores, k) -> float:
        top, marked = set(np.argsort(-scores)[:k]), set(np.flatnonzero(case.marked))
        return len(top & marked) / len(top | marked)


class Ferret:
    """The package, with its own defaults."""

    def __init__(self, model) -> None:
        package("ferret", HOW)
        self.model = model

    def ask(self, kind: str, case, scores, **options) -> float:
        import ferret

        names = self.model.tokenizer.convert_ids_to_tokens(case.q.ids.tolist())
        own = (case.text, names, np.array([0, *scores, 0]), "any", case.label)
        told = ferret.benchmark.ExplanationWithRationale(*own, [0, *case.marked.astype(int), 0])
        by = getattr(ferret, kind)(self.model.module, self.model.tokenizer)
        return float(by.compute_evaluation(told, case.label, **options).score)

    def comprehensiveness(self, case, scores) -> float:
        return self.ask("AOPC_Comprehensiveness_Evaluation", case, scores)

    def sufficiency(self, case, scores) -> float:
        return self.ask("AOPC_Sufficiency_Evaluation", case, scores)

    def tau_loo(self, case, scores) -> float:
        return self.ask("TauLOO_Evaluation", case, scores)

    def auprc(self, case, scores) -> float:
        return self.ask("AUPRC_PlausibilityEvaluation", case, scores)

    def f1(self, case, scores, k) -> float:
        return self.ask("Tokenf1_PlausibilityEvaluation", case, scores, top_k_rationale=k)

    def iou(self, case, scores, k) -> float:
        return self.ask("TokenIOU_PlausibilityEvaluation", case, scores, top_k_rationale=k)


@pytest.fixture(scope="module", params=[WrittenOut, Ferret])
def theirs(request, model):
    return request.param(model)


def ours(metric, case, scores) -> float:
    return metric.score(metric.game(case.q, case.units), scores)


def plausible(metric, case, scores) -> float:
    return float(metric.score_orders(case.marked[None], Ranking.of(scores))[0])


def their_bins(case, scores) -> tuple[float, ...]:
    """The shares that stand for the sizes ferret removes."""
    most = int((scores > 0).sum())
    return tuple(
        k / case.n for k in sorted({min(int(p * case.n), most) for p in np.arange(0.1, 1.1, 0.1)} - {0})
    )


@pytest.mark.parametrize("kind", ["mixed", "positive"])
@pytest.mark.parametrize("metric", [Comprehensiveness, Sufficiency])
def test_aopc(case, theirs, metric, kind):
    scores = case.scores[kind]
    mine = ours(metric(bins=their_bins(case, scores), removal="delete"), case, scores)
    assert mine == pytest.approx(getattr(theirs, metric.id)(case, scores), abs=1e-4)


def test_tau_loo(case, theirs):
    mine = ours(Correlation(rho="kendall", removal="delete"), case, case.scores["mixed"])
    assert mine == pytest.approx(theirs.tau_loo(case, case.scores["mixed"]), abs=1e-4)


@pytest.mark.parametrize("kind", ["mixed", "positive"])
def test_auprc(case, theirs, kind):
    scores = case.scores[kind]
    assert plausible(Auprc(), case, scores.clip(0)) == pytest.approx(theirs.auprc(case, scores), abs=1e-4)


def test_auprc_of_equal_scores_at_the_top(case, theirs):
    """All but one unit share the top score: theirs gains by a start at precision 1 that nobody reached, ours does not."""
    scores = np.ones(case.n)
    scores[np.flatnonzero(~case.marked)[0]] = 0.5
    share = case.marked.sum() / (case.n - 1)
    assert theirs.auprc(case, scores) == pytest.approx((1 + share) / 2, abs=1e-4)
    assert plausible(Auprc(), case, scores) == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_f1_and_overlap_of_the_first_tokens(case, theirs, k):
    f1 = plausible(TokenF1(share=k / case.n), case, case.scores["positive"])
    assert f1 == pytest.approx(theirs.f1(case, case.scores["positive"], k), abs=1e-4)
    assert f1 / (2 - f1) == pytest.approx(theirs.iou(case, case.scores["positive"], k), abs=1e-4)
