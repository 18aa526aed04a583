"""What searching for a prompt brings out, and how much of it the search itself has learned: the frame of both searches.

1. facts are grouped by relation; of an answer of several tokens a decoder is asked for the first, a masked model for none: it
   is counted as failed;
2. of each relation, a share of the subjects is held out; a prompt is searched on the others;
3. the answer is the likeliest token of the whole vocabulary after subject and prompt (at the mask, for masked models);
4. beside it: the prompts that people wrote, the commonest answer of the facts searched on, and the same search with the same
   budget on randomised weights, which know nothing: what it brings out there, the prompt learned by itself (Zhong et al. 2021).

Shapes: vectors [slot, d]. Reference: Shin et al. 2020; Zhong et al. 2021, "Factual Probing Is [MASK]", sec. 4-5.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from exegete.core.errors import InputError, TargetError
from exegete.core.material import Fact
from exegete.core.method import Need
from exegete.core.results.prompts import FoundPrompts
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import twin_of
from exegete.models.encode import encode_target
from exegete.models.lab import Lab
from exegete.models.soft_prompt import Slotted, embeddings, says, slotted
from exegete.ops.split import split
from exegete.ops.stats import share_interval

LEAST = 2  # subjects of a relation, so that one can be held out


@dataclass(frozen=True)
class Relation:
    """Facts of one relation, with the one token of each answer; `train` and `test` are positions in them."""

    name: str
    facts: tuple[Fact, ...]
    wanted: tuple[int, ...]
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Search:
    """What a search found: vectors [slot, d], and whether each fact is answered rightly with them [fact]."""

    vectors: Tensor
    words: str
    right: np.ndarray


class PromptSearch(Study):
    """Base of the searches: material, controls and scores; a subclass searches."""

    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E31",)
    verb: ClassVar[str] = "cloze"
    asks: ClassVar[Any] = "facts"
    usual: ClassVar[int | None] = 250
    finds: ClassVar[type] = FoundPrompts
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked")
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "gradients", "sites")
    soft: ClassVar[bool] = True
    n_slots: int = Field(5, ge=1, le=50, description="slots of the prompt")
    held_out: float = Field(
        0.3, gt=0, lt=1, description="share of each relation's facts that the search never sees"
    )
    seed: int = Field(0, description="seed of the split, the start and the randomised weights")

    @abstractmethod
    def search(self, lab: Lab, relation: Relation, cases: Slotted) -> tuple[Tensor, str]:
        """Vectors [slot, d] searched on the cases, and the words that tell them."""

    def study(self, lab: Lab, items: tuple[Fact, ...], target: Target) -> FoundPrompts:
        """One prompt a relation. Raises `InputError` where no relation has enough facts."""
        relations, failed = self._relations(lab, items)
        twin, why = twin_of(lab)
        mine, theirs = [], []
        with lab.working(len(relations) * (2 if twin else 1), "searching prompts") as done:
            for relation in relations:
                mine.append(self._searched(lab, relation))
                done()
                if twin is not None:
                    theirs.append(self._searched(twin, relation))
                    done()
        written = [_written(lab, r) for r in relations]
        most = [_commonest(r) for r in relations]
        each = [s.right[r.test] for s, r in zip(mine, relations)]
        right = np.concatenate(each)
        other = np.concatenate([s.right[r.test] for s, r in zip(theirs, relations)]) if twin else None
        score = Score(
            name="held-out facts right with the searched prompt",
            value=float(right.mean()),
            chance=float(np.concatenate(most).mean()),
            control=None if other is None else float(other.mean()),
            control_name="a prompt searched in the same way on randomised weights",
            interval=share_interval(right, self.seed),
            n=len(right),
            n_failed=failed,
            skipped=f"randomised weights: {why}" if why else "",
        )
        means = [np.array([x.mean() for x in xs]) for xs in (each, written, most)]
        return FoundPrompts(
            title="What does the model know, if it is asked as well as it can be?",
            lede=self._lede(score, written, mine, theirs, relations),
            relations=tuple(r.name for r in relations),
            n=np.array([len(r.test) for r in relations]),
            found=means[0],
            interval=np.array([share_interval(x, self.seed) or (np.nan, np.nan) for x in each]),
            written=means[1],
            majority=means[2],
            twin=_shares(theirs, relations, "test"),
            trained=_shares(mine, relations, "train"),
            twin_trained=_shares(theirs, relations, "train"),
            prompts=tuple(s.words for s in mine),
            vectors=np.stack([s.vectors.float().cpu().numpy() for s in mine]),
            soft=self.soft,
            trust=Trust(scores=(score,), seed=self.seed, notes=_notes(items, relations, failed)),
        )

    def _relations(self, lab: Lab, items: Sequence[Fact]) -> tuple[list[Relation], int]:
        """Relations with enough facts, and how many facts have answers that cannot be asked for."""
        groups: dict[str, list[tuple[Fact, int]]] = {}
        failed = 0
        for fact in items:
            try:
                ids = encode_target(lab.model, fact.prompt, fact.answer)
            except TargetError:
                ids = []  # the tokenizer does not know the answer
            if not ids or (len(ids) > 1 and lab.model.task == "masked"):
                failed += 1
                continue
            groups.setdefault(fact.relation or "facts", []).append((fact, ids[0]))
        found = []
        for name, pairs in groups.items():
            if len({f.subject for f, _ in pairs}) < LEAST:
                continue
            subjects = {s: i for i, s in enumerate(dict.fromkeys(f.subject for f, _ in pairs))}
            rng = lab.rng("held out", name)
            train, test = split(
                np.array([subjects[f.subject] for f, _ in pairs]), (1 - self.held_out, self.held_out), rng
            )
            found.append(Relation(name, tuple(f for f, _ in pairs), tuple(i for _, i in pairs), train, test))
        if not found:
            raise InputError(
                f"You asked to search prompts for {len(items)} facts.",
                f"No relation has {LEAST} subjects whose answer can be asked for ({failed} answers cannot: several tokens, or unknown).",
                "Give more facts of one relation; `relation` groups them.",
            )
        return found, failed

    def _searched(self, lab: Lab, r: Relation) -> Search:
        cases = slotted(lab, [f.subject for f in r.facts], r.wanted, self.n_slots)
        vectors, words = self.search(lab, r, cases.some(r.train))
        right = (says(lab, cases, vectors).argmax(-1) == cases.wanted).double().cpu().numpy()
        return Search(vectors, words, right)

    def _lede(
        self, score: Score, written: list[np.ndarray], mine: list[Search], theirs: list[Search], relations: list[Relation]
    ) -> str:  # fmt: skip
        people = float(np.concatenate(written).mean())
        told = (
            f"Searched prompts bring out {100 * score.value:.0f} % of {score.n} facts they never saw; written prompts bring out "
            f"{100 * people:.0f} %, the commonest answer {100 * (score.chance or 0):.0f} %."
        )
        if score.control is None:
            return told
        learnt = np.concatenate([s.right[r.train] for s, r in zip(theirs, relations)]).mean()
        bar = "more than" if score.beats_control else "NOT more than"
        return (
            f"{told} That is {bar} the {100 * score.control:.0f} % that the same search brings out of randomised weights, where it "
            f"learns {100 * learnt:.0f} % of the facts it was searched on by heart."
        )


def _written(lab: Lab, r: Relation) -> np.ndarray:
    """Whether the held-out facts are answered rightly after their own prompts [fact]."""
    prompts = [_plain(lab, r.facts[i].prompt) for i in r.test]
    cases = slotted(lab, prompts, [r.wanted[i] for i in r.test], 0)
    return (says(lab, cases, embeddings(lab)[:1]).argmax(-1) == cases.wanted).double().cpu().numpy()


def _plain(lab: Lab, prompt: str) -> str:
    """The prompt without a mask at its end, which is put back as an id."""
    mask = getattr(lab.model.tokenizer, "mask_token", None)
    return prompt.replace(mask, "").rstrip() if mask and lab.model.task == "masked" else prompt


def _commonest(r: Relation) -> np.ndarray:
    """Whether the commonest answer of the facts searched on is right for the held-out ones [fact]."""
    wanted = np.array(r.wanted)
    values, counts = np.unique(wanted[r.train], return_counts=True)
    return (wanted[r.test] == values[counts.argmax()]).astype(np.float64)


def _shares(found: Sequence[Search], relations: Sequence[Relation], part: str) -> np.ndarray:
    if not found:
        return np.full(len(relations), np.nan)
    return np.array([s.right[getattr(r, part)].mean() for s, r in zip(found, relations)])


def _notes(items: Sequence[Fact], relations: Sequence[Relation], failed: int) -> tuple[str, ...]:
    left = len(items) - failed - sum(len(r.facts) for r in relations)
    notes = (
        []
        if not failed
        else [f"{failed} answers that cannot be asked for (several tokens, or unknown) were left out."]
    )
    return (
        *notes,
        *([] if not left else [f"{left} facts of relations with fewer than {LEAST} subjects were left out."]),
    )
