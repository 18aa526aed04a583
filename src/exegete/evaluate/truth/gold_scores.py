"""Gold scores of planted texts: what each word is worth by the rule that was planted, without a pass of the model.

    where the rule is exact   Shapley values of the class's log-odds  log p / (1 - p)  over the words, the rule asked in plain Python
    where it was learned      1 for a planted word, 0 for any other

Shapley values share what two words do together, count words that speak against the class below zero, and give exactly 0 to
words that weigh nothing. Cost: 2^U calls of the rule a text of U words, no pass.
Reference: Shapley 1953; Chan et al. 2022 (arXiv:2204.05514), section 3, for explanations known to be better than random ones.
"""

from collections.abc import Mapping

import numpy as np

from exegete.evaluate.truth.planted import Planted, PlantedText
from exegete.evaluate.truth.rulebook import DEFAULT
from exegete.ops.perturb import subsets
from exegete.ops.shapley import exact


def gold_scores(what: Planted, t: PlantedText, names: tuple[str, ...]) -> np.ndarray:
    """The worth [U] of the words `names` of a planted text for its class."""
    if what.rule is None:
        return np.isin(names, t.words).astype(np.float64)
    values = [
        _log_odds(what.rule([w for w, k in zip(names, keep) if k]), t.label, what.model.labels)
        for keep in subsets(len(names))
    ]
    return exact(np.array(values)[:, None])[:, 0]


def _log_odds(told: Mapping[str, float], label: str, labels: tuple[str, ...]) -> float:
    """The score of a class less what all others reach together. The first class is the default."""
    scores = {name: told.get(name, 0.0) + (DEFAULT if i == 0 else 0.0) for i, name in enumerate(labels)}
    return scores[label] - float(np.logaddexp.reduce([s for name, s in scores.items() if name != label]))
