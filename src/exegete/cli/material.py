"""What a study is asked about, from the words and flags of the command line.

texts    TEXT, FILE or -                                            as for `explain`
pairs    CLEAN --corrupt CORRUPT [--target A --against B]           or rows with clean, corrupt, answer, against
facts    PROMPT --subject S --target ANSWER [--new NEW]             or rows with prompt, subject, answer, ...
         or rows of LAMA (sub_label, obj_label, template), or a table with prompt, subject, answer
trees    FILE.conllu
marked   FILE of labelled texts: .jsonl .json .csv .tsv .parquet .conll .conllu (`core.read_marked`)
minimal  GOOD BAD, or a file of pairs (`core.read_pairs`)
questions  FILE of questions with options (`core.read_questions`)

Rows are the lines of a .jsonl, the objects of a .json list, or a table (.csv .tsv .parquet), packed with gzip or not.

Nothing given: the terrarium's own material, for the embedded models only.
"""

from dataclasses import dataclass
from typing import Any

from exegete.cli.emit import say
from exegete.cli.inputs import given, is_file, no_model
from exegete.core.conllu import read_conllu
from exegete.core.embedded import PREFIX
from exegete.core.errors import ExegeteError, UnknownName, UsageError
from exegete.core.material import Fact, Minimal, Pair
from exegete.core.read_marked import SUFFIXES, read_marked
from exegete.core.read_pairs import read_facts, read_minimal
from exegete.core.read_questions import read_questions
from exegete.core.request import Text
from exegete.core.row_letters import PAIR, unfit
from exegete.core.rows import OBJECTS, TABLES, rows_of, suffix_of

KINDS = {"marked": "labelled texts", "minimal": "minimal pairs", "trees": "parsed sentences"}  # in words


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
    text_column: str | None = None
    label_column: str | None = None
    spans: str | None = None
    group_column: str | None = None


def request(study: Any, asked: Asked) -> Any:
    """The request of the flags; None where the study asks about nothing, or takes the terrarium's own material.

    Raises `UsageError` for flags that do not fit the study, `InputError` for files that cannot be read.
    """
    no_model(asked.words, asked.verb)
    _fits(study, asked)
    if study.asks == "nothing":
        return None
    if not asked.words:
        own = study.brings()
        if own is not None:
            return list(own)
        if asked.model.startswith(PREFIX):
            return None
        raise UsageError(
            f"You ran `exegete {asked.verb}` with {study.id} on {asked.model}.",
            "Nothing was given to look at; the terrarium's own material fits only the embedded models.",
            f"Give {_wanted(study.asks, asked.verb)}",
        )
    if study.asks == "marked":
        return _marked(asked, getattr(study, "kind", ""))
    made = {"texts": _texts, "pairs": _pairs, "facts": _facts, "trees": _trees, "minimal": _minimal}
    made["questions"] = _questions
    return made[study.asks](asked)


_TAKES = {
    "pairs": ("corrupt",),
    "facts": ("subject", "new"),
    "marked": ("text_column", "label_column", "spans", "group_column"),
}


def _fits(study: Any, asked: Asked) -> None:
    takes = _TAKES.get(study.asks, ())
    flags = (f for several in _TAKES.values() for f in several)
    wrong = [f for f in flags if getattr(asked, f) is not None and f not in takes]
    if wrong:
        raise UsageError(
            f"You gave --{wrong[0].replace('_', '-')} to `exegete {asked.verb}`.",
            f"The study {study.id!r} is asked about {KINDS.get(study.asks, study.asks)}.",
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
    if _file(asked, (*OBJECTS, *TABLES)):
        path = asked.words[0]
        return [_pair(path, place, row) for place, row in rows_of(path, "pairs")]
    if len(asked.words) == 1 and is_file(asked.words[0]):
        raise UsageError(
            f"You asked `exegete {asked.verb}` about the pairs in {asked.words[0]!r}.",
            f"Pairs are read from {', '.join((*OBJECTS, *TABLES))}.",
            f"Give {_wanted('pairs', asked.verb)}",
        )
    if asked.corrupt is None and len(asked.words) == 2:
        return Pair.of(asked.words[0], asked.words[1], asked.target, asked.against)
    return Pair.of(" ".join(asked.words), asked.corrupt, asked.target, asked.against)


def _pair(path: str, place: str, row: dict[str, Any]) -> Pair:
    table = suffix_of(path) in TABLES  # where a cell that is left empty says nothing
    said = {k: v for k, v in row.items() if k in PAIR.fields and not (table and v in ("", None))}
    try:
        sides = {
            k: Text(**v) if isinstance(v, dict) else Text.of(v)
            for k in PAIR.texts
            if (v := said.get(k)) is not None
        }
        return Pair(**sides, **{k: said[k] for k in ("answer", "against") if k in said})
    except (ExegeteError, TypeError) as e:
        raise unfit(PAIR, row, e, path, place) from None


def _facts(asked: Asked) -> Any:
    if _file(asked, (*OBJECTS, *TABLES)):
        return list(read_facts(asked.words[0], blank=asked.verb == "cloze"))
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


def _marked(asked: Asked, kind: str) -> Any:
    """Labelled texts; labels are numbers where the study asks for numbers."""
    if not _file(asked, SUFFIXES):
        raise UsageError(
            f"You ran `exegete {asked.verb}` on {' '.join(asked.words)!r:.60}.",
            "This study reads labelled texts from a file.",
            f"Give {_wanted('marked', asked.verb)}",
        )
    if asked.spans not in (None, "word", "character"):
        raise UnknownName("unit of spans", str(asked.spans), ("word", "character"))
    found = read_marked(
        asked.words[0],
        text=asked.text_column,
        label=asked.label_column,
        group=asked.group_column,
        unit=asked.spans,  # type: ignore[arg-type]
        numbers=kind == "number",
    )
    return list(found)


def _minimal(asked: Asked) -> Any:
    if _file(asked, (*OBJECTS, *TABLES)):
        alike: list[str] = []
        found = list(read_minimal(asked.words[0], alike))
        if alike:
            say(f"{len(alike)} pairs of twice the same sentence are left out (first: {alike[0].lower()}).")
        return found
    if len(asked.words) != 2:
        raise UsageError(
            f"You ran `exegete {asked.verb}` on {len(asked.words)} text{'' if len(asked.words) == 1 else 's'}.",
            "A minimal pair is two sentences: one that is said well and one that is not.",
            f"Give {_wanted('minimal', asked.verb)}",
        )
    return Minimal(good=asked.words[0], bad=asked.words[1])


def _questions(asked: Asked) -> Any:
    if not _file(asked, OBJECTS):
        raise UsageError(
            f"You ran `exegete {asked.verb}` on {' '.join(asked.words)!r:.60}.",
            "This study reads questions with the options of their answers from a file.",
            f"Give {_wanted('questions', asked.verb)}",
        )
    found, skipped = read_questions(asked.words[0])
    if skipped:
        say(f"{len(skipped)} questions are left out (first: {skipped[0]}).")
    return list(found)


def _file(asked: Asked, suffixes: tuple[str, ...]) -> bool:
    """Whether the words are one file of these kinds, by its name."""
    word = asked.words[0]
    return (
        len(asked.words) == 1 and suffix_of(word) in suffixes and not any(c.isspace() for c in word.strip())
    )


def _wanted(asks: str, verb: str) -> str:
    return {
        "texts": f'a text or a file: exegete {verb} "the food was good"',
        "pairs": f'a clean and a corrupt text: exegete {verb} "CLEAN" --corrupt "CORRUPT", or a .jsonl or .json of pairs.',
        "facts": f'a fact: exegete {verb} "PROMPT" --subject S --target ANSWER, or a .jsonl or .json of facts.',
        "trees": f"a treebank: exegete {verb} FILE.conllu",
        "marked": f"labelled texts: exegete {verb} FILE.csv with columns text and label, or .jsonl lines (a .json list) such as "
        '{"text": "the food was good", "label": "positive"}',
        "minimal": f'two sentences: exegete {verb} "the dogs run" "the dogs runs", or a .jsonl or .json of good and bad.',
        "questions": f"questions: exegete {verb} FILE.jsonl (or a list in FILE.json) with lines such as "
        '{"question": "...", "options": ["yes", "no"], "answer": "yes", "steps": ["...", "..."]}',
    }[asks]
