"""The terrarium's own labelled texts: what probes and concepts are shown on where nothing else is given.

word      sentences whose words carry their part of speech
pair      sentences whose words carry their relation to their head: (word, head)
text      reviews with their label: negative, neutral, positive
topic     sentences with their topic
number    sentences with the number of their words
subject   sentences up to the verb, all different, with "one" or "many" for their subject; a noun of either number stands after it
coreference  stories of a woman, a man and a pronoun, whose marks are (pronoun, name) with "yes" or "no"; both orders and both
          pronouns equally often, so that place tells nothing, and names in circles that no story crosses, so that stories of
          other names can be held out
concept   short sentences of the concepts "positive adjective", "negative adjective" and "size", and of random sets
          ("random 0", "random 1", ...): one frame, and in it an adjective of the concept, or any noun

Cost: none beside generating sentences. Every set repeats for the same seed.
"""

from random import Random

from exegete.core.errors import UnknownName
from exegete.core.material import Mark, Marked
from exegete.terrarium import agreement, corpora, inflect
from exegete.terrarium import lexicon as lex
from exegete.terrarium.gold import Sentence
from exegete.terrarium.grammar import Grammar

KINDS = ("word", "pair", "text", "topic", "number", "concept", "coreference", "subject")
N_RANDOM = 10  # random sets beside the concepts


def marked(kind: str, n: int, seed: int = 0) -> tuple[Marked, ...]:
    """`n` labelled texts of a kind. Raises `UnknownName` for a kind that there is not."""
    if kind not in KINDS:
        raise UnknownName("kind of labelled text", kind, KINDS)
    if kind in ("word", "pair"):
        return tuple(_words(s) if kind == "word" else _pairs(s) for s in _sentences(n, seed))
    if kind == "text":
        found = corpora.sentiment(n, "test", f"labelled-{seed}")
        return tuple(Marked.of(e.text, e.sentence.label) for e in found)
    if kind == "topic":
        return tuple(Marked.of(s.text, s.topic or "") for s in corpora.topics(n, "test", f"labelled-{seed}"))
    if kind == "number":
        return tuple(Marked.of(s.text, float(len(s.words))) for s in _sentences(n, seed))
    if kind == "subject":
        return _subjects(n, seed)
    if kind == "coreference":
        return _pronouns(n, seed)
    return _concepts(n, seed)


def _sentences(n: int, seed: int) -> list[Sentence]:
    grammar, found = Grammar(f"labelled-{seed}"), []
    while len(found) < n:
        s = grammar.sentence()
        if len(s.words) > 2:
            found.append(s)
    return found


def _words(s: Sentence) -> Marked:
    marks = tuple(Mark(label=w.upos, spans=(span,)) for w, span in zip(s.words, s.spans))
    return Marked(text=s.text, marks=marks)


def _pairs(s: Sentence) -> Marked:
    marks = tuple(
        Mark(label=w.deprel, spans=(s.spans[i], s.spans[w.head]))
        for i, w in enumerate(s.words)
        if w.head >= 0
    )
    return Marked(text=s.text, marks=marks)


def _subjects(n: int, seed: int) -> tuple[Marked, ...]:
    """ "the keys near the box": many."""
    random, found = Random(f"subjects-{seed}"), {}
    kinds = ("phrase", "object_relative", "subject_relative")
    while len(found) < n:
        pair = agreement.pair(random, kinds[len(found) % len(kinds)])
        words = pair.good.split()[: pair.word]
        found[" ".join(words)] = "many" if words[1] in _PLURALS else "one"
    return tuple(Marked.of(text, label) for text, label in found.items())


_PLURALS = frozenset(
    many for w in lex.PROFESSIONS + lex.ANIMALS if (many := inflect.plural(w)) != w
)  # of the nouns that agreement is shown on

_FRAMES = (
    "the {noun} was {word}",
    "we saw the {word} {noun}",
    "there is a {word} {noun} here",
    "the {noun} looks {word} today",
)


def _concepts(n: int, seed: int) -> tuple[Marked, ...]:
    """Sentences of three concepts and of random sets, in turn, so that any n has them all about equally often."""
    random = Random(f"concepts-{seed}")
    names = ("positive adjective", "negative adjective", "size", *(f"random {i}" for i in range(N_RANDOM)))
    words = {"positive adjective": lex.GOOD, "negative adjective": lex.BAD, "size": lex.SIZES}
    found = []
    for i in range(n):
        name = names[i % len(names)]
        frame, noun = random.choice(_FRAMES), random.choice(lex.OBJECTS + lex.SITES)
        word = random.choice(words.get(name, lex.NEUTRAL_ADJECTIVES + lex.COLORS))
        found.append(Marked.of(frame.format(noun=noun, word=word), name))
    return tuple(found)


_MEETINGS = (
    "{a} saw {b} near the {place}, and {p} went to the {site}",
    "{a} went to the {place} with {b}. then {p} found the {gift}",
    "when {a} and {b} went to the {place}, {p} opened the {gift}",
    "after {a} and {b} met in the {place}, {p} lost the {gift}",
)
_CIRCLE = 2  # women, and men, of a circle


def _pronouns(n: int, seed: int) -> tuple[Marked, ...]:
    """Stories in fours: the woman or the man named first, "she" or "he"; each four within one circle of names."""
    random = Random(f"coreference-{seed}")
    women, men = random.sample(lex.WOMEN, len(lex.WOMEN)), random.sample(lex.MEN, len(lex.MEN))
    n_circles = min(len(women), len(men)) // _CIRCLE
    found = []
    for i in range(n):
        start = (i // 4) % n_circles * _CIRCLE
        woman, man = (random.choice(names[start : start + _CIRCLE]) for names in (women, men))
        a, b = (woman, man) if i % 2 else (man, woman)
        right, pronoun = (woman, "she") if i % 4 // 2 else (man, "he")
        place, site = random.sample(lex.ROOMY, 2)
        text = random.choice(_MEETINGS).format(
            a=a, b=b, p=pronoun, place=place, site=site, gift=random.choice(lex.GIFTS)
        )
        found.append(Marked(text=text, marks=tuple(_mark(text, pronoun, x, x == right) for x in (a, b))))
    return tuple(found)


def _mark(text: str, pronoun: str, name: str, right: bool) -> Mark:
    """The mark of a pronoun and a name; both are whole words before a blank or a comma."""
    told = f" {text.replace(',', ' ').replace('.', ' ')} "
    spans = tuple((at, at + len(word)) for word in (pronoun, name) for at in (told.index(f" {word} "),))
    return Mark(label="yes" if right else "no", spans=spans)
