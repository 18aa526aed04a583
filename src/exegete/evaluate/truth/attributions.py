"""Methods that explain texts, held against planted words.

1. the planted words prove themselves (`planted.proven`); texts in which they do not are left out;
2. a method explains, for each text, the class that its words are planted for;
3. scores: the share of the k planted words among the k highest (precision at k), and the mean rank of the planted words;
4. chance: what all orders reach on average, exactly; control: the same method on the same model with its weights shuffled;
   interval: Student's over texts, which are few, with at least the spread that random orders have; by class too, as a method may
   do well in one class for a reason of the baseline's.

`noise` is a row of random scores, judged as a method is: it must not beat chance. Equal scores share their places: what counts is the
mean over all orders of them, so that scores that are all equal are at chance wherever the planted words stand.
Cost: twice the passes of each method a text. References: Bastings et al. 2022 (arXiv:2111.07367), sec. 4 (both measures).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import rankdata

from exegete.core.result import Attribution
from exegete.core.results.truth import WORDS_ON_TOP, TruthRow
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.core.trust import Cost, Score
from exegete.evaluate.cases import attempt, words
from exegete.evaluate.contract import Better
from exegete.evaluate.truth.planted import Planted, PlantedText, Proof, proven
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.models.model import Model
from exegete.models.randomise import Randomiser
from exegete.ops.stats import few_mean

CONTROL = "the method on randomised weights"
NOISE = "random scores"
MEAN_RANK = "mean rank of planted words"
MEASURES: tuple[tuple[str, Better], ...] = ((WORDS_ON_TOP, "higher"), (MEAN_RANK, "lower"))


@dataclass
class Ground:
    """A planted model whose words have proven themselves, and its twin with shuffled weights."""

    what: Planted
    proof: Proof
    twin: Model
    seed: int = 0
    units: list[tuple[str, ...]] = field(default_factory=list)

    @classmethod
    def of(cls, what: Planted, n_texts: int, seed: int) -> "Ground":
        """Raises `ModelError` where the model does not rely on what is planted."""
        proof = proven(what, what.texts(n_texts, seed))
        return cls(what, proof, Randomiser(seed)(what.model), seed)

    def judge(self, method: AttributionMethod, step: Callable[[], None]) -> tuple[tuple[TruthRow, ...], str]:
        """Rows of the method (none where it fails on every text), and why it fails where it does; `step` is called a text."""
        own, other, failed, spent, why = [], [], 0, Cost(), ""
        judged = []
        for t in self.proof.texts:
            found, error = attempt(lambda t=t: _explained(method, self.what.model, t))
            step()
            if found is None:
                failed, why = failed + 1, why or words(error)
                continue
            own.append(placed(found.total, _marks(found, t)))
            judged.append(t)
            spent += found.cost
            control, _ = attempt(lambda t=t: _explained(method, self.twin, t))
            other.append((np.nan, np.nan) if control is None else placed(control.total, _marks(control, t)))
        if not own:
            return (), why or "no text is left in which the planted words hold"
        passes = (spent.forwards + spent.backwards) / len(own)
        told = f"on {failed} of {len(self.proof.texts)} texts: {why}" if failed else ""
        return self._rows(method.id, method.family, judged, own, other, failed, passes), told

    def noise(self) -> tuple[TruthRow, ...]:
        """Rows of random scores."""
        rng = generator(self.seed, "random scores", self.what.name)
        own = []
        for t in self.proof.texts:
            names = t.text.split()
            own.append(placed(rng.normal(size=len(names)), np.isin(names, t.words)))
        return self._rows(NOISE, "none", self.proof.texts, own, [], 0, 0.0)

    def _rows(
        self, name: str, family: str, texts: Sequence[PlantedText], own: Sequence, other: Sequence, failed: int, passes: float
    ) -> tuple[TruthRow, ...]:  # fmt: skip
        values, controls = np.array(own), np.array(other or [(np.nan, np.nan)])
        sizes = np.array([(len(t.words), len(t.text.split())) for t in texts])
        k, n = sizes[:, 0], sizes[:, 1]
        labels = np.array([t.label for t in texts])
        chance = (float((k / n).mean()), float(((n + 1) / 2).mean()))
        least = spread_of_orders(k, n)
        best = (1.0, float(((k + 1) / 2).mean()))
        found = []
        for i, (measure, better) in enumerate(MEASURES):
            x, c = values[:, i], controls[:, i]
            control = float(np.nanmean(c)) if np.isfinite(c).any() else None
            score = Score(
                name=measure, value=float(x.mean()), better=better, chance=chance[i], control=control,
                control_name=CONTROL if control is not None else "", interval=_within(few_mean(x, least[i]), i, n), n=len(x),
                n_failed=failed, skipped="" if control is not None else _skipped(name),
            )  # fmt: skip
            parts = tuple(
                (label, float(x[labels == label].mean())) for label in dict.fromkeys(labels.tolist())
            )
            found.append(
                TruthRow(
                    method=name, family=family, truth=self.what.name, score=score, by_part=parts, best=best[i], passes=passes
                )
            )  # fmt: skip
        return tuple(found)


def placed(scores: np.ndarray, planted: np.ndarray) -> tuple[float, float]:
    """Share of the k planted units [U] bool among the k highest scores [U], and their mean rank from 1.

    Both are means over all orders of equal scores.
    """
    down = -np.asarray(scores, dtype=np.float64)
    first, last = rankdata(down, "min"), rankdata(down, "max")
    k = int(planted.sum())
    inside = ((k - first + 1) / (last - first + 1)).clip(
        0, 1
    )  # the share of a group of equals that is among the k highest
    return float(inside[planted].mean()), float(((first + last) / 2)[planted].mean())


def spread_of_orders(k: np.ndarray, n: np.ndarray) -> tuple[float, float]:
    """Standard deviations of both measures over random orders, for texts with k [text] of n [text] words planted, pooled over texts."""
    hits = (n - k) ** 2 / (
        n**2 * np.maximum(n - 1, 1) * 1.0
    )  # hypergeometric, k of n with k drawn, divided by k squared
    rank = (n + 1) * (n - k) / (12.0 * k)  # the mean of k of the ranks 1 .. n
    return float(np.sqrt(hits.mean())), float(np.sqrt(rank.mean()))


def _within(interval: tuple[float, float] | None, measure: int, n: np.ndarray) -> tuple[float, float] | None:
    """An interval without what a measure cannot be: a share from 0 to 1, a mean rank from 1 to the longest text."""
    low, high = ((0.0, 1.0), (1.0, float(n.max())))[measure]
    return None if interval is None else (max(low, interval[0]), min(high, interval[1]))


def _explained(method: AttributionMethod, model: Model, t: PlantedText) -> Attribution:
    """The explanation of the planted class; only finite scores can be ordered."""
    found = method(model, t.text, Target(label=t.label))
    if not np.isfinite(found.total).all():
        raise FloatingPointError("some of its scores are NaN or infinite")
    return found


def _marks(found: Attribution, t: PlantedText) -> np.ndarray:
    return np.isin([u.text for u in found.units], t.words)


def _skipped(name: str) -> str:
    return (
        "random scores look at no weights" if name == NOISE else "the method fails on every randomised copy"
    )
