"""A reader that learns what a model says from few texts: softmax regression on word counts, with or without explanations.

1. `told`: of a text with scores of its words, the counts that the explanation leaves: the positive scores, divided by their sum, times
   the number of words; a text whose scores are nowhere positive keeps its own counts;
2. the reader learns from the texts as they are told, or, without explanations, as they are: as many rows under the same penalty;
3. it reads new texts as they are: explanations are of the texts that it learned from alone.

What helps is then that an explanation says which of the many words of a text its answer comes from. Shapes: counts and scores
[text, word], labels [text]. Cost: one fit. Reference: Pruthi et al. 2022, "Evaluating Explanations: How Much Do Explanations from the
Teacher Aid Students?" (arXiv:2012.00893), in spirit: there the student is a transformer, and its attention is taught.
"""

from collections.abc import Sequence

import numpy as np

from exegete.ops.softmax_regression import fit_softmax, log_probabilities


def columns(texts: Sequence[Sequence[str]], values: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """Values of the words of each text [text, word], added up by word (sorted); without `values` their counts."""
    words = {w: i for i, w in enumerate(sorted({w for text in texts for w in text}))}
    table = np.zeros((len(texts), len(words)))
    for i, text in enumerate(texts):
        own = np.ones(len(text)) if values is None else values[i]
        np.add.at(table[i], [words[w] for w in text], own)
    return table


def told(counts: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """What explanations leave of counts [text, word]."""
    up = np.maximum(scores, 0.0) * (counts > 0)
    total = up.sum(1, keepdims=True)
    share = np.divide(up, total, out=np.zeros_like(up), where=total > 0)
    return np.where(total > 0, share * counts.sum(1, keepdims=True), counts)


def foretold(
    counts: np.ndarray,
    labels: np.ndarray,
    new: np.ndarray,
    n_classes: int,
    scores: np.ndarray | None = None,
    strength: float = 1.0,
) -> np.ndarray:
    """What the reader says of `new` [text, word] after `counts` [text, word] with `labels`, explained by `scores` where given."""
    learned = counts if scores is None else told(counts, scores)
    weights = fit_softmax(learned, labels, n_classes, strength)
    return log_probabilities(new, weights).argmax(1)
