"""Rank-one editing (ROME): make a model say another answer to a fact by one rank-one change of one matrix.

1. read texts: the second moment C of the keys of the layers in question (`key_moments`);
2. layer and token: as given, or those at which trial edits of a few facts do best, the worse half falling out after each
   round (successive halving; where a fact is traced to does not tell where it is best edited, Hase et al. 2023, arXiv:2301.04213); the facts
   tried on are kept out of the scores;
3. write each fact (`rank_one_write`), alone, or one on top of the other (`together`);
4. measure with the edit really in place (`edit_effects`): does the model say the new answer to the prompt (efficacy) and to
   paraphrases, do other facts stand (neighbourhood), what does it lose on other texts, does it repeat itself (fluency).

Controls: a rank-one change of the same size in random directions; the same value written whatever the key (a changed bias);
and, told beside them, the same value for the same key with no regard to other keys (C = I), which shows what C is worth. The finding is the edit: save
it, and `models.rewrite` applies and undoes it. Facts that are written alone, where layer and token are given, can be edited
apart (`exegete run`); each stretch reads the corpus for itself.

Cost: a forward a text of the corpus; then a fact 2 n_steps passes of n_prefixes + 2 prompts from the layer on, and 5 passes
of its prompts, paraphrases and neighbours, 5 of the held-out texts, 2 n_generated of the prompt. Trials cost the same a
place. Reference: Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (arXiv:2202.05262), sec. 3.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import ExegeteError, UsageError
from exegete.core.figure import Grid
from exegete.core.material import Fact
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.edits import FactEdit
from exegete.core.target import Target
from exegete.core.value import Value
from exegete.methods.contracts.corpus import corpus
from exegete.methods.contracts.failures import fit
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.edit_effects import Texts
from exegete.methods.mechanisms.edit_verdict import finding, trial_grid
from exegete.methods.mechanisms.key_moments import second_moments
from exegete.methods.mechanisms.rank_one_run import Bench, Edited, Outcome, Place, each_of
from exegete.methods.mechanisms.rank_one_write import Recipe, Token
from exegete.models.feedforward import feed_forward, layers_with_units
from exegete.models.lab import Lab

Failure = tuple[Fact, ExegeteError]
_WORDS = 10  # of a text that a beginning is made of


@register
class RankOneEdit(Divided):
    """Makes the model say another answer to a fact by a rank-one change of one matrix, and measures what else changed."""

    id: ClassVar[str] = "rank_one_edit"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H15",)
    verb: ClassVar[str] = "edit"
    asks: ClassVar[Any] = "facts"
    finds: ClassVar[type] = FactEdit
    part: ClassVar[type[Value]] = Edited
    over_data: ClassVar[str] = "in shards where layer and token are given, else in one piece"
    tasks: ClassVar[tuple[str, ...]] = ("causal",)
    reference: ClassVar[Reference] = Reference(
        authors="Meng et al.", year=2022, title="Locating and Editing Factual Associations in GPT",
        where="arXiv:2202.05262", equation="eq. 2-4",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "gradients", "sites", "weights")
    passes: ClassVar[str] = (
        "n_corpus forwards once; about 2 * n_steps * (n_prefixes + 2) + 2 * n_generated + 60 a fact"
    )
    corpus: str = Field(
        "",
        description="text file (one text a line) that shows what keys occur; '' takes the terrarium's sentences",
    )
    n_corpus: int = Field(2000, ge=1, description="most texts read from it")
    n_held_out: int = Field(24, ge=1, description="further texts on which the loss is measured")
    layer: int | None = Field(None, ge=0, description="layer that is edited; none: where trial edits do best")
    token: Literal["auto", "subject", "last"] = Field(
        "auto",
        description="token whose key is written to: the subject's last, the prompt's last, or where trials do best",
    )
    n_trial: int = Field(
        2,
        ge=1,
        description="facts on which layers and tokens are tried at first; twice as many on the better half, and so on",
    )
    n_layers: int = Field(8, ge=1, description="most layers that are tried, spread evenly")
    n_prefixes: int = Field(
        5, ge=0, le=100, description="beginnings that the prompt is put after, for the mean key"
    )
    essence: str = Field(
        "{subject} is a", description="prompt after which the model is to say what it said before"
    )
    n_steps: int = Field(40, ge=1, le=1000, description="most steps of the search for the value")
    rate: float = Field(
        0.5, gt=0, description="first step of the search, in units of an entry of what the part wrote"
    )
    kl: float = Field(0.0625, ge=0, description="weight of the essence")
    decay: float = Field(0.001, ge=0, description="weight of the squared size of the value")
    clamp: float = Field(10.0, gt=0, description="largest size of the value, in sizes of what the part wrote")
    ridge: float = Field(0.01, ge=0, description="share of the mean diagonal added to C")
    n_generated: int = Field(
        20, ge=0, le=1000, description="tokens written after the prompt to judge fluency"
    )
    together: bool = Field(False, description="write the facts one on top of the other, as one edit")
    seed: int = Field(0, description="seed of texts, trials, generation and random edits")

    @property
    def whole(self) -> str:
        """Edits that build on each other, and trials, want several facts."""
        if self.together:
            return "facts are written one on top of the other"
        if self.layer is None or self.token == "auto":
            return "where to edit is found by trials on some of the facts; layer and token let them be edited apart"
        return ""

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> FactEdit:
        """Each fact edited, measured, and beside its controls."""
        if not self.whole:
            return self.merge(lab, items, self.work(lab, items, target), target)
        bench, n_keys = self._bench(lab)
        facts, failed = each_of(items, bench.prepare)
        place, trials, tried = self._place(lab, bench, facts)
        with lab.working(len(facts), "editing facts") as done:
            outcomes, more = self._made(bench, facts, place, done)
        failed += more
        scored = [o for o in outcomes if o.fact not in tried] or outcomes
        notes = self._notes(outcomes, failed, n_keys, bool(tried), len(scored) < len(outcomes))
        return finding(outcomes, scored, len(failed), place, self.together, trials, notes)

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Edited]:
        """Each fact edited at the given place, and measured."""
        bench, n_keys = self._bench(lab)
        place, parts = self._given(lab), []
        with lab.working(len(items), "editing facts") as done:
            for fact in items:
                parts.append(bench.kept(fact, place, n_keys))
                done()
        return parts

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Edited], target: Target, n_failed: int = 0
    ) -> FactEdit:
        """Over facts. No pass. Raises the first letter where none could be edited."""
        fit([p.unfit for p in parts])
        outcomes = [p.outcome for p in parts if p.outcome is not None]
        failed = [(fact, p.unfit.letter) for fact, p in zip(items, parts) if p.unfit is not None]
        notes = self._notes(outcomes, failed, parts[0].n_keys, False, False)
        return finding(outcomes, outcomes, len(failed) + n_failed, self._given(lab), False, (), notes)

    def _given(self, lab: Lab) -> Place:
        """The place that the parameters name."""
        return self._layers(lab)[0], "subject" if self.token == "subject" else "last"

    def _bench(self, lab: Lab) -> tuple[Bench, int]:
        """What all edits have in common, and how many tokens the keys were learnt from."""
        if "{subject}" not in self.essence:
            raise UsageError(
                f"You gave the essence {self.essence!r}.",
                "It does not say where the subject stands.",
                "Write {subject} into it, as in '{subject} is a'.",
            )
        learnt = corpus(self.corpus, self.n_held_out + self.n_corpus, self.seed, self.n_held_out + 1)
        layers = self._layers(lab)
        parts = [feed_forward(lab.model.map, i) for i in layers]
        moments, n_keys = second_moments(lab, parts, learnt[self.n_held_out :])
        bench = Bench(
            lab, self._recipe(), dict(zip(layers, zip(parts, moments))), self._prefixes(learnt[self.n_held_out :]),
            self.essence, Texts(lab, learnt[: self.n_held_out]), self.n_generated,
        )  # fmt: skip
        return bench, n_keys

    def _made(
        self, bench: Bench, facts: list[Fact], place: Place, done: Any
    ) -> tuple[list[Outcome], list[Failure]]:
        if self.together:
            return bench.together(facts, place), []

        def make(fact: Fact) -> Outcome:
            done()
            return bench.alone(fact, place)

        return each_of(facts, make)

    def _place(
        self, lab: Lab, bench: Bench, facts: list[Fact]
    ) -> tuple[Place, tuple[Grid, ...], tuple[Fact, ...]]:
        """The place to edit, how it was found, and the facts it was found on."""
        tokens: tuple[Token, ...] = ("subject", "last") if self.token == "auto" else (self.token,)
        layers = tuple(bench.parts)
        if len(tokens) * len(layers) == 1:
            return (layers[0], tokens[0]), (), ()
        order = [facts[i] for i in lab.rng("trials").permutation(len(facts))]
        worth, best, tried = self._trials(lab, bench, [(i, t) for t in tokens for i in layers], order)
        grid = np.array([[worth[i, t] for i in layers] for t in tokens])
        return best, (trial_grid(grid, tokens, layers, best),), tuple(tried)

    def _trials(
        self, lab: Lab, bench: Bench, places: list[Place], facts: list[Fact]
    ) -> tuple[dict[Place, float], Place, list[Fact]]:
        """(what each place was worth, the best, the facts tried on).

        In rounds: every place left is tried on further facts, then the worse half falls out and the number of facts doubles;
        until one is left, or half of the facts are used up.
        """
        found: dict[Place, list[float]] = {p: [] for p in places}
        left, tried, size = list(places), [], self.n_trial
        with lab.working(len(places), "trying layers and tokens") as done:
            while len(left) > 1:
                more = facts[len(tried) : len(tried) + size]
                if tried and 2 * (len(tried) + len(more)) > len(facts):
                    break
                for place in left:
                    found[place] += [bench.worth(f, place) for f in more]
                    done(not tried)
                tried, size = tried + more, 2 * size
                left = sorted(left, key=lambda p: -float(np.mean(found[p])))[: (len(left) + 1) // 2]
        return {p: float(np.mean(w)) for p, w in found.items()}, left[0], tried

    def _layers(self, lab: Lab) -> tuple[int, ...]:
        every = layers_with_units(lab.model.map)
        if self.layer is None:
            picks = np.linspace(0, len(every) - 1, min(self.n_layers, len(every))).round().astype(int)
            return tuple(every[i] for i in sorted(set(picks.tolist())))
        if self.layer not in every:
            raise UsageError(
                f"You asked to edit layer {self.layer} of {lab.model.name}.",
                f"The layers whose feed-forward part can be edited are {every[0]} to {every[-1]}.",
                "Give one of these, or none to have the layer chosen.",
            )
        return (self.layer,)

    def _recipe(self) -> Recipe:
        return Recipe(self.n_steps, self.rate, self.kl, self.decay, self.clamp, self.ridge)

    def _prefixes(self, texts: list[str]) -> tuple[str, ...]:
        """Short beginnings: the first words of texts, closed as sentences."""
        return tuple(" ".join(t.split()[:_WORDS]).rstrip(".") + ". " for t in texts[: self.n_prefixes])

    def _notes(
        self, outcomes: list[Outcome], failed: list[Failure], n_keys: int, tried: bool, apart: bool
    ) -> tuple[str, ...]:  # fmt: skip
        source = (
            f"the file {self.corpus}"
            if self.corpus
            else "the terrarium's sentences; give corpus=FILE for texts of your own"
        )
        notes = [f"Keys that occur were learnt from {n_keys:,} tokens of {source}."]
        near = np.array([(*o.kept(o.after), *o.kept(o.blind)) for o in outcomes]).sum(0)
        if near[0]:
            words = f"{near[1]} of {near[0]} neighbours stand; with no regard to other keys (C = I) {near[3]} would."
            notes.append(f"{words} Over all facts, those tried on included.")
        before, after = (float(np.nanmean(x)) if np.isfinite(x).any() else np.nan for x in (
            np.array([o.before.entropy for o in outcomes]), np.array([o.after.entropy for o in outcomes])))  # fmt: skip
        if np.isfinite(before + after):
            notes.append(
                f"N-gram entropy of what it writes after the prompt: {before:.2f} bits before, {after:.2f} after."
            )
        if tried and not apart:
            notes.append("Layer and token were chosen on the very facts that are scored.")
        if not any(o.before.heard.right.any() for o in outcomes):
            notes.append(
                "No neighbour was given that the model knows: nothing says what became of other facts."
            )
        notes += [f"{fact.prompt!r} was not edited: {letter.found}" for fact, letter in failed[:5]]
        return tuple(notes)
