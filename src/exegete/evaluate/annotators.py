"""How far the people agree whose marks explanations are held against, and who agrees with whom.

    agreement of annotators        Krippendorff's alpha of marked or not, over the units of all texts; Fleiss' kappa over the texts that
                                   the same number of people marked. Chance is 0; the control deals each annotator's marks out anew
                                   within the text, as many as they were
    an annotator and the others    token F1 of one's marks with those that more than half of the others made (mean over texts). Chance:
                                   the same number of marks anywhere, worked out exactly; the control as above
    a method and one annotator     token F1 of a method's first units, as many as that annotator marked. Chance as above; the control is
                                   the random row

Annotators who marked nothing in a text are left out of it, as they are of the ceiling. People are told apart by their names, or by their
place where they have none; of many the MOST who marked the most texts have rows of their own. Intervals are bootstraps over texts. Cost: no pass. Shapes: A annotators, U units.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from exegete.core.seed import generator
from exegete.core.trust import Score
from exegete.core.value import Value
from exegete.ops.agreement import fleiss_kappa, krippendorff_alpha
from exegete.ops.rank import descending
from exegete.ops.stats import bootstrap_mean

DEALT = "marks dealt out anew"
N_DEALT = 100
N_RESAMPLES = 1000
MOST = 8


class Marking(Value):
    """What people marked in one text, and the token F1 of each line of scores with each of them.

    `annotators` are the names of those who marked something, `marks` [A, U] 0 or 1, `f1` [line, A] (None where a line is missing).
    """

    annotators: tuple[str, ...] = ()
    marks: tuple[tuple[int, ...], ...] = ()
    f1: tuple[tuple[float | None, ...], ...] = ()

    @classmethod
    def of(
        cls, gold: np.ndarray | None, names: Sequence[str], lines: Sequence[np.ndarray | None]
    ) -> "Marking":
        """From marks [A, U] and lines of scores [U] (None where there are none)."""
        if gold is None or not gold.any():
            return cls()
        told = [a for a in range(len(gold)) if gold[a].any()]
        known = [names[a] if a < len(names) else f"annotator {a + 1}" for a in told]
        orders = [None if s is None else descending(np.asarray(s, dtype=np.float64)[None])[0] for s in lines]
        return cls(
            annotators=tuple(known),
            marks=tuple(tuple(int(x) for x in gold[a]) for a in told),
            f1=tuple(
                tuple(None if o is None else float(gold[a][o[: gold[a].sum()]].mean()) for a in told)
                for o in orders
            ),
        )

    @property
    def gold(self) -> np.ndarray:
        """The marks [A, U] bool."""
        return np.array(self.marks, dtype=bool)


def agreement(texts: Sequence[Marking], seed: int = 0) -> tuple[Score, ...]:
    """Alpha, kappa, and every annotator against the others; nothing where no text was marked by two people."""
    shared = [t.gold for t in texts if len(t.marks) > 1]
    if not shared:
        return ()
    lost = len(texts) - len(shared)
    rng = generator(seed, "marks dealt out")
    dealt = [[_dealt(gold, rng) for gold in shared] for _ in range(N_DEALT)]
    usual = max({len(g) for g in shared}, key=[len(g) for g in shared].count)
    alike = [k for k, g in enumerate(shared) if len(g) == usual]
    found = [
        _reliability("agreement of annotators (Krippendorff's alpha)", krippendorff_alpha, shared, dealt, lost, seed),
        _reliability(
            f"agreement of annotators (Fleiss' kappa, {usual} a text)", fleiss_kappa, [shared[k] for k in alike],
            [[d[k] for k in alike] for d in dealt], len(texts) - len(alike), seed,
        ),
    ]  # fmt: skip
    for name in _people(texts):
        mine = [t for t in texts if name in t.annotators]
        rows = [_beside(t.gold, t.annotators.index(name)) for t in mine]
        good = np.array([r for r in rows if r is not None]).reshape(-1, 2)
        if len(good):
            found.append(
                _mean_score(
                    f"{name} and the others", good[:, 0], good[:, 1], good[:, 1], len(rows), seed, DEALT
                )
            )
    return tuple(found)


def by_annotator(texts: Sequence[Marking], lines: Sequence[str], seed: int = 0) -> tuple[Score, ...]:
    """Token F1 of every line of scores but the last (the random one, its control) with every annotator, where there are several."""
    names = _people(texts)
    if len(names) < 2:
        return ()
    found = []
    for k, line in enumerate(lines[:-1]):
        for name in names:
            mine = [(t, t.annotators.index(name)) for t in texts if name in t.annotators]
            rows = [(t.f1[k][a], t.gold[a].mean(), t.f1[-1][a]) for t, a in mine if t.f1[k][a] is not None]
            x = np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float64)
            if len(x):
                found.append(
                    _mean_score(
                        f"{line} and {name}", x[:, 0], x[:, 1], x[:, 2], len(mine), seed, "random scores"
                    )
                )
    return tuple(found)


def _people(texts: Sequence[Marking]) -> list[str]:
    """Names of those who marked the most texts, at most `MOST`, in the order in which they are met."""
    n = Counter(a for t in texts for a in t.annotators)
    kept = {name for name, _ in n.most_common(MOST)}
    return [name for name in n if name in kept]


def _counts(golds: Sequence[np.ndarray]) -> np.ndarray:
    """How often each unit of all texts was marked, and not [N, 2]."""
    return np.concatenate([np.stack([g.sum(0), (~g).sum(0)], 1) for g in golds]).astype(np.float64)


def _reliability(
    name: str, measure: Callable[[np.ndarray], float], golds: Sequence[np.ndarray],
    dealt: Sequence[Sequence[np.ndarray]], lost: int, seed: int,
) -> Score:  # fmt: skip
    rng = generator(seed, "agreement")
    value = measure(_counts(golds))
    again = [
        measure(_counts([golds[i] for i in rng.integers(0, len(golds), len(golds))]))
        for _ in range(N_RESAMPLES)
    ]
    known = np.array(again)[np.isfinite(again)]
    interval = (
        (float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975)))
        if len(golds) > 1 and len(known)
        else None
    )
    return Score(
        name=name, value=value, chance=0.0, control=float(np.mean([measure(_counts(d)) for d in dealt])), control_name=DEALT,
        interval=interval, n=len(golds), n_failed=lost,
    )  # fmt: skip


def _dealt(gold: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permuted(gold, axis=1)


def _beside(gold: np.ndarray, a: int) -> tuple[float, float] | None:
    """Token F1 of annotator a's marks with the majority of the others', and what as many marks anywhere reach on average."""
    others = np.delete(gold, a, axis=0)
    most = others.sum(0) * 2 > len(others)
    if not len(others) or not most.any():
        return None
    own, size = gold[a], gold.shape[1]
    f1 = 2 * (own & most).sum() / (own.sum() + most.sum())
    return float(f1), float(2 * own.sum() * most.sum() / size / (own.sum() + most.sum()))


def _mean_score(
    name: str,
    values: np.ndarray,
    chance: np.ndarray,
    control: np.ndarray,
    n: int,
    seed: int,
    control_name: str,
) -> Score:
    return Score(
        name=name, value=float(values.mean()), chance=float(chance.mean()), control=float(np.nanmean(control)),
        control_name=control_name, interval=bootstrap_mean(values, seed), n=len(values), n_failed=n - len(values),
    )  # fmt: skip
