"""What is known about a sentence of the terrarium, as frozen values.

The sentiment of a sentence is a *function*, not only a label, so it can be asked again after words are
removed. That makes it a set function over words with a known value for every subset:

    value(evidence) = sign * degree, or -sign / degree under a kept negation word   0 if the word is removed
    score(clause)   = sum of its evidence
    score(sentence) = score(strong clauses) if a kept contrast word splits the sentence and that is not 0,
                      else the sum over all clauses
    label           = sign(score): negative, neutral (0), positive

Words are indexed from 0 in reading order; the root's head is -1 (in Universal Dependencies files: index
plus one, root 0). Standard library only.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

LABELS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class Word:
    """One word: its form, UD part of speech, head index (-1 for the root), relation and features."""

    text: str
    upos: str
    head: int
    deprel: str
    feats: str = ""
    glued: bool = False

    def feat(self, name: str) -> str | None:
        """The value of one feature, `word.feat("Number") == "Plur"`, or None."""
        pairs = dict(part.split("=", 1) for part in self.feats.split("|") if part)
        return pairs.get(name)


@dataclass(frozen=True)
class Evidence:
    """A word that carries polarity, with the words that turn or scale it (indices into the sentence)."""

    word: int
    sign: int
    clause: int
    negation: int | None = None
    degree: int | None = None
    factor: float = 1.0

    def value(self, removed: Collection[int]) -> float:
        """What this word contributes when the words in `removed` are gone."""
        if self.word in removed:
            return 0.0
        negated = self.negation is not None and self.negation not in removed
        scaled = self.degree is not None and self.degree not in removed
        factor = self.factor if scaled else 1.0
        return self.sign * (-1 / factor if negated else factor)


@dataclass(frozen=True)
class Contrast:
    """A contrast word (`but`, `although`, `however`) and the clauses that decide while it stands."""

    marker: int
    strong: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """A subject noun and the finite verb that agrees with it, and a noun between them that would not."""

    subject: int
    verb: int
    attractor: int | None = None


@dataclass(frozen=True)
class Sentence:
    """A text with everything the generator knows about it. `topic` and `trigger` may be None."""

    words: tuple[Word, ...]
    evidence: tuple[Evidence, ...] = ()
    contrast: Contrast | None = None
    topic: str | None = None
    kind: str = ""
    trigger: int | None = None
    text: str = field(init=False)
    spans: tuple[tuple[int, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        text, spans = _spell(self.words)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "spans", spans)

    @property
    def forms(self) -> tuple[str, ...]:
        """The words as strings."""
        return tuple(word.text for word in self.words)

    @property
    def label(self) -> str:
        """`negative`, `neutral` or `positive`."""
        return self.label_without(())

    @property
    def score(self) -> float:
        """The signed strength behind the label; 0 is neutral."""
        return self.score_without(())

    def score_without(self, removed: Collection[int]) -> float:
        """The score that remains when the words at these indices are deleted or masked."""
        if self.contrast is not None and self.contrast.marker not in removed:
            strong = self._sum(removed, self.contrast.strong)
            if strong:
                return strong
        return self._sum(removed, None)

    def label_without(self, removed: Collection[int]) -> str:
        """The label that remains when the words at these indices are deleted or masked."""
        score = self.score_without(removed)
        return LABELS[1 + (score > 0) - (score < 0)]

    @property
    def roles(self) -> dict[int, str]:
        """Every word with a part in the sentiment: polarity, negation, intensifier or contrast."""
        return self._roles(self.evidence)

    @property
    def rationale(self) -> dict[int, str]:
        """The words that decide the label with their roles; empty for a neutral text.

        Where a contrast stands, the discounted side is left out, and the contrast word itself belongs
        only if the sentence would read otherwise without it.
        """
        if self.label == "neutral":
            return {}
        deciding = self.evidence
        if self.contrast is not None and self._sum((), self.contrast.strong):
            deciding = tuple(e for e in self.evidence if e.clause in self.contrast.strong)
        roles = self._roles(deciding)
        if self.contrast is not None and self.label_without((self.contrast.marker,)) == self.label:
            roles.pop(self.contrast.marker, None)
        return roles

    @property
    def root(self) -> int:
        """The index of the root word."""
        return next(i for i, word in enumerate(self.words) if word.head == -1)

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """Every noun or pronoun subject with the number-marked verb it governs."""
        return tuple(found for i in range(len(self.words)) if (found := self._agreement(i)) is not None)

    def without(self, removed: Collection[int]) -> str:
        """The text with the words at these indices deleted."""
        return _spell(tuple(w for i, w in enumerate(self.words) if i not in removed))[0]

    def _sum(self, removed: Collection[int], clauses: tuple[int, ...] | None) -> float:
        return sum(e.value(removed) for e in self.evidence if clauses is None or e.clause in clauses)

    def _roles(self, evidence: tuple[Evidence, ...]) -> dict[int, str]:
        roles = {e.word: "polarity" for e in evidence}
        roles |= {e.degree: "intensifier" for e in evidence if e.degree is not None}
        roles |= {e.negation: "negation" for e in evidence if e.negation is not None}
        if self.contrast is not None:
            roles[self.contrast.marker] = "contrast"
        return dict(sorted(roles.items()))

    def _agreement(self, index: int) -> Agreement | None:
        subject = self.words[index]
        if subject.deprel not in ("nsubj", "nsubj:pass") or subject.feat("Number") is None:
            return None
        verb = self._finite(subject.head)
        if verb is None:
            return None
        between = range(index + 1, verb)
        other = [i for i in between if self._clashes(i, subject)]
        return Agreement(index, verb, other[-1] if other else None)

    def _finite(self, head: int) -> int | None:
        helpers = [
            i for i, w in enumerate(self.words) if w.head == head and w.deprel in ("cop", "aux", "aux:pass")
        ]
        marked = [i for i in (*helpers, head) if self.words[i].feat("VerbForm") == "Fin"]
        return marked[0] if marked and self.words[marked[0]].feat("Number") else None

    def _clashes(self, index: int, subject: Word) -> bool:
        word = self.words[index]
        return word.upos == "NOUN" and word.feat("Number") not in (None, subject.feat("Number"))


@dataclass(frozen=True)
class Fact:
    """A statement about the invented world: `Fact("alaric", "lives_in", "norwick")`."""

    subject: str
    relation: str
    object: str


@dataclass(frozen=True)
class Cloze:
    """A prompt whose next word is the object of a fact.

    `trained` says whether this very wording was shown in training for this fact; when it was not, the
    wording was shown for other entities only, and answering it needs more than recall of a string.
    """

    fact: Fact
    form: int
    prompt: str
    answer: str
    trained: bool


@dataclass(frozen=True)
class Story:
    """A repeated-name story: the prompt's next word is `answer`; `other` is the name said twice."""

    prompt: str
    answer: str
    other: str
    names: tuple[str, str]
    template: int
    order: str

    @property
    def text(self) -> str:
        """The whole story, closed with a full stop."""
        return f"{self.prompt} {self.answer}."


@dataclass(frozen=True)
class MinimalPair:
    """Two texts that differ in one word; only `good` is in the language."""

    good: str
    bad: str
    word: int
    kind: str
    attractor: bool = False


def _spell(words: tuple[Word, ...]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Join words by spaces, except those glued to the word before; give each one's character span."""
    text, spans = "", []
    for word in words:
        if text and not word.glued:
            text += " "
        spans.append((len(text), len(text) + len(word.text)))
        text += word.text
    return text, tuple(spans)
