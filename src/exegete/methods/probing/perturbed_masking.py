"""Perturbed masking: are the words that matter most to each other joined in the tree? No probe is trained.

1. between the words of a sentence the impact F_ij of word j on word i is read (`impact`), after every layer;
2. a word's row is divided by its sum; the best tree over these shares (word i hangs on the word j that matters to it) is found by
   Eisner's or by Chu-Liu-Edmonds' algorithm, the root included: it is the word that loses least by having no head;
3. UUAS (edges, whichever way they point) and UAS (heads) are counted over words but punctuation; the layer is chosen on every
   other sentence and judged on the rest;
4. the same on the model with randomised weights.

Chance is the chain of neighbours for UUAS, and for UAS the better of the two chains (every word on the one before, or after).
The published figures give the decoder the right root; here nothing is given.

Cost: 2 * n (n + 1) / 2 forwards a sentence of n words (two models). Reference: Wu et al. 2020, "Perturbed Masking:
Parameter-free Probing for Analyzing and Interpreting BERT", sec. 2-3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.figure import Arc, Arcs
from exegete.core.material import Parsed
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.tree_by_layer import TreeByLayer
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import TWIN, twin_of
from exegete.methods.probing.impact import Impact, Metric
from exegete.methods.probing.tree_table import FEWEST_WORDS, counting
from exegete.models.harvest import layer_sites
from exegete.models.lab import Lab
from exegete.ops.decode import chu_liu_edmonds, eisner
from exegete.ops.syntax import ratio_interval
from exegete.ops.trees import chain, edges_right, gold_edges, left_branching, right_branching

UUAS, UAS = MEASURES = ("UUAS", "UAS")
TOTALS = (1, 3)  # columns of counts: edges right, edges, heads right, words


class MaskedTree(Value):
    """Heads [word] of the words of one sentence that count, after every layer, from the model and from its randomised `twin` (none: `why`);
    nothing of a sentence that is left out, or whose words cannot be matched with tokens.
    """

    own: tuple[np.ndarray, ...] = ()
    twin: tuple[np.ndarray, ...] = ()
    why: str = ""


@register
class PerturbedMasking(Divided):
    """Trees from how much masking one word changes what a masked model makes of another, with no probe."""

    id: ClassVar[str] = "perturbed_masking"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("A5",)
    verb: ClassVar[str] = "probe"
    asks: ClassVar[Any] = "trees"
    least: ClassVar[int] = 2
    usual: ClassVar[int | None] = 60
    finds: ClassVar[type] = TreeByLayer
    part: ClassVar[type[Value]] = MaskedTree
    home: ClassVar[str] = "terrarium/encoder"
    tasks: ClassVar[tuple[str, ...]] = ("masked",)
    reference: ClassVar[Reference] = Reference(
        authors="Wu et al.", year=2020,
        title="Perturbed Masking: Parameter-free Probing for Analyzing and Interpreting BERT",
        where="ACL, 2020.acl-main.383", equation="sec. 2-3",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "logprobs")
    passes: ClassVar[str] = "n (n + 1) forwards a sentence of n words"
    metric: Metric = Field("distance", description="distance of vectors, or probability of the masked word")
    decoder: Literal["eisner", "chu_liu_edmonds"] = Field(
        "eisner", description="trees without crossing arcs, or any"
    )
    most_words: int = Field(30, ge=3, le=1000, description="longer sentences are left out")
    seed: int = Field(0, description="seed of the randomised weights and the intervals")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[MaskedTree]:
        """The trees of every sentence that is neither too short nor too long."""
        sites = self._sites(lab)
        twin, why = twin_of(lab)
        own = self._trees(Impact(lab, sites, self.metric), items, "masking pairs of words")
        plain = [()] * len(items)
        if twin is not None:
            plain = self._trees(Impact(twin, sites, self.metric), items, "masking, with randomised weights")
        return [MaskedTree(own=a, twin=b, why=why) for a, b in zip(own, plain)]

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[MaskedTree], target: Target, n_failed: int = 0
    ) -> TreeByLayer:  # fmt: skip
        """Over parsed sentences. Raises `InputError` where too few can be used."""
        usable = [t for t in items if self._usable(t)]
        if len(usable) < self.least:
            raise _few(len(items), f"{len(usable)} of them have {FEWEST_WORDS} to {self.most_words} words.")
        names = tuple(f"layer {s.layer}" for s in self._sites(lab)) or ("output",)
        read = [(t, p) for t, p in zip(items, parts) if p.own]
        trees = tuple(t for t, _ in read)
        own, reason = _Found(trees, tuple(p.own for _, p in read)), parts[0].why
        plain = _Found(trees, tuple(p.twin for _, p in read)) if any(p.twin for p in parts) else None
        if len(own.trees) < self.least:
            raise _few(len(items), f"The words of {len(own.trees)} of them could be matched with tokens.")
        guess = _guess(own)
        scores = tuple(
            _score(lab, m, own, plain, guess[m], reason, len(usable) - len(own.trees)) for m in MEASURES
        )
        at = own.best(UUAS)
        found = TreeByLayer(
            title="Are the words that matter most to each other joined in the tree?",
            lede=_words(scores, names[at]),
            layers=names,
            measures=MEASURES,
            values=own.values(),
            intervals=np.array([[_interval(lab, m, c) or (np.nan, np.nan) for c in own.judged] for m in MEASURES]),
            controls=(TWIN,),
            by_control=np.stack([np.full((2, len(names)), np.nan) if plain is None else plain.values()]),
            chance=np.array([guess[m] for m in MEASURES]),
            chance_name="a chain of neighbours",
            best=tuple(own.best(m) for m in MEASURES),
            seeds=np.array([own.value(UUAS, own.judged[at])]),
            probe="trees from impact",
            sentences=_examples(own, at),
            trust=Trust(scores=scores, seed=self.seed, notes=self._notes(len(items) - len(usable))),
        )  # fmt: skip
        return with_failed(found, n_failed)

    def _usable(self, tree: Parsed) -> bool:
        return bool(FEWEST_WORDS <= counting(tree).sum() <= self.most_words)

    def _sites(self, lab: Lab) -> tuple[Site, ...]:
        return () if self.metric == "probability" else layer_sites(lab.model, first=False)

    def _notes(self, out: int) -> tuple[str, ...]:
        words = f"{FEWEST_WORDS} to {self.most_words} words that count (most_words)"
        return (f"{out} sentences that do not have {words} were left out.",) if out else ()

    def _trees(self, impact: Impact, items: Sequence[Parsed], words: str) -> list[tuple[np.ndarray, ...]]:
        """The trees of every sentence after every layer; none of one that is not usable."""
        heads: list[tuple[np.ndarray, ...]] = []
        with impact.lab.working(len(items), words) as done:
            for tree in items:
                f = impact.of(tree, counting(tree)) if self._usable(tree) else None
                heads.append(() if f is None else tuple(self._decoded(layer) for layer in f))
                done()
        return heads

    def _decoded(self, f: np.ndarray) -> np.ndarray:
        """Heads [word] from impact [word, other]."""
        f = np.maximum(f, 0.0) * (1 - np.eye(len(f)))
        arcs = (f / np.maximum(f.sum(1, keepdims=True), 1e-12)).T
        return eisner(arcs) if self.decoder == "eisner" else chu_liu_edmonds(arcs)


@dataclass(frozen=True)
class _Found:
    """Sentences, and the heads of their words that count after every layer [sentence][layer]."""

    trees: tuple[Parsed, ...]
    heads: tuple[tuple[np.ndarray, ...], ...]

    def counted(self, members: Sequence[int], layer: int) -> np.ndarray:
        """Counts [sentence, (edges right, edges, heads right, words)]."""
        return np.array([_right(self.trees[i], self.heads[i][layer]) for i in members])

    @property
    def members(self) -> tuple[range, range]:
        """Sentences that the layer is chosen on, and those that are judged."""
        return range(0, len(self.trees), 2), range(1, len(self.trees), 2)

    @property
    def judged(self) -> list[np.ndarray]:
        """Counts of the judged sentences by layer."""
        return [self.counted(self.members[1], k) for k in range(len(self.heads[0]))]

    @staticmethod
    def value(measure: str, counts: np.ndarray) -> float:
        """UUAS or UAS of counts."""
        total = TOTALS[MEASURES.index(measure)]
        return float(counts[:, total - 1].sum() / max(counts[:, total].sum(), 1))

    def best(self, measure: str) -> int:
        """The layer that is best on the sentences to choose on."""
        return int(np.argmax([self.value(measure, self.counted(self.members[0], k)) for k in range(len(self.heads[0]))]))  # fmt: skip

    def values(self) -> np.ndarray:
        """[measure, layer]"""
        return np.array([[self.value(m, c) for c in self.judged] for m in MEASURES])


def _right(tree: Parsed, heads: np.ndarray) -> tuple[int, int, int, int]:
    """How many edges and heads of the words that count are right."""
    counts = counting(tree)
    kept = np.flatnonzero(counts)
    whole = np.where(heads < 0, -1, kept[heads])
    edges = np.array([sorted((w, h)) for w, h in zip(kept, whole) if h >= 0], dtype=np.int64).reshape(-1, 2)
    right, total = edges_right(edges, gold_edges(tree.heads, counts))
    return right, total, int((np.array(tree.heads)[kept] == whole).sum()), len(kept)


def _guess(found: _Found) -> dict[str, float]:
    """What chains of neighbours score on the judged sentences."""
    trees = [found.trees[i] for i in found.members[1]]
    made = [np.array([_right(t, chained(int(counting(t).sum()))) for t in trees]) for chained in (right_branching, left_branching)]  # fmt: skip
    edges = [edges_right(chain(counting(t)), gold_edges(t.heads, counting(t))) for t in trees]
    uuas = sum(a for a, _ in edges) / max(sum(b for _, b in edges), 1)
    return {UUAS: uuas, UAS: max(_Found.value(UAS, c) for c in made)}


def _interval(lab: Lab, measure: str, counts: np.ndarray) -> tuple[float, float] | None:
    total = TOTALS[MEASURES.index(measure)]
    return ratio_interval(counts[:, [total - 1, total]], lab.rng("interval", measure))


def _score(lab: Lab, measure: str, own: _Found, plain: _Found | None, chance: float, reason: str, failed: int) -> Score:  # fmt: skip
    counts = own.judged[own.best(measure)]
    return Score(
        name=f"{measure} without a probe, on sentences the layer was not chosen on",
        value=own.value(measure, counts),
        chance=chance,
        control=None if plain is None else plain.value(measure, plain.judged[plain.best(measure)]),
        control_name="" if plain is None else TWIN,
        interval=_interval(lab, measure, counts),
        n=len(counts),
        n_failed=failed,
        skipped=reason if plain is None else "",
    )


def _examples(found: _Found, layer: int, n: int = 3) -> tuple[Arcs, ...]:
    """Judged sentences: one of middling score, the best, the worst."""
    members = list(found.members[1])
    counts = found.counted(members, layer)
    order = np.argsort(counts[:, 0] / np.maximum(counts[:, 1], 1), kind="stable")
    chosen = list(dict.fromkeys([int(order[len(order) // 2]), int(order[-1]), int(order[0])]))[:n]
    drawn = []
    for name, k in zip(("A middling sentence", "The best", "The worst"), chosen):
        tree, heads = found.trees[members[k]], found.heads[members[k]][layer]
        kept = np.flatnonzero(counting(tree))
        gold = [Arc(head=h, word=int(w)) for w, h in enumerate(tree.heads) if h >= 0 and w in kept]
        drawn.append(
            Arcs(
                title=f"{name}: {counts[k, 0]} of {counts[k, 1]} edges found",
                caption="Above the words the tree, below that of impact; an edge is right whichever way it points.",
                words=tree.words,
                gold=tuple(gold),
                predicted=tuple(Arc(head=int(kept[h]), word=int(w)) for w, h in zip(kept, heads) if h >= 0),
                directed=False,
                left_out=tuple(int(i) for i in range(len(tree.words)) if i not in kept),
            )
        )
    return tuple(drawn)


def _few(n: int, found: str) -> InputError:
    return InputError(
        f"You asked for perturbed masking of {n} parsed sentences.", found, "Give more sentences."
    )


def _words(scores: Sequence[Score], where: str) -> str:
    edges, heads = scores
    twin = "" if edges.control is None else f", randomised weights {edges.control:.0%}"
    told = (
        f"At {where}, trees of mutual impact hold {edges.value:.0%} of the edges of the sentence's tree (heads: {heads.value:.0%}); joining "
        f"neighbours gives {edges.chance:.0%}{twin}."
    )
    if edges.beats_chance and edges.beats_control is not False:
        return told
    lost = [n for n, won in (("neighbours", edges.beats_chance), ("randomised weights", edges.beats_control)) if won is False]  # fmt: skip
    return f"{told} It does not beat {' and '.join(lost)}: syntax is not shown to be what matters."
