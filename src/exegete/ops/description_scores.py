"""How well does a description of a unit foretell it? Scores from foretold and true activations of texts it was not made from.

    simulation   correlation of foretold and true activations over the tokens of the test texts
    detection    which whole texts set the unit off? balanced accuracy over firing and silent texts
    fuzzing      which marked token of a text is the right one? balanced accuracy over the strongest token of each firing text and
                 a random other token of the same text
    intruder     which of three texts, two firing and one silent, does not set the unit off? share found, 1/3 by chance
    embedding    is the description nearer to texts that set the unit off than to silent ones? AUROC of the cosines, 0.5 by chance

A judge says yes where the foretold value is above half of the largest it has foretold; a tie with everything, as from an empty
description, is no answer and counts one half in each class, so that it gets 0.5 whatever the balance. Swapped: the description of
another unit on these texts. Shapes: lists of [token], one a text. Cost: numbers only.
An embedding asks no judge: it ranks all firing texts against all silent ones (AUROC, so the balance does not matter; a tie is half).
Reference: Bills et al. 2023 (simulation); Paulo et al. 2024, arXiv:2410.13928 (detection, fuzzing, intruder, embedding).
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

Arrays = Sequence[np.ndarray]
CROWD, TRIALS = 3, 12  # texts of an intruder trial, one of them silent; most trials a unit
Mark = tuple[int, int, bool]  # text, token, whether it is the right one
Trial = tuple[tuple[int, ...], int]  # texts in the order shown, and which of them is the intruder


def balanced(yes: np.ndarray, true: np.ndarray) -> float:
    """Mean over the two classes of the share judged right; `yes` [item] in 0, 0.5 (no answer), 1; `true` [item] bool. NaN without one."""
    true = np.asarray(true, dtype=bool)
    if true.all() or not true.any():
        return float("nan")
    return float((yes[true].mean() + (1 - yes[~true]).mean()) / 2)


def judged(foretold: np.ndarray) -> np.ndarray:
    """Yes (1), no (0) or no answer (0.5) for every item [item] from foretold values."""
    if not len(foretold) or np.ptp(foretold) == 0:
        return np.full(len(foretold), 0.5)
    return (foretold > (foretold.max() + foretold.min()) / 2).astype(np.float64)


def simulation(foretold: Arrays, true: Arrays) -> float:
    """Correlation over all tokens; 0 where the description foretells no difference, NaN where the unit makes none."""
    x, y = np.concatenate(list(foretold)), np.concatenate(list(true))
    if not len(y) or np.ptp(y) == 0:
        return float("nan")
    return 0.0 if np.ptp(x) <= 1e-12 else float(np.corrcoef(x, y)[0, 1])


def fires(true: Arrays, bar: float) -> np.ndarray:
    """Which texts set the unit off [text]: their largest value is above `bar`."""
    return np.array([len(y) > 0 and float(y.max()) > bar for y in true], dtype=bool)


def detection(foretold: Arrays, true: Arrays, bar: float) -> float:
    """Balanced accuracy over texts; NaN where all or none fire."""
    most = np.array([float(x.max()) if len(x) else 0.0 for x in foretold])
    return balanced(judged(most), fires(true, bar))


def marks(true: Arrays, bar: float, rng: np.random.Generator) -> list[Mark]:
    """The marks that are judged, (text, token, right): of every firing text its strongest token, and a random one at or below `bar`."""
    found: list[Mark] = []
    for t, (y, on) in enumerate(zip(true, fires(true, bar))):
        low = np.flatnonzero(y <= bar)
        draw = rng.integers(len(low)) if len(low) else 0
        if on and len(low):
            found += [(t, int(y.argmax()), True), (t, int(low[draw]), False)]
    return found


def fuzzing(foretold: Arrays, true: Arrays, bar: float, rng: np.random.Generator) -> float:
    """Balanced accuracy over right and wrong marks of the firing texts; NaN where none has two tokens."""
    found = marks(true, bar, rng)
    said = np.array([foretold[t][i] for t, i, _ in found])
    return balanced(judged(said), np.array([r for _, _, r in found])) if found else float("nan")


def trials(true: Arrays, bar: float, rng: np.random.Generator) -> list[Trial]:
    """Intruder trials: silent texts, at most `TRIALS`, each among random firing ones; none with too few firing or no silent texts."""
    on = fires(true, bar)
    firing, silent = np.flatnonzero(on), np.flatnonzero(~on)
    if len(firing) < CROWD - 1:
        return []
    found: list[Trial] = []
    for odd in rng.permutation(silent)[:TRIALS]:
        shown = rng.permutation([odd, *rng.choice(firing, CROWD - 1, replace=False)])
        found.append((tuple(int(t) for t in shown), int(np.flatnonzero(shown == odd)[0])))
    return found


def intruder(foretold: Arrays, found: Sequence[Trial]) -> float:
    """Share of trials in which the text foretold lowest is the intruder, a tie shared; NaN without trials."""
    most = np.array([float(x.max()) if len(x) else 0.0 for x in foretold])
    hits = []
    for shown, odd in found:
        lowest = most[list(shown)] <= most[list(shown)].min() + 1e-12
        hits.append(lowest[odd] / lowest.sum())
    return share(hits) if hits else float("nan")


def share(hits: Sequence[float]) -> float:
    """The mean of hits; rounded, so that thirds that add up are not above a third."""
    return round(float(np.mean(hits)), 12)


def nearness(descriptions: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Cosines [description, text] of vectors [description, width] and [text, width], both less the mean of the texts that have one.

    What says nothing has the vector NaN, and is equally near (0) to all.
    """
    known = np.isfinite(texts).all(1)
    mean = texts[known].mean(0) if known.any() else np.zeros(texts.shape[1])
    a, b = (np.nan_to_num(x - mean) for x in (descriptions, texts))
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    return np.round(a @ b.T, 6)  # what rounding alone sets apart is a tie


def embedding(near: np.ndarray, true: Arrays, bar: float) -> float:
    """AUROC of nearness [text]: share of pairs of a firing and a silent text whose firing one is nearer; NaN without a pair."""
    on = fires(true, bar)
    n, m = int(on.sum()), int((~on).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(near)[on].sum() - n * (n + 1) / 2) / (n * m))
