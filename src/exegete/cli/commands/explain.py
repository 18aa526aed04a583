"""`exegete explain`: why did the model say this?"""

from typing import Annotated

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output, say
from exegete.cli.inputs import given

LONG = 2.0  # seconds from which on a forecast is printed before the work
SAMPLE = 4  # texts of a long file that a forecast is made from


def explain(
    inputs: o.Inputs = None,
    method: Annotated[
        str,
        typer.Option(
            "--method", help="Its id; its parameters are flags too (--n-steps 64).", rich_help_panel="Method"
        ),
    ] = "integrated_gradients",
    help_method: Annotated[
        bool,
        typer.Option(
            "--help-method", help="Show the method's parameters and stop.", rich_help_panel="Method"
        ),
    ] = False,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget",
            min=1,
            help="Most forward passes that a text may be forecast to need.",
            rich_help_panel="Method",
        ),
    ] = None,
    target: o.Target = None,
    against: o.Against = None,
    scale: o.Scale = "auto",
    unit: o.Unit = "word",
    prefix: Annotated[
        bool,
        typer.Option(
            "--prefix",
            help="Also score the target's own earlier tokens.",
            rich_help_panel="What is explained",
        ),
    ] = False,
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
    out: o.Out = None,
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """Explain what a model says about a text: which words made it say so, and how far that can be trusted."""
    output = Output(out, html, open_page, as_json)
    if help_method:
        from exegete.cli.commands.list import method_listing

        output.emit([method_listing(method)])
        return 0
    from exegete.cli.ask import ask_of, loaded, method_value

    chosen, words = method_value(method, "explain", seed)
    found = given([*(inputs or []), *words], "explain")
    output.check(len(found.texts))
    ask = ask_of(target, against, scale, unit, trust)
    texts = ask.requests(found.texts, truncate)
    reader = loaded(model, task, revision, dtype, device, trust_remote_code, allow_pickle, device_map)
    from exegete import front
    from exegete.cli.progress import RichProgress

    sample = texts[:: max(1, len(texts) // SAMPLE)]
    cost = front.forecast(reader, sample, chosen, ask.target, unit=unit, prefix=prefix, trust=ask.trust)
    if cost.seconds * len(texts) / len(sample) > LONG:
        scaled = f", from {len(sample)} of {len(texts)} texts" if len(sample) < len(texts) else ""
        say(f"Forecast{scaled}: {cost}")
    results = front.explain(
        reader,
        texts,
        chosen,
        ask.target,
        unit=unit,
        prefix=prefix,
        trust=ask.trust,
        budget=budget,
        seed=seed,
        progress=RichProgress(),
    )
    output.emit(results, found.many)
    return 0
