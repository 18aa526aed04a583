"""Dependency probe: can heads and relations be read off the words of a layer, by bilinear scores and the best tree?

1. read every sentence once; a word is the mean of its tokens (`tree_table`);
2. at every layer train a biaffine probe (`ops.biaffine`) on training sentences, stopped on development sentences; its scores make
   a tree by Chu-Liu-Edmonds, and every arc gets its best relation (subtypes left off);
3. UAS is the share of words whose head is right, LAS of those whose head and relation are; punctuation does not count. The layer
   is chosen on development sentences, for the probe and for each control (which counts at the layer of the probe if it is
   better there); test sentences are judged;
4. the same at the embeddings (words without their sentence), on the model with randomised weights, and for a *control task* at every layer: each word type hangs, by a rule drawn once
   for the type, on the first word, on the last, or on none. A probe that can only remember does well there; what the words say
   about syntax is what is above it (selectivity).

Chance is the best of three that see no vectors: every word on the one before, on the one after, or at the distance (with the
relation) that its part of speech has most often in training sentences.

Cost: 2 forwards a sentence, then no pass. Reference: Dozat & Manning 2017; Hewitt & Liang 2019, "Designing and Interpreting Probes
with Control Tasks"; Tenney et al. 2019.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.figure import Arc, Arcs
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.tree_by_layer import TreeByLayer
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.twins import TWIN
from exegete.methods.probing.tree_profile import Held, stronger
from exegete.methods.probing.tree_study import TreeStudy
from exegete.methods.probing.tree_table import Parts, TreeTable, layer_name
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.biaffine import Biaffine, fit
from exegete.ops.decode import chu_liu_edmonds
from exegete.ops.syntax import ratio_interval
from exegete.ops.tree_probe import Training
from exegete.ops.trees import left_branching, right_branching

UAS, LAS = MEASURES = ("UAS", "LAS")
WORDS = "the embeddings of the words alone"
CONTROL = "the control task (a random rule for each word type)"
Tree = tuple[np.ndarray, np.ndarray]  # heads and labels [word]


@register
class DependencyProbe(TreeStudy):
    """Heads and relations of words read off every layer by a biaffine probe: UAS, LAS and selectivity."""

    id: ClassVar[str] = "dependency_probe"
    techniques: ClassVar[tuple[str, ...]] = ("E6",)
    reference: ClassVar[Reference] = Reference(
        authors="Dozat and Manning", year=2017, title="Deep Biaffine Attention for Neural Dependency Parsing",
        where="arXiv:1611.01734", equation="eq. 4-6",
    )  # fmt: skip
    n_steps: int = Field(1000, ge=1, le=1_000_000, description="most training steps of a probe")
    rate: float = Field(3e-3, gt=0, le=10, description="first learning rate")

    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> TreeByLayer:
        """Over parsed sentences."""
        read = self.read(lab, items, tables)
        sites, table, parts, how = read.sites, read.table, read.parts, read.how
        gold, names = _gold(table)
        rule = _rule(table, lab.rng("control task"))
        own = Parsing.of(lab, table, parts, gold, how, "training probes")
        control = Parsing.of(lab, table, parts, rule, how, "training on the control task", tree=False)
        plain = None
        if read.other is not None:
            plain = Parsing.of(lab, read.other, parts, gold, how, "probes of randomised weights")
        guess = {m: _guess(table, parts, gold, m) for m in MEASURES}
        scores = _scores(lab, own, plain, control, guess, read.reason, table.n_failed)
        at = own.best(UAS)
        nothing = np.full(len(sites), np.nan)
        by_control = [
            np.full((2, len(sites)), np.nan) if plain is None else plain.values(),
            np.stack([control.values()[0], nothing]),
        ]
        return TreeByLayer(
            title="Can heads and relations be read off the words?",
            lede=_words(scores, own.value(LAS, own.test[at]), layer_name(sites[at]), *("" if p is None else layer_name(sites[p.held(UAS, at)[1]]) for p in (plain, control))),
            layers=tuple(layer_name(s) for s in sites),
            measures=MEASURES,
            values=own.values(),
            intervals=own.intervals(lab),
            controls=(TWIN, CONTROL),
            by_control=np.stack(by_control),
            chance=np.array([guess[m] for m in MEASURES]),
            chance_name="place or part of speech alone",
            best=tuple(own.best(m) for m in MEASURES),
            seeds=np.array([own.value(UAS, own.test[at])]),
            probe="the probe",
            sentences=_examples(table, parts[2], own, at, names),
            trust=Trust(scores=scores, seed=self.seed, notes=read.notes),
        )  # fmt: skip


def _gold(table: TreeTable) -> tuple[list[Tree], tuple[str, ...]]:
    """Heads and labels of every sentence, and the labels' names."""
    bare = [[r.split(":")[0] for r in t.relations] for t in table.trees]
    names = tuple(sorted({r for some, t in zip(bare, table.trees) for r, h in zip(some, t.heads) if h >= 0}))
    at = {name: i for i, name in enumerate(names)}
    return [
        (
            np.array(t.heads),
            np.array([at[r] if h >= 0 else -1 for r, h in zip(some, t.heads)], dtype=np.int64),
        )
        for some, t in zip(bare, table.trees)
    ], names


def _rule(table: TreeTable, rng: np.random.Generator) -> list[Tree]:
    """The control task: heads by word type, 0 none, 1 the first word, 2 the last; where that is the word itself, none."""
    types = sorted({w.lower() for t in table.trees for w in t.words})
    drawn = dict(zip(types, rng.integers(0, 3, len(types))))
    found = []
    for t in table.trees:
        n = len(t.words)
        heads = np.array([(-1, 0, n - 1)[drawn[w.lower()]] for w in t.words])
        heads = np.where(heads == np.arange(n), -1, heads)
        found.append((heads, np.full(n, -1)))
    return found


@dataclass(frozen=True)
class Parsing:
    """What probes of every layer predict of development and test sentences: counts [sentence, (heads right, both right, words)]."""

    dev: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]
    trees: tuple[list[Tree], ...]

    @classmethod
    def of(
        cls, lab: Lab, table: TreeTable, parts: Parts, gold: Sequence[Tree], how: Training, words: str, tree: bool = True
    ) -> "Parsing":  # fmt: skip
        """Fit and parse at every layer; without `tree`, each word takes its best head."""
        heads, labels = [h for h, _ in gold], [v for _, v in gold]
        dev, test, trees = [], [], []
        with lab.working(len(table.values), words) as done:
            for i, x in enumerate(table.values.values()):
                probe = fit(x, heads, labels, parts[0], parts[1], how, lab.rng("start", i))
                seen = [[_parsed(probe, x[k], tree) for k in part] for part in parts[1:]]
                counted = [np.array([_right(s, gold[k], table.gold.counts[k]) for s, k in zip(some, part)]) for some, part in zip(seen, parts[1:])]  # fmt: skip
                dev.append(counted[0])
                test.append(counted[1])
                trees.append(seen[1])
                done()
        return cls(tuple(dev), tuple(test), tuple(trees))

    @staticmethod
    def value(measure: str, counts: np.ndarray) -> float:
        """UAS or LAS of counts."""
        return float(counts[:, MEASURES.index(measure)].sum() / max(counts[:, 2].sum(), 1))

    def best(self, measure: str) -> int:
        """The layer that is best on development sentences."""
        return int(np.argmax([self.value(measure, c) for c in self.dev]))

    def chosen(self, measure: str) -> np.ndarray:
        """Counts of that layer on test sentences."""
        return self.test[self.best(measure)]

    def held(self, measure: str, at: int) -> Held:
        """As a control of a probe at layer `at`: what is read of test sentences, and where."""
        return stronger([self.value(measure, c) for c in self.test], self.best(measure), at)

    def values(self) -> np.ndarray:
        """[measure, layer]"""
        return np.array([[self.value(m, c) for c in self.test] for m in MEASURES])

    def intervals(self, lab: Lab) -> np.ndarray:
        """[measure, layer, 2]"""
        return np.array([[_interval(lab, m, c) or (np.nan, np.nan) for c in self.test] for m in MEASURES])


def _interval(lab: Lab, measure: str, counts: np.ndarray) -> tuple[float, float] | None:
    return ratio_interval(counts[:, [MEASURES.index(measure), 2]], lab.rng("interval", measure))


def _parsed(probe: Biaffine, x: np.ndarray, tree: bool) -> Tree:
    arcs, root = probe.arcs(x)
    heads = chu_liu_edmonds(arcs, root) if tree else np.vstack([root, arcs]).argmax(0) - 1
    return heads, probe.labels(x, heads)


def _right(found: Tree, gold: Tree, counts: np.ndarray) -> tuple[int, int, int]:
    head = (found[0] == gold[0]) & counts
    return int(head.sum()), int((head & (found[1] == gold[1])).sum()), int(counts.sum())


def _guess(table: TreeTable, parts: Parts, gold: Sequence[Tree], measure: str) -> float:
    """The best of what can be said without vectors, on test sentences."""
    train = parts[0].tolist()
    usual: Counter[int] = Counter(int(v) for k in train for v in gold[k][1] if v >= 0)
    label = usual.most_common(1)[0][0]
    by_tag: dict[str, Counter[tuple[int, int]]] = defaultdict(Counter)
    for k in train:
        for i, (head, name) in enumerate(zip(*gold[k])):
            by_tag[_tag(table, k, i)][(int(head) - i if head >= 0 else 0, int(name))] += 1
    said = {tag: c.most_common(1)[0][0] for tag, c in by_tag.items()}

    def tagged(k: int) -> Tree:
        found = [said.get(_tag(table, k, i), (-1, label)) for i in range(len(gold[k][0]))]
        heads = np.array([i + step if step else -1 for i, (step, _) in enumerate(found)])
        return heads, np.array([name for _, name in found])

    def chained(make: Callable[[int], np.ndarray]) -> Callable[[int], Tree]:
        return lambda k: (heads := make(len(gold[k][0])), np.where(heads < 0, -1, label))

    guesses = (tagged, chained(right_branching), chained(left_branching))
    counted = [
        np.array([_right(g(k), gold[k], table.gold.counts[k]) for k in parts[2].tolist()]) for g in guesses
    ]
    return max(Parsing.value(measure, c) for c in counted)


def _tag(table: TreeTable, k: int, i: int) -> str:
    tags = table.trees[k].tags
    return tags[i] if tags else ""


def _scores(
    lab: Lab, own: Parsing, plain: Parsing | None, control: Parsing, guess: dict[str, float], reason: str, failed: int
) -> tuple[Score, ...]:  # fmt: skip
    def score(measure: str, bar: float | None, name: str, words: str = "") -> Score:
        counts = own.chosen(measure)
        return Score(
            name=f"{measure}{words} on held-out sentences",
            value=own.value(measure, counts),
            chance=guess[measure],
            control=bar,
            control_name=name if bar is not None else "",
            interval=_interval(lab, measure, counts),
            n=len(counts),
            n_failed=failed,
            skipped="" if bar is not None else reason,
        )

    bars = {m: None if plain is None else plain.held(m, own.best(m))[0] for m in MEASURES}
    task = control.held(UAS, own.best(UAS))[0]
    alone = own.value(
        UAS, own.test[0]
    )  # where the embeddings are chosen themselves, they are no control of it
    return (
        score(UAS, bars[UAS], TWIN),
        score(UAS, task, CONTROL, " beyond memory"),
        score(LAS, bars[LAS], TWIN),
        *([score(UAS, alone, WORDS, " beyond words")] if own.best(UAS) else []),
    )


def _examples(table: TreeTable, members: np.ndarray, own: Parsing, at: int, names: tuple[str, ...], n: int = 3) -> tuple[Arcs, ...]:  # fmt: skip
    """Sentences of readable length: one of middling score, the best, the worst."""
    counts, sizes = own.test[at], np.array([len(table.trees[i].words) for i in members])
    fits = np.flatnonzero((sizes >= 6) & (sizes <= 16))
    fits = fits if len(fits) else np.arange(len(members))
    order = fits[np.argsort(counts[fits, 0] / np.maximum(counts[fits, 2], 1), kind="stable")]
    chosen = list(dict.fromkeys([order[len(order) // 2], order[-1], order[0]]))[:n]
    found = []
    for name, k in zip(("A middling sentence", "The best", "The worst"), chosen):
        i = int(members[k])
        tree, (heads, labels), keep = table.trees[i], own.trees[at][k], table.gold.counts[i]
        gold = [Arc(head=h, word=w, label=tree.relations[w].split(":")[0]) for w, h in enumerate(tree.heads) if h >= 0 and keep[w]]  # fmt: skip
        seen = [Arc(head=int(h), word=w, label=names[v]) for w, (h, v) in enumerate(zip(heads, labels)) if h >= 0 and keep[w]]  # fmt: skip
        found.append(
            Arcs(
                title=f"{name}: {counts[k, 0]} of {counts[k, 2]} heads found",
                caption="Above the words the tree, below the one predicted; arrows lead from the head to the word.",
                words=tree.words,
                gold=tuple(gold),
                predicted=tuple(seen),
                left_out=tuple(int(j) for j in np.flatnonzero(~keep)),
            )
        )
    return tuple(found)


def _words(scores: Sequence[Score], las: float, layer: str, plain: str, control: str) -> str:
    """`las` at the `layer` of the probe; the layers of the one on randomised weights and of the one of the control task."""
    first, task, _, *more = scores
    twin = (
        ""
        if first.control is None
        else f", the same probe on randomised weights {first.control:.0%} (at {plain})"
    )
    told = (
        f"At {layer} the probe finds the heads of {first.value:.0%} of the words (with their relation {las:.0%}); place or part of "
        f"speech alone finds {first.chance:.0%}{twin}. On a task that can only be remembered it reaches {task.control:.0%} (at {control})."
    )
    told += f" Words alone, without their sentence, give {more[0].control:.0%}." if more else ""
    if not first.beats_chance or first.beats_control is False:
        return f"{told} It does not beat these controls: syntax is not shown to be there."
    if not task.beats_control:
        return f"{told} So it may be memory rather than syntax."
    if not more:
        return f"{told} That is the words alone, without their sentence: no layer is better."
    return told if more[0].beats_control else f"{told} The layers do not add to that."
