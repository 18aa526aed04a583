"""Minimal pairs and cloze facts from files.

minimal pairs   sentence_good, sentence_bad, and of field, linguistics_term, UID what there is (BLiMP): the phenomenon is their path
                good, bad, phenomenon                                                  our own names; rows of any table too
facts           sub_label, obj_label, and template ("[X] was born in [Y] .") or masked_sentences ("... [MASK] ...") (LAMA)
                prompt, subject, answer (or attribute), relation (or relation_id)
diagnostics     context_aff, context_neg, target_aff, target_neg (NEG-136); context, expected, target of items 61-a, 61-b (ROLE-88);
                context_s1, context_s2, expected, within_category, between_category (CPRAG-102): `core.diagnostics` makes them facts
                (what completes the prompt) or minimal pairs (the prompt with the right and with a wrong completion)

Rows come from .jsonl, .json, .csv, .tsv or .parquet, packed with gzip or not. Every fault is a letter that names its line.
"""

from typing import Any

from exegete.core.diagnostics import facts_of, layout_of, pairs_of
from exegete.core.errors import ExegeteError, InputError
from exegete.core.material import Fact, Minimal
from exegete.core.row_letters import FACT, unfit
from exegete.core.rows import Row, asked, fault, rows_of

BLANK = "[MASK]"  # what stands where the answer goes, whatever the model's own mask is
_PAIRS, _FACTS = "minimal pairs", "facts"
_GOOD_BAD = (("sentence_good", "sentence_bad"), ("good", "bad"))
_LEVELS = ("field", "linguistics_term", "UID")


def read_minimal(path: str, alike: list[str] | None = None) -> tuple[Minimal, ...]:
    """The minimal pairs of a file. Raises `InputError` naming the line that does not fit.

    Published sets hold a pair of twice the same sentence here and there: given a list `alike`, such pairs are left out and their
    places put into it.
    """
    found: list[Minimal] = []
    rows = rows_of(path, _PAIRS)
    if layout_of(rows):
        return pairs_of(rows, path)
    for row in rows:
        names = _names(row, path)
        if alike is not None and row[1][names[0]] == row[1][names[1]]:
            alike.append(row[0])
        else:
            found.append(_pair(row, names, path))
    if not found:
        raise InputError(
            asked(path, _PAIRS), "Both sentences of every pair are the same.", "Give pairs that differ."
        )
    return tuple(found)


def _names(given: Row, path: str) -> tuple[str, str]:
    """The fields of the acceptable and the other sentence."""
    place, row = given
    names = next((n for n in _GOOD_BAD if n[0] in row and n[1] in row), None)
    if names is None:
        raise fault(
            path, _PAIRS, place, f"has the fields {', '.join(row) or 'none'}",
            "Give sentence_good and sentence_bad, or good and bad.",
        )  # fmt: skip
    for name in names:
        if not isinstance(row[name], str):
            raise fault(path, _PAIRS, place, f"has no sentence in {name!r} (it holds {row[name]!r:.40})")
    return names


def _pair(given: Row, names: tuple[str, str], path: str) -> Minimal:
    place, row = given
    levels = [str(row[k]) for k in _LEVELS if row.get(k)]
    own = row.get("phenomenon")
    path_of = str(own) if own else "/".join(dict.fromkeys(levels))
    try:
        return Minimal(
            good=row[names[0]],
            bad=row[names[1]],
            phenomenon=path_of,
            id=str(row.get("pairID", row.get("id", ""))),
        )
    except ExegeteError as e:
        raise fault(path, _PAIRS, place, f"does not fit: {e.found.rstrip('.')}", e.do) from None


def read_facts(path: str, blank: bool = True) -> tuple[Fact, ...]:
    """The facts of a file. `blank`: keep "[MASK]" where the answer goes; else cut the prompt there, refusing what follows.

    Raises `InputError` naming the line that does not fit.
    """
    rows = rows_of(path, _FACTS)
    if layout_of(rows):
        return facts_of(rows, path)
    return tuple(_fact(row, path, blank) for row in rows)


def _fact(given: Row, path: str, blank: bool) -> Fact:
    place, row = given
    lama = "obj_label" in row
    fields = _of_lama(row) if lama else _of_ours(row)
    if lama and ("sub_label" not in row or not fields["prompt"]):
        missing = "template" if "sub_label" in row else "sub_label"
        raise fault(
            path, _FACTS, place, f"has no field {missing!r}; it has {', '.join(row) or 'none'}",
            "Give prompt, subject and answer; or sub_label, obj_label and template (or masked_sentences).",
        )  # fmt: skip
    if not blank:
        fields |= {k: _cut_all(fields[k], path, place) for k in ("prompt", "paraphrases") if k in fields}
    try:
        return Fact(**fields)
    except ExegeteError as e:
        raise unfit(FACT, {**row, **fields}, e, path, place) from None


def _cut_all(said: Any, path: str, place: str) -> Any:
    """A prompt, or each of several, up to the blank; what is no text is left to the letter about its field."""
    if isinstance(said, str):
        return _cut(said, path, place)
    if not isinstance(said, (list, tuple)):
        return said
    return tuple(_cut(p, path, place) if isinstance(p, str) else p for p in said)


def _of_lama(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a fact; no prompt where the row has no template and no sentence with a blank."""
    subject = str(row.get("sub_label", ""))
    if "template" in row:
        prompts = [str(row["template"]).replace("[X]", subject).replace("[Y]", BLANK)]
    else:
        said = [str(s) for s in row.get("masked_sentences", ())]
        prompts = [" ".join(said)] if sum(BLANK in s for s in said) == 1 else [s for s in said if BLANK in s]
    return {
        "prompt": prompts[0] if prompts else "",
        "paraphrases": tuple(prompts[1:]),
        "subject": subject,
        "answer": str(row["obj_label"]),
        "relation": str(row.get("predicate_id") or row.get("relation") or row.get("pred") or ""),
    }


def _of_ours(row: dict[str, Any]) -> dict[str, Any]:
    known = ("prompt", "subject", "answer", "new", "relation", "paraphrases", "neighbours", "id")
    found = {k: v for k, v in row.items() if k in known}
    for name, other in (("answer", "attribute"), ("relation", "relation_id")):
        if name not in found and other in row:
            found[name] = row[other]
    return found


def _cut(prompt: str, path: str, place: str) -> str:
    """The prompt up to the blank. Raises `InputError` where more than an end mark follows it."""
    head, found, tail = prompt.partition(BLANK)
    if found and tail.strip(" .!?"):
        raise InputError(
            asked(path, _FACTS),
            f"{place} goes on after the answer ({tail.strip()!r:.40}), which this study cannot read.",
            "Use `exegete cloze` with a masked model, or a prompt that ends with the answer.",
        )
    return head.rstrip() if found else prompt
