"""Heads and syntax: which head points along which dependency relation, and how much of the tree does attention hold?

1. read every sentence once; attention between tokens becomes attention between words (`ops.syntax`);
2. in both directions (the dependent looks for its head; the head looks for its dependent) a head is right where the other
   word it attends to most is the other end of the arc. Arcs whose other end the query cannot see (causal models) do not count;
3. on every other sentence choose, for each relation, head and direction, and the fixed distance that is right most often there;
   judge all on the rest, so that the best of many heads is not praised for its luck;
4. the probe on attention alone, p(i | j) of the head i of word j, is fitted on the first half and finds heads in the second.

Chance is the fixed distance, control the same in a model with shuffled weights. The heads are those of the stack that reads
the text. Sentences whose words cannot all be matched with tokens are left out and counted.

Cost: 2 forwards a sentence. Reference: Clark et al. 2019, "What Does BERT Look At?", sec. 4.2 and 5.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.head_syntax import HeadSyntax
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.attention.bench import reader
from exegete.methods.attention.head_reading import Heads, heads_of
from exegete.methods.attention.head_trees import TOTAL, Choice, Corpus, corpus_of, ratio, read_sentence
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import twin_of
from exegete.models.lab import Lab
from exegete.ops.syntax import ratio_interval


class SyntaxSentence(Value):
    """Attention [head, word, word] of one sentence, which words are seen [word, word], and attention under shuffled weights (None: and
    why there is no such model). Nothing at all where its words could not be matched with tokens.
    """

    attention: np.ndarray | None = None
    seen: np.ndarray | None = None
    random: np.ndarray | None = None
    no_twin: str = ""


@register
class HeadSyntaxStudy(Divided):
    """The best head for every dependency relation, against a fixed distance, and a parser that sees attention alone."""

    id: ClassVar[str] = "head_syntax"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("E20",)
    verb: ClassVar[str] = "heads"
    asks: ClassVar[Any] = "trees"
    least: ClassVar[int] = 2
    finds: ClassVar[type] = HeadSyntax
    home: ClassVar[str] = "terrarium/encoder"
    reference: ClassVar[Reference] = Reference(
        authors="Clark et al.", year=2019, title="What Does BERT Look At? An Analysis of BERT's Attention",
        where="arXiv:1906.04341", equation="sec. 4.2, 5",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = "2 forwards a sentence"
    least_arcs: int = Field(
        10, ge=1, description="fewest arcs of a relation, in each half, for it to be judged"
    )
    n_steps: int = Field(200, ge=1, description="most steps of the fit of the probe")
    seed: int = Field(0, description="seed of the intervals and the shuffled weights")

    part: ClassVar[type[Value]] = SyntaxSentence

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[SyntaxSentence]:
        """Every sentence, read by the model and by that with shuffled weights."""
        twin, reason = twin_of(lab, self.seed)
        found = []
        for item in items:
            own = read_sentence(lab, _heads(lab), item)
            other = None if twin is None or own is None else read_sentence(twin, _heads(twin), item)
            found.append(
                SyntaxSentence(no_twin=reason)
                if own is None
                else SyntaxSentence(
                    attention=own[0], seen=own[1], random=None if other is None else other[0], no_twin=reason
                )
            )
        return found

    def merge(
        self,
        lab: Lab,
        items: tuple[Any, ...],
        parts: Sequence[SyntaxSentence],
        target: Target,
        n_failed: int = 0,
    ) -> HeadSyntax:
        """Choices on every other sentence, judged on the rest."""
        reason = next((p.no_twin for p in parts if p.no_twin), "")
        own = corpus_of(_heads(lab), items, [_sight(p.attention, p.seen) for p in parts])
        other = None if reason else corpus_of(_heads(lab), items, [_sight(p.random, p.seen) for p in parts])
        failed = len(items) - len(own.trees) + n_failed
        if len(own.trees) < 2:
            raise _letter(
                self,
                len(items) + n_failed,
                f"{failed} of them could not be read, or their words not matched with tokens.",
            )
        relations = own.common(self.least_arcs)
        if not relations:
            raise _letter(self, len(items), f"No relation has {self.least_arcs} arcs in each half of them.")
        found = Choice.of(own, relations, self.least_arcs)
        random = None if other is None else Choice.of(other, relations, self.least_arcs)
        arcs = self._arcs_score(lab, own, found, random, reason, failed)
        words, weights = self._probe(lab, own, other, reason, failed)
        span = [ratio_interval(c, lab.rng("interval", r)) for r, c in zip(relations, found.counts)]
        low, high = np.array([s or (np.nan, np.nan) for s in span]).T
        return HeadSyntax(
            title="Which heads follow syntax?",
            lede=_words(relations, found, arcs, words),
            heads=own.heads.names,
            relations=relations,
            best=found.best,
            way=found.way,
            n=tuple(int(c[:, TOTAL].sum()) for c in found.counts),
            accuracy=found.accuracy,
            low=low,
            high=high,
            distance=found.distance,
            by_distance=ratio(found.by_distance.sum(1)),
            by_random=np.full(len(relations), np.nan) if random is None else random.accuracy,
            table=own.table(relations, slice(1, None, 2)),
            probe=weights.reshape(2, -1),
            uas=words.value,
            uas_distance=words.chance if words.chance is not None else float("nan"),
            uas_random=words.control if words.control is not None else float("nan"),
            trust=Trust(scores=(arcs, words)),
        )

    def _arcs_score(
        self, lab: Lab, own: Corpus, found: Choice, random: Choice | None, reason: str, failed: int
    ) -> Score:
        """All arcs of all relations, each by the head chosen for its relation."""
        counts = found.counts.sum(0)
        return Score(
            name="arcs that the best head of their relation follows, held-out sentences",
            value=float(ratio(counts.sum(0))),
            chance=float(ratio(found.by_distance.sum((0, 1)))),
            control=None if random is None else float(ratio(random.counts.sum((0, 1)))),
            control_name="" if random is None else "the best heads of the model with shuffled weights",
            interval=ratio_interval(counts, lab.rng("interval")),
            n=len(counts),
            n_failed=failed,
            skipped=reason if random is None else "",
        )

    def _probe(
        self, lab: Lab, own: Corpus, other: Corpus | None, reason: str, failed: int
    ) -> tuple[Score, np.ndarray]:
        """The score of the probe, and its weights [2 head]."""
        weights, right = own.probed(self.n_steps)
        control = None if other is None else float(np.mean(other.probed(self.n_steps)[1]))
        sizes = np.array([sum(h >= 0 for h in t.heads) if len(t.heads) > 1 else 0 for t in own.trees[1::2]])
        each = np.array([part.sum() for part in np.split(right, np.cumsum(sizes)[:-1])])
        score = Score(
            name="words whose head the probe on attention finds (UAS), held-out sentences",
            value=float(right.mean()),
            chance=own.by_place(),
            control=control,
            control_name="" if other is None else "the probe on the model with shuffled weights",
            interval=ratio_interval(np.stack([each, sizes], -1), lab.rng("interval of the probe")),
            n=len(sizes),
            n_failed=failed,
            skipped=reason if other is None else "",
        )
        return score, weights


def _heads(lab: Lab) -> Heads:
    return heads_of(lab, [reader(lab)])


def _sight(attention: np.ndarray | None, seen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    return None if attention is None or seen is None else (attention, seen)


def _letter(study: HeadSyntaxStudy, n: int, found: str) -> InputError:
    return InputError(
        f"You asked {study.id} about {n} parsed sentences.",
        found,
        "Give more sentences, or lower least_arcs.",
    )


def _words(relations: Sequence[str], found: Choice, arcs: Score, words: Score) -> str:
    """What was found."""
    place = ratio(found.by_distance.sum(1))
    better = [r for r, a, p in zip(relations, found.accuracy, place) if a > p]
    won = "beats" if arcs.beats_chance else "does not beat"
    also = "" if arcs.beats_control is not False else " and does no better than a model with shuffled weights"
    first = (
        f"The best head of each relation follows {arcs.value:.0%} of the arcs and {won} a fixed distance ({arcs.chance:.0%}){also}; "
        f"it is above it for {len(better)} of {len(relations)} relations."
    )
    probe = "more than" if words.beats_chance else "no more than"
    twin = "" if words.control is None else f" (shuffled weights: {words.control:.0%})"
    return f"{first} A probe on attention alone finds {words.value:.0%} of the heads of words, {probe} a fixed distance{twin}."
