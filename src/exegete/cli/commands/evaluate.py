"""`exegete evaluate`: judge methods by metrics over a file of texts."""

from typing import Annotated

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output
from exegete.cli.inputs import given


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
    target: o.Target = None,
    against: o.Against = None,
    scale: o.Scale = "auto",
    unit: o.Unit = "word",
    truncate: o.Truncate = False,
    seed: o.Seed = 0,
    model: o.Model = o.DEFAULT_MODEL,
    task: o.Task = None,
    revision: o.Revision = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    trust_remote_code: o.RemoteCode = False,
    allow_pickle: o.Pickle = False,
    out: o.Out = None,
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """Judge methods over a set of texts: each metric with its interval, chance, control, n and failures."""
    from exegete.cli.ask import ask_of, loaded, names

    found = given(inputs, "evaluate")
    output = Output(out, html, open_page, as_json)
    output.check()
    ask = ask_of(target, against, scale, unit)
    chosen, judges = names(methods), names(metrics)
    reader = loaded(model, task, revision, dtype, device, trust_remote_code, allow_pickle)
    from exegete import front
    from exegete.cli.progress import RichProgress

    result = front.evaluate(
        reader,
        ask.requests(found.texts, truncate),
        chosen or front.DEFAULT_METHODS,
        judges,
        ask.target,
        unit=unit,
        seed=seed,
        progress=RichProgress(),
    )
    output.emit([result])
    return 0
