"""The verbs that make studies (attend, lens, trace, patch, ..., probe, pairs, cloze, neurons, features, concept): one function.

1. the method's parameters come from its fields, as for `explain`; 2. what it is asked about comes from the words and a few
flags (`cli.material`); 3. the front door makes the study; 4. the finding goes where it was asked for.
"""

import shlex
from collections.abc import Callable
from typing import Annotated, Any

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output, say
from exegete.core.errors import UnknownName, UsageError

_METHOD = "Method"

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT|FILE|-",
        help="What is asked about: a text, a prompt, or a file (.txt .csv .jsonl .json .parquet .conll .conllu); "
        "nothing: the terrarium's own material.",
        show_default=False,
    ),
]
Corrupt = Annotated[
    str | None,
    typer.Option("--corrupt", "-c", help="The corrupt text beside the clean one.", rich_help_panel=o.WHAT),
]
Subject = Annotated[
    str | None,
    typer.Option("--subject", help="What the prompt is about, as it stands in it.", rich_help_panel=o.WHAT),
]
New = Annotated[
    str | None, typer.Option("--new", help="The answer that an edit puts in.", rich_help_panel=o.WHAT)
]
TextColumn = Annotated[
    str | None,
    typer.Option(
        "--text-column", help="The column of texts in a table; else the usual names.", rich_help_panel=o.WHAT
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        help="The column of labels in a table; else the usual names.",
        rich_help_panel=o.WHAT,
    ),
]
GroupColumn = Annotated[
    str | None,
    typer.Option(
        "--group-column",
        help="The column that says which texts belong together (the same city, the same author): no split parts them; else "
        "'group'.",
        rich_help_panel=o.WHAT,
    ),
]
Spans = Annotated[
    str | None,
    typer.Option(
        "--spans",
        help="What the spans of labelled stretches count: word or character.",
        rich_help_panel=o.WHAT,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="A Hugging Face name, a folder, or an embedded model.",
        rich_help_panel=o.MODEL, show_default="the embedded model that fits",
    ),
]  # fmt: skip
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="Of the model: causal, masked, seq2seq, sequence or token; else what it was saved for. Any other goes to the "
        "method, if it has tasks: feature:Number.",
        rich_help_panel=o.MODEL,
    ),
]
Export = Annotated[
    str | None,
    typer.Option("--export", help="Write a graph to FILE.json or FILE.graphml.", rich_help_panel=o.OUTPUT),
]


def verb(name: str, default: str, words: str) -> Callable[..., int]:
    """The typer command of a verb."""

    def command(
        words: Words = None,
        method: Annotated[
            str,
            typer.Option(
                "--method",
                help=f"Its id; parameters are flags too. `exegete list methods {name}`.",
                rich_help_panel=_METHOD,
            ),
        ] = default,
        help_method: Annotated[
            bool,
            typer.Option(
                "--help-method", help="Show the method's parameters and stop.", rich_help_panel=_METHOD
            ),
        ] = False,
        corrupt: Corrupt = None,
        subject: Subject = None,
        new: New = None,
        text_column: TextColumn = None,
        label_column: LabelColumn = None,
        group_column: GroupColumn = None,
        spans: Spans = None,
        target: o.Target = None,
        against: o.Against = None,
        scale: o.Scale = "auto",
        truncate: o.Truncate = False,
        seed: o.Seed = 0,
        model: Model = None,
        task: Task = None,
        revision: o.Revision = None,
        dtype: o.Dtype = None,
        device: o.Device = None,
        device_map: o.DeviceMap = None,
        trust_remote_code: o.RemoteCode = False,
        allow_pickle: o.Pickle = False,
        export: Export = None,
        out: o.Out = None,
        html: o.Html = None,
        open_page: o.Open = False,
        as_json: o.Json = False,
    ) -> int:
        output = Output(out, html, open_page, as_json)
        if help_method:
            from exegete.cli.commands.list import method_listing

            output.emit([method_listing(method)])
            return 0
        from exegete.cli.ask import ask_of, loaded, method_value, task_of
        from exegete.cli.material import KINDS, Asked, request
        from exegete.cli.progress import RichProgress

        with RichProgress() as progress:
            task = task_of(task, method)
            chosen, more = method_value(method, name, seed)
            source = model or getattr(chosen, "home", "")
            _belongs(chosen, name)
            said = (*(words or []), *more)
            asked = Asked(
                *(said, corrupt, subject, new, target, against, truncate, source, name),
                *(text_column, label_column, spans, group_column),
            )
            output.check()
            _check_export(export)
            items = request(chosen, asked)
            goal = ask_of(target, against, scale, "word").target
            reader = loaded(
                source, task, revision, dtype, device, trust_remote_code, allow_pickle, device_map
            )
            from exegete import front

            if items is None and chosen.asks != "nothing":  # type: ignore[attr-defined]
                kind = KINDS.get(chosen.asks, chosen.asks)  # type: ignore[attr-defined]
                say(f"Nothing was given to look at: the terrarium's own {kind} are taken.")
            found = front.study(reader, chosen, items, goal, progress=progress)
        if export:
            _export(found, export)
        output.emit([found])
        if out:
            _try(found, out)
        return 0

    command.__doc__ = words
    command.__name__ = name
    return command


def _try(found: Any, path: str) -> None:
    """Say how a saved edit is used."""
    from exegete.core.results.edits import ModelEdit

    if isinstance(found, ModelEdit):
        which = "" if found.deltas or found.sites else " --only 1"
        say(f"Try it: exegete apply {shlex.quote(path)}{which}")


def _belongs(chosen: Any, name: str) -> None:
    """Refuse a method that another verb makes, naming that verb."""
    own = getattr(chosen, "verb", "explain")
    if own == name:
        return
    raise UsageError(
        f"You ran `exegete {name}` with the method {chosen.id!r}.",
        f"That method belongs to `exegete {own}`.",
        f"exegete {own} --method {chosen.id}",
    )


def _check_export(path: str | None) -> None:
    from exegete.core.store import check_writable

    if path is None:
        return
    if not path.endswith((".json", ".graphml")):
        raise UnknownName("graph format", path.rsplit(".", 1)[-1], ("json", "graphml"))
    check_writable(path)


def _export(found: Any, path: str) -> None:
    write = getattr(found, "to_graphml" if path.endswith(".graphml") else "to_json", None)
    if write is None:
        raise UsageError(
            f"You asked to write {path!r}.",
            f"A {type(found).__name__} holds no graph.",
            "Leave --export out.",
        )
    write(path)
    say(f"wrote {path}")
