"""The door of the command line: `exegete VERB ...`.

1. take out what every verb knows (`--version`, `--debug`); 2. cut off the flags that belong to a method; 3. let typer read
the rest and call the verb; 4. turn every error into a letter and an exit code. Nothing heavy is imported before a verb
needs it.
"""

import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from exegete.cli import letters
from exegete.cli.commands.apply import apply
from exegete.cli.commands.attend import attend
from exegete.cli.commands.circuit import circuit
from exegete.cli.commands.cloze import cloze
from exegete.cli.commands.compare import compare
from exegete.cli.commands.concept import concept
from exegete.cli.commands.edit import edit
from exegete.cli.commands.evaluate import evaluate
from exegete.cli.commands.explain import explain
from exegete.cli.commands.features import features
from exegete.cli.commands.heads import heads
from exegete.cli.commands.jobs import jobs
from exegete.cli.commands.judge import judge
from exegete.cli.commands.lens import lens
from exegete.cli.commands.list import list_things
from exegete.cli.commands.neurons import neurons
from exegete.cli.commands.pairs import pairs
from exegete.cli.commands.patch import patch
from exegete.cli.commands.probe import probe
from exegete.cli.commands.prove import prove
from exegete.cli.commands.reason import reason
from exegete.cli.commands.run import run
from exegete.cli.commands.sanity import sanity
from exegete.cli.commands.show import show
from exegete.cli.commands.study import study
from exegete.cli.commands.trace import trace
from exegete.cli.params import EXTRA, WITH_METHOD, Extra, split

HELP = """Explain what a transformer language model says, and how far each explanation can be trusted.

[bold]exegete explain "the food was not good but the staff were wonderful"[/bold]

[bold]exegete compare "the food was not good" --methods lime,occlusion --html page.html[/bold]

[bold]exegete trace[/bold]   where is a fact stored?   [bold]exegete heads[/bold]   what does each head do?

[bold]exegete list methods[/bold]

`--debug` shows where an error came from; `--version` the version. Exit codes: 0 done, 1 failure, 2 usage."""

# `NoSuchOption` and its kin share this base, whichever package typer takes it from.
UsageProblem: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="exegete", help=HELP, rich_markup_mode="rich", add_completion=False, pretty_exceptions_enable=False
)
app.command("explain")(explain)
app.command("compare")(compare)
app.command("evaluate")(evaluate)
for study_verb in (
    *(attend, lens, trace, patch, circuit, heads, edit),
    *(probe, pairs, cloze, neurons, features, concept, reason, sanity),
):
    app.command(study_verb.__name__)(study_verb)
app.command("run")(run)
app.add_typer(jobs)
app.command("apply")(apply)
app.add_typer(study)
app.command("judge")(judge)
app.command("show")(show)
app.command("list")(list_things)
app.command("prove")(prove)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    head = args[: args.index("--")] if "--" in args else args
    debug = "--debug" in head
    if debug:
        args.remove("--debug")
    _quiet(debug)
    if debug:
        sys.exit(dispatch(args))
    sys.excepthook = letters.unexpected
    sys.exit(letters.run(lambda: dispatch(args)))


def dispatch(args: list[str]) -> int:
    """Run one command; returns its exit code. Raises the errors of the verbs."""
    if args in (["--version"], ["-V"]):
        from exegete import __version__

        print(f"exegete {__version__}")
        return 0
    command = typer.main.get_command(app)
    args = args or ["--help"]
    own, extra = args, Extra()
    if args[0] in WITH_METHOD:
        rest, extra = split(args[1:], flags_of(args[0]))
        own = [args[0], *rest]
    EXTRA.set(extra)
    try:
        code = command.main(own, prog_name="exegete", standalone_mode=False)
    except UsageProblem as e:
        verb = args[0] if args[0] in command.commands else ""  # type: ignore[attr-defined]
        line = f"exegete {verb}".strip()
        text = f"You ran `{line}`.\n{e.format_message()}\n`{line} --help` lists what it takes."  # type: ignore[attr-defined]
        return letters.letter(text, letters.USAGE)
    except typer.Abort:
        raise KeyboardInterrupt from None
    if code == letters.INTERRUPTED:  # typer has taken Ctrl-C for an exit
        raise KeyboardInterrupt
    return int(code or 0)


def flags_of(verb: str) -> dict[str, bool]:
    """The flags of a verb, and whether each takes a value."""
    params = typer.main.get_command(app).commands[verb].params  # type: ignore[attr-defined]
    found = {
        flag: not p.is_flag for p in params if hasattr(p, "is_flag") for flag in (*p.opts, *p.secondary_opts)
    }
    return found | {"--help": False}


def _quiet(debug: bool) -> None:
    """Keep other libraries' chatter out of the answer; only here, never on import of the library."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if debug:
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    main()
