"""Forward simulation: does who has seen explanations of some answers foretell the others?

1. the model answers every text, and each method explains its answer: a score a word;
2. texts are dealt in two halves (equal texts together); a reader learns from one half what the model says, once from the texts alone,
   once with the explanations too, and says what the model says of the other half, of which it sees no explanation; and the other way round;
3. agreement with the model, with explanations and without; their difference is the gain.

    embedded reader   softmax regression on words, which learns from what explanations leave of the texts (`ops.explained_reader`)
    chat reader       `reader`: a language model shown the texts of a half, each with the answer and, with explanations, its `n_words` highest words

Chance: what the model says most often in the half that was read (agreement), 0 (gain). Control: the scores of each text shuffled over its
words, the mean of `n_random` draws (one with a chat); random scores are judged as a method is, and must not gain. Texts that a method
fails on are read without its explanation, and are n_failed; what is held against the others is of the others too, text by text. Intervals are
over the texts that are foretold, not over what was learned from.

Cost: explanations; fits of the reader, or 1 call a text, and 2 a text and method. Shapes: scores [word]. References: Pruthi et al. 2022
(arXiv:2012.00893); Doshi-Velez & Kim 2017 (arXiv:1702.08608), sec. 3 (forward simulation).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.method import Need, method_of, register
from exegete.core.reference import Reference
from exegete.core.results.forward_simulation import ForwardSimulation
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.evaluate.cases import attempt, labels, why
from exegete.evaluate.explained import attribution_method
from exegete.evaluate.respond import ChatRespondent, Prompt, Respondent, pick
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.methods.contracts.study import Study
from exegete.models.ask import ask
from exegete.models.chat.open import chat
from exegete.models.lab import Lab
from exegete.ops.explained_reader import columns, foretold
from exegete.ops.stats import mean_interval

RANDOM, SHUFFLED = "random scores", "scores shuffled over the words"
NAN = float("nan")


@dataclass(frozen=True)
class Read:
    """A text as the reader sees it: its words, and what the model says (an index)."""

    words: tuple[str, ...]
    answer: int


Scores = Sequence[np.ndarray | None]  # of the words of each text; None where there is no explanation


@register
class ForwardSimulationStudy(Study):
    """Whether explanations of some answers help a reader to say what the model answers to other texts."""

    id: ClassVar[str] = "forward_simulation"
    family: ClassVar[str] = "evaluation"
    techniques: ClassVar[tuple[str, ...]] = ("O19",)
    verb: ClassVar[str] = "sanity"
    asks: ClassVar[Any] = "texts"
    tasks: ClassVar[tuple[str, ...]] = ("sequence",)
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "gradients")
    least: ClassVar[int] = 8
    usual: ClassVar[int | None] = 80
    home: ClassVar[str] = "terrarium/sentiment"
    finds: ClassVar[type] = ForwardSimulation
    reference: ClassVar[Reference] = Reference(
        authors="Pruthi et al.", year=2022, where="arXiv:2012.00893",
        title="Evaluating Explanations: How Much Do Explanations from the Teacher Aid Students?",
    )  # fmt: skip
    passes: ClassVar[str] = "explanations, once"
    explainers: tuple[str, ...] = Field(
        ("saliency", "integrated_gradients", "occlusion"),
        min_length=1,
        description="ids of the attribution methods whose explanations are read",
    )
    unit: Literal["word", "token"] = Field("word", description="what is explained and read: word or token")
    reader: str = Field(
        "",
        description="who reads: empty: the embedded reader; local:NAME, http://HOST/v1#MODEL, script:FILE",
    )
    n_words: int = Field(3, ge=1, description="highest words of an explanation that a chat reader is shown")
    strength: float = Field(1.0, gt=0, description="penalty on the embedded reader's weights")
    n_random: int = Field(10, ge=1, description="draws of shuffled scores")
    most_calls: int = Field(2000, ge=1, description="most calls to a chat reader")
    seed: int = Field(0, description="seed of everything that is drawn")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> ForwardSimulation:
        """Over texts."""
        methods = tuple(attribution_method(method_of(name)) for name in self.explainers)
        for method in methods:
            method.check(lab.model)
        texts, explained, failures = self._explained(lab, items, methods)
        found = self.simulate(texts, dict(zip(labels(methods), explained)), tuple(lab.model.labels))
        told = tuple(f"{words} ({n} times)" for words, n in failures.most_common(5))
        return found.model_copy(update={"notes": (*found.notes, *told)})

    def simulate(
        self, texts: Sequence[Read], explained: dict[str, Scores], names: tuple[str, ...]
    ) -> ForwardSimulation:
        """The finding about any explanations, by method; `names` are those of the answers."""
        answers = np.array([t.answer for t in texts])
        halves = _halves(texts, self.seed)
        rng = generator(self.seed, RANDOM)
        rows: dict[str, Scores] = {**explained, RANDOM: [rng.normal(size=len(t.words)) for t in texts]}
        single = len(set(answers.tolist())) < 2
        if single:
            hits = np.full((len(rows), len(texts)), NAN)
            plain, held = np.full(len(texts), NAN), np.full((len(rows), 1, len(texts)), NAN)
        else:
            who = ChatRespondent(chat(self.reader), self.most_calls) if self.reader else None

            def hit(scores: Scores | None) -> np.ndarray:
                """Where the reader agrees with the model [text]."""
                return _agree(self._said(who, texts, halves, scores, names), answers)

            plain = hit(None)
            hits = np.stack([hit(scores) for scores in rows.values()])
            hits[np.array([[s is None for s in scores] for scores in rows.values()])] = NAN
            n = 1 if who else self.n_random
            draws = [[_shuffled(s, self.seed, name, k) for k in range(n)] for name, s in rows.items()]
            held = np.array([[hit(s) for s in several] for several in draws])
        often = _agree(_most_often(answers, halves), answers)
        scores = tuple(
            s
            for m, name in enumerate(rows)
            for s in self._scores(name, hits[m], plain, _over_draws(held[m]), often)
        )
        return ForwardSimulation(
            title="Do explanations help to foretell the model?",
            lede=_lede(tuple(explained), scores, names[answers[0]] if single else ""),
            methods=tuple(rows),
            hits=hits,
            plain=plain,
            shuffled=np.array([[_mean(draw) for draw in several] for several in held]),
            interval=np.array([s.interval or (NAN, NAN) for s in scores[::2]], dtype=np.float64),
            majority=_mean(often),
            reader=self.reader or "softmax regression on words",
            labels=names,
            answers=answers,
            notes=("Intervals are over the texts that are foretold; what was learned from is the same.",),
            trust=Trust(scores=scores, seed=self.seed),
        )

    # ---- the model's side ----------------------------------------------------------------------------------------

    def _explained(
        self, lab: Lab, items: Sequence[Any], methods: tuple[AttributionMethod, ...]
    ) -> tuple[list[Read], list[list[np.ndarray | None]], Counter[str]]:
        """Texts with what the model says, and scores by method [method][text]."""
        texts: list[Read] = []
        found: list[list[np.ndarray | None]] = [[] for _ in methods]
        failures: Counter[str] = Counter()
        with lab.working(len(items), "explaining texts") as step:
            for item in items:
                question = replace(ask(lab.model, item, Target()), meter=lab.meter)
                units = question.units(self.unit)
                if len(units) > 1:
                    texts.append(
                        Read(tuple(u.text.lower() for u in units), int(question.reference()[0].argmax()))
                    )
                    for row, method in zip(found, methods):
                        total, error = attempt(lambda m=method, q=question, u=units: m.attribute(q, u).total)
                        if error is not None:
                            failures[f"{method.id}: {why(error)}"] += 1
                        good = total is not None and np.isfinite(total).all()
                        row.append(np.asarray(total, dtype=np.float64) if good else None)
                step()
        if len(texts) < 4:
            raise InputError(
                f"You asked whether explanations of {lab.model.name} help to foretell it.",
                f"{len(texts)} of {len(items)} texts have two {self.unit}s; half of them is learned from.",
                "Give more and longer texts.",
            )
        return texts, found, failures

    # ---- the reader's side ---------------------------------------------------------------------------------------

    def _said(
        self, who: Respondent | None, texts: Sequence[Read], halves: np.ndarray, scores: Scores | None, names: tuple[str, ...]
    ) -> np.ndarray:  # fmt: skip
        """What the reader says of every text [text] after the other half; -1 where it says nothing."""
        said = np.full(len(texts), -1)
        for half in (0, 1):
            known, new = np.flatnonzero(halves != half), np.flatnonzero(halves == half)
            if who is not None:
                said[new] = self._by_chat(who, texts, known, new, scores, names)
                continue
            words = [t.words for t in texts]
            counts = columns(words)
            told = None
            if scores is not None:
                given = [np.zeros(len(w)) if s is None else s for w, s in zip(words, scores)]
                told = columns(words, given)[known]
            answers = np.array([texts[i].answer for i in known.tolist()])
            said[new] = foretold(counts[known], answers, counts[new], len(names), told, self.strength)
        return said

    def _by_chat(
        self, who: Respondent, texts: Sequence[Read], known: np.ndarray, new: np.ndarray, scores: Scores | None, names: tuple[str, ...]
    ) -> list[int]:  # fmt: skip
        shown = []
        for i in known:
            line = f"Text: {' '.join(texts[i].words)}\nIt answers: {names[texts[i].answer]}"
            own = None if scores is None else scores[i]
            if own is not None:
                top = [
                    texts[i].words[k]
                    for k in np.argsort(-own, kind="stable")[: self.n_words].tolist()
                    if own[k] > 0
                ]
                line += f"\nBecause of: {', '.join(top) or 'nothing'}"
            shown.append(line)
        lead = "A model answers texts. Foretell what it answers to the last one.\n\n" + "\n\n".join(shown)
        asked = [Prompt(f"{lead}\n\nText: {' '.join(texts[i].words)}\nIt answers:", names) for i in new]
        return [pick(p) for p in who.answers(asked)]

    def _scores(
        self, name: str, hits: np.ndarray, plain: np.ndarray, held: np.ndarray, often: np.ndarray
    ) -> tuple[Score, Score]:
        """Agreement and gain of a method, from what is right text by text [text]: with explanations, without, shuffled, most often."""
        known = np.isfinite(hits) & np.isfinite(plain) & np.isfinite(held)
        n = int(known.sum())
        titles = (f"{name}: agreement with the model", f"{name}: gain over no explanations")
        if not n:
            empty = [
                Score(name=t, value=NAN, n=0, n_failed=max(1, len(hits)), skipped="nothing to foretell")
                for t in titles
            ]
            return empty[0], empty[1]
        hits, plain, held, often = (x[known] for x in (hits, plain, held, often))
        made = []
        for title, values, chance, bar, span in (
            (titles[0], hits, often, held, (0.0, 1.0)),
            (titles[1], hits - plain, np.zeros(n), held - plain, (-1.0, 1.0)),
        ):
            made.append(
                Score(
                    name=title,
                    value=float(values.mean()),
                    chance=float(chance.mean()),
                    control=float(bar.mean()),
                    control_name=SHUFFLED,
                    interval=mean_interval(values, self.seed, span),
                    over_chance=mean_interval(values - chance, self.seed, (-1.0, 1.0)),
                    over_control=mean_interval(values - bar, self.seed, (-1.0, 1.0)),
                    n=n,
                    n_failed=len(known) - n,
                )
            )
        return made[0], made[1]


def _halves(texts: Sequence[Read], seed: int) -> np.ndarray:
    """0 or 1 for every text; equal texts in one half, every answer in both where there are two different texts of it."""
    different: dict[tuple[str, ...], int] = {}
    for t in texts:
        different.setdefault(t.words, t.answer)
    order = generator(seed, "halves").permutation(len(different))
    keys = list(different)
    dealt = sorted(order.tolist(), key=lambda i: different[keys[i]])  # stable: random within an answer
    half = {keys[i]: k % 2 for k, i in enumerate(dealt)}
    return np.array([half[t.words] for t in texts])


def _most_often(answers: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """For every text what the model says most often in the other half."""
    most = [
        np.bincount(answers[halves != half]).argmax() if (halves != half).any() else -1 for half in (0, 1)
    ]
    return np.array([most[h] for h in halves])


def _agree(said: np.ndarray, answers: np.ndarray) -> np.ndarray:
    return np.where(said < 0, NAN, (said == answers).astype(np.float64))


def _over_draws(hits: np.ndarray) -> np.ndarray:
    """The mean of hits [draw, text] over the draws in which there was an answer; NaN where there was none."""
    said = np.isfinite(hits)
    total = np.where(said, hits, 0.0).sum(0)
    return np.divide(total, said.sum(0), out=np.full(hits.shape[1], NAN), where=said.any(0))


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _shuffled(scores: Scores, seed: int, name: str, draw: int) -> Scores:
    rng = generator(seed, "shuffled", name, draw)
    return [None if s is None else rng.permutation(s) for s in scores]


def _lede(methods: tuple[str, ...], scores: Sequence[Score], single: str) -> str:
    if single:
        return f"The model says {single} to every text: there is nothing to foretell."
    gains = dict(zip(methods, scores[1::2]))
    told = ", ".join(f"{m} {s.value:+.3f}" for m, s in gains.items() if np.isfinite(s.value))
    useful = [m for m, s in gains.items() if s.beats_chance and s.beats_control]
    words = f"With explanations the reader agrees with the model more often by {told}. " if told else ""
    if useful:
        return words + f"Those of {', '.join(useful)} help, and more than shuffled ones."
    return words + "None helps more than shuffled explanations with its whole interval."
