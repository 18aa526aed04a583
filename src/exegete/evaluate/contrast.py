"""Contrast sets: is the model right on a text and on everything that stays close to it?

1. every text of every set is answered; 2. consistency: the share of sets in which all texts are right; 3. beside it accuracy on the
originals, on the perturbed texts, and how far it falls between them, by set.

Chance: a guess, (1 / classes) ** texts by set. Control: the same answers dealt out anew among all texts, which keeps how often each
class is said and loses what the text has to do with it. The fall is held against what it would be with the originals as they are and
the perturbed texts answered so: where it is no smaller, what is right on the originals says nothing of what stays close. Intervals
are over sets; a set of which one text could not be asked, or whose label the model does not know, is a failure.
Cost: one forward a text. Reference: Gardner et al. 2020, section 3 (arXiv:2004.02709). Shapes: S sets.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from exegete.core.behaviour import ContrastSet
from exegete.core.results.behaviour import ContrastConsistency
from exegete.core.seed import generator
from exegete.core.trust import Score, Trust
from exegete.evaluate.answers import N_SHUFFLES, SHUFFLED, Answers, answers, gold_classes
from exegete.evaluate.cases import Progress
from exegete.models.model import Model
from exegete.ops.stats import mean_interval

NAMES = ("contrast consistency", "accuracy on originals", "accuracy on perturbed texts")


def contrast_consistency(
    model: Model, sets: Sequence[ContrastSet], seed: int = 0, progress: Progress | None = None
) -> ContrastConsistency:
    """The finding about `sets`. Raises `ModelError` and `InputError` (see `answers`)."""
    texts = [t for s in sets for t in s.texts]
    labels = [x for s in sets for x in s.labels]
    gold = gold_classes(model, labels, "contrast sets")
    said = answers(model, texts, progress)
    owner = np.repeat(np.arange(len(sets)), [len(s.texts) for s in sets])
    usable = said.known & (gold >= 0)
    good = np.array([usable[owner == i].all() for i in range(len(sets))])
    right = (said.classes == gold).astype(np.int64)
    right[~usable] = -1
    trust = Trust(scores=_scores(said, gold, owner, good, seed), seed=seed)
    unknown = sorted({x for x, g in zip(labels, gold) if g < 0})
    lost = [f"the label {x!r} is none of the model's classes" for x in unknown]
    rows = [[int(r) for r in right[owner == i]] for i in range(len(sets))]
    at = np.cumsum([0, *(len(s.texts) for s in sets)])
    return ContrastConsistency(
        title="Is it right on all that stays close?",
        lede=_lede(trust.scores),
        names=tuple(s.id or str(i + 1) for i, s in enumerate(sets)),
        right=tuple(map(tuple, rows)),
        gold=tuple(s.labels for s in sets),
        said=tuple(tuple(said.named(k) for k in range(a, b)) for a, b in pairwise(at.tolist())),
        texts=tuple(tuple(_shown(t) for t in s.texts) for s in sets),
        failures=(*said.failures, *lost),
        trust=trust,
        cost=said.cost,
    )


def _scores(said: Answers, gold: np.ndarray, owner: np.ndarray, good: np.ndarray, seed: int) -> tuple[Score, ...]:  # fmt: skip
    """Consistency, accuracy on originals and on perturbed texts, and the fall between them, over the sets that are `good` [S]."""
    n, lost = int(good.sum()), int((~good).sum())
    kept = np.flatnonzero(good[owner])
    own = owner[kept]
    first = np.concatenate([[True], own[1:] != own[:-1]]) if len(own) else np.zeros(0, dtype=bool)
    values = _by_set(said.classes[kept] == gold[kept], own, first)
    rng = generator(seed, "shuffled answers")
    dealt = [
        _by_set(rng.permutation(said.classes[kept]) == gold[kept], own, first)
        for _ in range(N_SHUFFLES if n else 0)
    ]
    control = np.mean([d.mean(0) for d in dealt], axis=0) if n else np.full(4, np.nan)
    guess = 1 / len(said.labels)
    sizes = np.unique(own, return_counts=True)[1]
    chance = (float((guess**sizes).mean()) if n else guess, guess, guess)
    skipped = "" if n else "no set could be scored"
    found = []
    for k, name in enumerate(NAMES):
        x = values[:, k]
        found.append(
            Score(
                name=name, value=float(x.mean()) if n else float("nan"), chance=chance[k] if n else None,
                control=float(control[k]) if n else None, control_name=SHUFFLED,
                interval=mean_interval(x, seed, (0.0, 1.0)) if n else None, n=n, n_failed=lost, skipped=skipped,
            )
        )  # fmt: skip
    fall, own, low, high = values[:, 3], 0.0, 0.0, 0.0
    if n:
        own, (low, high) = float(values[:, 1].mean()), found[2].interval or (float(values[:, 2].mean()),) * 2
    found.append(
        Score(
            name="fall from originals to perturbed texts", value=float(fall.mean()) if n else float("nan"), better="lower",
            chance=own - guess if n else None, control=own - float(control[2]) if n else None,
            control_name=f"{SHUFFLED} to the perturbed texts", interval=mean_interval(fall, seed, (-1.0, 1.0)) if n else None,
            over_chance=(guess - high, guess - low) if n else None,
            over_control=(float(control[2]) - high, float(control[2]) - low) if n else None, n=n, n_failed=lost, skipped=skipped,
        )
    )  # fmt: skip
    return tuple(found)


def _by_set(right: np.ndarray, owner: np.ndarray, first: np.ndarray) -> np.ndarray:
    """[S, 4]: all right, the original right, the share of the perturbed texts right, and the fall between them."""
    rows = []
    for i in np.unique(owner):
        mine = owner == i
        original, others = float(right[mine & first][0]), float(right[mine & ~first].mean())
        rows.append((float(right[mine].all()), original, others, original - others))
    return np.array(rows).reshape(-1, 4)


def _shown(text: object) -> str:
    pair = getattr(text, "pair", None)
    return str(getattr(text, "text", "")) + (f" | {pair}" if pair else "")


def _lede(scores: Sequence[Score]) -> str:
    whole, own, near, fall = scores
    if not whole.n:
        return "No set could be scored."
    words = f"In {whole.value:.0%} of {whole.n} sets every text is right; on the originals alone it is right in {own.value:.0%}, "
    words += f"on the perturbed texts in {near.value:.0%}"
    low, high = fall.interval or (-1.0, 1.0)
    words += (
        ". " if low <= 0 <= high else f": a {'fall' if low > 0 else 'rise'} that is told apart from none. "
    )
    if not (whole.beats_chance and whole.beats_control):
        return words + "All right together is no more frequent than a guess or shuffled answers make it."
    return words + "All right together is more frequent than a guess or shuffled answers make it."
