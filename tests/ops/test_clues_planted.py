"""Descriptions from few texts of units planted on made-up ones, foretelling new texts; and the first clue against slow counting.

The kinds of clues, and that those are taken first which stand the test of other texts, were chosen on units like these (13
rules, from 7, 12 and 30 texts, 3 to 6 draws). Mean correlation: 0.73 with words, endings and contexts alone, 0.84 with families, places
and repetitions. The test of other texts changed little here (from 7 texts 0.792 to 0.797, from 12 0.834 to 0.837, from 30 0.885 in both); clues
of a single text left out altogether: 0.767, 0.830, 0.884. A shape within three tokens after a word added nothing and was left
out; `RIDGE` from 0.5 to 4, a smaller step and fewer clues changed 0.013 at most.
"""

import random
from collections.abc import Callable

import numpy as np
import pytest

from exegete.ops import clues
from exegete.ops.clues import clues_of, describe
from exegete.ops.description_scores import simulation

STEMS = (
    "walk",
    "jump",
    "paint",
    "cook",
    "climb",
    "trust",
    "laugh",
    "plant",
    "watch",
    "kick",
    "guard",
    "melt",
    "count",
)
ENDS = ("", "s", "ed", "ing", "er")
NOUNS = (
    "river",
    "stone",
    "garden",
    "bread",
    "window",
    "market",
    "letter",
    "village",
    "engine",
    "ladder",
    "mirror",
)
SMALL = ("the", "a", "of", "in", "on", "to", "and", "with")
NAMES = ("Mary", "John", "Anna", "Peter", "Lucy", "Tom")
WORDS = (*SMALL, *NOUNS, *(s + e for s in STEMS for e in ENDS), *NAMES)
Rule = Callable[[list[str], int], bool]
Texts = list[tuple[list[str], np.ndarray]]

RULES: dict[str, Rule] = {
    "family": lambda w, i: w[i].startswith(("walk", "jump", "paint")),
    "ending": lambda w, i: w[i].endswith("ing"),
    "number after": lambda w, i: w[i].isdigit() and "of" in w[max(0, i - 3) : i],
    "after not": lambda w, i: i > 0 and w[i - 1] == "not",
    "topic": lambda w, i: w[i] in NOUNS[:3],
    "phrase": lambda w, i: bool({"Mary", "Tom"} & set(w[max(0, i - 3) : i])),
    "late": lambda w, i: i >= 16,
    "again": lambda w, i: w[i] in NOUNS and w[i] in w[:i],
    "second name": lambda w, i: w[i] in NAMES and bool(set(w[:i]) & set(NAMES)),
}


def drawn(rng: random.Random) -> list[str]:
    """A text: small words are frequent, the others not."""
    found: list[str] = []
    verbs = WORDS[len(SMALL) + len(NOUNS) : -len(NAMES)]
    for kind in rng.choices(range(6), (35, 20, 25, 7, 7, 6), k=rng.randrange(10, 26)):
        if kind == 4:
            found.append(str(rng.randrange(1, 1000)))
        else:
            found.append(rng.choice((SMALL, NOUNS, verbs, NAMES, (), ("not", ".", ","))[kind]))
    return found


def planted(rule: Rule, seed: int, n: int) -> Texts:
    """Texts with activations, half of them firing, as descriptions are made."""
    rng = random.Random(seed)
    texts = [drawn(rng) for _ in range(6 * n)]
    found = [(t, np.array([10.0 * rule(t, i) for i in range(len(t))])) for t in texts]
    firing = [e for e in found if e[1].any()][: n // 2]
    rest = [e for e in found if not e[1].any()]
    return [([f" {w}" for w in t], y) for t, y in (*firing, *rest, *found)][:n]


def foretold(name: str, n: int = 12) -> float:
    """Correlation on new texts, mean over three draws."""
    scores = []
    for seed in range(3):
        told = describe(planted(RULES[name], seed, n))
        test = planted(RULES[name], 100 + seed, 40)
        scores.append(simulation([told.simulate(t) for t, _ in test], [y for _, y in test]))
    return float(np.mean(scores))


def test_units_of_every_kind_are_foretold_from_twelve_texts():
    own = {name: foretold(name) for name in RULES}
    assert np.mean(list(own.values())) > 0.8, own
    assert min(own.values()) > 0.4, own


@pytest.mark.parametrize(
    ("name", "kind"),
    [("family", "stem"), ("late", "late"), ("second name", "more"), ("again", "again"), ("ending", "end")],
)
def test_a_unit_is_foretold_less_without_its_kind_of_clue(name, kind, monkeypatch):
    whole = foretold(name)
    seen = clues._held
    monkeypatch.setattr(
        clues, "_held", lambda *given: tuple({c for c in held if c[0] != kind} for held in seen(*given))
    )
    assert foretold(name) < whole - 0.05


def test_the_first_clue_is_what_the_other_texts_vouch_for_most():
    """Every clue tried on every text with its effect from the others, by loops; and clues of one text stay behind."""
    given = planted(RULES["number after"], 0, 8)
    base = float(np.median(np.concatenate([y for _, y in given])))
    every = {c for t, _ in given for held in clues_of(t) for c in held}

    def vouched(c: tuple[str, str]) -> float:
        rows = [y[[c in held for held in clues_of(t)]] - base for t, y in given]
        trust = sum(len(r) > 0 for r in rows)
        trust /= trust + clues.RIDGE
        gain = 0.0
        for i, own in enumerate(rows):
            others = np.concatenate([r for j, r in enumerate(rows) if j != i])
            if len(others):
                effect = trust * others.mean()
                gain += float((own**2).sum() - ((own - effect) ** 2).sum())
        return gain

    best = max(every, key=vouched)
    (first,) = describe(given, most=1).clues
    assert vouched((first.kind, first.word)) == pytest.approx(vouched(best))
    alone = [("a", 10.0), ("b", 0.0), ("a", 10.0), ("b", 0.0)]
    texts = [([w, "x"], np.array([v, 0.0])) for w, v in alone] + [(["once"], np.array([30.0]))]
    assert describe(texts, most=1).clues[0].word == "a"  # though "once" removes more of the error
    assert {c.word for c in describe(texts).clues} >= {"a", "once"}
