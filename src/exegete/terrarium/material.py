"""The terrarium's own material for studies: texts, pairs, facts and parsed sentences that fit the embedded models.

texts    reviews for the classifiers, sentences of the language for the others
pairs    stories of two people in which the repeated name is changed (decoder), a verb whose subject changes number
         (encoder), a polar word turned (classifiers); both texts have the same tokens but one
facts    prompts of the invented world, with paraphrases, and neighbours of the same relation about other people; for the
         classifiers reviews of two clauses with the clause that is not heeded as subject and its own label as answer
trees    sentences of the grammar with their dependency trees, tags and features
marked   labelled texts (`terrarium.labelled`)
minimal  pairs of a sentence and the same with the verb in the wrong number, six kinds
questions  `terrarium.questions`

`terrarium/repeats` reads sixty words and no sentences: its texts are segments said again and again, its pairs segments that
begin again, with the word changed at which they go on; it knows no facts and no trees.
"""

from functools import cache
from random import Random

from exegete.core.errors import UsageError
from exegete.core.material import Fact, Minimal, Pair, Parsed
from exegete.core.request import Text
from exegete.core.seed import generator
from exegete.terrarium import corpora, facts, inflect, labelled, questions, repeats
from exegete.terrarium import lexicon as lex
from exegete.terrarium.grammar import Grammar

DEFAULT = {
    "texts": 40,
    "pairs": 20,
    "facts": 40,
    "trees": 200,
    "marked": 400,
    "minimal": 300,
    "questions": 40,
}


REPEATS = "terrarium/repeats"


def material(
    asks: str,
    task: str,
    most: int | None = None,
    n: int | None = None,
    seed: int = 0,
    model: str = "",
    kind: str = "",
) -> tuple:
    """`n` items of the kind a study asks about, for an embedded model of that task; never more than `most`.

    `model` is the model's name, for one that reads a language of its own; `kind` says which labelled texts. Raises
    `UsageError` for what it has none of.
    """
    size = min(n or DEFAULT[asks], most or 10**9)
    if model == REPEATS:
        return _of_repeats(asks, size, seed)
    if asks == "questions":
        return questions.questions(size, seed)
    if asks == "marked":
        return labelled.marked(kind, size, seed)
    make = {"texts": texts, "pairs": pairs, "facts": known_facts, "trees": trees, "minimal": minimal}[asks]
    return make(task, size, seed)


def texts(task: str, n: int, seed: int = 0) -> tuple[Text, ...]:
    """Held-out reviews for classifiers; sentences of the language for language models."""
    if task in ("sequence", "token"):
        return tuple(Text(text=e.text) for e in corpora.sentiment(n, "test", seed))
    return tuple(Text(text=t) for t in corpora.language(n, f"material-{seed}"))


def pairs(task: str, n: int, seed: int = 0) -> tuple[Pair, ...]:
    """Pairs that differ in one token. See the module."""
    if task in ("sequence", "token"):
        return _turned(n, seed)
    return _agreement(n, seed) if task == "masked" else _stories(n, seed)


def known_facts(task: str, n: int, seed: int = 0) -> tuple[Fact, ...]:
    """Facts in wordings that were trained for them, dealt over the relations; clauses of reviews for classifiers."""
    if task in ("sequence", "token"):
        return _unheeded(n, seed)
    every = [c for c in facts.clozes() if c.trained and c.form == 0]
    Random(f"material-facts-{seed}").shuffle(every)
    return tuple(_fact(c.fact, seed) for c in every[:n])


def trees(task: str, n: int, seed: int = 0) -> tuple[Parsed, ...]:
    """Sentences of the grammar without glued words (a tokenizer that splits at blanks finds every word)."""
    grammar, found = Grammar(1_000_000 + seed), []
    while len(found) < n:
        s = grammar.sentence()
        if any(w.glued for w in s.words):
            continue
        words = s.words
        found.append(
            Parsed(
                words=tuple(w.text for w in words),
                heads=tuple(w.head for w in words),
                relations=tuple(w.deprel for w in words),
                tags=tuple(w.upos for w in words),
                features=tuple(w.feats for w in words),
            )
        )
    return tuple(found)


def minimal(task: str, n: int, seed: int = 0) -> tuple[Minimal, ...]:
    """Sentences and the same with the verb in the wrong number; the phenomenon says what stands between subject and verb."""
    found = corpora.minimal_pairs(n, f"material-{seed}")
    return tuple(Minimal(good=p.good, bad=p.bad, phenomenon=p.kind.replace("_", " ")) for p in found)


def _of_repeats(asks: str, n: int, seed: int) -> tuple:
    """Texts and pairs of the language of `terrarium/repeats`."""
    draws = [generator(seed, "material", REPEATS, asks, i) for i in range(n)]
    if asks == "texts":
        return tuple(Text(text=repeats.spelled(repeats.text(draw))) for draw in draws)
    if asks == "pairs":
        return tuple(Pair.of(*repeats.turned(draw)) for draw in draws)
    raise UsageError(
        f"You asked for {asks} for {REPEATS}.",
        "It was trained on random words said again and again: it knows no facts and no grammar.",
        "Use terrarium/decoder or terrarium/encoder, or give material of your own.",
    )


def _stories(n: int, seed: int) -> tuple[Pair, ...]:
    """ "... john gave a book to" against the same story in which mary gives: the answer turns from mary to john."""
    found = []
    for s in corpora.indirect_objects(n, "test", seed):
        head, tail = _split_at_last(s.prompt, s.other)
        found.append(Pair.of(s.prompt, f"{head}{s.answer}{tail}", s.answer, s.other))
    return tuple(found)


def _agreement(n: int, seed: int) -> tuple[Pair, ...]:
    """ "the aunt [MASK]" against "the aunts [MASK]": the verb that agrees turns."""
    turn = {noun: inflect.plural(noun) for noun in lex.PROFESSIONS + lex.ANIMALS}
    turn |= {many: noun for noun, many in turn.items()}
    found = []
    for p in corpora.minimal_pairs(40 * n, f"material-{seed}", ("simple",)):
        good, bad = p.good.split(), p.bad.split()
        other = [turn.get(w, w) if i == p.word - 1 else w for i, w in enumerate(good)]
        if other == good or len(good) != p.word + 1:
            continue
        clean, corrupt = (" ".join([*words[:-1], "[MASK]"]) for words in (good, other))
        found.append(Pair.of(clean, corrupt, good[-1], bad[-1]))
    return tuple(found[:n])


def _turned(n: int, seed: int) -> tuple[Pair, ...]:
    """A review of one opinion word against the same review with a word of the other sign in its place."""
    polar = {1: {}, -1: {}}
    sentences = [e.sentence for e in corpora.sentiment(60 * n, "test", f"material-{seed}")]
    single = [s for s in sentences if len(s.evidence) == 1 and s.label != "neutral" and s.contrast is None]
    for s in single:
        word = s.words[s.evidence[0].word]
        polar[s.evidence[0].sign].setdefault(word.upos, []).append(word.text)
    found = []
    for i, s in enumerate(single):
        e = s.evidence[0]
        others = polar[-e.sign].get(s.words[e.word].upos, ())
        if not others:
            continue
        start, end = s.spans[e.word]
        corrupt = s.text[:start] + others[i % len(others)] + s.text[end:]
        found.append(Pair.of(s.text, corrupt, s.label, "negative" if s.label == "positive" else "positive"))
    return tuple(found[:n])


def _unheeded(n: int, seed: int) -> tuple[Fact, ...]:
    """ "the food was good but the staff was rude": the weak clause, "the food was good", and what it says by itself."""
    found, size = [], 24 * n  # one review in twenty is of this kind
    while len(found) < n:
        examples = corpora.sentiment(size, "test", f"material-facts-{seed}")
        found, size = [fact for e in examples if (fact := _weak_clause(e)) is not None], 2 * size
    return tuple(found[:n])


def _weak_clause(e: corpora.Example) -> Fact | None:
    """The clause of a review that another one outweighs, as a span with its own label; None where there is none."""
    s, turn = e.sentence, e.sentence.contrast
    if turn is None or turn.marker == 0 or len(turn.strong) != 1 or e.text != s.text:
        return None
    spans = s.spans[: turn.marker] if turn.strong[0] else s.spans[turn.marker + 1 :]
    start, end = spans[0][0], spans[-1][1]
    own = s.label_without([i for i, (at, _) in enumerate(s.spans) if not start <= at < end])
    if own == s.label or "neutral" in (own, s.label):
        return None
    clause = s.text[start:end].rstrip(",.")
    return Fact(prompt=e.text, subject=clause, answer=own, relation="contrast", id=e.text)


@cache
def _by_relation() -> dict[str, tuple]:
    return {r: tuple(f for f in facts.world() if f.relation == r) for r in facts.RELATIONS}


def _fact(fact: facts.Fact, seed: int) -> Fact:
    draw = Random(f"material-{fact.subject}-{fact.relation}-{seed}")
    same = [f for f in _by_relation()[fact.relation] if f.subject != fact.subject]
    others = [f for f in same if f.object != fact.object]
    ask = _asked()[fact.subject, fact.relation]
    near = draw.sample(others, 5)
    return Fact(
        prompt=ask[0],
        subject=fact.subject,
        answer=fact.object,
        new=draw.choice([f.object for f in others]),
        relation=fact.relation,
        paraphrases=tuple(ask[i] for i in range(1, facts.FORMS)),
        neighbours=tuple((_prompt(f), f.object) for f in near),
        id=f"{fact.subject} {fact.relation}",
    )


@cache
def _asked() -> dict[tuple[str, str], dict[int, str]]:
    """The prompts of every fact, by form."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    for c in facts.clozes():
        found.setdefault((c.fact.subject, c.fact.relation), {})[c.form] = c.prompt
    return found


@cache
def _prompt(fact: facts.Fact) -> str:
    s = facts.statement(fact, 0)
    return s.without((len(s.words) - 1,))


def _split_at_last(text: str, word: str) -> tuple[str, str]:
    at = text.rindex(word)
    return text[:at], text[at + len(word) :]
