"""Tasks read off parsed sentences: what a probe may be asked of words, arcs and whole sentences.

words       pos, chunk, nesting, main_verb, main_subject, position, and feature:NAME for every morphological feature
arcs        relation: the dependent and its head, labelled with their relation
sentences   voice, tense, subject_number, object_number, top_constituents, tree_depth, depth, length, bigram_shift

Each sentence gives a `Marked` text or nothing (a sentence without an object has no object's number). `position`, `depth` and
`length` are numbers, all others class names. Sentence tasks follow SentEval (Conneau et al. 2018), main_verb, main_subject and
nesting "Open Sesame" (Lin et al. 2019); there, only sentences with a choice are asked (two verbs, two nouns).

Cost: linear in words. Random draws (bigram_shift) derive from the seed and the sentence.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from exegete.core.errors import InputError, UnknownName
from exegete.core.material import Mark, Marked, Parsed, Tag
from exegete.core.phrases import chunks
from exegete.core.seed import generator

FEATURE = "feature:"
_NOUNS, _VERBS = ("NOUN", "PROPN", "PRON"), ("VERB", "AUX")
_CLAUSES = ("csubj", "ccomp", "xcomp", "advcl", "acl", "parataxis")
_SUBJECTS = ("nsubj", "nsubjpass", "csubj", "csubjpass")
_TOP = 19  # sequences of constituents that have a class of their own; the rest is "other"
_TENSES = {"Past": "past", "Pres": "present"}

# name -> what the label is, in words for a reader
TASKS: dict[str, str] = {
    "pos": "part of speech",
    "chunk": "place in a minimal phrase",
    "nesting": "number of clauses around a word",
    "main_verb": "main verb",
    "main_subject": "subject of the main clause",
    "position": "position of a word",
    "relation": "dependency relation",
    "voice": "voice",
    "tense": "tense of the main clause",
    "subject_number": "number of the subject",
    "object_number": "number of the object",
    "top_constituents": "order of the top constituents",
    "tree_depth": "depth of the tree (class)",
    "depth": "depth of the tree (number)",
    "length": "length of the sentence",
    "bigram_shift": "two words swapped",
}


def words_for(task: str) -> str:
    """A task in words: "part of speech", "feature Number". Raises `UnknownName`."""
    if task.startswith(FEATURE) and len(task) > len(FEATURE):
        return f"feature {task[len(FEATURE) :]}"
    if task not in TASKS:
        raise UnknownName("task", task, (*TASKS, f"{FEATURE}NAME"))
    return TASKS[task]


def annotate(sentences: Sequence[Parsed], task: str = "pos", seed: int = 0) -> tuple[Marked, ...]:
    """The sentences that have something to say about a task, as labelled texts.

    Raises `UnknownName` for a task or feature that there is not, and `InputError` where the treebank lacks what the task
    needs, or gives it fewer than two classes.
    """
    what = words_for(task)
    _enough(sentences, task, what)
    if task.startswith(FEATURE):
        found = _features(sentences, task[len(FEATURE) :])
    elif task == "top_constituents":
        found = _tops(sentences)
    else:
        found = [marks_of(s, task, seed) for s in sentences]
    kept = tuple(m for m in found if m is not None)
    labels = {m.label for k in kept for m in k.marks}
    if len(labels) < 2:
        raise InputError(
            f"You asked for the {what} in {len(sentences)} parsed sentences.",
            f"There is only one answer, {labels.pop()!r}." if labels else "None of them has any.",
            "Give more sentences, or choose another task.",
        )
    return kept


def marks_of(s: Parsed, task: str, seed: int = 0) -> Marked | None:
    """What a task marks in one sentence, which no other sentence changes (but for labels of "top_constituents", where rare orders become
    "other"); None: nothing. Raises `UnknownName` for a task that there is not.
    """
    words_for(task)  # that there is one
    if task.startswith(FEATURE):
        name = task[len(FEATURE) :]
        return _marked(s, [s.feature(i, name) or None for i in range(len(s.words))])
    if task == "bigram_shift":
        return _shifted(s, seed)
    if task == "relation":
        return _arcs(s)
    if task == "top_constituents":
        return _whole(s, _order(s))
    return _marked(s, _WORDS[task](s)) if task in _WORDS else _whole(s, _SENTENCES[task](s))


# ---- words ---------------------------------------------------------------------------------------------------------


def _pos(s: Parsed) -> list[Tag | None]:
    return list(s.tags)


def _nesting(s: Parsed) -> list[Tag | None]:
    return [str(sum(_base(s.relations[j]) in _CLAUSES for j in _way_up(s, i))) for i in range(len(s.words))]


def _main_verb(s: Parsed) -> list[Tag | None]:
    verbs = [i for i, t in enumerate(s.tags) if t in _VERBS]
    main = _main(s)
    if len(verbs) < 2 or main not in verbs:
        return []
    return [("main verb" if i == main else "other verb") if i in verbs else None for i in range(len(s.words))]


def _main_subject(s: Parsed) -> list[Tag | None]:
    nouns = [i for i, t in enumerate(s.tags) if t in _NOUNS]
    subject = _child(s, _root(s), _SUBJECTS)
    if len(nouns) < 2 or subject not in nouns:
        return []
    return [("main subject" if i == subject else "other noun") if i in nouns else None for i in range(len(s.words))]  # fmt: skip


def _position(s: Parsed) -> list[Tag | None]:
    return [float(i) for i in range(len(s.words))]


_WORDS: dict[str, Callable[[Parsed], list[Tag | None]]] = {
    "pos": _pos,
    "chunk": lambda s: list(chunks(s)),
    "nesting": _nesting,
    "main_verb": _main_verb,
    "main_subject": _main_subject,
    "position": _position,
}


def _features(sentences: Sequence[Parsed], name: str) -> list[Marked | None]:
    known = {f.split("=", 1)[0] for s in sentences for row in s.features for f in row.split("|") if "=" in f}
    if name not in known:
        raise UnknownName("morphological feature", name, known)
    return [marks_of(s, f"{FEATURE}{name}") for s in sentences]


# ---- sentences -----------------------------------------------------------------------------------------------------


def _voice(s: Parsed) -> Tag | None:
    root = _root(s)
    below = [s.relations[i] for i, h in enumerate(s.heads) if h == root]
    if any(r in ("nsubj:pass", "csubj:pass", "aux:pass", "nsubjpass", "auxpass") for r in below):
        return "passive"
    verb = s.tags[root] == "VERB" and any(_base(r) in _SUBJECTS for r in below)
    return "active" if verb else None


def _tense(s: Parsed) -> Tag | None:
    root = _root(s)
    helpers = [i for i, h in enumerate(s.heads) if h == root and _base(s.relations[i]) in ("aux", "auxpass", "cop")]  # fmt: skip
    finite = [i for i in (root, *helpers) if s.feature(i, "VerbForm") == "Fin" and s.feature(i, "Tense")]
    return _TENSES.get(s.feature(finite[0], "Tense")) if finite else None


def _number_of(*relations: str) -> Callable[[Parsed], Tag | None]:
    def number(s: Parsed) -> Tag | None:
        found = _child(s, _root(s), relations)
        return {"Sing": "singular", "Plur": "plural"}.get(s.feature(found, "Number")) if found >= 0 else None

    return number


def _depth(s: Parsed) -> int:
    return max(len(_way_up(s, i)) - 1 for i in range(len(s.words)))


_SENTENCES: dict[str, Callable[[Parsed], Tag | None]] = {
    "voice": _voice,
    "tense": _tense,
    "subject_number": _number_of("nsubj", "nsubjpass"),
    "object_number": _number_of("obj", "dobj"),
    "tree_depth": lambda s: str(_depth(s)),
    "depth": lambda s: float(_depth(s)),
    "length": lambda s: float(len(s.words)),
}


def _tops(sentences: Sequence[Parsed]) -> list[Marked | None]:
    """What stands around the root, in its order; all but the most frequent orders are "other"."""
    orders = [_order(s) for s in sentences]
    own = {order for order, _ in Counter(orders).most_common(_TOP)}
    return [_whole(s, order if order in own else "other") for s, order in zip(sentences, orders)]


def _order(s: Parsed) -> str:
    """The root and what stands around it."""
    root = _root(s)
    kept = [i for i, h in enumerate(s.heads) if i == root or (h == root and s.relations[i] != "punct")]
    return " ".join("ROOT" if i == root else _base(s.relations[i]) for i in kept)


def _shifted(s: Parsed, seed: int) -> Marked | None:
    """The sentence as it is, or with two neighbours swapped that are different words and no marks."""
    rng = generator(seed, "bigram shift", s.text)
    words = list(s.words)
    able = [
        i
        for i in range(len(words) - 1)
        if words[i].lower() != words[i + 1].lower() and words[i][0].isalnum() and words[i + 1][0].isalnum()
    ]
    if len(words) < 3 or not able:
        return None
    if rng.random() < 0.5:
        return Marked.of(s.text, "as written", s.id)
    i = int(rng.choice(able))
    words[i], words[i + 1] = words[i + 1], words[i]
    return Marked.of(" ".join(words), "swapped", s.id)


# ---- inside --------------------------------------------------------------------------------------------------------


def _enough(sentences: Sequence[Parsed], task: str, what: str) -> None:
    if not sentences:
        raise InputError(f"You asked for the {what}.", "There are no sentences.", "Give parsed sentences.")
    wants = {"pos": "tags", "chunk": "tags", "main_verb": "tags", "main_subject": "tags", "voice": "tags"}
    wants |= dict.fromkeys(("tense", "subject_number", "object_number"), "features")
    field = "features" if task.startswith(FEATURE) else wants.get(task)
    if field and not any(getattr(s, field) for s in sentences):
        tasks = ", ".join(t for t in TASKS if t not in wants)
        raise InputError(
            f"You asked for the {what} in {len(sentences)} parsed sentences.",
            f"They have no {field}.",
            f"Give a treebank with {field}, or ask for: {tasks}.",
        )


def _marked(s: Parsed, labels: Sequence[Tag | None]) -> Marked | None:
    """The words that have a label (none at all: no text). An empty label is none."""
    marks = tuple(Mark(label=x, spans=(span,)) for x, span in zip(labels, s.spans) if x not in (None, ""))
    return Marked(text=s.text, marks=marks, id=s.id) if marks else None


def _arcs(s: Parsed) -> Marked | None:
    spans = s.spans
    marks = tuple(
        Mark(label=r, spans=(spans[i], spans[h])) for i, (h, r) in enumerate(zip(s.heads, s.relations)) if h >= 0
    )  # fmt: skip
    return Marked(text=s.text, marks=marks, id=s.id) if marks else None


def _whole(s: Parsed, label: Tag | None) -> Marked | None:
    return None if label is None else Marked.of(s.text, label, s.id)


def _base(relation: str) -> str:
    return relation.split(":")[0]


def _root(s: Parsed) -> int:
    """The first root. Raises `InputError` where there is none."""
    if -1 not in s.heads:
        raise InputError(
            f"You gave the parsed sentence {s.text!r:.60}.",
            "No word of it is the root.",
            "Give trees: one word with the head -1.",
        )
    return s.heads.index(-1)


def _main(s: Parsed) -> int:
    """The main verb: the root, or its copula; -1 where there is none."""
    root = _root(s)
    return root if s.tags[root] in _VERBS else _child(s, root, ("cop",))


def _child(s: Parsed, head: int, relations: Sequence[str]) -> int:
    """The first dependent in one of the relations; -1 for none."""
    return next((i for i, h in enumerate(s.heads) if h == head and _base(s.relations[i]) in relations), -1)


def _way_up(s: Parsed, i: int) -> list[int]:
    """The word and everything above it, up to the root. Raises `InputError` for a cycle."""
    way = [i]
    while s.heads[way[-1]] >= 0:
        way.append(s.heads[way[-1]])
        if len(way) > len(s.words):
            raise InputError(
                f"You gave the parsed sentence {s.text!r:.60}.",
                "Its heads go in a circle.",
                "Give trees: every word leads to the root.",
            )
    return way
