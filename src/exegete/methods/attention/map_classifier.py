"""A classifier of attention maps into the five kinds of Kovaleva et al., trained on maps made by rule.

1. make labelled maps of the sizes and the mask that are to be judged (`ops.map_kinds`), describe each by nine numbers;
2. train a forest on them; a second forest on the same maps with shuffled labels is the control;
3. judge both on maps made separately, with more noise than in training.

The accuracy says how well the rule is recovered from noisy maps by rule. It does not say how people would label real maps
(there: 400 maps annotated by hand, which are not published).

Cost: no model pass; 5 n maps of each kind of mask. Reference: Kovaleva et al. 2019, sec. 4.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from exegete.core.seed import derive, generator
from exegete.core.trust import Score
from exegete.methods.attention.head_evidence import Sight
from exegete.methods.attention.head_reading import Heads, Take
from exegete.ops.map_kinds import FEATURES, KINDS, describe, synthetic, visible
from exegete.ops.stats import share_interval

LEAST, MOST, SIZES = 6, 64, 6  # tokens of training maps, and of how many sizes they are
LEAST_JUDGED = 4  # smaller maps have no kind
NOISE, MORE_NOISE = 0.45, 0.6
TREES = 60


@dataclass(frozen=True)
class MapClassifier:
    """A trained forest, and the score of its training."""

    forest: Any
    score: Score

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Probability of each kind [map, kind] of described maps [map, feature]; NaN for maps that were not described."""
        found = np.full((len(features), len(KINDS)), np.nan)
        known = np.asarray(np.isfinite(features).all(-1))
        if known.any():
            found[known] = self.forest.predict_proba(features[known])
        return found


class Album:
    """The maps of some heads on some texts, described as they are made: `features` [text, head, feature]."""

    def __init__(self, heads: Heads, n: int) -> None:
        self.heads = heads
        self.features = np.full((n, len(heads), len(FEATURES)), np.nan)
        self.lengths: dict[bool, list[int]] = {}
        self.masks = np.zeros(len(heads), bool)

    def keep(self, sight: Sight) -> None:
        """Describe the maps of one layer. Too small ones are left out."""
        size = min(sight.pattern.shape[1:])
        if size < LEAST_JUDGED:
            return
        at, seen = self.heads.slice(sight.stack, sight.layer), sight.seen[0]
        causal = not bool(np.triu(seen, 1).any())
        self.masks[at] = causal
        self.lengths.setdefault(causal, []).append(size)
        self.features[sight.text, at] = describe(sight.pattern, seen)

    def taker(self, text: int) -> Take:
        """What is handed to `watch` for one text."""
        return lambda stack, layer, pattern, seen: self.keep(Sight(text, stack, layer, pattern[0], seen[0]))

    def classifiers(self, n: int, seed: int) -> dict[bool, MapClassifier]:
        """A classifier for each kind of mask that was seen."""
        return {causal: trained(causal, sizes, n, seed) for causal, sizes in sorted(self.lengths.items())}

    def judged(self, classifiers: Mapping[bool, MapClassifier]) -> tuple[np.ndarray, np.ndarray]:
        """Mean probability of each kind [head, kind], and the share of texts whose map is of the most frequent kind [head]."""
        found = np.full((*self.features.shape[:2], len(KINDS)), np.nan)
        for causal, classify in classifiers.items():
            at = self.masks == causal
            flat = self.features[:, at].reshape(-1, len(FEATURES))
            found[:, at] = classify(flat).reshape(len(self.features), -1, len(KINDS))
        good = np.asarray(np.isfinite(found).all(-1))
        n = good.sum(0)
        share = np.where(good[..., None], found, 0.0).sum(0) / np.maximum(n, 1)[:, None]
        votes = np.where(good, found.argmax(-1), -1)
        most = np.stack([(votes == k).sum(0) for k in range(len(KINDS))]).max(0)
        return np.where(n[:, None] > 0, share, np.nan), np.where(n > 0, most / np.maximum(n, 1), np.nan)


def trained(causal: bool, lengths: Sequence[int], n: int, seed: int) -> MapClassifier:
    """A classifier for maps of these lengths, trained on `n` maps of each kind."""
    low, high = (int(np.clip(f(lengths), LEAST, MOST)) for f in (min, max))
    return _trained(causal, low, high, n, seed)


@lru_cache(maxsize=8)  # the same maps by rule serve every model and its twins
def _trained(causal: bool, low: int, high: int, n: int, seed: int) -> MapClassifier:
    from sklearn.ensemble import RandomForestClassifier

    sizes = np.unique(np.linspace(low, high, SIZES).astype(int))
    x, y = _maps(causal, sizes, n, NOISE, generator(seed, "maps", causal))
    held, truth = _maps(causal, sizes, max(10, n // 2), MORE_NOISE, generator(seed, "held-out maps", causal))
    shuffled = generator(seed, "shuffled labels", causal).permutation(y)
    state = derive(seed, "forest", causal) % 2**32
    forest, control = (
        RandomForestClassifier(TREES, random_state=state).fit(x, labels) for labels in (y, shuffled)
    )
    right = (forest.predict(held) == truth).astype(float)
    score = Score(
        name=f"kinds of {'causal' if causal else 'two-sided'} maps made by rule that are told apart, held-out maps",
        value=float(right.mean()),
        chance=1 / len(KINDS),
        control=float((control.predict(held) == truth).mean()),
        control_name="the classifier trained on shuffled labels",
        interval=share_interval(right, seed),
        n=len(right),
    )
    return MapClassifier(forest, score)


def _maps(
    causal: bool, sizes: np.ndarray, n: int, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Descriptions [map, feature] and labels [map] of `n` maps of each kind, dealt over the sizes."""
    rows, labels = [], []
    for kind, name in enumerate(KINDS):
        for i, size in enumerate(sizes):
            share = len(range(i, n, len(sizes)))
            if share:
                made = np.stack([synthetic(name, int(size), causal, rng, noise) for _ in range(share)])
                rows.append(describe(made, visible(int(size), causal)))
                labels += [kind] * share
    return np.concatenate(rows), np.array(labels)
