"""`exegete run METHOD --data FILE`: a method over a data set of any size, by several workers, resumed by the same command."""

from typing import Annotated, Any

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output, say
from exegete.core.errors import UsageError

DATA, WORK = "Data", "Who works"


def run(
    method: Annotated[
        str,
        typer.Argument(
            help="A method or study; metrics (with --methods), or 'evaluate' for all that fit; or 'harvest' (with --sites). Its "
            "parameters are flags too (--n-steps 64).",
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            "-d",
            help="A file (.jsonl, .json, .csv, .tsv, .parquet, .txt, packed with gzip or not), a folder of them, or hf:NAME:SPLIT.",
            rich_help_panel=DATA,
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="The folder of the run. The same command goes on there. Left out: in the cache, found again by the same command.",
            rich_help_panel=DATA,
        ),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option("--text-column", help="Where the text is.", rich_help_panel=DATA)
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option(
            "--id-column", help="Where each row's id is; else 'id', or its place.", rich_help_panel=DATA
        ),
    ] = None,
    target_column: Annotated[
        str, typer.Option("--target-column", help="Where each row's own target is.", rich_help_panel=DATA)
    ] = "",
    label_column: Annotated[
        str | None,
        typer.Option("--label-column", help="Where the label of a labelled text is.", rich_help_panel=DATA),
    ] = None,
    group_column: Annotated[
        str | None,
        typer.Option(
            "--group-column", help="Texts of one group stay on one side of a split.", rich_help_panel=DATA
        ),
    ] = None,
    spans: Annotated[
        str | None,
        typer.Option(
            "--spans", help="Spans of labelled texts count word or character.", rich_help_panel=DATA
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Take so many rows.", rich_help_panel=DATA)
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            help="local (this process), processes (of this machine) or ray (a cluster).",
            rich_help_panel=WORK,
        ),
    ] = "local",
    workers: Annotated[
        int | None, typer.Option("--workers", help="How many; else one a core.", rich_help_panel=WORK)
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", help="The Ray cluster: auto, or host:port of its head.", rich_help_panel=WORK
        ),
    ] = None,
    gpus: Annotated[
        float,
        typer.Option(
            "--gpus-per-worker",
            min=0,
            help="GPUs, or a share of one, for each Ray worker.",
            rich_help_panel=WORK,
        ),
    ] = 0.0,
    max_error_rate: Annotated[
        float,
        typer.Option(
            "--max-error-rate",
            min=0,
            max=1,
            help="The share of rows that may fail before it stops.",
            rich_help_panel=WORK,
        ),
    ] = 0.1,
    methods: o.Methods = None,
    sites: Annotated[
        str | None,
        typer.Option("--sites", help="Places to harvest: 2.resid_post,3.mlp_act", rich_help_panel=o.WHAT),
    ] = None,
    pool: Annotated[
        str,
        typer.Option(
            "--pool", help="harvest: all tokens, or the first, last, mean or max.", rich_help_panel=o.WHAT
        ),
    ] = "all",
    target: o.Target = None,
    against: o.Against = None,
    scale: o.Scale = "auto",
    unit: o.Unit = "word",
    truncate: o.Truncate = False,
    trust: o.Trust = "full",
    seed: o.Seed = 0,
    model: o.Model = o.DEFAULT_MODEL,
    task: o.Task = None,
    revision: o.Revision = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    device_map: o.DeviceMap = None,
    trust_remote_code: o.RemoteCode = False,
    allow_pickle: o.Pickle = False,
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """Run a method over a data set of any size: in shards, by several workers, resumed by the same command."""
    from exegete.cli.ask import ask_of, names
    from exegete.cli.progress import RichProgress
    from exegete.core.job import ModelRef
    from exegete.evaluate.jobs import Wanted, job_for
    from exegete.evaluate.launch import launch
    from exegete.run.drive import Engine

    output = Output(None, html, open_page, as_json)
    output.check()
    who = Engine(engine, workers, address, gpus)
    goal = ask_of(target, against, scale, unit, trust)
    wanted = Wanted(
        target=goal.target, unit=unit, trust=goal.trust, truncate=truncate, methods=tuple(names(methods) or ()),
        sites=tuple(names(sites) or ()), pool=pool, text_column=text_column, id_column=id_column,
        target_column=target_column, label_column=label_column, group_column=group_column, spans=spans, limit=limit,
        seed=seed,
    )  # fmt: skip
    ref = ModelRef(
        source=model, task=task, revision=revision, dtype=dtype, device=device, device_map=device_map,
        trust_remote_code=trust_remote_code, allow_pickle=allow_pickle,
    )  # fmt: skip
    chosen = _chosen(method, seed)
    with RichProgress() as progress:
        found = launch(
            lambda ref: job_for(chosen, ref, data, wanted), ref, out, who,
            allowed=max_error_rate, told={"data": data}, progress=progress,
        )  # fmt: skip
    if found.plan.rows["whole"]:
        say(f"It ran in one piece: {found.plan.rows['whole']}.")
    output.emit([found.result])
    say(found.line)
    return 0


def _chosen(method: str, seed: int) -> Any:
    """The method with the parameters of the extra flags; a name that is none of a method as it is."""
    from exegete.cli.ask import method_value
    from exegete.cli.params import EXTRA, Extra
    from exegete.core.registry import METHODS

    if method.replace("-", "_") in METHODS:
        value, words = method_value(method, "run", seed)
        if words:
            raise UsageError(
                f"You gave `exegete run {method}` the words {' '.join(words)!r:.60}.",
                "It reads rows from a file.",
                "Name it: --data FILE. One text is explained by `exegete explain`.",
            )
        return value
    extra = EXTRA.get(Extra())
    if extra.pairs:
        raise UsageError(
            f"You gave {extra.pairs[0][0]!r} to `exegete run {method}`.",
            f"{method!r} is no method, and has no parameters.",
            "`exegete run --help` lists what it takes.",
        )
    return method
