"""Building sentences as trees: a node owns its dependents, and reading order follows from their order.

A node keeps its dependents before and after itself, so every tree that can be built is a tree, projective,
and has one root. `finish` reads the nodes off from left to right, numbers them, chooses between *a* and
*an*, and turns references between nodes into indices.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from exegete.terrarium.gold import Contrast, Evidence, Sentence, Word
from exegete.terrarium.inflect import VOWELS

_SOUNDS_LIKE_YOU = ("uni", "use", "eu", "one", "once")
_SILENT_H = ("hour", "honest")


@dataclass(eq=False)
class Node:
    """A word under construction with its dependents on either side."""

    text: str
    upos: str
    rel: str = "root"
    feats: str = ""
    before: list["Node"] = field(default_factory=list)
    after: list["Node"] = field(default_factory=list)
    glued: bool = False

    def add(self, *nodes: "Node") -> "Node":
        """Hang nodes after this one, outermost last; returns itself."""
        self.after.extend(nodes)
        return self

    def lead(self, *nodes: "Node") -> "Node":
        """Hang nodes before everything this one already has; returns itself."""
        self.before[:0] = nodes
        return self

    def as_(self, rel: str) -> "Node":
        """The same node under another relation."""
        self.rel = rel
        return self

    def read(self) -> Iterator["Node"]:
        """The nodes of this subtree in reading order."""
        for node in self.before:
            yield from node.read()
        yield self
        for node in self.after:
            yield from node.read()


@dataclass(eq=False)
class Hint:
    """Evidence under construction: nodes instead of indices."""

    word: Node
    sign: int
    negation: Node | None = None
    degree: Node | None = None
    factor: float = 1.0


@dataclass(eq=False)
class Clause:
    """A subtree with the evidence found in it."""

    root: Node
    hints: list[Hint] = field(default_factory=list)
    kind: str = ""

    @property
    def score(self) -> float:
        """The clause's own signed strength."""
        return sum(h.sign * (-1 / h.factor if h.negation else h.factor) for h in self.hints)


@dataclass(eq=False)
class Draft:
    """A whole text under construction: clauses joined into one tree, and perhaps a contrast."""

    root: Node
    clauses: list[Clause]
    marker: Node | None = None
    strong: tuple[int, ...] = ()
    topic: str | None = None
    trigger: Node | None = None


def finish(draft: Draft) -> Sentence:
    """Freeze a draft into a sentence with indices."""
    nodes = list(draft.root.read())
    place = {id(node): i for i, node in enumerate(nodes)}
    heads = {id(child): place[id(node)] for node in nodes for child in (*node.before, *node.after)}
    words = tuple(
        Word(_article(nodes, i), n.upos, heads.get(id(n), -1), n.rel, n.feats, n.glued)
        for i, n in enumerate(nodes)
    )
    evidence = tuple(
        _place(hint, c, place) for c, clause in enumerate(draft.clauses) for hint in clause.hints
    )
    contrast = None if draft.marker is None else Contrast(place[id(draft.marker)], draft.strong)
    kind = "+".join(clause.kind for clause in draft.clauses)
    trigger = None if draft.trigger is None else place[id(draft.trigger)]
    return Sentence(words, evidence, contrast, draft.topic, kind, trigger)


def _place(hint: Hint, clause: int, place: dict[int, int]) -> Evidence:
    negation = None if hint.negation is None else place[id(hint.negation)]
    degree = None if hint.degree is None else place[id(hint.degree)]
    return Evidence(place[id(hint.word)], hint.sign, clause, negation, degree, hint.factor)


def _article(nodes: list[Node], index: int) -> str:
    node = nodes[index]
    if node.text != "a" or index + 1 == len(nodes):
        return node.text
    after = nodes[index + 1].text
    vowel = after.startswith(_SILENT_H) or (after[0] in VOWELS and not after.startswith(_SOUNDS_LIKE_YOU))
    return "an" if vowel else "a"
