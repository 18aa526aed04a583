"""Hypernymy: does the model say what kind of thing a word names, and says it the same in the singular and the plural?

1. every word is asked twice: "a robin is a [MASK]" and "robins are [MASK]" (the article is that of the right kind);
2. the right kind, in the form asked for, is ranked in the whole vocabulary; where some kind has several tokens, among the kinds
   of the set by the joint probability of their tokens (a hit is then the first one);
3. a form is right when the kind is among the first k; a word is known systematically when both forms are.

Chance: k of what is ranked, for both forms its square. Controls: the same prompts about a word of another kind (a kind that comes
whatever the word is no knowledge of the word), and the model with randomised weights.

Material: words of the terrarium, or a file with word and kind (or sub_label and obj_label) a row.
Cost: 6 forwards a word (two forms; the word, another word, the twin), more for kinds of several tokens.
Reference: Ravichander et al. 2020, "On the Systematicity of Probing Contextualized Word Representations".
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError, TargetError
from exegete.core.method import Need, register
from exegete.core.read_pairs import BLANK
from exegete.core.reference import Reference
from exegete.core.results.hypernymy import Hypernymy as Found
from exegete.core.rows import fault, rows_of
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import TWIN, twin_of
from exegete.models.blank import Blank, answer_ids, answers, blank, ranked
from exegete.models.lab import Lab
from exegete.ops.stats import share_interval
from exegete.terrarium import lexicon as lex
from exegete.terrarium.inflect import plural

FORMS = ("singular", "plural")
_BIRDS = ("duck", "goose", "owl", "parrot", "pigeon")
_FLOWERS = ("rose", "daisy", "tulip", "lily")
_TOOLS = ("hammer", "ladder", "knife", "saw")
_WHAT = "words and their kinds"


def usual_words() -> tuple[tuple[str, str], ...]:
    """(word, kind) of common English nouns, most of them words of the terrarium."""
    animals = [w for w in lex.ANIMALS if w not in (*_BIRDS, "bird", "mouse")]
    people = [w for w in lex.PROFESSIONS if w in lex.TRADES]
    found = [(w, "bird") for w in _BIRDS] + [(w, "animal") for w in animals] + [(w, "person") for w in people]
    return tuple(found + [(w, "flower") for w in _FLOWERS] + [(w, "tool") for w in _TOOLS])


@register
class Hypernymy(Study):
    """Whether the model says what kind of thing a word names, in the singular and the plural alike."""

    id: ClassVar[str] = "hypernymy"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E30",)
    verb: ClassVar[str] = "cloze"
    asks: ClassVar[Any] = "nothing"
    finds: ClassVar[type] = Found
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked")
    reference: ClassVar[Reference] = Reference(
        authors="Ravichander et al.", year=2020, title="On the Systematicity of Probing Contextualized Word Representations",
        where="*SEM",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs")
    passes: ClassVar[str] = "6 a word; more for kinds of several tokens"
    words: str = Field("", description="file of rows with word and kind; empty: common nouns")
    k: int = Field(
        5, ge=1, le=1000, description="a kind among the first k is a hit, where all tokens are ranked"
    )
    seed: int = Field(0, description="seed of the other words, the intervals and the randomised weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Found:
        """Ranks of the kinds of words in both forms. Raises `InputError` for a file that holds no two kinds."""
        pairs = _read(self.words) if self.words else usual_words()
        names = tuple(dict.fromkeys(kind for _, kind in pairs))
        if len(names) < 2:
            raise InputError(
                f"You asked for the kinds of {len(pairs)} words.",
                f"All are of one kind, {pairs[0][1]!r}.",
                "Give words of two kinds at least.",
            )  # fmt: skip
        kept, failed = _askable(lab, pairs)
        ids = [_tokens(lab, kept, names, form) for form in FORMS]
        single = all(len(t) == 1 for form in ids for several in form for t in several)
        k = self.k if single else 1
        size = lab.model.vocabulary if single else len(names)
        others = self._others(lab, kept)
        twin_lab, why = twin_of(lab)
        ranks, first = _ranks(lab, kept, kept, ids, names, single)
        other, _ = _ranks(lab, others, kept, ids, names, single)
        twin = (
            _ranks(twin_lab, kept, kept, ids, names, single)[0] if twin_lab else np.full_like(ranks, np.nan)
        )
        scores = _scores(ranks, other, twin, k, size, failed, why, self.seed)
        among = "among all tokens" if single else f"among the {len(names)} kinds"
        return Found(
            title="Does the model know what kind of thing a word names?",
            lede=_lede(scores, len(kept), k, among),
            forms=FORMS,
            words=tuple(w for w, _ in kept),
            kinds=tuple(kind for _, kind in kept),
            prompts=tuple(tuple(prompt(w, kind, form) for w, kind in kept) for form in FORMS),
            first=first,
            ranks=ranks,
            other=other,
            twin=twin,
            k=k,
            among=among,
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _others(self, lab: Lab, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """For every word one of another kind, asked for this word's kind."""
        rng, found = lab.rng("other word"), []
        for _, kind in pairs:
            them = [w for w, other in pairs if other != kind]
            found.append((them[int(rng.integers(len(them)))] if them else "thing", kind))
        return found


def prompt(word: str, kind: str, form: str) -> str:
    """ "a robin is a [MASK]" or "robins are [MASK]"."""
    if form == "plural":
        return f"{plural(word)} are {BLANK}."
    return f"{_article(word)} {word} is {_article(kind)} {BLANK}."


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"


def _said(kind: str, form: str) -> str:
    """The kind in the form asked for."""
    if form == "singular":
        return kind
    return "people" if kind == "person" else plural(kind)


def _read(path: str) -> tuple[tuple[str, str], ...]:
    found = []
    for place, row in rows_of(path, _WHAT):
        names = next(
            (n for n in (("word", "kind"), ("sub_label", "obj_label")) if set(n) <= row.keys()), None
        )
        if names is None or not all(str(row[n] or "").strip() for n in names):
            raise fault(
                path, _WHAT, place, f"has the fields {', '.join(row) or 'none'}", "Give word and kind."
            )
        found.append((str(row[names[0]]).strip(), str(row[names[1]]).strip()))
    return tuple(found)


def _askable(lab: Lab, pairs: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], int]:
    """The words that the model can be asked about, and how many it cannot."""
    kept = []
    for word, kind in pairs:
        try:
            for form in FORMS:
                answer_ids(lab.model, blank(lab.model, prompt(word, kind, form)), _said(kind, form))
        except (InputError, TargetError):
            continue  # counted as failed
        kept.append((word, kind))
    if not kept:
        raise InputError(
            f"You asked {lab.model.name} for the kinds of {len(pairs)} words.", "It can read none of them.",
            "Give words that its tokenizer knows.",
        )  # fmt: skip
    return kept, len(pairs) - len(kept)


def _places(lab: Lab, pairs: Sequence[tuple[str, str]], form: str) -> list[Blank]:
    return [blank(lab.model, prompt(w, kind, form)) for w, kind in pairs]


def _tokens(
    lab: Lab, pairs: Sequence[tuple[str, str]], names: Sequence[str], form: str
) -> list[list[tuple[int, ...]]]:
    """Tokens of every kind in the blank of every word [word][kind]."""
    return [[answer_ids(lab.model, p, _said(n, form)) for n in names] for p in _places(lab, pairs, form)]


def _ranks(
    lab: Lab,
    asked: Sequence[tuple[str, str]],
    pairs: Sequence[tuple[str, str]],
    ids: Sequence[list[list[tuple[int, ...]]]],
    names: Sequence[str],
    single: bool,
) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    """Rank of the kind of `pairs` in prompts about the words of `asked` [form, word], and what is said first."""
    ranks, first = [], []
    right = [names.index(kind) for _, kind in pairs]
    for form, tokens in zip(FORMS, ids):
        places = _places(lab, asked, form)
        if single:
            found = ranked(lab, places, [t[i][0] for t, i in zip(tokens, right)], 1)
            ranks.append([f.rank for f in found])
            first.append(tuple(lab.pieces(f.first)[0].strip() for f in found))
        else:
            logs = answers(lab, places, tokens)
            ranks.append(
                [1 + int((x > x[i]).sum()) + (int((x == x[i]).sum()) - 1) / 2 for x, i in zip(logs, right)]
            )
            first.append(tuple(_said(names[int(x.argmax())], form) for x in logs))
    return np.array(ranks, dtype=np.float64), tuple(first)


def _scores(
    ranks: np.ndarray,
    other: np.ndarray,
    twin: np.ndarray,
    k: int,
    size: int,
    failed: int,
    why: str,
    seed: int,
) -> tuple[Score, ...]:
    """Hits over both forms, and words right in both, each beside another word and beside the twin."""
    chance = min(1.0, k / size)
    found = []
    for name, pool, bar in (
        (f"kind among the first {k}, mean over forms", lambda r: (r <= k).mean(0), chance),
        ("right in the singular and the plural", lambda r: (r <= k).all(0).astype(float), chance**2),
    ):
        for control, called in ((other, "the same prompts about a word of another kind"), (twin, TWIN)):
            none = bool(np.isnan(control).any())
            found.append(
                Score(
                    name=name, value=float(pool(ranks).mean()), chance=bar,
                    control=None if none else float(pool(control).mean()), control_name="" if none else called,
                    interval=share_interval(pool(ranks), seed), n=ranks.shape[1], n_failed=failed,
                    skipped=why if none else "",
                )
            )  # fmt: skip
    return tuple(found)


def _lede(scores: Sequence[Score], n: int, k: int, among: str) -> str:
    hits, both = scores[0], scores[2]
    first = "comes first" if k == 1 else f"is among the first {k}"
    words = [
        f"The kind of {n} words {first} {among} in {hits.value:.0%} of prompts (chance {hits.chance:.2%}; about a word of another "
        f"kind {hits.control:.0%}). In the singular and the plural alike it is right for {both.value:.0%} of words."
    ]
    lost = list(
        dict.fromkeys(s.control_name for s in scores if s.control is not None and not s.beats_control)
    )
    if lost:
        words.append(f"That does NOT beat {', nor '.join(lost)}: no knowledge of kinds is shown.")
    return " ".join(words)
