"""`exegete study`: what is an explanation worth to people? Make the page that they answer on, and read what they hand in.

    exegete study make ITEMS.jsonl --html study.html --out study.exg
    exegete study read study.exg answers-*.json

1. `make` reads the items, deals them to conditions by the seed, and writes the page (for the people) and the plan (which holds the
   right answers, and is what `read` needs);
2. `read` holds the files of answers against the plan.
"""

from typing import Annotated

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output, say
from exegete.core.errors import UsageError

study = typer.Typer(
    name="study",
    help="Find out what an explanation is worth to people: `make` the page that they answer on, `read` what they hand in.",
)


@study.command("make")
def make(
    items: Annotated[
        str,
        typer.Argument(
            metavar="ITEMS.jsonl",
            help='Rows with text, options, answer, model and explanation (or words: [\\[piece, score], ...]), or {"explained": FILE.exg, "answer": ...}.',
        ),
    ],
    html: Annotated[str, typer.Option("--html", help="Write the page that people answer on to FILE.html.")],
    out: Annotated[
        str,
        typer.Option("--out", help="Write the plan to FILE.exg: `read` needs it, people must not see it."),
    ],
    conditions: Annotated[
        str, typer.Option("--conditions", help="What is shown: two or three of alone, model, explained.")
    ] = "model,explained",
    participants: Annotated[
        int, typer.Option("--participants", min=1, help="The most people that take part.")
    ] = 20,
    ask_first: Annotated[bool, typer.Option(help="Ask before anything of the model is shown, too.")] = True,
    title: Annotated[str, typer.Option("--title", help="The heading of the page.")] = "",
    intro: Annotated[str, typer.Option("--intro", help="What people read before they begin.")] = "",
    seed: o.Seed = 0,
    as_json: o.Json = False,
) -> int:
    """Make the page of a study, and its plan."""
    from exegete.evaluate.simulation.study_plan import INTRO, TITLE, make_study, read_items

    output = Output(out, html, False, as_json)
    output.check()
    chosen = [c.strip() for c in conditions.split(",") if c.strip()]
    plan = make_study(
        read_items(items), chosen, participants=participants, ask_first=ask_first, seed=seed,
        title=title or TITLE, intro=intro or INTRO,
    )  # fmt: skip
    output.emit([plan])
    say(
        f"Give {html} and a number from 1 to {participants} to each; then: exegete study read {out} answers-*.json"
    )
    return 0


@study.command("read")
def read(
    plan: Annotated[str, typer.Argument(metavar="PLAN.exg", help="The plan that `make` wrote.")],
    answers: Annotated[
        list[str], typer.Argument(metavar="ANSWERS.json...", help="What the page wrote, a file a person.")
    ],
    seed: o.Seed = 0,
    out: o.Out = None,
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """Say what the answers of people show."""
    from exegete.core.results.human_study import StudyPlan
    from exegete.core.store import open_result
    from exegete.evaluate.simulation.human_study import read_study

    output = Output(out, html, open_page, as_json)
    output.check()
    found = open_result(plan)
    if not isinstance(found, StudyPlan):
        raise UsageError(
            f"You asked to read answers by the plan {plan!r}.",
            f"The file holds a {type(found).__name__}.",
            "Give the file that `exegete study make --out` wrote.",
        )
    output.emit([read_study(found, answers, seed)])
    return 0
