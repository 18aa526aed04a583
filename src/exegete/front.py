"""The front door: load, explain, compare, evaluate, study, run, open, show, prove.

Each verb takes what people write (names, texts, ids), makes it into values, and hands them one floor down. Nothing is
computed here. `inputs` is one text (string, token ids, chat messages, `Text`) or a list of texts; one gives one result,
a list gives a list.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from exegete.core.errors import BudgetError, InputError, StoreError, UsageError
from exegete.core.method import Method, method_of
from exegete.core.rationale import Rationale
from exegete.core.registry import METHODS, METRICS
from exegete.core.request import Text
from exegete.core.result import Comparison, Listing, MetricTable, Result
from exegete.core.target import Label, Scale, Target
from exegete.core.trust import Cost

if TYPE_CHECKING:
    from exegete.core.results.finding import Finding
    from exegete.models.model import Model
    from exegete.run.opened import Run

TrustLevel = Literal["full", "fast", "none"]
DEFAULT_METHOD = "integrated_gradients"
DEFAULT_METHODS = ("integrated_gradients", "occlusion", "input_x_gradient", "kernel_shap")


@runtime_checkable
class Progress(Protocol):
    """What shows progress: told the total once, then each step."""

    def start(self, total: int, words: str) -> None:
        """Begin a piece of work of `total` steps."""
        ...

    def advance(self, n: int = 1) -> None:
        """`n` more steps are done."""
        ...

    def stop(self) -> None:
        """The work is over."""
        ...


def load(
    source: Any,
    *,
    task: str | None = None,
    revision: str | None = None,
    dtype: Any = None,
    device: Any = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    device_map: Any = None,
) -> "Model":
    """A model by name (`terrarium/sentiment`, `gpt2`), folder, or `(module, tokenizer)`.

    `task` is causal, masked, seq2seq, sequence or token; by default what the checkpoint was saved for. Remote code and
    pickled weights are refused unless asked for. `device_map` ("auto", or a device a module) spreads a model that is larger than
    one device over several, and over main memory and disk. Raises `ModelError`, `UsageError`.
    """
    from exegete.models.load import load as load_model

    return load_model(
        source,
        task=task,
        revision=revision,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        device_map=device_map,
    )


def explain(
    model: Any,
    inputs: Any,
    method: str | Method = DEFAULT_METHOD,
    target: Target | str | int | None = None,
    *,
    against: Label = None,
    scale: Scale = "auto",
    unit: str = "word",
    prefix: bool = False,
    trust: TrustLevel = "full",
    budget: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Any:
    """Why did `model` say `target` on `inputs`? An `Attribution` of its units, with a trust line; a list for a list.

    `method` is an id or a method value, `target` a class, a text, a token, `"generated"` or a `Target`, `against` the
    foil of a contrast, `unit` token, word, sentence, segment or span, `prefix` adds the target's own earlier tokens.
    `trust` is full, fast (without the randomised-weights control) or none. `budget` is the most forward passes that may
    be forecast for one text. Raises `ExegeteError` letters.
    """
    from exegete.evaluate.explained import Asked, attribution_method, explained_all

    model, method = load(model), method_of(method)
    goal = Target.of(target, against=against, scale=scale)
    many, texts = _texts(inputs)
    if budget is not None:
        for text in texts:
            _within(budget, forecast(model, text, method, goal, unit=unit, prefix=prefix, trust=trust))
    asked = Asked(attribution_method(method), goal, unit, prefix, trust, seed)
    found = explained_all(model, texts, asked)
    results = list(_shown(found, len(texts), progress, f"explaining with {method.id}"))
    return results if many else results[0]


def compare(
    model: Any,
    inputs: Any,
    methods: Sequence[str | Method] = DEFAULT_METHODS,
    target: Target | str | int | None = None,
    *,
    against: Label = None,
    scale: Scale = "auto",
    unit: str = "word",
    trust: TrustLevel = "full",
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Rank several methods on one text or many, with their disagreement (rank correlation, top-k overlap) beside it."""
    from exegete.evaluate.compare import compare as run

    _, texts = _texts(inputs)
    goal = Target.of(target, against=against, scale=scale)
    chosen = _methods(methods)
    return run(load(model), texts, chosen, goal, unit=unit, trust=trust, seed=seed, progress=progress)


def evaluate(
    model: Any,
    inputs: Any,
    methods: Sequence[str | Method] = DEFAULT_METHODS,
    metrics: Sequence[str | Method] | None = None,
    target: Target | str | int | None = None,
    *,
    against: Label = None,
    scale: Scale = "auto",
    unit: str = "word",
    trust: str = "full",
    scores: str | None = None,
    removal: str | None = None,
    infiller: str | None = None,
    folder: str | None = None,
    engine: str = "local",
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> MetricTable:
    """Judge methods by metrics over a set of texts: mean, 95 % interval, chance, control, n and n_failed for each.

    `inputs` are texts or `Rationale`s (`xg.read_rationales(path).items`), by which plausibility is judged too. `scores` is a
    file of a user's own scores, judged as one more method. `removal` is how faithfulness metrics remove units (delete, mask, infill, ...);
    `infiller` is the language model that fills in for a classifier. `trust='fast'` leaves the randomised-weights control out. `folder`
    makes it a run that goes on where it was cut short, by `workers` of `engine` (local or processes).
    """
    from exegete.evaluate.given_scores import GivenScores
    from exegete.evaluate.suite import evaluate as run
    from exegete.run.drive import Engine

    who = Engine(engine, workers)
    if folder is None and who.name != "local":
        raise UsageError(
            f"You asked to judge methods by the engine {engine!r}.",
            "Several workers meet in a folder, and none is named.",
            "Name one: folder='DIR' (--out DIR).",
        )
    told = isinstance(inputs, Rationale) or (
        isinstance(inputs, Sequence) and any(isinstance(i, Rationale) for i in inputs)
    )
    texts = inputs if told else _texts(inputs)[1]
    goal = Target.of(target, against=against, scale=scale)
    chosen: list[Any] = list(_methods(methods))
    chosen += GivenScores.read(scores) if scores else ()
    return run(
        load(model), texts, chosen, _metrics(metrics), goal,
        unit=unit, trust=trust, seed=seed, removal=removal, infiller=infiller, folder=folder, engine=who,
        progress=progress,
    )  # fmt: skip


def study(
    model: Any,
    method: str | Method,
    request: Any = None,
    target: Target | str | int | None = None,
    *,
    against: Label = None,
    scale: Scale = "auto",
    progress: Progress | None = None,
) -> "Finding":
    """How does `model` do it? A finding of the study `method` (an id or a value) about `request`.

    `request` is what the study asks about: texts, `Pair`s, `Fact`s or `Parsed` sentences, one or a list. Left out, the
    terrarium's own material is taken, which fits the embedded models. Raises `ExegeteError` letters.
    """
    from exegete.methods.contracts.study import Study

    chosen = method_of(method)
    if not isinstance(chosen, Study):
        raise UsageError(
            f"You asked for the study {chosen.id!r}.",
            "It is a method that explains the words of a text.",
            f"Use xg.explain(model, text, {chosen.id!r}).",
        )
    loaded = load(model)
    if request is None:
        request = chosen.brings()
    if request is None and chosen.asks != "nothing":
        from exegete.terrarium.material import material

        request = material(
            chosen.asks, loaded.task, chosen.most, chosen.usual, model=loaded.name, kind=chosen.kind
        )
    goal = Target.of(target, against=against, scale=scale)
    return chosen(loaded, request, goal, progress=progress)


def run(
    method: str | Method,
    model: Any,
    data: Any,
    out: str | None = None,
    *,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: float = 0.0,
    target: Target | str | int | None = None,
    against: Label = None,
    scale: Scale = "auto",
    unit: str = "word",
    prefix: bool = False,
    trust: TrustLevel = "full",
    methods: Sequence[str | Method] = (),
    sites: Sequence[str] = (),
    pool: str = "all",
    text_column: str | None = None,
    id_column: str | None = None,
    target_column: str = "",
    truncate: bool = False,
    limit: int | None = None,
    max_error_rate: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> "Run":
    """`method` over a data set of any size: in shards, by several workers, resumed by the same call when it was cut short.

    `method` explains every row (an attribution method), judges it (a metric, or "evaluate", with `methods`), is made of all rows (a
    study), or is "harvest" (activations at `sites`). `model` is a name, a folder or a loaded model, `data` a file, a folder of files,
    "hf:NAME:SPLIT", or a list. In `out` stands what came of it (left out: in the cache, and found again by the next call). `engine` is
    local, processes (`workers` of them) or ray (a cluster at `address`). More failed rows than the share `max_error_rate` end it.
    Read the `Run`: `run.result`, `run.to_frame()`, `run["id"]`.
    """
    from exegete.evaluate.jobs import Wanted, job_for
    from exegete.evaluate.launch import launch
    from exegete.run.drive import Engine

    wanted = Wanted(
        target=Target.of(target, against=against, scale=scale), unit=unit, prefix=prefix, trust=trust, truncate=truncate,
        methods=tuple(methods), sites=tuple(sites), pool=pool, text_column=text_column, id_column=id_column,
        target_column=target_column, limit=limit, seed=seed,
    )  # fmt: skip
    who = Engine(engine, workers, address, gpus_per_worker)
    return launch(
        lambda ref: job_for(method, ref, data, wanted), model, out, who,
        allowed=max_error_rate, told={"data": data if isinstance(data, str) else "a list"}, progress=progress,
    )  # fmt: skip


def forecast(
    model: Any,
    inputs: Any,
    method: str | Method = DEFAULT_METHOD,
    target: Target | str | int | None = None,
    *,
    unit: str = "word",
    prefix: bool = False,
    trust: TrustLevel = "full",
) -> Cost:
    """What explaining `inputs` will cost, in passes, tokens and seconds, before it starts.

    Passes are an upper bound (inputs asked twice are run once), but for methods that refine themselves, which are counted
    at what mostly suffices; seconds come from timing passes of the untouched input.
    """
    from exegete.evaluate.forecast import forecast as estimate

    model, method = load(model), method_of(method)
    goal = Target.of(target)
    costs = [estimate(model, text, method, goal, unit, prefix, trust) for text in _texts(inputs)[1]]
    return sum(costs[1:], costs[0])


def prove(model: Any) -> Listing:
    """Check, by numbers, that every part of the model is where its description says; one row a check."""
    from exegete.evaluate.proof import proof_listing

    return proof_listing(load(model))


def open(path: Any) -> "Result | Run":
    """A saved result, or the run in a folder, without the model and without torch. Raises `StoreError` for what is neither."""
    from pathlib import Path

    from exegete.core.store import open_result

    if Path(path).is_dir():
        from exegete.run.opened import Run

        if not (Path(path) / "plan.json").exists():
            raise StoreError(
                f"You asked to open {str(path)!r}.",
                "It is a folder, and not a result, nor that of a run (which has a plan.json).",
                "Results are written by Result.save(path), runs by `exegete run --out DIR`.",
            )
        return Run(path)
    return open_result(path)


def show(result: Result) -> None:
    """Print a result in the terminal, as `exegete show` does."""
    from rich.console import Console

    from exegete.show.render import terminal

    Console().print(terminal(result))


def methods() -> list[str]:
    """Ids of all registered methods."""
    return METHODS.ids()


def metrics() -> list[str]:
    """Ids of all registered metrics."""
    return METRICS.ids()


def _methods(methods: Sequence[str | Method] | str | Method) -> list[Method]:
    return [method_of(m) for m in ([methods] if isinstance(methods, (str, Method)) else methods)]


def _metrics(metrics: Sequence[str | Method] | str | Method | None) -> list[Method] | None:
    """Metric values; None where the suite is to choose those that fit."""
    if metrics is None:
        return None
    names = [metrics] if isinstance(metrics, (str, Method)) else metrics
    if not names:
        raise UsageError(
            "You asked to judge methods.", "No metric was given.", "Leave metrics out to take all that fit."
        )
    return [m if isinstance(m, Method) else METRICS.get(m.replace("-", "_"))() for m in names]


def _texts(inputs: Any) -> tuple[bool, list[Text]]:
    """Whether many were given, and the requests."""
    many = (
        isinstance(inputs, Sequence)
        and not isinstance(inputs, str)
        and all(isinstance(i, (str, Text)) for i in inputs)
    )
    if many and not inputs:
        raise InputError("You asked to explain texts.", "The list is empty.", "Give at least one text.")
    return (True, [Text.of(i) for i in inputs]) if many else (False, [Text.of(inputs)])


def _shown(found: Iterable[Any], n: int, progress: Progress | None, words: str) -> Iterator[Any]:
    """Pass results on, telling `progress`."""
    if progress is None:
        yield from found
        return
    progress.start(n, words)
    try:
        for result in found:
            yield result
            progress.advance(1)
    finally:
        progress.stop()


def _within(budget: int, cost: Cost) -> None:
    if cost.forwards + 2 * cost.backwards > budget:
        raise BudgetError(
            f"You set a budget of {budget:,} passes.",
            f"The forecast is {cost} (a backward counts as two).",
            "Raise the budget, lower n_steps or n_samples, choose a larger unit, or trust='fast'.",
        )
