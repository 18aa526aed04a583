"""Metrics of explanations: passes shared, the time of a whole suite, and the packages people would use instead.

    python bench/metrics.py [n_texts [part]]      40 texts in the suite (the figure is for 200); passes, peers or suite

1. passes: one explanation, six metrics of removal in sequence on one question. The inputs that were run are held against the
   union of what each metric asks for alone: never more;
2. suite: 10 methods by 8 metrics on the embedded sentiment model, with chance and the control on randomised weights, in one process
   (wall and CPU seconds) and as a run of two (wall seconds of the command, with its start and its board);
3. ferret (AOPC comprehensiveness and sufficiency, tau-LOO) and quantus (faithfulness correlation over five
   sizes; four stabilities of gradient x input near a text) on the same model, texts and explanations, each called as documented; skipped with a line where absent.
   The ratio is the package's CPU time over ours. Where values are of the same quantity they are compared first; the tests of
   conformance say how definitions differ. Ours here has no chance and no control unless the arm says so, since theirs have none.
"""

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

import exegete as xg
from exegete.core.target import Target
from exegete.evaluate.contract import FaithfulnessMetric, Ranking, judging, metric_of
from exegete.evaluate.faithfulness.comprehensiveness import Comprehensiveness
from exegete.evaluate.faithfulness.correlation import Correlation
from exegete.evaluate.faithfulness.sensitivity_n import SensitivityN
from exegete.evaluate.faithfulness.sufficiency import Sufficiency
from exegete.evaluate.stability.local_lipschitz import LocalLipschitz
from exegete.evaluate.stability.max_sensitivity import MaxSensitivity
from exegete.evaluate.stability.relative_input_stability import RelativeInputStability
from exegete.evaluate.stability.relative_output_stability import RelativeOutputStability
from exegete.models.ask import ask
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.ops.rank import random_orders
from exegete.terrarium import corpora
from timing import agree, compare, emit

METHODS = (
    "saliency", "input_x_gradient", "smoothgrad", "integrated_gradients", "occlusion", "lime", "kernel_shap",
    "permutation_shapley", "lrp", "chefer",
)  # fmt: skip
METRICS = (
    "comprehensiveness", "sufficiency", "correlation", "monotonicity", "decision_flip_fraction", "deletion_auc",
    "insertion_auc", "infidelity",
)  # fmt: skip
CURVES = (
    "comprehensiveness", "sufficiency", "decision_flip_fraction", "decision_flip_most_informative", "deletion_auc",
    "insertion_auc",
)  # fmt: skip
LABEL, CLASS, GOAL = "positive", 2, 5.0
K, N_PEER, SIZES, SUBSETS, NEARBY = 10, 4, 5, 20, 10
BINS = tuple(np.arange(0.1, 1.05, 0.1).round(1).tolist())


def passes(model: Model, texts: list[str]) -> None:
    """Counted, not timed: three texts, and of the first also with 20 random orders beside the explanation."""
    for text, n_random in [(texts[0], 0), (texts[1], 0), (texts[2], 0), (texts[0], 20)]:
        together = judging(ask(model, text, Target.of(LABEL)))
        units = together.units("word")
        rng, wanted, alone = np.random.default_rng(0), set(), 0
        rankings = Ranking.of(rng.normal(size=len(units)))
        if n_random:
            rankings += Ranking.random(rankings.scores[0], random_orders(len(units), n_random, rng))
        for name in CURVES:
            metric = metric_of(name)
            metric.score_orders(metric.game(together, units), rankings)
            apart = judging(ask(model, text, Target.of(LABEL)))
            metric.score_orders(metric.game(apart, units), rankings)
            wanted |= set(apart._memo)
            alone += apart.meter.distinct
        run = together.meter.distinct
        emit(
            "check", bench="metrics, passes", arm=f"{len(units)} units, {len(rankings)} orders", run=run, union=len(wanted),
            each_alone=alone, ok=run <= len(wanted),
        )  # fmt: skip


def suite(model: Model, n: int) -> None:
    """10 methods by 8 metrics over n texts."""
    texts = [e.text for e in corpora.sentiment(n, "test", seed=3)]
    wall, cpu = time.perf_counter(), time.process_time()
    table = xg.evaluate(model, texts, list(METHODS), list(METRICS), LABEL)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    arm = f"{len(METHODS)} methods x {len(METRICS)} metrics x {n} texts"
    emit(
        "check", bench="metrics, suite", arm=arm, ok=not table.failures and bool(np.isfinite(table.values).any()),
        failures=list(table.failures[:5]), forwards=table.cost.forwards, backwards=table.cost.backwards,
    )  # fmt: skip
    for name, seconds in (("wall", wall), ("cpu", cpu)):
        minutes = seconds * 200 / n / 60
        emit(
            "figure", bench=f"metrics, suite, {name} minutes a 200 texts", arm=arm, value=minutes, goal=10.0,
            reached=minutes < 10, measured_s=seconds,
        )  # fmt: skip


def suite_of_two(n: int) -> None:
    """The same as a run of two processes: the whole command, from its start to the written board."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "texts.txt"
        data.write_text("".join(f"{e.text}\n" for e in corpora.sentiment(n, "test", seed=3)))
        args = ["--methods", ",".join(METHODS), "--metrics", ",".join(METRICS), "--target", LABEL]
        how = ["--engine", "processes", "--workers", "2", "--out", f"{folder}/out"]
        begun = time.perf_counter()
        subprocess.run(
            [str(Path(sys.executable).parent / "exegete"), "evaluate", str(data), *args, *how],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wall = time.perf_counter() - begun
    minutes = wall * 200 / n / 60
    emit(
        "figure", bench="metrics, suite of two processes, wall minutes a 200 texts", arm=f"{n} texts", value=minutes, goal=10.0,
        reached=minutes < 10, measured_s=wall,
    )  # fmt: skip


class Text:
    """One text with K explanations: all scores above zero and one token a word, so that packages mean the same by it."""

    def __init__(self, model: Model, text: str) -> None:
        self.model, self.text = model, text
        self.ids = ask(model, text, Target.of(LABEL)).ids
        self.n = len(self.ids) - 2
        self.scores = np.random.default_rng(len(text)).random((K, self.n)) + 0.1

    def question(self) -> Question:
        """Asked anew, with nothing remembered."""
        return judging(ask(self.model, self.text, Target.of(LABEL)))

    def ours(self, metrics: list[FaithfulnessMetric], n_random: int = 0) -> np.ndarray:
        """[metric, K]."""
        q = self.question()
        units, ranking = q.units("token"), Ranking.of(self.scores)
        if n_random:
            orders = random_orders(len(units), n_random, np.random.default_rng(0))
            ranking = ranking + Ranking.random(self.scores[0], orders)
        return np.stack([m.score_orders(m.game(q, units), ranking)[:K] for m in metrics])


def chosen(model: Model) -> list[Text]:
    """Texts of which every word is one token, so that what is left reads the same after ferret has written it down; 10 tokens."""
    found = (Text(model, e.text) for e in corpora.sentiment(600, "test", seed=5) if len(e.text.split()) == 10)
    return [t for t in found if t.n == 10][:N_PEER]


def told(bench: str, arms: dict[str, Callable[[], Any]]) -> None:
    """Times, and the ratio of each package to ours as a figure."""
    for arm, ratio in compare(bench, arms, "exegete", rounds=3, warm=False).items():
        if not arm.startswith("exegete"):
            emit(
                "figure",
                bench=bench,
                arm=f"{arm} over exegete",
                value=ratio,
                goal=GOAL,
                reached=ratio >= GOAL,
            )


def ferret(model: Model, texts: list[Text]) -> None:
    """Three metrics of K explanations a text."""
    import ferret as theirs

    kinds = ("AOPC_Comprehensiveness_Evaluation", "AOPC_Sufficiency_Evaluation", "TauLOO_Evaluation")
    by = [getattr(theirs, kind)(model.module, model.tokenizer) for kind in kinds]
    metrics: list[FaithfulnessMetric] = [
        Comprehensiveness(bins=BINS, removal="delete"),
        Sufficiency(bins=BINS, removal="delete"),
        Correlation(rho="kendall", removal="delete"),
    ]

    def run() -> np.ndarray:
        found = []
        for t in texts:
            names = model.tokenizer.convert_ids_to_tokens(t.ids.tolist())
            told = [
                theirs.benchmark.Explanation(t.text, names, np.array([0, *s, 0]), "", CLASS) for s in t.scores
            ]
            found.append([[e.compute_evaluation(x, CLASS).score for x in told] for e in by])
        return np.array(found, dtype=float)

    want = np.stack([t.ours(metrics) for t in texts])
    got = run()
    agree("metrics, ferret", "aopc", got[:, :2], want[:, :2])
    agree("metrics, ferret", "tau-LOO", got[:, 2], want[:, 2])
    arms = {
        "exegete": lambda: [t.ours(metrics) for t in texts],
        "exegete, 20 random orders beside": lambda: [t.ours(metrics, 20) for t in texts],
        "ferret": run,
    }
    told("metrics, ferret", arms)


class Masks(torch.nn.Module):
    """The model as quantus wants it: numbers [B, 1, U], where below a half the mask token is read -> probabilities."""

    def __init__(self, t: Text) -> None:
        super().__init__()
        self.module, self.ids, self.mask = (
            t.model.module,
            torch.as_tensor(t.ids),
            t.model.tokenizer.mask_token_id,
        )
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Probabilities [B, class]."""
        keep = torch.ones(len(x), len(self.ids), dtype=torch.bool)
        keep[:, 1:-1] = x.reshape(len(x), -1) > 0.5
        return self.module(input_ids=torch.where(keep, self.ids, self.mask)).logits.softmax(-1)


def quantus(texts: list[Text]) -> None:
    """Random subsets of K explanations a text, as one batch."""
    import quantus as theirs

    off = {"normalise": False, "disable_warnings": True, "return_aggregate": False}
    sizes = np.unique(np.round(np.linspace(1, texts[0].n - 1, SIZES)).astype(int))
    metrics: list[FaithfulnessMetric] = [SensitivityN(n_sizes=SIZES, n_subsets=SUBSETS, removal="mask")]

    def subsets() -> np.ndarray:
        found = []
        for t in texts:
            x, y, net = np.ones((K, 1, t.n)), np.full(K, CLASS), Masks(t)
            by = [
                theirs.FaithfulnessCorrelation(
                    subset_size=int(k), nr_runs=SUBSETS, perturb_baseline=0.0, **off
                )
                for k in sizes
            ]
            found.append(
                np.mean(
                    [b(net, x, y, a_batch=t.scores[:, None], channel_first=True, softmax=False) for b in by],
                    axis=0,
                )
            )
        return np.array(found)

    want, got = np.stack([t.ours(metrics)[0] for t in texts]), subsets()
    r = float(np.corrcoef(want.ravel(), got.ravel())[0, 1])
    emit("check", bench="metrics, quantus subsets", arm="quantus (draws of its own)", r=r, ok=r > 0.7)
    arms = {
        "exegete": lambda: [t.ours(metrics) for t in texts],
        "exegete, 20 random orders beside": lambda: [t.ours(metrics, 20) for t in texts],
        "quantus": subsets,
    }
    told("metrics, quantus subsets", arms)


class Points(torch.nn.Module):
    """The model as quantus wants it: embeddings between the text's ends [B, d, U] -> logits [B, class]."""

    def __init__(self, q: Question) -> None:
        super().__init__()
        own = q.embeddings()
        self.module, self.ends, self.own = q.model.module, (own[0], own[-1]), own[1:-1].T[None].numpy()
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        first, last = (end.expand(len(x), 1, -1) for end in self.ends)
        return self.module(inputs_embeds=torch.cat([first, x.transpose(1, 2), last], 1)).logits


def raised(model: Points, inputs: Any, targets: Any, n_samples: int = 0) -> np.ndarray:
    """Gradient x input [B, 1, U], ten higher: quantus refuses explanations that are all negative, and differences stay.

    `n_samples` is what quantus hands on of its own.
    """
    x = torch.as_tensor(np.asarray(inputs)).float().requires_grad_(True)
    slope = torch.autograd.grad(model(x)[:, int(targets[0])].sum(), x)[0]
    return (slope * x).sum(1, keepdim=True).detach().numpy() + 10


def stability(model: Model, texts: list[Text]) -> None:
    """Four stabilities near each text, ten nearby texts each. Values are compared in tests/conformance, where both get the same ones."""
    import quantus as theirs

    kinds = ("LocalLipschitzEstimate", "MaxSensitivity", "RelativeInputStability", "RelativeOutputStability")
    near = [
        kind(n_variants=NEARBY)
        for kind in (LocalLipschitz, MaxSensitivity, RelativeInputStability, RelativeOutputStability)
    ]
    off = {"normalise": False, "abs": False, "disable_warnings": True, "return_aggregate": False}

    def run() -> None:
        for t in texts:
            net, y = Points(t.question()), np.array([CLASS])
            for kind in kinds:
                by = getattr(theirs, kind)(nr_samples=NEARBY, **off)
                by(
                    net,
                    net.own,
                    y,
                    a_batch=raised(net, net.own, y),
                    explain_func=raised,
                    channel_first=True,
                    softmax=False,
                )

    plain = [t.text for t in texts]
    arms = {
        "exegete, chance beside": lambda: xg.evaluate(
            model, plain, ["input_x_gradient"], near, LABEL, unit="token", trust="fast"
        ),
        "quantus": run,
    }
    for arm, ratio in compare(
        "metrics, quantus stability", arms, "exegete, chance beside", rounds=3, warm=False
    ).items():
        if not arm.startswith("exegete"):
            emit(
                "figure", bench="metrics, quantus stability", arm=f"{arm} over exegete", value=ratio, goal=GOAL,
                reached=ratio >= GOAL,
            )  # fmt: skip


def peers(model: Model) -> None:
    """Those that are installed."""
    texts = chosen(model)
    quantus_parts = ("quantus", lambda: (quantus(texts), stability(model, texts)))
    for name, run in (("ferret", lambda: ferret(model, texts)), quantus_parts):
        if find_spec(name) is None:
            emit("skipped", bench=f"metrics, {name}", why=f"{name} is not installed")
        else:
            run()


def main() -> None:
    """All parts, or one."""
    warnings.filterwarnings("ignore")
    n, model = int(sys.argv[1]) if len(sys.argv) > 1 else 40, xg.load("terrarium/sentiment")
    parts = {
        "passes": lambda: passes(model, [e.text for e in corpora.sentiment(3, "test", seed=1)]),
        "peers": lambda: peers(model),
        "suite": lambda: (suite(model, n), suite_of_two(n)),
    }
    for name, run in parts.items():
        if len(sys.argv) < 3 or sys.argv[2] == name:
            run()


if __name__ == "__main__":
    main()
