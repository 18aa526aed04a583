"""Parsed sentences as the heads of a model see them: arcs, which heads follow them, and what is chosen on half of them.

1. words are matched with tokens by their characters; a sentence some word of which has no token of its own is left out;
2. an arc of a relation is looked at in two ways: the dependent looks for its head (0), the head for its dependent (1);
3. even sentences are chosen on, odd ones judged.

Cost: 1 forward a sentence. Reference: Clark et al. 2019, sec. 4.1-4.2.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.material import Parsed
from exegete.core.request import Text
from exegete.core.site import Stack
from exegete.core.text import Token
from exegete.methods.attention.head_reading import Heads, watch
from exegete.methods.attention.look import shifted
from exegete.models.lab import Lab
from exegete.ops.syntax import ProbeData, best_distance, between_words, fit_probe, pointed, probe_right

LEFT_OUT = ("root", "punct")  # no arc between words of the sentence's structure
RIGHT, TOTAL = 0, 1


@dataclass(frozen=True)
class Corpus:
    """Sentences as the heads of one model see them; even ones are chosen on, odd ones judged.

    `attention` [sentence][head, word, word], `points` [sentence][head, word], `seen` [sentence][word, word].
    """

    heads: Heads
    trees: list[Parsed]
    attention: list[np.ndarray]
    points: list[np.ndarray]
    seen: list[np.ndarray]

    def arcs(self, i: int, relation: str, way: int) -> list[tuple[int, int]]:
        """(query, target) of the arcs of a relation in sentence i whose target is seen."""
        tree = self.trees[i]
        found = [
            (d, h) for d, (h, r) in enumerate(zip(tree.heads, tree.relations)) if h >= 0 and r == relation
        ]
        ends = found if way == 0 else [(h, d) for d, h in found]
        return [(q, t) for q, t in ends if self.seen[i][q, t]]

    def common(self, least: int) -> tuple[str, ...]:
        """Relations with enough arcs in each half in one direction at least, the most frequent first."""
        names = Counter(r for t in self.trees for r in t.relations if r not in LEFT_OUT)
        return tuple(r for r, _ in sorted(names.items(), key=lambda x: (-x[1], x[0])) if self.ways(r, least))

    def ways(self, relation: str, least: int) -> list[int]:
        """Directions in which a relation has enough arcs in each half."""
        enough = []
        for way in (0, 1):
            n = [len(self.arcs(i, relation, way)) for i in range(len(self.trees))]
            if min(sum(n[::2]), sum(n[1::2])) >= least:
                enough.append(way)
        return enough

    def right(self, part: slice, relation: str, way: int) -> tuple[np.ndarray, np.ndarray]:
        """Arcs that each head follows [sentence, head], and arcs [sentence]."""
        rows, totals = [], []
        for i in range(len(self.trees))[part]:
            arcs = self.arcs(i, relation, way)
            hits = [self.points[i][:, q] == t for q, t in arcs]
            rows.append(np.sum(hits, axis=0) if hits else np.zeros(len(self.heads), int))
            totals.append(len(arcs))
        return np.array(rows), np.array(totals)

    def table(self, relations: Sequence[str], part: slice) -> np.ndarray:
        """Accuracy of every head [way, relation, head]; NaN without arcs."""
        found = np.full((2, len(relations), len(self.heads)), np.nan)
        for way in (0, 1):
            for k, r in enumerate(relations):
                right, total = self.right(part, r, way)
                if total.sum():
                    found[way, k] = right.sum(0) / total.sum()
        return found

    def probed(self, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the probe, and whether it finds the head of each word of the held-out sentences."""
        learn, judge = (
            ProbeData.of(self.attention[start::2], [t.heads for t in self.trees[start::2]])
            for start in (0, 1)
        )
        weights = fit_probe(learn, n_steps)
        return weights, probe_right(weights, judge)

    def by_place(self) -> float:
        """Share of words whose head stands at the fixed distance that is most frequent in the other half."""
        each = [[h - d for d, h in enumerate(t.heads) if h >= 0] for t in self.trees]
        learn, judge = (np.array([x for e in each[start::2] for x in e]) for start in (0, 1))
        return float((judge == best_distance(learn)).mean()) if len(learn) and len(judge) else float("nan")


@dataclass(frozen=True)
class Choice:
    """What was chosen for each relation on even sentences, and how it does on odd ones.

    `counts` and `by_distance` [relation, sentence, 2] hold arcs that are right, and arcs.
    """

    best: tuple[int, ...]
    way: tuple[int, ...]
    distance: tuple[int, ...]
    counts: np.ndarray
    by_distance: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """Of the chosen heads [relation]."""
        return ratio(self.counts.sum(1))

    @classmethod
    def of(cls, corpus: Corpus, relations: Sequence[str], least: int) -> "Choice":
        """Choose and judge."""
        table = corpus.table(relations, slice(0, None, 2))
        best, way, distance, counts, places = [], [], [], [], []
        for k, r in enumerate(relations):
            ways = corpus.ways(r, least)
            w = max(ways, key=lambda x: float(table[x, k].max()))
            head = int(table[w, k].argmax())
            right, total = corpus.right(slice(1, None, 2), r, w)
            far = [[t - q for q, t in corpus.arcs(i, r, w)] for i in range(len(corpus.trees))]
            d = best_distance(np.array([x for f in far[::2] for x in f]))
            best.append(head)
            way.append(w)
            distance.append(d)
            counts.append(np.stack([right[:, head], total], -1))
            places.append(np.array([[sum(x == d for x in f), len(f)] for f in far[1::2]]))
        return cls(tuple(best), tuple(way), tuple(distance), np.array(counts), np.array(places))


def corpus_of(
    heads: Heads, items: Sequence[Parsed], found: Sequence[tuple[np.ndarray, np.ndarray] | None]
) -> Corpus:
    """The sentences whose words have tokens, from what `read_sentence` gave for each."""
    kept = [(p, *s) for p, s in zip(items, found, strict=True) if s is not None]
    return Corpus(
        heads,
        [p for p, _, _ in kept],
        [a for _, a, _ in kept],
        [pointed(a, s) for _, a, s in kept],
        [s for _, _, s in kept],
    )


def read_sentence(lab: Lab, heads: Heads, parsed: Parsed) -> tuple[np.ndarray, np.ndarray] | None:
    """Attention of the words [head, word, word] and which words are seen [word, word]; None where words have no tokens."""
    reading = lab.read([Text(text=parsed.text)])
    groups = word_tokens(parsed, reading.encoded[0].tokens)
    if groups is None:
        return None
    n = len(groups)
    found, seen = np.zeros((len(heads), n, n), np.float32), np.zeros((n, n), bool)

    def take(stack: Stack, layer: int, pattern: np.ndarray, visible: np.ndarray) -> None:
        found[heads.slice(stack, layer)] = between_words(pattern[0], groups)
        seen[:] |= between_words(visible[0, :1].astype(float), groups)[0] > 0

    watch(lab, heads, {**lab.passed(reading), **shifted(lab, reading.inputs["input_ids"])}, take)
    return found, seen


def word_tokens(parsed: Parsed, tokens: Sequence[Token]) -> list[list[int]] | None:
    """Positions of the tokens of each word; None where a word has none of its own."""
    ends = np.cumsum([len(w) + 1 for w in parsed.words]) - 1  # the blank after each word
    groups: list[list[int]] = [[] for _ in parsed.words]
    for i, t in enumerate(tokens):
        if not t.special and t.start >= 0 and t.end > t.start:
            groups[min(int(np.searchsorted(ends, t.end - 1, side="left")), len(groups) - 1)].append(i)
    return groups if all(groups) else None


def ratio(counts: np.ndarray) -> np.ndarray:
    """Share of right ones, from counts [..., (right, total)]."""
    return np.asarray(counts[..., RIGHT] / np.maximum(counts[..., TOTAL], 1))
