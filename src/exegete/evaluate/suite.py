"""`evaluate`: methods by metrics over a set of texts, each score with all that is needed to read it.

For each text:
1. every method explains it, and explains it again on the model with randomised weights (the control);
2. for each metric, all explanations, all controls and `n_random` random orders are scored together on one question, so
   that no input is run twice whatever the number of methods and metrics.
Then for each method and metric: the mean over texts with its 95 % bootstrap interval, chance, control, n and n_failed. The
last row is a random explanation: what scores like it says nothing. Where people marked what matters, their rationale is a row too:
judged like an explanation by faithfulness metrics, and by plausibility metrics each annotator against the others.

Equal scores stand in an order that is drawn by the text: in the order of the text, scores that are all equal would be as good as its
first words are. Chance of a metric that reads values (not only their order) deals out the method's own values along the random orders. Stability
metrics look at texts that were changed a little and explained again (`evaluate.again`): once for all of them, on the model and on
its control; chance deals out the scores of the changed texts at random, and the random row has new scores for each.
A text is a row of a job (`evaluate.judging`): with a folder it is a run like any other, by as many workers as are asked for.
Cost: explanations twice, and at most the distinct subsets that the metrics name, once; stability: explaining the changed texts.
"""

from collections.abc import Sequence
from pathlib import Path

from exegete.core.errors import UnknownName
from exegete.core.method import Method
from exegete.core.rationale import Rationale
from exegete.core.result import MetricTable
from exegete.core.target import Target
from exegete.evaluate.cases import Progress, Quiet, Texts, plan, texts_of
from exegete.evaluate.contract import ExplanationMetric, faithfulness_metrics, judge_of, plausibility_metrics
from exegete.evaluate.judging import Judge, Judging, row_of
from exegete.evaluate.removals import removing
from exegete.evaluate.suite_table import table_of
from exegete.models.model import Model
from exegete.run.drive import Engine, drive, prepare
from exegete.run.here import worked_here
from exegete.run.opened import Run

LEVELS = ("full", "fast")


def evaluate(
    model: Model,
    texts: Texts,
    methods: Sequence[str | Method],
    metrics: Sequence[str | Method] | None = None,
    target: Target | str | int | None = None,
    *,
    unit: str = "word",
    prefix: bool = False,
    trust: str = "full",
    n_random: int = 20,
    seed: int = 0,
    removal: str | None = None,
    infiller: str | None = None,
    folder: str | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> MetricTable:
    """Scores of `methods` by `metrics` over `texts`. None: all faithfulness metrics, and the plausibility metrics where
    every text is a `Rationale`.

    `removal` is how all faithfulness metrics remove units (`models.remove`), `infiller` who fills in for removal='infill'.
    `trust='fast'` leaves out the randomised-weights control. `folder` makes it a run that goes on where it was cut short, by the workers
    of `engine`. `progress` advances by one for each method and text (in a folder for each text). Raises `UsageError`
    for unknown methods and metrics, and the first error met when nothing could be explained.
    """
    if trust not in LEVELS:
        raise UnknownName("trust level of a suite", trust, LEVELS)
    what, given = plan(model, methods, target, unit, prefix, seed), texts_of(texts)
    told = any(isinstance(t, Rationale) for t in given)
    asked = tuple(judge_of(m) for m in (_usual(given) if metrics is None else metrics))
    chosen, by = removing(what.model, asked, removal, infiller)
    judge = Judge(what, chosen, trust == "full", n_random, by, progress)
    if folder is not None:
        job = Judging.of(what, asked, trust, n_random, removal, infiller, told)
        return _run(job, judge, [row_of(text, n) for n, text in enumerate(given)], folder, engine, progress)
    judge.progress.start(len(given) * len(what.methods), "evaluating")
    try:
        rows = [{"n": n, "text": text} for n, text in enumerate(given)]
        outputs = list(worked_here(judge, rows, stretch=1))
    finally:
        judge.progress.stop()
    if all(o.error is not None for o in outputs):
        raise next(o.error for o in outputs if o.error is not None)
    sheets = [judge.sheet(o, f"text {n + 1}") for n, o in enumerate(outputs)]
    return table_of(what, sheets, chosen, told, by)


def _run(
    job: Judging, judge: Judge, rows: Sequence[dict], folder: str, engine: Engine | None, progress: Progress | None
) -> MetricTable:  # fmt: skip
    """The same as a run in a folder. Only what no method could explain is a failed row."""
    judge.progress = Quiet()
    place = prepare(job, lambda: ((str(r["n"]), r) for r in rows), Path(folder), {})
    drive(place, engine or Engine(), job=job, worker=judge, allowed=1.0, progress=progress)
    found = Run(place.path)
    if found.n_failed == len(found):
        raise next(value for _, value in found if isinstance(value, Exception))
    return found.result  # type: ignore[return-value]


def _usual(given: Sequence[object]) -> tuple[ExplanationMetric, ...]:
    """The metrics that are taken where none are named."""
    told = all(isinstance(t, Rationale) for t in given)
    return (*faithfulness_metrics(), *(plausibility_metrics() if told else ()))
