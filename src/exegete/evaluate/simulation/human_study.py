"""What an explanation is worth to people: accuracy with and without it, complementarity, and reliance, from their answers.

    accuracy by condition      chance: a guess; control: the same people alone
    utility                    accuracy with the explanation less accuracy with the model's answer alone (or without the model, where
                               that was no condition). Chance 0; control: the same difference in what was answered before anything
                               was shown, which no explanation can have made
    complementarity            accuracy of person and model together less that of the better one of both alone, on the same answers.
                               Chance 0: what always following the better one gains; control: the same without the explanation
    over-reliance              how often the model's answer is taken where it is wrong; under-reliance: not taken where it is right.
                               Chance: a guess; control: without the explanation, else before anything was shown

People alone: their answers before anything was shown, else those under the condition "alone"; where there are neither, what needs them
is left out with a word. Intervals are over people and items together (`ops.crossed`), of the difference to a control in the same draws;
equal answers of few have a width too (`stats.unseen`). Answers that do not count are failed, and listed.
Cost: no model. References: Bansal et al. 2021 (arXiv:2006.14779), sec. 3-5; Schemmer et al. 2023 (arXiv:2302.02187) for reliance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from exegete.core.result import Provenance
from exegete.core.results.human_study import CONDITIONS, HumanStudy, StudyPlan
from exegete.core.trust import Score, Trust
from exegete.evaluate.simulation.study_answers import Answers, Source, read_answers
from exegete.ops.crossed import Draws, draw, interval, mean
from exegete.ops.stats import unseen

NAN = float("nan")
SHARE, GAIN = (0.0, 1.0), (-1.0, 1.0)  # where values lie


def read_study(plan: StudyPlan, sources: Sequence[Source], seed: int = 0) -> HumanStudy:
    """What the answers in `sources` (files, or what was read from them) to `plan` say. Raises `InputError` where none is usable."""
    told = read_answers(plan, sources)
    tables = _tables(plan, told)
    people, items = told.last.shape
    sheet = _Sheet(plan, told, tables, draw(people, items, seed))
    right = sheet.accuracies()
    scores = (*right, *sheet.utility(), *sheet.complementarity(), *sheet.reliance())
    names = tuple(CONDITIONS[c] for c in plan.conditions)
    accuracy = [sheet.of(tables.right, c) for c in range(len(names))]
    return HumanStudy(
        title="Does the explanation help people?",
        lede=_lede(plan, scores),
        conditions=names,
        given=told.condition,
        right=tables.right,
        right_first=tables.right_first,
        followed=tables.followed,
        seconds=told.seconds,
        accuracy=np.array(accuracy),
        interval=np.array([s.interval or (NAN, NAN) for s in right], dtype=np.float64),
        alone=mean(tables.alone),
        model=mean(np.where(told.last >= 0, tables.model_right, NAN)),
        guess=mean(np.where(told.last >= 0, tables.guess, NAN)),
        reliance=np.array([[sheet.of(t, c) for t in (tables.over, tables.under)] for c in range(len(names))]),
        failures=told.failures,
        context=(("people", str(len(told.participants))), ("items", str(len(plan.items)))),
        notes=_notes(told, sheet),
        trust=Trust(scores=scores, seed=seed),
        provenance=Provenance(
            method="human_study", params={"study": plan.key, "files": len(sources)}, seed=seed
        ),
    )


@dataclass(frozen=True)
class _Tables:
    """Numbers [participant, item], NaN where there are none. `model_right` and `guess` are known everywhere."""

    right: np.ndarray
    right_first: np.ndarray
    alone: np.ndarray
    followed: np.ndarray
    agreed: np.ndarray
    over: np.ndarray
    under: np.ndarray
    model_right: np.ndarray
    guess: np.ndarray


def _tables(plan: StudyPlan, told: Answers) -> _Tables:
    gold = np.array([i.options.index(i.answer) for i in plan.items])
    model = np.array([i.options.index(i.model) for i in plan.items])
    right, first = _equal(told.last, gold), _equal(told.first, gold)
    by_self = told.condition == _index(plan, "alone")
    shown = np.where(by_self, NAN, _equal(told.last, model))
    model_right = np.broadcast_to((gold == model).astype(np.float64), right.shape)
    return _Tables(
        right=right,
        right_first=first,
        alone=np.where(by_self, right, first),
        followed=shown,
        agreed=_equal(told.first, model),
        over=np.where(model_right == 0, shown, NAN),
        under=np.where(model_right == 1, 1 - shown, NAN),
        model_right=model_right,
        guess=np.broadcast_to(np.array([1 / len(i.options) for i in plan.items]), right.shape),
    )


@dataclass(frozen=True)
class _Sheet:
    """The tables with what every score needs."""

    plan: StudyPlan
    told: Answers
    t: _Tables
    draws: Draws

    def under(self, table: np.ndarray, c: int) -> np.ndarray:
        """The table where the answer counts and was given under condition c."""
        return np.where(self.told.condition == c, table, NAN)

    def of(self, table: np.ndarray, c: int) -> float:
        """Its mean there; NaN where there is none."""
        return mean(self.under(table, c))

    @property
    def shown(self) -> list[int]:
        """Conditions under which people see the model's answer."""
        return [c for c, name in enumerate(self.plan.conditions) if name != "alone"]

    def accuracies(self) -> list[Score]:
        """One a condition."""
        return [
            self._score(
                f"right answers {CONDITIONS[name]}",
                self.under(self.t.right, c),
                c,
                chance=self.of(self.t.guess, c),
                control=self._alone_table(c) if name != "alone" else None,
                control_name="people alone",
            )
            for c, name in enumerate(self.plan.conditions)
        ]

    def utility(self) -> list[Score]:
        """Of the explanation, where it was shown."""
        a, b = _index(self.plan, "explained"), _index(self.plan, "model")
        b = b if b >= 0 else _index(self.plan, "alone")
        if a < 0 or b < 0:
            return []
        value = self.of(self.t.right, a) - self.of(self.t.right, b)
        drawn = self.draws.means(self.under(self.t.right, a)) - self.draws.means(self.under(self.t.right, b))
        first = [self.under(self.t.right_first, c) for c in (a, b)]
        before = mean(first[0]) - mean(first[1])
        return [
            self._made(
                f"what the explanation adds to answers {CONDITIONS[self.plan.conditions[b]]}",
                value,
                drawn,
                (a, b),
                chance=0.0,
                control=before,
                control_drawn=self.draws.means(first[0]) - self.draws.means(first[1]),
                control_name="the same before anything was shown",
                span=GAIN,
            )
        ]

    def complementarity(self) -> list[Score]:
        """Of person and model, one a condition in which both meet."""
        found = []
        for c in self.shown:
            name = f"complementarity {CONDITIONS[self.plan.conditions[c]]}"
            alone = self._alone_table(c)
            if not np.isfinite(alone).any():
                found.append(
                    Score(
                        name=name,
                        value=NAN,
                        n=0,
                        n_failed=max(1, int((self.told.condition == c).sum() + self.told.failed[c])),
                        skipped="nobody answered without the model",
                    )
                )
                continue
            value = self._gain(self.of(self.t.right, c), mean(alone), self.of(self.t.model_right, c))
            drawn = self._gain_drawn(c)
            bare = _index(self.plan, "model")
            held = bare >= 0 and bare != c
            control = (
                self._gain(
                    self.of(self.t.right, bare),
                    mean(self._alone_table(bare)),
                    self.of(self.t.model_right, bare),
                )
                if held
                else NAN
            )
            found.append(
                self._made(
                    name,
                    float(value),
                    np.asarray(drawn),
                    (c,),
                    chance=0.0,
                    control=float(control),
                    control_drawn=self._gain_drawn(bare) if held else None,
                    control_name="without the explanation",
                    span=GAIN,
                )
            )
        return found

    def reliance(self) -> list[Score]:
        """Over- and under-reliance, for each condition in which the model's answer is seen."""
        found = []
        for c in self.shown:
            told = CONDITIONS[self.plan.conditions[c]]
            bare = _index(self.plan, "model")
            wrong, right = self.t.model_right == 0, self.t.model_right == 1
            for name, table, before, guess in (
                ("over-reliance", self.t.over, np.where(wrong, self.t.agreed, NAN), self.t.guess),
                ("under-reliance", self.t.under, np.where(right, 1 - self.t.agreed, NAN), 1 - self.t.guess),
            ):
                mine = self.under(table, c)
                held = bare >= 0 and bare != c
                found.append(
                    self._score(
                        f"{name} {told}",
                        mine,
                        c,
                        better="lower",
                        chance=mean(np.where(np.isfinite(mine), guess, NAN)),
                        control=self.under(table, bare) if held else self.under(before, c),
                        control_name="without the explanation" if held else "agreement before it was shown",
                    )
                )
        return found

    def _alone_table(self, c: int) -> np.ndarray:
        """People alone: on the answers of condition c before the model was seen, else on those given without it."""
        return self.under(self.t.alone, c) if self.plan.ask_first else self.t.alone

    def _gain_drawn(self, c: int) -> np.ndarray:
        """Complementarity under condition c in every draw."""
        tables = (self.under(self.t.right, c), self._alone_table(c), self.under(self.t.model_right, c))
        return np.asarray(self._gain(*map(self.draws.means, tables)))

    @staticmethod
    def _gain(
        team: np.ndarray | float, alone: np.ndarray | float, model: np.ndarray | float
    ) -> np.ndarray | float:
        return team - np.maximum(alone, model)

    def _score(
        self,
        name: str,
        table: np.ndarray,
        c: int,
        *,
        chance: float,
        control: np.ndarray | None,
        control_name: str,
        better: Literal["higher", "lower"] = "higher",
    ) -> Score:
        held = np.full_like(table, NAN) if control is None else control
        n = int(np.isfinite(table).sum())
        return self._made(
            name, mean(table), self.draws.means(table), (c,), chance=chance, control=mean(held), control_drawn=self.draws.means(held),
            control_name=control_name, better=better, n=n,
        )  # fmt: skip

    def _made(
        self,
        name: str,
        value: float,
        drawn: np.ndarray,
        conditions: tuple[int, ...],
        *,
        chance: float,
        control: float,
        control_drawn: np.ndarray | None,
        control_name: str,
        better: Literal["higher", "lower"] = "higher",
        n: int | None = None,
        span: tuple[float, float] = SHARE,
    ) -> Score:
        """A score; failed answers are those of its conditions. Without any answer it is a failed one."""
        several = self.told.last.size > 1
        answers = sum(int((self.told.condition == c).sum()) for c in conditions) if n is None else n
        lost = int(sum(self.told.failed[c] for c in conditions))
        known = bool(np.isfinite(control))
        if not np.isfinite(value):
            return Score(
                name=name,
                value=NAN,
                better=better,
                n=0,
                n_failed=max(1, lost),
                skipped="no answer of this kind",
            )
        return Score(
            name=name,
            value=value,
            better=better,
            chance=chance,
            control=control if known else None,
            control_name=control_name if known else "",
            interval=self._range(drawn, conditions, span) if several else None,
            over_control=self._range(
                drawn - control_drawn, conditions, (span[0] - span[1], span[1] - span[0])
            )
            if several and known and control_drawn is not None
            else None,
            n=answers,
            n_failed=lost,
        )

    def _range(
        self, drawn: np.ndarray, conditions: tuple[int, ...], span: tuple[float, float]
    ) -> tuple[float, float] | None:
        """The interval of what was drawn; where all draws are alike, of as many equal values as there are people, or items if fewer."""
        found = interval(drawn)
        if found is None or found[0] < found[1]:
            return found
        there = np.isin(self.told.condition, conditions)
        several = [n for n in (int(there.any(1).sum()), int(there.any(0).sum())) if n > 1]
        return unseen(found[0], min(several), span) if several else None


def _equal(said: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.where(said >= 0, (said == wanted).astype(np.float64), NAN)


def _index(plan: StudyPlan, condition: str) -> int:
    return next((i for i, c in enumerate(plan.conditions) if c == condition), -1)


def _notes(told: Answers, sheet: _Sheet) -> tuple[str, ...]:
    notes = []
    if len(told.participants) == 1:
        notes.append("One person answered: the intervals are over items, and say nothing of other people.")
    if sheet.plan.ask_first:
        notes.append(
            "Everyone answered before and after: a first answer can hold people to it, so reliance may be lower than without."
        )
    if told.failures:
        notes.append(f"{int(told.failed.sum())} answers do not count; the table says why.")
    return tuple(notes)


def _lede(plan: StudyPlan, scores: Sequence[Score]) -> str:
    worth = next((s for s in scores if s.name.startswith("what the explanation adds")), None)
    together = [s for s in scores if s.name.startswith("complementarity") and np.isfinite(s.value)]
    words = ""
    if worth is not None and np.isfinite(worth.value):
        words = f"{worth.name[0].upper()}{worth.name[1:]}: {worth.value:+.3f}{_range(worth)}. "
        high = max((x or (NAN, NAN))[1] for x in (worth.interval, worth.over_control or worth.interval))
        if worth.beats_chance and worth.beats_control is not False:
            words += "People are right more often with it. "
        elif high < 0:
            words += "People are right less often with it. "
        else:
            words += "That is not told apart from nothing. "
    if together:
        best = together[-1]
        words += f"{best.name[0].upper()}{best.name[1:]}: {best.value:+.3f}{_range(best)}; "
        words += (
            "together they beat the better one of both."
            if best.interval and best.beats_chance
            else "together they do not beat the better one of both."
        )
    return words.strip() or "Too few answers to say anything."


def _range(s: Score) -> str:
    return f" ({s.interval[0]:+.3f} to {s.interval[1]:+.3f})" if s.interval else ""
