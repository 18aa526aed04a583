"""Quantifier clozes: does the model know the properties of nouns, and does it heed all, most, some and no?

1. every noun is asked with every quantifier: "all soups are [MASK]", "no soups are [MASK]";
2. every property of the set is scored there by the joint probability of its tokens;
3. a noun's own properties are compared with those that only other nouns have: the share of pairs in which its own is
   likelier, ties one half;
4. what is heeded: that share after all and most, less that after no (what dogs are is what "no dogs are" must not say);
5. where a file says which properties are typical and which are not, the share of pairs in which a typical property of a noun
   is likelier than another of its own, after all and most; beside the controls below, the same after some, which suits both.

Chance: half of the pairs; no difference between quantifiers. Controls: the same pairs in the prompts about all nouns that share
no property with this one (what is said of any noun is no knowledge of this one), and the model with randomised weights.

Material: nouns of the terrarium with adjectives that suit them, or a file with noun and property a row and, perhaps, typical.
Cost: 4 forwards a noun for properties of one token and 4 for the twin; more for properties of several tokens.
Reference: Apidianaki & Gari Soler 2021, "ALL Dolphins Are Intelligent and SOME Are Friendly".
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from scipy.stats import rankdata

from exegete.core.errors import InputError, TargetError
from exegete.core.method import Need, register
from exegete.core.read_pairs import BLANK
from exegete.core.reference import Reference
from exegete.core.results.quantifier_cloze import QuantifierCloze as Found
from exegete.core.rows import fault, rows_of
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import TWIN, twin_of
from exegete.models.blank import answer_ids, answers, blank
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean
from exegete.terrarium import lexicon as lex
from exegete.terrarium.inflect import plural

QUANTIFIERS = ("all", "most", "some", "no")
_WHAT = "nouns and their properties"
_OTHER = "the same pairs in prompts about other nouns"
_TIE = 1e-5  # nats; nearer log-probabilities are rounding
_USUAL = 3  # things of a topic, and adjectives of it, that are asked by default
Words = dict[str, tuple[str, ...]]


def usual_words() -> Words:
    """Nouns -> adjectives: things of the terrarium's topics with praise and blame that suit no other topic."""
    found: Words = {}
    told = [w for t in lex.TOPICS for w in dict.fromkeys(t.good + t.bad)]
    for t in lex.TOPICS:
        mine = [w for w in t.good + t.bad if told.count(w) == 1]
        things = [w for w in t.things if w not in found][:_USUAL]
        found |= dict.fromkeys(things, (*mine[:_USUAL],)) if mine else {}
    return found


@register
class QuantifierCloze(Study):
    """Whether the model knows properties of nouns, and whether all, most, some and no change what it says."""

    id: ClassVar[str] = "quantifier_cloze"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E28",)
    verb: ClassVar[str] = "cloze"
    asks: ClassVar[Any] = "nothing"
    finds: ClassVar[type] = Found
    home: ClassVar[str] = "terrarium/encoder"
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked")
    reference: ClassVar[Reference] = Reference(
        authors="Apidianaki & Garí Soler", year=2021,
        title="ALL Dolphins Are Intelligent and SOME Are Friendly: Probing BERT for Nouns' Semantic Properties and their Prototypicality",
        where="BlackboxNLP",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs")
    passes: ClassVar[str] = "8 a noun; more for properties of several tokens"
    words: str = Field(
        "",
        description="file of rows with noun, property and, perhaps, typical (yes or no); empty: nouns of the terrarium",
    )
    n_nouns: int = Field(200, ge=2, le=100_000, description="most nouns that are asked, drawn at random")
    seed: int = Field(0, description="seed of the drawn nouns, the intervals and the randomised weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Found:
        """Shares and ranks by quantifier. Raises `InputError` for words of which no two nouns differ in all properties."""
        every, told = _read(self.words) if self.words else (usual_words(), {})
        known, failed = _askable(lab, self._some(lab, every))
        candidates = tuple(dict.fromkeys(p for several in known.values() for p in several))
        own = np.array([[c in several for c in candidates] for several in known.values()])
        apart = ~(own.astype(int) @ own.T).astype(bool)  # [noun, noun]
        if not len(apart) or not apart.any(1).all():
            raise InputError(
                f"You asked {lab.model.name} for properties of {len(known)} nouns.",
                "Some noun shares a property with every other one: there is nothing to compare it with.",
                "Give nouns with properties of their own.",
            )
        logs = _logs(lab, tuple(known), candidates)
        twin_lab, why = twin_of(lab)
        theirs = None if twin_lab is None else _logs(twin_lab, tuple(known), candidates)
        mine, other = _shares(logs, own, ~own, apart)
        twin = np.full_like(mine, np.nan) if theirs is None else _shares(theirs, own, ~own, apart)[0]
        scores = _scores(mine, other, twin, failed, why, self.seed)
        typical, less = (
            np.array([[told.get((noun, c)) is kind for c in candidates] for noun in known])
            for kind in (True, False)
        )
        both = typical.any(1) & less.any(1)  # nouns with properties of both kinds
        proto = np.full_like(mine, np.nan)
        if both.sum() > 1:
            pairs = typical[both], less[both], apart[both]
            proto[:, both], about = _shares(logs, *pairs, np.flatnonzero(both))
            blind = None if theirs is None else _shares(theirs, *pairs, np.flatnonzero(both))[0]
            scores += _typical_scores(proto[:, both], about, blind, why, self.seed)
        ranks = rankdata(-logs, axis=2)
        return Found(
            title="Does the model know what things are like, and heed all, most, some and no?",
            lede=_lede(scores, len(known)),
            quantifiers=QUANTIFIERS,
            nouns=tuple(known),
            own=tuple(known.values()),
            candidates=candidates,
            above=mine,
            other=other,
            twin=twin,
            typical=proto,
            ranks=np.where(own[None], ranks, np.inf).min(2),
            first=tuple(tuple(candidates[i] for i in row) for row in logs.argmax(2)),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _some(self, lab: Lab, every: Words) -> Words:
        """No more nouns than asked for, in the order they came."""
        names = list(every)
        if len(names) <= self.n_nouns:
            return every
        drawn = np.sort(lab.rng("nouns").choice(len(names), self.n_nouns, replace=False))
        return {names[i]: every[names[i]] for i in drawn}


def prompt(noun: str, quantifier: str) -> str:
    """ "all soups are [MASK]." """
    return f"{quantifier} {plural(noun)} are {BLANK}."


def _read(path: str) -> tuple[Words, dict[tuple[str, str], bool]]:
    """Properties of every noun, both in the order of the file, and whether a (noun, property) is typical, where it says."""
    found: dict[str, list[str]] = {}
    told: dict[tuple[str, str], bool] = {}
    for place, row in rows_of(path, _WHAT):
        noun, name = (str(row.get(field) or "").strip() for field in ("noun", "property"))
        if not noun or not name:
            raise fault(
                path, _WHAT, place, f"has the fields {', '.join(row) or 'none'}", "Give noun and property."
            )
        found.setdefault(noun, []).append(name)
        typical = str(row.get("typical") or "").strip().lower()
        if typical not in ("", "yes", "no"):
            raise fault(path, _WHAT, place, f"has typical {typical!r}", "Write yes or no.")
        if typical:
            told[noun, name] = typical == "yes"
    return {noun: tuple(dict.fromkeys(several)) for noun, several in found.items()}, told


def _askable(lab: Lab, words: Words) -> tuple[Words, int]:
    """Nouns with the properties that the model can be asked about, and how many nouns it cannot."""
    kept: Words = {}
    for noun, several in words.items():
        fit = []
        for name in several:
            try:
                for q in QUANTIFIERS:
                    answer_ids(lab.model, blank(lab.model, prompt(noun, q)), name)
            except (InputError, TargetError):
                continue  # counted as failed where none is left
            fit.append(name)
        if fit:
            kept[noun] = tuple(fit)
    return kept, len(words) - len(kept)


def _logs(lab: Lab, nouns: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
    """Log-probability of every candidate in every prompt [quantifier, noun, candidate], nats."""
    places = [blank(lab.model, prompt(noun, q)) for q in QUANTIFIERS for noun in nouns]
    ids = [[answer_ids(lab.model, place, c) for c in candidates] for place in places]
    return np.stack(answers(lab, places, ids)).reshape(len(QUANTIFIERS), len(nouns), -1)


def _shares(
    logs: np.ndarray, has: np.ndarray, less: np.ndarray, apart: np.ndarray, at: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (one that the noun `has`, one of `less`) with the first likelier, in prompts about the noun and (mean) about nouns
    apart [quantifier, noun] each; has and less [noun, candidate]; `at`: which noun of the prompts each row is."""
    rows = np.arange(len(has)) if at is None else at
    mine, other = np.zeros((len(logs), len(has))), np.zeros((len(logs), len(has)))
    for i, own in enumerate(rows):
        gap = logs[:, :, has[i], None] - logs[:, :, None, less[i]]
        share = np.where(np.abs(gap) <= _TIE, 0.5, gap > 0).mean((2, 3))  # [quantifier, noun asked about]
        mine[:, i], other[:, i] = share[:, own], share[:, apart[i]].mean(1)
    return mine, other


def _heeded(share: np.ndarray) -> np.ndarray:
    """All and most, less no [noun]."""
    return (share[0] + share[1]) / 2 - share[3]


def _scores(
    mine: np.ndarray, other: np.ndarray, twin: np.ndarray, failed: int, why: str, seed: int
) -> tuple[Score, ...]:
    """Own properties after all, most and some, and what no changes, each beside other nouns and the twin."""
    found = []
    for name, pool, bar in (
        ("own properties likelier than others', after all, most and some", lambda x: x[:3].mean(0), 0.5),
        ("the same after all and most, less after no", _heeded, 0.0),
    ):
        for control, called in ((other, _OTHER), (twin, TWIN)):
            none = bool(np.isnan(control).any())
            found.append(
                Score(
                    name=name, value=float(pool(mine).mean()), chance=bar,
                    control=None if none else float(pool(control).mean()), control_name="" if none else called,
                    interval=bootstrap_mean(pool(mine), seed), n=mine.shape[1], n_failed=failed,
                    skipped=why if none else "",
                )
            )  # fmt: skip
    return tuple(found)


def _typical_scores(
    mine: np.ndarray, other: np.ndarray, twin: np.ndarray | None, why: str, seed: int
) -> tuple[Score, ...]:
    """Typical properties beside the others of the same noun, after all and most [quantifier, noun]."""
    value = mine[:2].mean(0)
    bars = ((other[:2].mean(), _OTHER), (mine[2].mean(), "the same after some"))
    bars += ((None if twin is None else twin[:2].mean(), TWIN),)
    return tuple(
        Score(
            name="typical properties likelier than others of the noun, after all and most", value=float(value.mean()),
            chance=0.5, control=None if bar is None else float(bar), control_name="" if bar is None else called,
            interval=bootstrap_mean(value, seed), n=len(value), skipped=why if bar is None else "",
        )
        for bar, called in bars
    )  # fmt: skip


def _lede(scores: Sequence[Score], n: int) -> str:
    know, heed, typical = scores[:2], scores[2:4], scores[4:]
    words = [
        f"After all, most and some, a property of one of {n} nouns is likelier than one of other nouns in {know[0].value:.0%} of pairs "
        f"(a guess: 50%; in prompts about other nouns: {know[0].control:.0%})."
    ]
    lost = _lost(know)
    if lost:
        words.append(f"That does NOT beat {lost}: no knowledge of properties is shown.")
    way = "lower" if heed[0].value >= 0 else "higher"
    words.append(
        f"After no, the share is {100 * abs(heed[0].value):.1f} points {way} than after all and most."
    )
    lost = _lost(heed)
    if lost:
        words.append(f"That does NOT beat {lost}: the model is not shown to heed the quantifier.")
    if typical:
        words.append(
            f"Typical properties are likelier than others of the same noun in {typical[0].value:.0%} of pairs."
        )
        lost = _lost(typical)
        words += [f"That does NOT beat {lost}."] if lost else []
    return " ".join(words)


def _lost(scores: Sequence[Score]) -> str:
    """Chance where it is not beaten, else the controls that are not, in words; "" where all is beaten."""
    if not scores[0].beats_chance:
        return "chance"
    return ", nor ".join(s.control_name for s in scores if s.beats_control is False)
