"""The bench of rank-one editing: a fact is written at a place, and asked about with the edit and its controls in place.

A place is a layer and a token; each has its part of the model and the second moment of its keys. Cost: see `rank_one_edit`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from exegete.core.errors import ExegeteError, InputError, ModelError, TargetError
from exegete.core.material import Fact
from exegete.core.result import Provenance
from exegete.core.results.edits import ModelEdit, SiteEdit, WeightDelta
from exegete.core.value import Value
from exegete.methods.contracts.failures import Unfit
from exegete.methods.mechanisms.edit_effects import Heard, Said, Texts, generated
from exegete.methods.mechanisms.rank_one_write import Recipe, Token, Written, sheet, write
from exegete.models.feedforward import FeedForward
from exegete.models.lab import Lab
from exegete.models.rewrite import edited
from exegete.ops.rank_one import ngram_entropy

Place = tuple[int, Token]
T = TypeVar("T")
UNFIT = (InputError, TargetError, ModelError)  # one fact's; the others are edited all the same


class Measured(Value):
    """What the model says about a fact, its loss on held-out texts, and the n-gram entropy of what it writes."""

    heard: Heard
    loss: float
    entropy: float = float("nan")

    @property
    def told(self) -> float:
        """Mean probability of the new answer over prompt and paraphrases."""
        return float(self.heard.probability[:, 1].mean())


class Outcome(Value):
    """A fact, the change that was written, and what was measured before, after, and with each control in place."""

    fact: Fact
    delta: WeightDelta
    before: Measured
    after: Measured
    random: Measured
    blind: Measured
    unkeyed: Measured

    def kept(self, then: Measured) -> tuple[int, int]:
        """Neighbours (right before, of these right `then`)."""
        right = self.before.heard.right
        return int(right.sum()), int((right & then.heard.right).sum())


class Edited(Value):
    """What is kept of a fact: its outcome, or the letter that says why it was not edited; `n_keys`: tokens that keys were learnt from."""

    n_keys: int = 0
    outcome: Outcome | None = None
    unfit: Unfit | None = None


@dataclass(frozen=True, eq=False)
class Bench:
    """Everything that edits of a model have in common."""

    lab: Lab
    recipe: Recipe
    parts: dict[int, tuple[FeedForward, np.ndarray]]
    prefixes: tuple[str, ...]
    essence: str
    held: Texts
    n_generated: int
    said: dict[Fact, Said] = field(default_factory=dict)
    known: dict[Fact, Measured] = field(default_factory=dict)  # what trials have asked the unedited model

    def prepare(self, fact: Fact) -> Fact:
        """Read a fact's prompts, before any pass. Raises letters for a fact that cannot be edited."""
        self.said[fact] = Said(self.lab, fact)
        sheet(self.lab, fact, self.prefixes, self.essence, "last")
        return fact

    def write(self, fact: Fact, place: Place) -> Written:
        """The rank-one change for a fact on the model as it is."""
        part, moment = self.parts[place[0]]
        given = sheet(self.lab, fact, self.prefixes, self.essence, place[1])
        return write(self.lab, part, moment, given, self.recipe)

    def measure(self, said: Said, fact: Fact, *, writes: bool = False) -> Measured:
        """The model as it is; `writes`: also what it generates."""
        text = generated(self.lab, fact.prompt, self.n_generated, fact.prompt) if writes else ()
        entropy = ngram_entropy(text) if len(text) > 2 else float("nan")
        return Measured(heard=said.ask(), loss=self.held.loss(), entropy=entropy)

    def worth(self, fact: Fact, place: Place) -> float:
        """How good a trial edit is: probability of the new answer, plus neighbours kept, less what other texts lose."""
        said = self.said[fact]
        if fact not in self.known:
            self.known[fact] = self.measure(said, fact)
        before, written = self.known[fact], self.write(fact, place)
        with edited(self.lab.model, self.edit((written.delta,))):
            after = self.measure(said, fact)
        right = before.heard.right
        kept = float(after.heard.right[right].mean()) if right.any() else 1.0
        return after.told + kept - max(0.0, after.loss - before.loss)

    def alone(self, fact: Fact, place: Place) -> Outcome:
        """A fact edited and measured by itself."""
        said = self.said[fact]
        before, written = self.measure(said, fact, writes=True), self.write(fact, place)
        return self._outcomes([fact], [said], [before], [written])[0]

    def kept(self, fact: Fact, place: Place, n_keys: int) -> Edited:
        """The same, or why it cannot be done."""
        try:
            return Edited(n_keys=n_keys, outcome=self.alone(self.prepare(fact), place))
        except UNFIT as letter:
            return Edited(n_keys=n_keys, unfit=Unfit.of(letter))

    def together(self, facts: Sequence[Fact], place: Place) -> list[Outcome]:
        """Facts written one on top of the other; each is measured with all of them in place."""
        said = [self.said[f] for f in facts]
        before = [self.measure(s, f, writes=True) for s, f in zip(said, facts)]
        written: list[Written] = []
        for fact in facts:
            if not written:
                written.append(self.write(fact, place))
                continue
            with edited(self.lab.model, self.edit([w.delta for w in written])):
                written.append(self.write(fact, place))
        return self._outcomes(facts, said, before, written)

    def edit(self, deltas: Sequence[WeightDelta], sites: Sequence[SiteEdit] = ()) -> ModelEdit:
        """Changes as an edit of this model."""
        made = Provenance(fingerprint=self.lab.model.fingerprint)
        return ModelEdit(
            title="rank-one edit",
            lede="",
            claim="",
            deltas=tuple(deltas),
            sites=tuple(sites),
            provenance=made,
        )

    def _outcomes(
        self, facts: Sequence[Fact], said: list[Said], before: list[Measured], written: list[Written]
    ) -> list[Outcome]:
        rng = self.lab.rng("random edit", *(f.prompt for f in facts))
        edits = (
            self.edit([w.delta for w in written]),
            self.edit([w.random(rng) for w in written]),
            self.edit([w.blind() for w in written]),
            self.edit([], [w.unkeyed() for w in written]),
        )
        found: list[list[Measured]] = []
        for i, edit in enumerate(edits):
            with edited(self.lab.model, edit):
                found.append([self.measure(s, f, writes=i == 0) for s, f in zip(said, facts)])
        return [
            Outcome(fact=f, delta=w.delta, before=b, after=a, random=r, blind=c, unkeyed=u)
            for f, w, b, a, r, c, u in zip(facts, written, before, *found)
        ]


def each_of(
    facts: Sequence[Fact], make: Callable[[Fact], T]
) -> tuple[list[T], list[tuple[Fact, ExegeteError]]]:
    """`make` of every fact, and the facts for which it cannot be done, with the letters that say why.

    Raises the first letter when it can be done for none.
    """
    done: list[T] = []
    failed: list[tuple[Fact, ExegeteError]] = []
    for fact in facts:
        try:
            done.append(make(fact))
        except UNFIT as e:
            failed.append((fact, e))
    if not done:
        raise failed[0][1]
    return done, failed
