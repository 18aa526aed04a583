"""Planted models: classifiers whose reasons are known word by word, and texts in which the words that decide are known.

    planted("ordered pair")     the model, its rule in words, texts with their planted words
    planted_names()             additive, pairwise, single token, token in context, ordered pair

A planted word must prove itself before anything is scored (`proven`): taken out of its text, all others left as they are, it
must take at least `LEAST` from the score of the class that it is planted for, and the model must have called the text that
class. Where the rule is exact, what every word takes (planted or not) is held against the rule in plain Python. A class in
which fewer than `RELIED` of the texts hold is not relied upon, and the model is refused.

Cost of proving: a forward a text and one a word. References: Bastings et al. 2022 (arXiv:2111.07367) for the kinds of shortcut
and the check by counter-examples; Ribeiro et al. 2016 (10.1145/2939672.2939778), sec. 5.2, for models whose reasons are known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from exegete.core.errors import ModelError, UnknownName
from exegete.core.target import Target
from exegete.models.ask import ask
from exegete.models.model import Model
from exegete.models.remove import Game

LEAST = 0.5  # logits that a planted word must be worth
RELIED = 0.9  # share of the texts of each class in which all planted words must be
EXACT = 0.25  # logits by which a hand-made model may differ from its rule


@dataclass(frozen=True)
class PlantedText:
    """A text whose class `label` is due to `words` of it, each of which stands in it once."""

    text: str
    label: str
    words: tuple[str, ...]


Rule = Callable[[Sequence[str]], Mapping[str, float]]


@dataclass(frozen=True)
class Planted:
    """A planted model. `draw` makes a text of one of the explained `labels` (the default class is never explained).

    `rule` gives the scores of the classes for the words of a text, where it is known exactly; `says` tells it in words.
    """

    name: str
    model: Model
    says: str
    labels: tuple[str, ...]
    draw: Callable[[Random, str], PlantedText]
    rule: Rule | None = None

    def texts(self, n: int = 12, seed: int = 0) -> tuple[PlantedText, ...]:
        """`n` texts, the classes in turn."""
        random = Random(f"{self.name}-{seed}")
        return tuple(self.draw(random, self.labels[i % len(self.labels)]) for i in range(n))


@dataclass(frozen=True)
class Proof:
    """What taking words out showed. `relied` is the share of texts by class in which every planted word holds.

    `texts` are those; `least` the smallest worth (logits) of a planted word in them; `off` the largest difference of any
    word's worth from the rule, NaN without a rule.
    """

    relied: dict[str, float]
    texts: tuple[PlantedText, ...]
    least: float
    off: float
    forwards: int


def proven(what: Planted, texts: Sequence[PlantedText]) -> Proof:
    """The texts in which the planted words prove themselves. Raises `ModelError` where the model does not rely on them."""
    kept, least, off, forwards = [], [], [float("nan")], 0
    held: dict[str, list[bool]] = {label: [] for label in what.labels}
    for t in texts:
        q = ask(what.model, t.text, Target(label=t.label, scale="logit"))
        units = q.units("word")
        names = [u.text for u in units]
        worth = _worth(Game(q, units, "auto"))
        own = worth[[names.index(w) for w in t.words]]
        called = what.model.labels[int(q.reference()[0].argmax())]
        good = called == t.label and bool((own >= LEAST).all())
        held[t.label].append(good)
        if good:
            kept.append(t)
            least.append(float(own.min()))
        if what.rule is not None:
            off.append(float(np.abs(worth - _by_rule(what.rule, names, t.label)).max()))
        forwards += q.meter.forwards
    relied = {label: float(np.mean(h)) for label, h in held.items() if h}
    worst = float(np.nanmax(off)) if what.rule is not None else float("nan")
    _refuse(what, relied, worst)
    return Proof(relied, tuple(kept), min(least), worst, forwards)


def planted(name: str) -> Planted:
    """A planted model by name. Raises `UnknownName` with near ones."""
    makers = _makers()
    if name not in makers:
        raise UnknownName("planted model", name, makers)
    return makers[name]()


def planted_names() -> tuple[str, ...]:
    """Names of all planted models."""
    return tuple(_makers())


def mixed(random: Random, words: Sequence[str], fillers: Sequence[str], length: int) -> list[str]:
    """`words` in random places of a text of `length` words, all others `fillers`, each once."""
    found = [*words, *random.sample(list(fillers), length - len(words))]
    random.shuffle(found)
    return found


def _worth(game: Game) -> np.ndarray:
    """What the score loses with each unit taken out alone [U]."""
    keep = np.concatenate([np.ones((1, game.n), bool), ~np.eye(game.n, dtype=bool)])
    values = game.question.total(game(keep))
    return values[0] - values[1:]


def _by_rule(rule: Rule, names: Sequence[str], label: str) -> np.ndarray:
    """The same by the rule, in plain Python."""
    whole = rule(names).get(label, 0.0)
    return np.array([whole - rule([*names[:i], *names[i + 1 :]]).get(label, 0.0) for i in range(len(names))])


def _refuse(what: Planted, relied: Mapping[str, float], off: float) -> None:
    weak = {label: share for label, share in relied.items() if share < RELIED}
    if weak:
        told = ", ".join(f"{label} {share:.0%}" for label, share in weak.items())
        raise ModelError(
            f"You asked which methods find the words planted in {what.name!r}.",
            f"The model does not rely on them: they hold in too few of the texts ({told}; {RELIED:.0%} needed).",
            "Plant them more strongly, or train longer; nothing can be scored against a reason that is none.",
        )
    if off > EXACT:
        raise ModelError(
            f"You asked which methods find the words planted in {what.name!r}.",
            f"Taking words out moves it by up to {off:.2f} logits more or less than its rule says ({EXACT} allowed).",
            "Mend the model or the rule; they must say the same.",
        )


def _makers() -> dict[str, Callable[[], Planted]]:
    from exegete.evaluate.truth import (
        planted_additive,
        planted_in_context,
        planted_ordered,
        planted_pairwise,
        planted_single,
    )

    return {
        "additive": planted_additive.make,
        "pairwise": planted_pairwise.make,
        "single token": planted_single.make,
        "token in context": planted_in_context.make,
        "ordered pair": planted_ordered.make,
    }
