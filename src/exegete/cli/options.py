"""Options that several verbs share, each declared once."""

from typing import Annotated

import typer

DEFAULT_MODEL = "terrarium/sentiment"

WHAT, MODEL, OUTPUT = "What is explained", "Model", "Output"

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT|FILE|-",
        help="A text, a file (.txt: one text a line; .jsonl, .json or .csv: field 'text'), or - for standard input.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A Hugging Face name, a folder, or an embedded model.", rich_help_panel=MODEL
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="causal, masked, seq2seq, sequence or token; else what it was saved for.",
        rich_help_panel=MODEL,
    ),
]
Revision = Annotated[
    str | None, typer.Option("--revision", help="Branch, tag or commit of the model.", rich_help_panel=MODEL)
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", help="float32, bfloat16 or float16.", rich_help_panel=MODEL)
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps.", rich_help_panel=MODEL)
]
DeviceMap = Annotated[
    str | None,
    typer.Option(
        "--device-map",
        help="auto: spread a model larger than one device over all, then main memory, then disk.",
        rich_help_panel=MODEL,
    ),
]
RemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run code that comes with the model.", rich_help_panel=MODEL),
]
Pickle = Annotated[
    bool,
    typer.Option("--allow-pickle", help="Load pickled weights, which can run code.", rich_help_panel=MODEL),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        help="A class, a token, a text, 'generated', 'loss' or 'entropy'; else what the model predicts.",
        rich_help_panel=WHAT,
    ),
]
Against = Annotated[
    str | None,
    typer.Option("--against", "-a", help="The foil: why the target rather than this.", rich_help_panel=WHAT),
]
Scale = Annotated[
    str, typer.Option("--scale", help="auto, logit, logprob, prob, loss or entropy.", rich_help_panel=WHAT)
]
Unit = Annotated[
    str, typer.Option("--unit", "-u", help="token, word, sentence, segment or span.", rich_help_panel=WHAT)
]
Truncate = Annotated[
    bool,
    typer.Option(
        "--truncate",
        help="Cut a text that is longer than the model reads (said in the result).",
        rich_help_panel=WHAT,
    ),
]
Trust = Annotated[
    str,
    typer.Option("--trust", help="full, fast (no randomised-weights control) or none.", rich_help_panel=WHAT),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of every random draw.", rich_help_panel=WHAT)]
Methods = Annotated[
    str | None,
    typer.Option(
        "--methods", help="Ids, separated by commas; see `exegete list methods`.", rich_help_panel=WHAT
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        help="Save the result to FILE.exg; open it with `exegete show`.",
        rich_help_panel=OUTPUT,
    ),
]
Html = Annotated[
    str | None, typer.Option("--html", help="Write one self-contained page.", rich_help_panel=OUTPUT)
]
Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.", rich_help_panel=OUTPUT)]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print JSON on standard output, and nothing else there.", rich_help_panel=OUTPUT
    ),
]
