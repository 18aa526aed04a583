"""Cloze facts: does the model fill in what is true?

1. every fact is a prompt with a blank ("verity keeps a [MASK]"): one mask of a masked model, the next token of a decoder;
2. the right answer is ranked in the whole vocabulary (answers of several tokens are then refused and counted), or among the
   answers of its relation by the joint probability of their tokens;
3. P@1, P@5, P@10 (the answer is among the first k) and MRR (mean of 1 / rank) by relation; over all, their plain mean.

Chance: k of as many as are ranked. Controls, on the same facts: the commonest answers of the relation, counted on these very facts (the
most that can be known without reading the subject); the same prompt about another subject of other answer, which must lower the answer if the
subject is heeded at all; the model with randomised weights.

Cost: 3 forwards a fact (the prompt, the other subject's, the twin's), more for answers of several tokens.
Reference: Petroni et al. 2019, "Language Models as Knowledge Bases?" (LAMA).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError, TargetError
from exegete.core.material import Fact
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.cloze import ClozeFacts as Found
from exegete.core.results.cloze import Filled
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import TWIN, twin_of
from exegete.models.blank import Blank, answer_ids, answers, blank, ranked
from exegete.models.lab import Lab
from exegete.ops.nested import Nested, group_means, leaves_of, nested_means
from exegete.ops.stats import bootstrap_mean

KS = (1, 5, 10)
_OTHER, _COMMON = "the same prompt about another subject", "the commonest answer of the relation"
_SHOWN = 5


@dataclass(frozen=True)
class _Asked:
    """One fact ready to be asked: the candidates are token ids, the right one at `right`; none: the whole vocabulary."""

    fact: Fact
    relation: str
    place: Blank
    ids: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...] = ()
    names: tuple[str, ...] = ()
    right: int = 0


class AskedFact(Value):
    """A fact of one token as the model fills it in, and the rank that the answer has in its `twin` (NaN: `why`), both among all tokens;
    nothing is filled in for an answer of several tokens.
    """

    filled: Filled | None
    twin: float
    why: str = ""


@register
class ClozeFacts(Divided):
    """Whether the model fills in true answers to cloze prompts: P@k and mean reciprocal rank by relation."""

    id: ClassVar[str] = "cloze_facts"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E27",)
    verb: ClassVar[str] = "cloze"
    asks: ClassVar[Any] = "facts"
    usual: ClassVar[int | None] = 120
    finds: ClassVar[type] = Found
    part: ClassVar[type[Value]] = AskedFact
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked")
    reference: ClassVar[Reference] = Reference(
        authors="Petroni et al.", year=2019, title="Language Models as Knowledge Bases?", where="EMNLP",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs")
    passes: ClassVar[str] = "3 a fact; more for answers of several tokens"
    candidates: Literal["auto", "vocabulary", "relation"] = Field(
        "auto",
        description="what an answer is ranked in: all tokens, or the answers of its relation; auto: tokens, where at least half "
        "of the answers are single ones",
    )
    ending: str = Field(
        ".", max_length=8, description="masked models: what follows a mask that is put at the end"
    )
    seed: int = Field(0, description="seed of the other subjects, the intervals and the randomised weights")

    @property
    def whole(self) -> str:
        """Ranking among the answers of a relation wants all its facts."""
        return "answers are ranked among those of all facts" if self.candidates == "relation" else ""

    def work(self, lab: Lab, items: tuple[Fact, ...], target: Target) -> list[AskedFact]:
        """The rank of every answer of one token among all tokens, by the model and by its twin."""
        drafts = {i: d for i, f in enumerate(items) if (d := self._draft(lab, f)) is not None}
        at = [i for i, d in drafts.items() if len(d.ids) == 1]
        own, twin, why = _both(lab, [drafts[i] for i in at]) if at else ((), np.zeros(0), "")
        known = {i: AskedFact(filled=f, twin=float(t), why=why) for i, f, t in zip(at, own, twin)}
        return [known.get(i, AskedFact(filled=None, twin=np.nan)) for i in range(len(items))]

    def merge(
        self, lab: Lab, items: tuple[Fact, ...], parts: Sequence[AskedFact], target: Target, n_failed: int = 0
    ) -> Found:
        """P@k by relation beside the controls. The other subjects are asked here; so are all facts where most answers have several
        tokens. Raises `InputError` when no fact can be asked.
        """
        asked, among = self._ready(lab, items)
        if asked[0].candidates:
            return with_failed(self._found(lab, items, asked, among, *_both(lab, asked)), n_failed)
        known = [p for p in parts if p.filled is not None]
        filled = tuple(p.filled for p in known if p.filled is not None)
        twin = np.array([p.twin for p in known])
        return with_failed(self._found(lab, items, asked, among, filled, twin, known[0].why), n_failed)

    def study(self, lab: Lab, items: tuple[Fact, ...], target: Target) -> Found:
        """P@k by relation beside the controls. Raises `InputError` when no fact can be asked."""
        asked, among = self._ready(lab, items)
        return self._found(lab, items, asked, among, *_both(lab, asked))

    def _found(
        self, lab: Lab, items: Sequence[Fact], asked: Sequence[_Asked], among: str, filled: tuple[Filled, ...],
        twin: np.ndarray, why: str,
    ) -> Found:  # fmt: skip
        """What is found of the facts that were asked: `filled` in by the model, ranks of the `twin` [fact]."""
        names = [a.relation for a in asked]
        ranks = np.array([f.rank for f in filled])
        other = self._others(lab, asked)
        common = _commonest(asked)
        size = np.array([len(a.candidates) or lab.model.vocabulary for a in asked])
        rows = nested_means(names, (ranks <= KS[0]).astype(float), self.seed)

        def shares(rank: np.ndarray) -> np.ndarray:
            hits = [np.where(np.isnan(rank), np.nan, rank <= k) for k in KS]
            return np.stack([group_means(rows.paths, names, h) for h in hits], axis=1)

        chance = np.stack([group_means(rows.paths, names, np.minimum(1.0, k / size)) for k in KS], axis=1)
        controls = {_COMMON: shares(common), _OTHER: shares(other), TWIN: shares(twin)}
        failed = len(items) - len(asked)
        scores = _scores(rows, chance, controls, ranks, twin, size, failed, why, self.seed)
        return Found(
            title="Does the model fill in what is true?",
            lede=_lede(rows, scores, ranks, other, failed),
            relations=rows.paths,
            n=rows.n,
            ks=KS,
            hits=shares(ranks),
            interval=rows.interval,
            mrr=group_means(rows.paths, names, 1 / ranks),
            majority=controls[_COMMON],
            other=controls[_OTHER],
            twin=controls[TWIN],
            chance=chance,
            among=among,
            filled=filled,
            trust=Trust(scores=scores, seed=self.seed, notes=self._notes(items, asked, among)),
        )

    def _draft(self, lab: Lab, fact: Fact) -> _Asked | None:
        """The fact as it is asked; None for one that cannot be, which is counted as failed."""
        try:
            place = blank(lab.model, fact.prompt, self.ending)
            ids = answer_ids(lab.model, place, fact.answer)
        except (InputError, TargetError):
            return None
        return _Asked(fact, (fact.relation or "facts").replace("/", " "), place, ids)

    def _ready(self, lab: Lab, items: Sequence[Fact]) -> tuple[list[_Asked], str]:
        """The facts that can be asked, and in words what their answers are ranked in."""
        drafts = [d for fact in items if (d := self._draft(lab, fact)) is not None]
        single = [d for d in drafts if len(d.ids) == 1]
        few = self.candidates == "auto" and 2 * len(single) < len(drafts)
        if self.candidates == "relation" or few:
            asked, among = _among(lab, drafts), "among the answers of its relation"
        else:
            asked, among = single, "among all tokens"
        if not asked:
            raise InputError(
                f"You asked {lab.model.name} for {len(items)} facts.",
                "None can be asked: the answers have several tokens, a relation has no second answer, or a decoder would have to "
                "read past the blank.",
                "Rank answers within their relation (candidates='relation'), give more facts, or put blanks at the end.",
            )
        return asked, among

    def _others(self, lab: Lab, asked: Sequence[_Asked]) -> np.ndarray:
        """Ranks of the answers under another subject of the relation that has another answer; NaN where there is none."""
        rng, found, at = lab.rng("other subject"), [], []
        for rows in leaves_of([a.relation for a in asked]).values():
            for i in rows:
                mine = asked[i].fact
                them = [asked[j].fact for j in rows if asked[j].fact.answer != mine.answer]
                them = [o for o in them if o.subject != mine.subject]
                if them:
                    other = them[int(rng.integers(len(them)))].subject
                    place = blank(lab.model, mine.prompt.replace(mine.subject, other), self.ending)
                    found.append(_Asked(mine, "", place, *_rest(asked[i])))
                    at.append(i)
        ranks = np.full(len(asked), np.nan)
        if found:
            ranks[at] = _ranks(lab, found)[0]
        return ranks

    def _notes(self, items: Sequence[Fact], asked: Sequence[_Asked], among: str) -> tuple[str, ...]:
        notes = [f"Answers are ranked {among}."]
        if len(asked) < len(items):
            why = "answers of several tokens, unknown words, or prompts that go on after the blank"
            notes.append(f"{len(items) - len(asked)} of {len(items)} facts cannot be asked so: {why}.")
        return tuple(notes)


def _rest(a: _Asked) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...], tuple[str, ...], int]:
    return a.ids, a.candidates, a.names, a.right


def _among(lab: Lab, drafts: Sequence[_Asked]) -> list[_Asked]:
    """The facts with the answers of their relation as candidates; without those whose relation has a single answer."""
    found = []
    for rows in leaves_of([d.relation for d in drafts]).values():
        names = tuple(dict.fromkeys(drafts[i].fact.answer for i in rows))
        if len(names) < 2:
            continue
        for i in rows:
            d = drafts[i]
            ids = tuple(answer_ids(lab.model, d.place, name) for name in names)
            found.append(_Asked(d.fact, d.relation, d.place, d.ids, ids, names, names.index(d.fact.answer)))
    return found


def _both(lab: Lab, asked: Sequence[_Asked]) -> tuple[tuple[Filled, ...], np.ndarray, str]:
    """What the model fills in, the ranks [fact] of the answers in its twin (NaN where there is none), and why there is none."""
    twin_lab, why = twin_of(lab)
    twin = _ranks(twin_lab, asked)[0] if twin_lab else np.full(len(asked), np.nan)
    return _ranks(lab, asked)[1], twin, why


def _ranks(lab: Lab, asked: Sequence[_Asked]) -> tuple[np.ndarray, tuple[Filled, ...]]:
    """Rank of every answer [fact] (1 best; ties share), and what was said."""
    if not asked[0].candidates:
        found = ranked(lab, [a.place for a in asked], [a.ids[0] for a in asked], _SHOWN)
        said = [
            (r.rank, float(np.exp(r.log)), tuple(p.strip() or repr(p) for p in lab.pieces(r.first)))
            for r in found
        ]
    else:
        logs = answers(lab, [a.place for a in asked], [a.candidates for a in asked])
        said = []
        for a, x in zip(asked, logs):
            own = x[a.right]
            rank = 1 + int((x > own).sum()) + (int((x == own).sum()) - 1) / 2
            first = tuple(a.names[i] for i in np.argsort(-x, kind="stable")[:_SHOWN])
            said.append((rank, float(np.exp(own)), first))
    filled = tuple(
        Filled(
            relation=a.relation,
            prompt=a.fact.prompt,
            answer=a.fact.answer,
            rank=rank,
            probability=p,
            first=first,
        )
        for a, (rank, p, first) in zip(asked, said)
    )
    return np.array([rank for rank, _, _ in said]), filled


def _commonest(asked: Sequence[_Asked]) -> np.ndarray:
    """Rank of every answer [fact] when the answers of its relation are ranked by how often they are right."""
    ranks = np.zeros(len(asked))
    for rows in leaves_of([a.relation for a in asked]).values():
        count = Counter(asked[i].fact.answer for i in rows)
        order = [answer for answer, _ in count.most_common()]
        ranks[rows] = [1 + order.index(asked[i].fact.answer) for i in rows]
    return ranks


def _scores(
    rows: Nested,
    chance: np.ndarray,
    controls: dict[str, np.ndarray],
    ranks: np.ndarray,
    twin: np.ndarray,
    size: np.ndarray,
    failed: int,
    why: str,
    seed: int,
) -> tuple[Score, ...]:
    """P@1 beside each control, and the mean reciprocal rank beside the twin."""
    low, high = rows.interval[0]
    between = None if np.isnan(low) else (float(low), float(high))
    n = len(ranks)
    found = []
    for name, y in controls.items():
        none = bool(np.isnan(y[0, 0]))
        found.append(
            Score(
                name="facts whose answer comes first (P@1)",
                value=float(rows.mean[0]),
                chance=float(chance[0, 0]),
                control=None if none else float(y[0, 0]),
                control_name="" if none else name,
                interval=between,
                n=n,
                n_failed=failed,
                skipped=(why or "no relation has a second subject") if none else "",
            )
        )
    told = not np.isnan(twin).any()
    harmonic = [np.log(v) + 0.5772 + 1 / (2 * v) for v in size]  # 1 + 1/2 + ... + 1/v
    found.append(
        Score(
            name="mean reciprocal rank over facts (MRR)",
            value=float((1 / ranks).mean()),
            chance=float(np.mean(np.array(harmonic) / size)),
            control=float((1 / twin).mean()) if told else None,
            control_name=TWIN if told else "",
            interval=bootstrap_mean(1 / ranks, seed),
            n=n,
            n_failed=failed,
            skipped="" if told else why,
        )
    )
    return tuple(found)


def _lede(rows: Nested, scores: Sequence[Score], ranks: np.ndarray, other: np.ndarray, failed: int) -> str:
    first = scores[0]
    between = f" (95 %: {first.interval[0]:.0%} to {first.interval[1]:.0%})" if first.interval else ""
    words = [
        f"The right answer comes first for {first.value:.0%}{between} of {len(ranks)} facts; chance is {first.chance:.2%}."
    ]
    held = [s for s in scores[:3] if s.control is not None]
    for won, say in ((True, "It beats "), (False, "It does NOT beat ")):
        named = [f"{s.control_name} ({s.control:.0%})" for s in held if bool(s.beats_control) is won]
        if named:
            words.append(say + ", ".join(named) + ".")
    leaves = list(np.flatnonzero(rows.leaf))
    if len({round(float(rows.mean[i]), 3) for i in leaves}) > 1:
        best, worst = (f(leaves, key=lambda i: rows.mean[i]) for f in (max, min))
        words.append(
            f"Best known: {rows.paths[best].replace('_', ' ')} ({rows.mean[best]:.0%}); "
            f"least: {rows.paths[worst].replace('_', ' ')} ({rows.mean[worst]:.0%})."
        )
    if failed:
        words.append(f"{failed} facts could not be asked.")
    return " ".join(words)
