"""Minimal pairs: does the model find the acceptable one of two sentences more likely?

1. score every sentence: a decoder by its log-likelihood, behind the model's own beginning-of-text token; a masked model by its
   pseudo-log-likelihood, each token masked in turn (with `whole_word` also what follows it in its word);
2. a pair is right when the acceptable sentence scores higher, half right on a tie;
3. accuracy by phenomenon, with a 95 % interval over pairs; a group of phenomena is the plain mean of them. Phenomena are paths
   ("syntax/island_effects/wh_island"), so that fields and terms are groups;
4. a check: the first sentences, read alone, score what they scored among others.

Chance: 0.5. Controls, on the same pairs: the model with randomised weights; the shorter sentence; the commoner words (token
frequencies in all sentences of the pairs, acceptable or not, or in a corpus).

Cost: for the model and its twin one forward a different sentence (decoder) or a different masked sentence (masked model: at
most one a token; what two sentences share once the token that differs is masked is read once).
Reference: Marvin & Linzen 2018; Warstadt et al. 2020 (BLiMP); Salazar et al. 2020; Kauf & Ivanova 2023.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.stats import binomtest

from exegete.core.errors import InputError
from exegete.core.material import Minimal
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.minimal_pairs import MinimalPairs as Found
from exegete.core.results.minimal_pairs import ReadPair
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.corpus import corpus
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import TWIN, twin_of
from exegete.models.lab import Lab
from exegete.models.likelihood import Sentence, Start, convention, sentences
from exegete.ops.nested import Nested, group_means, leaves_of, nested_means

_CHECKED = 4  # sentences read again alone
Both = tuple[Sentence, Sentence]


class SaidPair(Value):
    """Both sentences of a pair, acceptable one first, as the model scores them and as its `twin` does; None where one cannot be
    scored (of the twin also where there is none: `why`).
    """

    own: Both | None
    twin: Both | None
    why: str = ""


@register
class MinimalPairs(Divided):
    """Whether the model finds the acceptable one of two sentences more likely, by phenomenon."""

    id: ClassVar[str] = "minimal_pairs"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E26",)
    verb: ClassVar[str] = "pairs"
    asks: ClassVar[Any] = "minimal"
    finds: ClassVar[type] = Found
    part: ClassVar[type[Value]] = SaidPair
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked")
    reference: ClassVar[Reference] = Reference(
        authors="Marvin & Linzen", year=2018, title="Targeted Syntactic Evaluation of Language Models", where="EMNLP",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs")
    passes: ClassVar[str] = "2 a different sentence (decoder), 2 a different masked sentence (masked model)"
    normalise: Literal["sum", "token"] = Field(
        "sum", description="compare sums of log-probabilities, or their means a token"
    )
    start: Start = Field(
        "own", description="what stands before a sentence (decoders): own, as the tokenizer does; bos; none"
    )
    whole_word: bool = Field(
        True, description="masked models: with a token, also mask what follows it in its word"
    )
    corpus: str = Field(
        "", description="text file that word frequencies are counted in; empty: the pairs' own sentences"
    )
    seed: int = Field(0, description="seed of the intervals and of the randomised weights")

    def work(self, lab: Lab, items: tuple[Minimal, ...], target: Target) -> list[SaidPair]:
        """Both sentences of every pair, by the model and by its twin."""
        twin_lab, why = twin_of(lab)
        own = self._read(lab, items)
        twin = self._read(twin_lab, items) if twin_lab else [None] * len(items)
        return [SaidPair(own=a, twin=b, why=why) for a, b in zip(own, twin)]

    def merge(
        self, lab: Lab, items: tuple[Minimal, ...], parts: Sequence[SaidPair], target: Target, n_failed: int = 0
    ) -> Found:  # fmt: skip
        """Accuracy by phenomenon beside its controls. Raises `InputError` when no pair can be scored."""
        names = [p.phenomenon or "pairs" for p in items]
        read, why = [p.own for p in parts], parts[0].why
        if not any(read):
            raise InputError(
                f"You asked to score {len(items)} minimal pairs.",
                "None can be scored: the sentences are too long for the model, or hold a single token.",
                "Give whole sentences that fit the model's context; start='bos' also scores the first token.",
            )
        good, bad = self._totals(read)
        right = _right(good, bad)
        rows = nested_means(names, right, self.seed)
        twin = _right(*self._totals([p.twin for p in parts]))
        twin[np.isnan(right)] = np.nan  # the same pairs
        short = _of(read, lambda s: -float(len(s.ids)))
        common = self._commoner(lab, read)
        controls = {
            TWIN: group_means(rows.paths, names, twin),
            "the shorter sentence": group_means(rows.paths, names, short),
            "the commoner words": group_means(rows.paths, names, common),
        }
        failed = n_failed + int(np.isnan(right).sum())
        scores = tuple(self._score(rows, name, y, failed, why) for name, y in controls.items())
        return Found(
            title="Does the model find what is said well more likely?",
            lede=_lede(rows, scores, failed),
            context=(("read", convention(lab.model, self.start)),),
            paths=rows.paths,
            depth=rows.depth,
            n=rows.n,
            accuracy=rows.mean,
            interval=rows.interval,
            twin=controls[TWIN],
            length=controls["the shorter sentence"],
            frequency=controls["the commoner words"],
            ties=_counted(rows.paths, names, right == 0.5),
            names=tuple(names),
            good=good,
            bad=bad,
            convention=convention(lab.model, self.start),
            scored=self._words(lab),
            examples=_examples(read, names, good - bad),
            checks=(self._alone(lab, items, read),),
            trust=Trust(scores=scores, seed=self.seed, notes=self._notes(lab, read, items)),
        )

    def _read(self, lab: Lab, items: Sequence[Minimal]) -> list[Both | None]:
        """Both sentences of every pair; None where one cannot be scored."""
        texts = [t for p in items for t in (p.good, p.bad)]
        said = sentences(lab, texts, self.start, self.whole_word)
        return [
            None if a is None or b is None else (a, b) for a, b in zip(said[::2], said[1::2], strict=True)
        ]

    def _totals(self, read: Sequence[Both | None]) -> tuple[np.ndarray, np.ndarray]:
        """What the acceptable and the other sentence score [pair], NaN where they cannot be."""
        one = (lambda s: s.total) if self.normalise == "sum" else (lambda s: s.total / len(s.logs))
        pairs = np.array([(np.nan, np.nan) if p is None else (one(p[0]), one(p[1])) for p in read])
        return pairs[:, 0], pairs[:, 1]

    def _commoner(self, lab: Lab, read: Sequence[Both | None]) -> np.ndarray:
        """Whether the acceptable sentence has the commoner tokens [pair], by the sum (or mean) of log frequencies."""
        count: Counter[int] = Counter()
        if self.corpus:
            for text in corpus(self.corpus, 10**9, self.seed):
                count.update(lab.model.tokenizer(text, add_special_tokens=False)["input_ids"])
        else:
            count.update(i for p in read if p for s in p for i in s.ids)
        total = sum(count.values()) + lab.model.vocabulary

        def score(s: Sentence) -> float:
            logs = np.log([(count[i] + 1) / total for i in s.ids])
            return float(logs.sum() if self.normalise == "sum" else logs.mean())

        return _of(read, score)

    def _score(self, rows: Nested, name: str, y: np.ndarray, failed: int, why: str) -> Score:
        """Accuracy over all phenomena, beside one control."""
        n, none = int(rows.n[0]), bool(np.isnan(y[0]))
        low, high = rows.interval[0]
        if np.isnan(low):  # a phenomenon of a single pair: the exact interval of all pairs as one set
            sure = binomtest(round(float(rows.mean[0]) * n), n).proportion_ci()
            low, high = sure.low, sure.high
        return Score(
            name="pairs in which the acceptable sentence is likelier",
            value=float(rows.mean[0]),
            chance=0.5,
            control=None if none else float(y[0]),
            control_name="" if none else name,
            interval=(float(low), float(high)),
            n=n,
            n_failed=failed,
            skipped=why if none else "",
        )

    def _alone(self, lab: Lab, items: Sequence[Minimal], read: Sequence[Both | None]) -> Check:
        """The first sentences read one by one, against what they scored in company."""
        gap = 0.0
        for item, both in [(i, b) for i, b in zip(items, read) if b][: _CHECKED // 2]:
            for text, before in zip((item.good, item.bad), both):
                for again in sentences(lab, [text], self.start, self.whole_word):
                    gap = max(gap, float(np.abs(again.logs - before.logs).max()) if again else np.inf)
        tolerance = 1e-4 if lab.model.dtype.itemsize >= 4 else 0.1
        words = "log-probabilities of the first sentences, read alone and among others"
        return Check.at_most("company changes nothing", gap, tolerance, words)

    def _words(self, lab: Lab) -> str:
        what = "log-likelihood" if lab.model.task == "causal" else "pseudo-log-likelihood"
        mean = ", mean a token" if self.normalise == "token" else ""
        late = " and what follows in its word" if self.whole_word else ""
        how = f": each token{late} masked in turn" if lab.model.task == "masked" else ""
        return f"Sentences are compared by their {what}{mean}{how}."

    def _notes(self, lab: Lab, read: Sequence[Both | None], items: Sequence[Minimal]) -> tuple[str, ...]:
        same = sum(p is not None and p[0].ids == p[1].ids for p in read)
        notes = [self._words(lab)]
        if same:
            notes.append(f"The tokenizer reads both sentences of {same} pairs alike: they are ties.")
        unequal = sum(p is not None and len(p[0].ids) != len(p[1].ids) for p in read)
        if unequal and self.normalise == "sum":
            notes.append(
                f"{unequal} of {len(items)} pairs differ in the number of tokens; sums favour the shorter sentence "
                "(compare normalise='token')."
            )
        if "not scored" in convention(lab.model, self.start):
            first = sum(i.good.split()[0] != i.bad.split()[0] for i in items)
            if first:
                notes.append(f"{first} pairs differ in their first word, which is not scored (start='bos').")
        return tuple(notes)


def _right(good: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """1 where the acceptable sentence scores higher [pair], 0.5 on a tie, NaN where it cannot be told."""
    return np.where(np.isnan(good + bad), np.nan, (np.sign(good - bad) + 1) / 2)


def _of(read: Sequence[Both | None], score: Any) -> np.ndarray:
    """The same of any score of a sentence."""
    pairs = np.array([(np.nan, np.nan) if p is None else (score(p[0]), score(p[1])) for p in read])
    near = np.isclose(pairs[:, 0], pairs[:, 1], rtol=1e-9, atol=1e-9)
    return np.where(near, 0.5, _right(pairs[:, 0], pairs[:, 1]))


def _counted(paths: Sequence[str], names: Sequence[str], what: np.ndarray) -> np.ndarray:
    """How many of the items under each path are `what` [item]."""
    leaves = {name: int(what[rows].sum()) for name, rows in leaves_of(names).items()}
    below = [[v for k, v in leaves.items() if not p or k == p or k.startswith(p + "/")] for p in paths]
    return np.array([sum(b) for b in below])


def _examples(read: Sequence[Both | None], names: Sequence[str], margin: np.ndarray) -> tuple[ReadPair, ...]:
    """The pair that the model is most wrong about, and the one that it is surest of, where they are right and wrong."""
    known = np.flatnonzero(~np.isnan(margin))
    worst, best = known[margin[known].argmin()], known[margin[known].argmax()]
    found = []
    for i in [*([int(worst)] if margin[worst] < 0 else []), *([int(best)] if margin[best] > 0 else [])]:
        good, bad = read[i] or (None, None)
        if good is not None and bad is not None:
            found.append(
                ReadPair(
                    phenomenon=names[i],
                    good=good.tokens,
                    bad=bad.tokens,
                    good_logs=good.logs,
                    bad_logs=bad.logs,
                )
            )
    return tuple(found)


def _lede(rows: Nested, scores: Sequence[Score], failed: int) -> str:
    first, n = scores[0], int(rows.n[0])
    low, high = first.interval or (0.0, 1.0)
    if n == 1:
        more = {0.0: "less likely", 0.5: "as likely"}.get(first.value, "likelier")
        return (
            f"The acceptable sentence is {more}{' than' if more != 'as likely' else ' as'} the other. "
            "One pair cannot be told from chance (50 %): give more of its kind."
        )
    words = [
        f"In {first.value:.0%} (95 %: {low:.0%} to {high:.0%}) of {n:,} pairs the acceptable sentence is the likelier "
        "one; chance is 50 %."
    ]
    told = [s for s in scores if s.control is not None]
    won = [s for s in told if s.beats_control]
    lost = [s for s in told if not s.beats_control]
    if not first.beats_chance:
        words.append("That does not beat chance.")
    if won:
        words.append("It beats " + ", ".join(f"{s.control_name} ({s.control:.0%})" for s in won) + ".")
    if lost:
        words.append(
            "It does NOT beat " + ", ".join(f"{s.control_name} ({s.control:.0%})" for s in lost) + "."
        )
    leaves = [i for i in np.flatnonzero(rows.leaf) if not np.isnan(rows.mean[i])]
    if len({round(float(rows.mean[i]), 3) for i in leaves}) > 1:
        worst = min(leaves, key=lambda i: rows.mean[i])
        words.append(
            f"Weakest: {rows.paths[worst].rsplit('/', 1)[-1].replace('_', ' ')} ({rows.mean[worst]:.0%})."
        )
    if failed:
        words.append(f"{failed} pairs could not be scored.")
    return " ".join(words)
