"""`exegete compare`: several methods on the same text, their disagreement, and how far to trust each."""

from exegete.cli import options as o
from exegete.cli.emit import Output
from exegete.cli.inputs import given


def compare(
    inputs: o.Inputs = None,
    methods: o.Methods = None,
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
    out: o.Out = None,
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """Compare methods on one text or a file: do they agree, and which can be trusted?"""
    from exegete.cli.ask import ask_of, loaded, names

    found = given(inputs, "compare")
    output = Output(out, html, open_page, as_json)
    output.check()
    ask = ask_of(target, against, scale, unit, trust)
    chosen = names(methods)
    reader = loaded(model, task, revision, dtype, device, trust_remote_code, allow_pickle, device_map)
    from exegete import front
    from exegete.cli.progress import RichProgress

    result = front.compare(
        reader,
        ask.requests(found.texts, truncate),
        chosen or front.DEFAULT_METHODS,
        ask.target,
        unit=unit,
        trust=ask.trust,
        seed=seed,
        progress=RichProgress(),
    )
    output.emit([result])
    return 0
