"""`exegete judge`: a language model compares explanations in pairs, in both orders, and is itself held to account.

exegete judge EXPLAINED.jsonl --judge http://127.0.0.1:8000/v1#my-model --own my-model --html verdicts.html
"""

from typing import Annotated

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output


def judge(
    explained: Annotated[
        str,
        typer.Argument(
            metavar="EXPLAINED.jsonl",
            help='Rows such as {"text", "answer", "explanations": [{"writer", "text", "quality"?}, ...]}.',
        ),
    ],
    by: Annotated[
        str, typer.Option("--judge", help="Who judges: local:NAME, http://HOST/v1#MODEL or script:FILE.")
    ],
    own: Annotated[
        str, typer.Option("--own", help="The writer that the judge itself is: is it fair to the others?")
    ] = "",
    rubric: Annotated[
        str | None, typer.Option("--rubric", help="A file with the questions of the rubric, one a line.")
    ] = None,
    most_calls: Annotated[int, typer.Option("--most-calls", min=1, help="Most calls to the judge.")] = 2000,
    seed: o.Seed = 0,
    out: o.Out = None,
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """Let a language model compare explanations by a rubric, and say how far its verdicts can be trusted."""
    from exegete.core.rows import read_text
    from exegete.evaluate.simulation.explanation_judging import RUBRIC, judge_explanations, read_explained
    from exegete.models.chat.open import chat

    output = Output(out, html, open_page, as_json)
    output.check()
    texts = read_explained(explained)
    lines = read_text(rubric, "a rubric").splitlines() if rubric else RUBRIC
    questions = [q for q in lines if q.strip()]
    found = judge_explanations(texts, chat(by), rubric=questions, own=own, most_calls=most_calls, seed=seed)
    output.emit([found])
    return 0
