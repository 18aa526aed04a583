"""`exegete evaluate`: judge methods by metrics over a file of texts, or over a task that says what people marked."""

from pathlib import Path
from typing import Annotated, Any

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output, say
from exegete.cli.inputs import given
from exegete.core.errors import UsageError

HEADS = ("causal", "masked", "seq2seq", "sequence", "token")


def evaluate(
    inputs: o.Inputs = None,
    methods: o.Methods = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            help="Ids, separated by commas; see `exegete list metrics`.",
            rich_help_panel="What is explained",
        ),
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(
            "--scores",
            help="A JSONL file of your own scores (text, tokens, scores, method), judged beside the others.",
            rich_help_panel="What is explained",
        ),
    ] = None,
    removal: Annotated[
        str | None,
        typer.Option(
            "--removal",
            help="How faithfulness metrics remove words: mask, delete, pad, unk, mean, zero, resample, or infill "
            "(a language model draws what might have stood there).",
            rich_help_panel="What is explained",
        ),
    ] = None,
    infiller: Annotated[
        str | None,
        typer.Option(
            "--infiller",
            help="Who fills in: a masked, causal or encoder-decoder model with the same tokenizer. A language model fills in itself.",
            rich_help_panel="What is explained",
        ),
    ] = None,
    truth: Annotated[
        bool,
        typer.Option(
            "--truth",
            help="Judge by planted truth instead: every method (or --methods) against models whose reasons are known. "
            "Takes no texts; -n sets how many are drawn from each planted model.",
            rich_help_panel="What is explained",
        ),
    ] = False,
    target: o.Target = None,
    against: o.Against = None,
    scale: o.Scale = "auto",
    unit: o.Unit = "word",
    truncate: o.Truncate = False,
    trust: Annotated[
        str,
        typer.Option(
            "--trust",
            help="full, or fast (no randomised-weights control).",
            rich_help_panel="What is explained",
        ),
    ] = "full",
    n: Annotated[
        int | None,
        typer.Option(
            "-n", min=1, help="Take so many texts of the task.", rich_help_panel="What is explained"
        ),
    ] = None,
    seed: o.Seed = 0,
    model: o.Model = o.DEFAULT_MODEL,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="Texts with rationales: terrarium, or a file or folder in a published form (ERASER, HateXplain, e-SNLI, "
            "CoS-E, SST trees, JSONL); or contrast sets, or tests of capabilities, which judge the model itself (contrast:FILE reads "
            f"revised pairs so). Or how the model is loaded: {', '.join(HEADS)}.",
            rich_help_panel="What is explained",
        ),
    ] = None,
    revision: o.Revision = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    device_map: o.DeviceMap = None,
    trust_remote_code: o.RemoteCode = False,
    allow_pickle: o.Pickle = False,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="A folder for the whole run: Parquet, Markdown, LaTeX, a page, and every text as it is judged, so that the "
            "same command goes on where it stopped. Or FILE.exg for the result alone.",
            rich_help_panel="Output",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine", help="With --out DIR: local (this process) or processes.", rich_help_panel="Output"
        ),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="How many processes; else one a core.", rich_help_panel="Output"),
    ] = None,
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """Judge methods over a set of texts: each metric with its interval, chance, control, n and failures."""
    from exegete import front
    from exegete.cli.ask import ask_of, loaded, names
    from exegete.cli.progress import RichProgress

    head, marked = (task, None) if task in HEADS else (None, task)
    folder = out if out and not out.endswith(".exg") and not truth else None
    output = Output(None if folder else out, html, open_page, as_json)
    output.check()
    if folder is not None:
        from exegete.core.store import check_folder

        check_folder(folder, "plan.json")
    if truth:
        output.emit([_truth(inputs, task, scores, names(methods), n, seed, RichProgress())])
        return 0
    if marked and not inputs:
        from exegete.evaluate.behaviour import behaviour, has_tests

        if has_tests(marked):
            _no_methods(marked, methods or metrics or scores or removal)
            reader = loaded(model, head, revision, dtype, device, trust_remote_code, allow_pickle, device_map)
            found = behaviour(reader, marked, n, seed, RichProgress())
            Output(_result_in(folder) if folder else out, html, open_page, as_json).emit([found])
            return 0
    ask = ask_of(target, against, scale, unit)
    chosen, judges = names(methods), names(metrics)
    texts, note = _task(inputs, marked, n, seed) if marked else (_plain(inputs, ask, truncate, n), "")
    result = front.evaluate(
        loaded(model, head, revision, dtype, device, trust_remote_code, allow_pickle, device_map),
        texts,
        chosen or front.DEFAULT_METHODS,
        judges,
        ask.target,
        unit=unit,
        trust=trust,
        scores=scores,
        removal=removal,
        infiller=infiller,
        folder=folder,
        engine=engine,
        workers=workers,
        seed=seed,
        progress=RichProgress(),
    )
    if note:
        result = result.model_copy(update={"notes": (*result.notes, note)})
    output.emit([result])
    if folder:
        from exegete.evaluate.board import write_board

        for path in write_board(result, folder):
            say(f"wrote {path}")
    return 0


def _no_methods(task: str, given: str | None) -> None:
    """Raises `UsageError` where methods, metrics or scores are given to tests that judge a model by its answers."""
    if given:
        raise UsageError(
            f"You asked to judge a model by the tests of {task!r:.60}, and gave {given!r:.40}.",
            "These tests look at the answers of a model, not at explanations.",
            "Leave methods, metrics, scores and removal out.",
        )


def _result_in(folder: str) -> str:
    """Where a result that is one file goes in a folder, which is made where there is none."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    return str(Path(folder) / "result.exg")


def _truth(
    inputs: list[str] | None,
    task: str | None,
    scores: str | None,
    methods: list[str] | None,
    n: int | None,
    seed: int,
    progress: Any,
) -> Any:
    """The truth board. Raises `UsageError` where texts, a task or scores are given too: it has its own."""
    if inputs or task or scores:
        raise UsageError(
            f"You asked for --truth and for {(inputs or [task or scores])[0]!r:.60}.",
            "Planted truth comes with its own models and texts.",
            "Leave one of them out.",
        )
    from exegete.evaluate.truth import truth_board

    return truth_board(methods or None, n_texts=n or 6, seed=seed, progress=progress)


def _plain(inputs: list[str] | None, ask: Any, truncate: bool, n: int | None) -> list[Any]:
    """Texts that come as such."""
    return ask.requests(given(inputs, "evaluate").texts[:n], truncate)


def _task(inputs: list[str] | None, task: str, n: int | None, seed: int) -> tuple[list[Any], str]:
    """The items of a task, and in words what of it was left out. Raises `UsageError` where texts are given too."""
    if inputs:
        raise UsageError(
            f"You asked to judge methods on {inputs[0]!r:.60} and on the task {task!r}.",
            "It is one or the other.",
            "Leave one of them out.",
        )
    from exegete.evaluate.tasks import task_of

    found = task_of(task, n, seed)
    left = f"{len(found.skipped)} rows of {task} were left out ({found.skipped[0]})." if found.skipped else ""
    return list(found.items), left
