"""Known layers: a model in which each property of a word is absent up to one layer and linear from there on.

    0.h0, 1.h0, 2.h0   the kind of the word one, two and three places before, copied in along one axis
    0.h1, 1.h1, 2.h1   three pronouns, each of which gets at its layer which of two names is meant, the former or the latter, from
                       the word that says so; a name says itself by its place which one it is

Words are drawn independently, so that nothing but the head tells: below its layer a property is not there, but for rounding.

Cost: no pass. Reference: Tenney et al. 2019 (layers at which things are resolved); Hewitt & Liang 2019 (control tasks).
"""

from functools import cache
from random import Random

from exegete.core.material import Mark, Marked, Minimal
from exegete.evaluate.truth.quiet import Quiet
from exegete.models.model import Model

KINDS = {
    "living": ("cat", "tree", "horse", "rose", "child", "crow"),
    "made": ("chair", "lamp", "coat", "wheel", "spoon", "bridge"),
}
NAMES = (
    "ada", "ben", "cleo", "dan", "eve", "finn", "gail", "hugo", "iris", "jack", "kate", "liam", "mona", "ned", "olga", "paul",
)  # fmt: skip
PRONOUNS = ("it", "that", "this")  # each resolved one layer later
MARKERS = ("former", "latter")
BACKS = (1, 2, 3)
MARKER_AT = 4  # "ada cat ben former it"
LENGTH = 10


@cache
def layered() -> Model:
    """The model: three layers."""
    flat = [w for words in KINDS.values() for w in words]
    spaces = {"back": len(BACKS), "which": len(MARKERS)}
    b = Quiet(
        (*flat, *NAMES, *MARKERS, *PRONOUNS),
        n_positions=LENGTH + 2,
        spaces=spaces,
        layers=len(BACKS),
        heads=2,
    )
    living = b.axes("token", KINDS["living"]).sum(0, keepdim=True)
    for i, back in enumerate(BACKS):
        here, there = range(back + 1, LENGTH + 2), range(1, LENGTH + 2 - back)
        b.looks(i, 0, b.axes("position", list(here)), b.axes("position", list(there)))
        b.move(i, 0, living, b.axes("back", [i]))
        b.looks(i, 1, b.axes("token", [PRONOUNS[i]]), b.axes("position", [MARKER_AT]))
        b.move(i, 1, b.axes("token", MARKERS), b.axes("which"))
    return b.build("known layers")


def kind_before(words: list[str], at: int, back: int) -> str:
    """The kind of the word `back` places before."""
    return next(k for k, own in KINDS.items() if words[at - back] in own)


def drawn(random: Random, n: int = LENGTH) -> list[str]:
    """Words of either kind, independently."""
    return [random.choice(KINDS[random.choice(tuple(KINDS))]) for _ in range(n)]


def back_marks(back: int, n: int, seed: int, shuffled: bool = False) -> list[Marked]:
    """Texts whose words from the fourth on carry the kind of the word `back` places before, or kinds dealt out anew."""
    random = Random(f"back-{back}-{seed}")
    texts = [drawn(random) for _ in range(n)]
    labels = [[kind_before(words, at, back) for at in range(max(BACKS), LENGTH)] for words in texts]
    if shuffled:
        flat = [x for row in labels for x in row]
        random.shuffle(flat)
        labels = [flat[i * len(row) : (i + 1) * len(row)] for i, row in enumerate(labels)]
    found = []
    for words, row in zip(texts, labels):
        ends = [len(" ".join(words[: i + 1])) for i in range(len(words))]
        marks = tuple(
            Mark(label=x, spans=((ends[at] - len(words[at]), ends[at]),))
            for at, x in enumerate(row, max(BACKS))
        )
        found.append(Marked(text=" ".join(words), marks=marks))
    return found


def usual_texts(back: int, n: int, seed: int) -> list[str]:
    """Texts in which every word is of the kind of the word `back` places before."""
    random = Random(f"usual-{back}-{seed}")
    return [" ".join(_usual(random, back)) for _ in range(n)]


def back_pairs(back: int, n: int, seed: int, shuffled: bool = False) -> list[Minimal]:
    """A usual text, and the same with a last word of the other kind; shuffled: neither is always the one said to be good."""
    random = Random(f"pairs-{back}-{seed}")
    found = []
    while len(found) < n:
        good = _usual(random, back)
        other = next(k for k in KINDS if good[-1] not in KINDS[k])
        bad = [*good[:-1], random.choice(KINDS[other])]
        two = [" ".join(good), " ".join(bad)]
        if shuffled and len(found) % 2:
            two.reverse()
        found.append(Minimal(good=two[0], bad=two[1], phenomenon=f"kind {back} before"))
    return found


def _usual(random: Random, back: int) -> list[str]:
    kinds = [random.choice(tuple(KINDS)) for _ in range(back)]
    return [random.choice(KINDS[kinds[i % back]]) for i in range(LENGTH)]


def pronoun_marks(layer: int, n: int, seed: int, shuffled: bool = False) -> list[Marked]:
    """Texts of two names and the pronoun of `layer`; names in circles of two; shuffled: any of them is called right."""
    random = Random(f"pronouns-{layer}-{seed}")
    found = []
    for i in range(n):
        circle, which = i % (len(NAMES) // 2), random.randrange(2)
        names = random.sample(NAMES[2 * circle : 2 * circle + 2], 2)
        words = [names[0], *drawn(random, 1), names[1], MARKERS[which], PRONOUNS[layer]]
        text, right = " ".join(words), random.randrange(2) if shuffled else which
        at, starts = len(text) - len(words[-1]), (0, len(" ".join(words[:2])) + 1)
        spans = [((at, len(text)), (s, s + len(name))) for s, name in zip(starts, names)]
        marks = (Mark(label="yes" if k == right else "no", spans=two) for k, two in enumerate(spans))
        found.append(Marked(text=text, marks=tuple(marks)))
    return found
