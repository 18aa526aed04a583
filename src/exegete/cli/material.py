"""What a study is asked about, from the words and flags of the command line.

texts    TEXT, FILE or -                                            as for `explain`
pairs    CLEAN --corrupt CORRUPT [--target A --against B]           or a .jsonl with clean, corrupt, answer, against
facts    PROMPT --subject S --target ANSWER [--new NEW]             or a .jsonl with prompt, subject, answer, ...
trees    FILE.conllu

Nothing given: the terrarium's own material, for the embedded models only.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exegete.cli.inputs import decode, given
from exegete.core.conllu import read_conllu
from exegete.core.embedded import PREFIX
from exegete.core.errors import InputError, UsageError
from exegete.core.material import Fact, Pair
from exegete.core.request import Text

FIELDS = {
    "pairs": ("clean", "corrupt", "answer", "against", "id"),
    "facts": ("prompt", "subject", "answer", "new", "relation", "paraphrases", "neighbours", "id"),
}


@dataclass(frozen=True)
class Asked:
    """The flags that say what a study is asked about."""

    words: tuple[str, ...] = ()
    corrupt: str | None = None
    subject: str | None = None
    new: str | None = None
    target: str | None = None
    against: str | None = None
    truncate: bool = False
    model: str = ""
    verb: str = ""


def request(study: Any, asked: Asked) -> Any:
    """The request of the flags; None where the study asks about nothing, or takes the terrarium's own material.

    Raises `UsageError` for flags that do not fit the study, `InputError` for files that cannot be read.
    """
    _fits(study, asked)
    if study.asks == "nothing":
        return None
    if not asked.words:
        if asked.model.startswith(PREFIX):
            return None
        raise UsageError(
            f"You ran `exegete {asked.verb}` with {study.id} on {asked.model}.",
            "Nothing was given to look at; the terrarium's own material fits only the embedded models.",
            f"Give {_wanted(study.asks, asked.verb)}",
        )
    return {"texts": _texts, "pairs": _pairs, "facts": _facts, "trees": _trees}[study.asks](asked)


def _fits(study: Any, asked: Asked) -> None:
    takes = {"pairs": {"corrupt"}, "facts": {"subject", "new"}}.get(study.asks, set())
    wrong = [f for f in ("corrupt", "subject", "new") if getattr(asked, f) is not None and f not in takes]
    if wrong:
        raise UsageError(
            f"You gave --{wrong[0]} to `exegete {asked.verb}`.",
            f"The study {study.id!r} is asked about {study.asks}.",
            f"Leave it out, or choose another --method: exegete list methods {asked.verb}",
        )
    if study.asks == "nothing" and asked.words:
        raise UsageError(
            f"You gave `exegete {asked.verb}` a text.",
            f"The study {study.id!r} looks at the model's weights and its own material, at no text.",
            "Leave the text out.",
        )


def _texts(asked: Asked) -> list[Text]:
    return [Text(text=t, truncate=asked.truncate) for t in given(asked.words, asked.verb).texts]


def _pairs(asked: Asked) -> Any:
    rows = _rows(asked, "pairs")
    if rows is not None:
        return [_made(Pair.of, row, n, asked) for n, row in rows]
    if asked.corrupt is None and len(asked.words) == 2:
        return Pair.of(asked.words[0], asked.words[1], asked.target, asked.against)
    return Pair.of(" ".join(asked.words), asked.corrupt, asked.target, asked.against)


def _facts(asked: Asked) -> Any:
    rows = _rows(asked, "facts")
    if rows is not None:
        return [_made(Fact, row, n, asked) for n, row in rows]
    missing = [f"--{f}" for f in ("subject", "target") if getattr(asked, f) is None]
    if missing:
        raise UsageError(
            f"You asked `exegete {asked.verb}` about a fact.",
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.",
            f"Give {_wanted('facts', asked.verb)}",
        )
    fact = {"prompt": " ".join(asked.words), "subject": asked.subject, "answer": asked.target}
    return Fact(**fact, new=asked.new or "")


def _trees(asked: Asked) -> Any:
    if len(asked.words) != 1 or not asked.words[0].endswith(".conllu"):
        raise UsageError(
            f"You ran `exegete {asked.verb}`.",
            "This study reads parsed sentences.",
            f"Give {_wanted('trees', asked.verb)}",
        )
    return list(read_conllu(asked.words[0]))


def _rows(asked: Asked, kind: str) -> list[tuple[int, dict[str, Any]]] | None:
    """(line number, object) of a .jsonl file; None when the words are no such file."""
    path = Path(asked.words[0])
    if len(asked.words) != 1 or path.suffix.lower() != ".jsonl":
        return None
    where = f"You asked about the {kind} in {str(path)!r}."
    try:
        text = decode(path.read_bytes(), repr(str(path)))
    except OSError as e:
        raise InputError(where, f"It cannot be read ({e.strerror}).", "Check the path.") from None
    rows = [(n, _object(line, n, where, kind)) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not rows:
        raise InputError(where, "It is empty.", "Write one object a line.")
    return rows


def _object(line: str, n: int, where: str, kind: str) -> dict[str, Any]:
    known = FIELDS[kind]
    try:
        row = json.loads(line)
    except json.JSONDecodeError as e:
        raise InputError(where, f"Line {n} is not JSON ({e.msg}).", "Mend the line.") from None
    if not isinstance(row, dict) or known[0] not in row:
        found = f"the fields {', '.join(row)}" if isinstance(row, dict) else f"a {type(row).__name__}"
        raise InputError(
            where, f"Line {n} has no field {known[0]!r}; it has {found}.", f"Fields: {', '.join(known)}."
        )
    return {k: v for k, v in row.items() if k in known}


def _made(make: Any, row: dict[str, Any], n: int, asked: Asked) -> Any:
    row = {k: v for k, v in row.items() if not (k == "id" and make is not Fact)}
    try:
        return make(**row)
    except (TypeError, UsageError, InputError) as e:
        raise InputError(
            f"You asked about the file {asked.words[0]!r}.", f"Line {n} does not fit: {e}", "Mend the line."
        ) from None


def _wanted(asks: str, verb: str) -> str:
    return {
        "texts": f'a text or a file: exegete {verb} "the food was good"',
        "pairs": f'a clean and a corrupt text: exegete {verb} "CLEAN" --corrupt "CORRUPT", or a .jsonl of pairs.',
        "facts": f'a fact: exegete {verb} "PROMPT" --subject S --target ANSWER, or a .jsonl of facts.',
        "trees": f"a treebank: exegete {verb} FILE.conllu",
    }[asks]
