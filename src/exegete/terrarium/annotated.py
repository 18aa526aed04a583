"""Sentences written out with their tree, for stories and facts whose wording is fixed.

A pattern is a row of `form:upos:relation:head`, heads counted from 1 as in CoNLL-U and 0 for the root:

    {s}:PROPN:nsubj:2 lives:VERB:root:0 in:ADP:case:4 {o}:PROPN:obl:2

Names in braces are filled in; a form that begins with `+` is written onto the word before it.
"""

from exegete.terrarium.gold import Sentence, Word

_NUMBER = {"NOUN", "PROPN"}
_FINITE = {"is", "was", "are", "were", "has", "had", "can"}


def read(pattern: str, kind: str, fill: dict[str, str]) -> Sentence:
    """The sentence of a pattern with its slots filled: `read(p, "lives_in", {"s": "alaric", "o": "norwick"})`."""
    return Sentence(tuple(_word(row, fill) for row in pattern.split()), kind=kind)


def _word(row: str, fill: dict[str, str]) -> Word:
    form, upos, *relation, head = row.split(":")
    glued = form.startswith("+")
    text = form.removeprefix("+").format(**fill)
    return Word(text, upos, int(head) - 1, ":".join(relation), _feats(text, upos), glued)


def _feats(text: str, upos: str) -> str:
    if upos in _NUMBER:
        return "Number=Plur" if text.endswith("s") and not text.endswith("ss") else "Number=Sing"
    if upos in ("VERB", "AUX"):
        present = text.endswith("s") and text != "was"
        tense = "Tense=Pres" if present else "Tense=Past"
        finite = present or text in _FINITE or text.endswith("ed")
        number = "Number=Sing|" if present or text == "was" else ""
        return f"{number}{tense}|VerbForm=Fin" if finite else ""
    return ""
