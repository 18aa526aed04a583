"""A head that chooses among the options of a question, learned from other questions: a conditional logit.

    log P(o | question) = w . f(question, o) - log sum over the question's options of exp(w . f(question, o'))

f are named numbers an option, so that questions may have options of their own; names that no training question has are left out.
`word_features` makes them of texts: for each text which of its words stands beside which option (with the same options everywhere that is
softmax regression on bags of words), whether the text names the option, and whether it names it last. The head is linear: it does not see
what two texts say only together.

1. loss: sum over questions of -log P(right) + strength / 2 |w|^2, strictly convex, by L-BFGS from 0;
2. `held_out`: every part is predicted by a head that is fitted to the others.

Cost: a step is two sparse products. Shapes: x [option of any question, d], sizes [question], w [d]; log P [question][option], nats.
Reference: McFadden 1974, "Conditional logit analysis of qualitative choice behavior".
"""

import re
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array

Features = Mapping[Hashable, float]
_WORD = re.compile(r"\w+")


def fit_choice(x: csr_array, sizes: np.ndarray, right: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Weights [d] of the penalised fit to questions with `sizes` options each, of which number `right` is right."""
    start = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    hot = np.zeros(int(sizes.sum()))
    hot[start + right] = 1.0

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        logs = _normal(x @ w, start, sizes)
        grad = x.T @ (np.exp(logs) - hot) + strength * w
        return float(-(logs * hot).sum() + 0.5 * strength * (w * w).sum()), grad

    options = {"maxiter": 500, "gtol": 1e-5, "ftol": 1e-10}
    first = np.zeros((x.T @ hot).shape)
    return minimize(loss, first, jac=True, method="L-BFGS-B", options=options).x


def log_choice(x: csr_array, sizes: np.ndarray, w: np.ndarray) -> list[np.ndarray]:
    """log P [question][option]."""
    ends = np.cumsum(sizes)
    logs = _normal(x @ w, np.concatenate([[0], ends[:-1]]).astype(np.int64), sizes)
    return np.split(logs, ends[:-1])


def held_out(
    rows: Sequence[Sequence[Features]], right: np.ndarray, parts: Sequence[np.ndarray], strength: float = 1.0
) -> list[np.ndarray]:
    """log P [question][option] of every question by a head fitted to the questions of the other parts."""
    found: list[np.ndarray] = [np.zeros(0)] * len(rows)
    for part in parts:
        rest = np.setdiff1d(np.arange(len(rows)), part)
        names: dict[Hashable, int] = {}
        for i in rest:
            for option in rows[i]:
                for name in option:
                    names.setdefault(name, len(names))
        x, sizes = _matrix([rows[i] for i in rest], names)
        w = fit_choice(x, sizes, np.asarray(right)[rest], strength)
        for i, logs in zip(part, log_choice(*_matrix([rows[i] for i in part], names), w)):
            found[i] = logs
    return found


def word_features(texts: Mapping[str, str], options: Sequence[str]) -> list[Features]:
    """Features of every option from named texts. Words are compared without regard to case."""
    words = {name: sorted(set(_WORD.findall(text.lower()))) for name, text in texts.items()}
    places = {name: [_last(o, text) for o in options] for name, text in texts.items()}
    found: list[Features] = []
    for k, o in enumerate(options):
        mine: dict[Hashable, float] = {("is", o): 1.0}
        for name in texts:
            mine |= {(name, w, o): 1.0 for w in words[name]}
            at = places[name][k]
            if at >= 0:
                mine[name, "named"] = 1.0
                if at == max(places[name]):
                    mine[name, "named last"] = 1.0
        found.append(mine)
    return found


def _last(option: str, text: str) -> int:
    """Where an option stands for the last time as such; -1 where it does not."""
    hits = [m.end() for m in re.finditer(rf"(?<!\w){re.escape(option)}(?!\w)", text, re.IGNORECASE)]
    return hits[-1] if hits else -1


def _matrix(
    rows: Sequence[Sequence[Features]], names: Mapping[Hashable, int]
) -> tuple[csr_array, np.ndarray]:
    """All options of all questions under one another, and how many each question has."""
    at, column, value = [], [], []
    flat = [option for row in rows for option in row]
    for r, option in enumerate(flat):
        for name, v in option.items():
            if name in names:
                at.append(r)
                column.append(names[name])
                value.append(v)
    x = csr_array((value, (at, column)), shape=(len(flat), len(names)), dtype=np.float64)
    return x, np.array([len(row) for row in rows])


def _normal(scores: np.ndarray, start: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Log-softmax of scores [option] within each question."""
    top = np.repeat(np.maximum.reduceat(scores, start), sizes)
    total = np.add.reduceat(np.exp(scores - top), start)
    return scores - top - np.repeat(np.log(total), sizes)
