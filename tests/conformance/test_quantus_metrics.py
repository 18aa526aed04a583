"""Quantus' metrics beside ours on the embedded sentiment model: the same numbers to 1e-4, once both define the same thing.

"Theirs" is what quantus 0.6.0 defines, twice: written out here in plain numpy and torch (always run), and the package itself where it
is installed (the extra `peers`). Quantus knows arrays, not texts, so it gets the model as a plain module over one of three: which
tokens are left, embeddings, or ids (`support.bare_texts`).

Where the definitions differ, and what is done about it:
- Some of theirs divide explanations by their largest entry unless normalise=False, and take their sizes unless abs=False: both off.
- Some of theirs put a softmax on whatever the model returns unless softmax=False; what is judged here is the logit.
- Baselines: "black" is the least entry of the input, which of a text says nothing; here what is left out becomes the mask token.
- faithfulness_correlation: one size, subsets drawn with repeats. Ours (sensitivity_n) is its mean over sizes, of distinct subsets;
  with the same subsets the same number.
- sensitivity_n: theirs correlates over texts, for each n, the score of the n-th strongest unit alone with the fall after the first n are
  gone; Ancona et al., and ours, correlate sums over subsets of one text. Theirs is made here from the parts of ours.
- monotonicity_correlation: the rank correlation of scores with the *square* of the fall; our correlation (spearman) has the fall.
  The same where every fall is positive.
- monotonicity: theirs is true or false, ours a correlation. Theirs puts the baseline in place of the baseline, so that nothing
  ever changes and the answer is always true.
- infidelity: theirs removes patches of a picture one after the other, so that a text's subsets are its first 1, 2, ... tokens, and
  divides by nothing; ours draws subsets and by default divides by the error of scores of zero.
- local Lipschitz, max-sensitivity, relative input and output stability: the same formulas; theirs adds noise of its own, here it gets our
  nudges. The relative ones come as they are, ours as logarithms unless log=False.
- MPRT: theirs gives layers new initial weights, ours permutes the weights they have; with the same weights the same correlations.
"""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from scipy import stats

from exegete.core.request import Text
from exegete.core.seed import derive, generator
from exegete.core.target import Target
from exegete.evaluate.changes import Nudge, Subject
from exegete.evaluate.contract import outcome, whole
from exegete.evaluate.faithfulness.correlation import Correlation
from exegete.evaluate.faithfulness.infidelity import Infidelity
from exegete.evaluate.faithfulness.monotonicity import Monotonicity
from exegete.evaluate.faithfulness.sensitivity_n import SensitivityN
from exegete.evaluate.sanity.cascading_randomisation import CascadingRandomisation, cascade, groups
from exegete.evaluate.stability.local_lipschitz import LocalLipschitz
from exegete.evaluate.stability.max_sensitivity import MaxSensitivity
from exegete.evaluate.stability.relative_input_stability import RelativeInputStability
from exegete.evaluate.stability.relative_output_stability import RelativeOutputStability
from exegete.evaluate.suite import evaluate
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.ops.curves import deletion_curve, insertion_curve
from exegete.ops.rank import descending, row_correlation
from support.bare_texts import Ids, Masks, Points, slope_of_ids, slope_of_points
from support.peers import package

pytestmark = pytest.mark.filterwarnings("ignore")
HOW = "the extra `peers`"
CLASS, LABEL = np.array([2]), "positive"
TEXTS = (
    "the food was not good but the staff were wonderful",
    "the soup was cold but the waiter was really friendly",
    "the room was small and the old bed was dirty",
    "the staff were not rude and the food was lovely",
)
NEAR = {
    LocalLipschitz(): "LocalLipschitzEstimate",
    MaxSensitivity(): "MaxSensitivity",
    RelativeInputStability(log=False): "RelativeInputStability",
    RelativeOutputStability(log=False): "RelativeOutputStability",
}


def case_of(model, text: str) -> SimpleNamespace:
    """A text, an explanation of it drawn at random, and the bare model on it."""
    q = ask(model, text, Target.of(LABEL))  # the logit: probabilities near 1 leave falls that are rounding
    units = q.units("token")
    scores = np.random.default_rng(len(text)).normal(size=len(units))
    net = Masks(model.module, q.ids, model.tokenizer.mask_token_id)
    return SimpleNamespace(q=q, units=units, scores=scores, net=net, n=len(units), text=text)


@pytest.fixture(scope="module")
def model():
    return load("terrarium/sentiment")


@pytest.fixture(scope="module", params=TEXTS[:2])
def case(request, model):
    return case_of(model, request.param)


class WrittenOut:
    """Their definitions."""

    def falls(self, case, gone) -> np.ndarray:
        with torch.no_grad():
            said = case.net(torch.as_tensor(np.concatenate([np.zeros((1, case.n)), gone]) < 0.5).float())[
                :, CLASS[0]
            ]
        return (said[0] - said[1:]).double().numpy()

    def faithfulness_correlation(self, case, subsets) -> float:
        return float(np.corrcoef(subsets @ case.scores, self.falls(case, subsets))[0, 1])

    def monotonicity_correlation(self, case, scores) -> float:
        return float(stats.spearmanr(scores, self.falls(case, np.eye(case.n)) ** 2)[0])

    def infidelity(self, case) -> float:
        first = np.tril(np.ones((case.n, case.n)))
        return float(np.mean((first @ case.scores - self.falls(case, first)) ** 2))

    def sensitivity_n(self, cases) -> list[float]:
        many = int(0.8 * cases[0].n)
        falls = [
            self.falls(c, [np.isin(range(c.n), np.argsort(-c.scores)[:k]) for k in range(1, many + 1)])
            for c in cases
        ]
        each = [-np.sort(-c.scores)[:many] for c in cases]
        return [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(np.transpose(each), np.transpose(falls))]

    def near(self, kind, net, own, points) -> float:
        e, found, norm = slope_of_points(net, own, CLASS), [], np.linalg.norm
        for x in points:
            step = slope_of_points(net, x, CLASS) - e
            with torch.no_grad():
                out = (net(torch.as_tensor(x)) - net(torch.as_tensor(own))).numpy()
            above, below = {
                "LocalLipschitzEstimate": (norm(step), norm(x - own)),
                "MaxSensitivity": (norm(step), norm(e)),
                "RelativeInputStability": (norm(step / e), norm((x - own) / own)),
                "RelativeOutputStability": (norm(step / e), norm(out)),
            }[kind]
            found.append(above / below)
        return float(max(found))

    def cascade(self, net, ids, twins) -> list[float]:
        e = slope_of_ids(net, ids, CLASS).ravel()
        return [float(stats.spearmanr(e, slope_of_ids(twin, ids, CLASS).ravel())[0]) for twin in twins]


class Quantus:
    """The package."""

    def __init__(self) -> None:
        self.of = package("quantus", HOW)
        self.off = {"normalise": False, "abs": False, "disable_warnings": True}
        self.call = {"channel_first": True, "softmax": False}

    def masked(self, kind, case, scores, **options) -> float:
        by = getattr(self.of, kind)(perturb_baseline=0.0, return_aggregate=False, **options, **self.off)
        x = np.ones((1, 1, case.n))
        return float(by(case.net, x, CLASS, a_batch=scores[None, None], **self.call)[0])

    def faithfulness_correlation(self, case, subsets) -> float:
        drawn = [np.flatnonzero(s) for s in subsets]
        with mock.patch.object(np.random, "choice", side_effect=drawn):
            return self.masked(
                "FaithfulnessCorrelation", case, case.scores, subset_size=len(drawn[0]), nr_runs=len(drawn)
            )

    def monotonicity_correlation(self, case, scores) -> float:
        return self.masked("MonotonicityCorrelation", case, scores, nr_samples=1)

    def infidelity(self, case) -> float:
        by = self.of.Infidelity(
            perturb_patch_sizes=[1], n_perturb_samples=1, perturb_baseline=0.0, **self.off
        )
        x = np.ones((1, 1, 1, case.n))
        return float(by(case.net, x, CLASS, a_batch=case.scores[None, None, None], **self.call)[0])

    def sensitivity_n(self, cases) -> list[float]:
        q = cases[0].q
        net, mask = Ids(q.model.module, q.ids[0], q.ids[-1]), float(q.model.tokenizer.mask_token_id)
        by = self.of.SensitivityN(perturb_baseline=mask, return_aggregate=False, **self.off)
        x, a = (
            np.stack(rows)[:, None] for rows in ([c.q.ids[1:-1] for c in cases], [c.scores for c in cases])
        )
        return list(by(net, x.astype(float), np.repeat(CLASS, len(cases)), a_batch=a, **self.call))

    def near(self, kind, net, own, points) -> float:
        nudged = iter(points)
        by = getattr(self.of, kind)(
            nr_samples=len(points), perturb_func=lambda arr, **_: next(nudged).reshape(1, -1), **self.off
        )
        options = {"a_batch": slope_of_points(net, own, CLASS), "explain_func": slope_of_points, **self.call}
        return float(by(net, own, CLASS, **options)[0])

    def cascade(self, net, ids, twins) -> list[float]:
        from quantus.helpers.model.pytorch_model import PyTorchModel

        def layers(*_, **__):
            return ((str(i), twin) for i, twin in enumerate(twins))

        def explained(model, inputs, targets, **_):
            return (
                slope_of_ids(model, inputs, targets) + 10
            )  # scores that are all negative are refused; ranks stay

        by = self.of.MPRT(**self.off)
        x, e = ids.astype(float), explained(net, ids, CLASS)
        with mock.patch.object(PyTorchModel, "get_random_layer_generator", layers):
            found = by(net, x, CLASS, a_batch=e, explain_func=explained, **self.call)
        return [float(v[0]) for name, v in found.items() if name != "original"]


@pytest.fixture(scope="module", params=[WrittenOut, Quantus])
def theirs(request):
    return request.param()


def ours(metric, case, scores) -> float:
    return metric.score(metric.game(case.q, case.units), scores)


def test_sensitivity_n_is_their_faithfulness_correlation_over_sizes(case, theirs):
    metric = SensitivityN(removal="mask")
    drawn = metric.drawn(metric.game(case.q, case.units))
    each = [theirs.faithfulness_correlation(case, gone) for gone in drawn]
    assert ours(metric, case, case.scores) == pytest.approx(np.mean(each), abs=1e-4)


def test_their_sensitivity_n_from_our_parts(model, theirs):
    cases = [case_of(model, text) for text in TEXTS]
    many, metric = int(0.8 * cases[0].n), SensitivityN(removal="mask")
    falls, each = [], []
    for c in cases:
        game, order = metric.game(c.q, c.units), descending(c.scores)[None]
        left = deletion_curve(lambda keep, g=game: outcome(g, keep), order, np.arange(1, many + 1))[0]
        falls.append(outcome(game, whole(game))[0] - left)
        each.append(c.scores[order[0, :many]])
    mine = row_correlation(np.transpose(each), np.transpose(falls))
    assert mine == pytest.approx(theirs.sensitivity_n(cases), abs=1e-4)


def test_correlation_is_their_monotonicity_correlation_where_all_falls_are_positive(case, theirs):
    game = Correlation(removal="mask").game(case.q, case.units)
    falls = outcome(game, whole(game)) - outcome(game, ~np.eye(case.n, dtype=bool))
    mine = row_correlation(case.scores[None], falls[None] ** 2, "spearman")[0]
    assert mine == pytest.approx(theirs.monotonicity_correlation(case, case.scores), abs=1e-4)
    up = np.flatnonzero(falls > 0)
    metric, few = Correlation(rho="spearman", removal="mask"), tuple(case.units[i] for i in up)
    part, scores = SimpleNamespace(n=len(up), net=_only(case, up)), np.exp(case.scores[up])
    want = theirs.monotonicity_correlation(part, scores)
    assert metric.score(metric.game(case.q, few), scores) == pytest.approx(want, abs=1e-4)


def _only(case, up) -> torch.nn.Module:
    """The model on masks of some tokens alone; the others stay."""

    class Part(torch.nn.Module):
        def forward(self, x):
            whole = torch.ones(len(x), case.n)
            whole[:, up] = x.reshape(len(x), -1)
            return case.net(whole)

    return Part().eval()


def test_monotonicity_of_quantus_is_true_of_anything(case):
    theirs, metric = Quantus(), Monotonicity(removal="mask")
    game, rising = metric.game(case.q, case.units), descending(case.scores)[None, ::-1]
    values = insertion_curve(lambda keep: outcome(game, keep), rising, np.arange(1, case.n + 1))
    assert (np.diff(values) < 0).any()  # by the definition of Arya et al. the answer is no
    assert theirs.masked("Monotonicity", case, case.scores) == 1.0


def test_infidelity_of_the_subsets_they_take(case, theirs, monkeypatch):
    first = np.tril(np.ones((case.n, case.n), dtype=bool))
    monkeypatch.setattr(Infidelity, "drawn", lambda self, game: tuple(row[None] for row in first))
    mine = ours(Infidelity(scaled=False, removal="mask"), case, case.scores)
    assert mine == pytest.approx(theirs.infidelity(case), abs=1e-4)


@pytest.fixture(scope="module")
def nearby(model, case):
    """Our four metrics of one text through the suite; the embeddings that were nudged for them; the bare model."""
    found = evaluate(
        model, [case.text], ["input_x_gradient"], list(NEAR), LABEL, unit="token", trust="fast"
    ).values[0, :, 0]
    q, change = ask(model, case.text, Target.of(LABEL)), Nudge()
    subject, points = Subject(Text(text=case.text), q, case.units, Target.of(LABEL), "token"), []
    for repeat in change.repeats(subject, generator(0, change.name, q.ids.tolist())):
        with repeat.around(model):
            points.append(q.embeddings()[1:-1].T[None].numpy())
    own = q.embeddings()
    return SimpleNamespace(
        found=dict(zip(NEAR.values(), found)), points=points, own=own[1:-1].T[None].numpy(),
        net=Points(model.module, own[0], own[-1]),
    )  # fmt: skip


@pytest.mark.parametrize("kind", NEAR.values())
def test_stability_near_a_text(nearby, theirs, kind):
    want = theirs.near(kind, nearby.net, nearby.own, nearby.points)
    assert nearby.found[kind] == pytest.approx(want, rel=1e-4)


def test_cascading_randomisation_is_mprt_with_the_same_weights(model, theirs):
    study = CascadingRandomisation(n_twins=1, explainers=("input_x_gradient",), unit="token")
    mine = study(model, list(TEXTS[:2]), LABEL).kept[0, 1:]
    each = []
    for text in TEXTS[:2]:
        ids = ask(model, text, Target.of(LABEL)).ids
        twins = (Ids(t.module, *ids[[0, -1]]) for t in cascade(model, groups(model), derive(0, "twin", 0)))
        each.append(theirs.cascade(Ids(model.module, *ids[[0, -1]]), ids[None, None, 1:-1], twins))
    assert mine == pytest.approx(np.mean(each, axis=0), abs=1e-4)
