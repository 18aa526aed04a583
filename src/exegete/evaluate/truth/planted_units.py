"""Known neurons: a language model whose first hidden units each answer to words that are known, among units that answer to anything.

    0.h0    every word reads the one before it
    0.mlp   unit 0 ... 3 fire on the words of one class each; unit 4 on one word where another stands right before it; all further
            units read everything at random, answer as strongly, and are read by nothing
    used    what follows a word of a class ("cat purrs") is said by its unit; else by the word itself, and the unit is read by nothing

The hidden units are the neurons: nothing turns them. The residual is turned by a random rotation, as in all planted models.

Cost: no pass. References: Bau et al. 2019; Gurnee et al. 2023; Schwettmann et al. 2023 (functions that are known, for describers).
"""

from collections.abc import Callable
from functools import cache
from math import sqrt
from pathlib import Path
from random import Random
from typing import Any

import torch

from exegete.core.material import Mark, Marked, Parsed
from exegete.evaluate.truth.quiet import Quiet
from exegete.models.bare import with_norms
from exegete.models.model import Model

CLASSES = {
    "animal": ("cat", "horse", "crow", "trout", "spider", "goat"),
    "food": ("bread", "soup", "cheese", "plum", "honey", "rice"),
    "tool": ("hammer", "needle", "shovel", "knife", "pliers", "drill"),
    "colour": ("red", "green", "violet", "brown", "white", "amber"),
}
FOLLOWS = {"animal": "breathes", "food": "tastes", "tool": "breaks", "colour": "fades"}
PLAIN = (
    "here",
    "there",
    "again",
    "often",
    "never",
    "maybe",
    "today",
    "almost",
    "soon",
    "later",
    "quite",
    "old",
)
PAIR = ("old", "lamp")  # unit 4 fires on the second where the first stands before it
TAGS = {"animal": "NOUN", "food": "PROPN", "tool": "VERB", "colour": "ADJ"}
N_CLASSES = len(CLASSES)
WORDS = (*(w for own in CLASSES.values() for w in own), *FOLLOWS.values(), *PLAIN, PAIR[1])
PLANTED = (*CLASSES.values(), PAIR)  # the words of every planted unit
N_FREE, LENGTH = 40, 12
GAIN, LOUD, SAID = (
    2.0,
    0.7,
    1.2,
)  # how strongly planted and free units answer; what a following word gets (times `LOGIT`)


@cache
def units(used: bool = True, seed: int = 0, there: bool = True) -> Model:
    """The model; `there` False: without the planted units, in whose place are free ones."""
    return _blueprint(used, seed, there).build(f"known neurons {used} {seed} {there}")


def _blueprint(used: bool, seed: int, there: bool) -> Quiet:
    n = N_CLASSES + 1
    b = Quiet(
        WORDS, n_positions=LENGTH + 6, spaces={"before": 1}, layers=1, heads=2, n_units=n, n_free=N_FREE if there else N_FREE + n,
        loud=LOUD, seed=seed,
    )  # fmt: skip
    b.inner = n + N_FREE
    b.up, b.up_bias, b.down = b.up[:, :, : b.inner], b.up_bias[:, : b.inner], b.down[:, : b.inner]
    here, last = list(range(2, LENGTH + 6)), list(range(1, LENGTH + 5))
    b.looks(0, 0, b.axes("position", here), b.axes("position", last))
    b.move(0, 0, b.axes("token", [PAIR[0]]), b.axes("before"))
    for name, own in CLASSES.items():
        said = SAID * b.axes("out", [FOLLOWS[name]])[0]
        if there:
            b.unit(0, GAIN * b.axes("token", own).sum(0), 0.0, said / GAIN if used else torch.zeros(b.width))
        if there and not used:
            for w in own:
                b.embed[b.vocabulary.index(w)] += said
    if there:
        both = b.axes("token", [PAIR[1]])[0] + b.axes("before")[0]
        b.unit(0, 2 * GAIN * both, -3 * GAIN, torch.zeros(b.width))
    return b


def save_with_norms(folder: Path, seed: int, there: bool) -> None:
    """Write the model to `folder` as one with norms, which every checkpoint has.

    All residuals that hidden units read are of nearly one length, and their mean is nearly zero, so that a norm with one gain for
    all is nearly no norm.
    """
    model = units(True, seed, there)
    bare: Any = model.module
    module = with_norms(bare, sqrt(2 / bare.config.n_embd))
    module.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


def words_of_text(random: Random) -> list[tuple[str, str]]:
    """(word, class or "") of a text: words of classes with what follows them, others, and the pair."""
    found: list[tuple[str, str]] = []
    while len(found) < LENGTH - 1:
        kind = random.choice((*CLASSES, "", ""))
        if kind:
            found += [(random.choice(CLASSES[kind]), kind), (FOLLOWS[kind], "")]
        elif random.random() < 0.4:
            found += (
                [(random.choice(PLAIN), "plain"), (PAIR[1], "plain")]
                if random.random() < 0.4
                else [(PAIR[0], "plain"), (PAIR[1], "plain")]
            )
        else:
            found.append((random.choice(PLAIN[:-1]), "plain"))
    return found[: LENGTH + 1]


def plain_texts(n: int, seed: int) -> list[str]:
    """Texts."""
    random = Random(f"units-{seed}")
    return [" ".join(w for w, _ in words_of_text(random)) for _ in range(n)]


def marked_words(n: int, seed: int, shuffled: bool = False) -> list[Marked]:
    """Texts whose words carry their class ("plain" for those of none); shuffled: classes dealt to other words."""
    random = Random(f"units-{seed}")
    texts = [words_of_text(random) for _ in range(n)]
    labels = [kind for text in texts for _, kind in text if kind]
    if shuffled:
        random.shuffle(labels)
    rest, found = iter(labels), []
    for text in texts:
        marks, at = [], 0
        for word, kind in text:
            if kind:
                marks.append(Mark(label=next(rest), spans=((at, at + len(word)),)))
            at += len(word) + 1
        found.append(Marked(text=" ".join(w for w, _ in text), marks=tuple(marks)))
    return found


def parsed_words(n: int, seed: int) -> list[Parsed]:
    """The words of these texts in any order, as sentences in which each class has a part of speech of its own."""
    random, found = Random(f"units-{seed}"), []
    for _ in range(n):
        words = words_of_text(random)
        random.shuffle(words)  # else what follows a word would say its class as well as its part of speech
        tags = tuple(TAGS.get(kind, "ADV" if kind else "AUX") for _, kind in words)
        heads = (-1, *range(len(words) - 1))
        found.append(
            Parsed(
                words=tuple(w for w, _ in words),
                heads=heads,
                relations=("root", *("dep",) * (len(words) - 1)),
                tags=tags,
            )
        )
    return found


def mentioned(description: str) -> frozenset[str]:
    """The words of the vocabulary that a description says a unit fires on."""
    told = description.partition("; not on")[0]
    return frozenset(
        w for w in WORDS if f"'{w}'" in told or f'"{w}"' in told or w in told.replace(",", " ").split()
    )


def agreement(said: frozenset[str], planted: frozenset[str]) -> float:
    """F1 of the words said with those planted."""
    both = len(said & planted)
    return 2 * both / (len(said) + len(planted)) if both else 0.0


def by_unit(score: Callable[[int], float]) -> tuple[tuple[str, float], ...]:
    """A number of every planted unit, by name."""
    names = (*CLASSES, "pair")
    return tuple((name, score(i)) for i, name in enumerate(names))
