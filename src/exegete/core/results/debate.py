"""What the attention debate finds: is attention an explanation of this model on these texts?"""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table
from exegete.core.results.finding import Finding


class AttentionPermutation(Finding):
    """What changes when attention is shuffled, and whether attention orders tokens as other measures do.

    `texts` name the texts. `tvd` and `noise` [text]: total variation distance of the output from the model's own, median over
    permutations, when all attention is shuffled, and when every head's output is changed as much in a random direction.
    `layer_tvd` and `layer_noise` [text, layer]: the same for one layer. `tau_gradient` and `tau_removal` [text] are
    Kendall's tau of attention with |gradient x embedding| and with the change when a token is deleted; `twin_gradient` and
    `twin_removal` those of the attention of the model with randomised weights (NaN where skipped).
    """

    texts: tuple[str, ...]
    tvd: np.ndarray
    noise: np.ndarray
    layer_tvd: np.ndarray
    layer_noise: np.ndarray
    tau_gradient: np.ndarray
    tau_removal: np.ndarray
    twin_gradient: np.ndarray
    twin_removal: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """The layers, then the texts."""
        n = self.layer_tvd.shape[1]
        curve = Curves(
            title="Change of the output when the attention of one layer is shuffled",
            caption="Mean over texts of the median over permutations.",
            x=np.arange(n, dtype=np.float64),
            x_axis="layer",
            y_axis="total variation distance",
            x_names=tuple(f"layer {k}" for k in range(n)),
            series=(
                Series(name="shuffled attention", y=_mean(self.layer_tvd)),
                Series(name="random change of the same length", y=_mean(self.layer_noise), control=True),
            ),
        )
        columns = ("text", "TVD shuffled", "TVD random change", "tau with gradient", "tau with removal")
        rows = zip(self.texts, self.tvd, self.noise, self.tau_gradient, self.tau_removal)
        table = Table(title="Text by text", columns=columns, rows=tuple(_row(r) for r in rows))
        return (curve, table) if n else (table,)


class AdversarialAttention(Finding):
    """Attention as different as possible that leaves the output within `eps`.

    `jsd` [text]: Jensen-Shannon divergence (nats, at most ln 2) of the adversarial attention from the model's own, mean over
    layers, heads and read queries; `tvd` [text] the change of the output, never above `eps`. `random_jsd` [text]: the
    divergence that random attention reaches within `eps`; `random_tvd` [text] the change under random attention as
    divergent as the adversarial one. `tokens`, `own`, `other` [tok] show the text with the largest divergence.
    """

    texts: tuple[str, ...]
    eps: float
    jsd: np.ndarray
    tvd: np.ndarray
    random_jsd: np.ndarray
    random_tvd: np.ndarray
    tokens: tuple[str, ...]
    own: np.ndarray
    other: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """The most different attention found, then the texts."""
        shown = Table(
            title="The same output from another attention",
            caption="Mean over layers and heads, from the query whose output is measured; the text that allows most.",
            columns=("token", "the model's attention", "adversarial attention"),
            rows=tuple(_row(r) for r in zip(self.tokens, self.own, self.other)),
        )
        columns = ("text", "JSD", "TVD", "JSD random attention reaches", "TVD of random attention as far")
        rows = zip(self.texts, self.jsd, self.tvd, self.random_jsd, self.random_tvd)
        return (shown, Table(title="Text by text", columns=columns, rows=tuple(_row(r) for r in rows)))


class AttentionErasure(Finding):
    """How many tokens must lose their attention until the decision flips, in several orders.

    `orders` name the orders, the last one random; `fraction` [order, text] is the share of the tokens erased at the flip
    (1 where it never flips, random: mean of the draws); `never` [order] the share of texts whose decision never flips.
    """

    texts: tuple[str, ...]
    orders: tuple[str, ...]
    fraction: np.ndarray
    never: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """Share of texts flipped, by share of tokens erased; then the texts."""
        x = np.linspace(0, 1, 21)
        series = tuple(
            Series(
                name=o,
                y=(f[None] <= x[:, None] + 1e-9).mean(1) - (x >= 1) * self.never[i],
                control=o == "random",
            )
            for i, (o, f) in enumerate(zip(self.orders, self.fraction))
        )
        curve = Curves(
            title="How soon the decision flips",
            caption="A good order flips it early: with few tokens erased from attention.",
            x=x,
            x_axis="share of tokens erased",
            y_axis="share of texts flipped",
            series=series,
        )
        rows = tuple(_row((t, *f)) for t, f in zip(self.texts, self.fraction.T))
        return (curve, Table(title="Share erased at the flip", columns=("text", *self.orders), rows=rows))


class AttentionBaselines(Finding):
    """What is lost when the learned attention is replaced by one that has not read the text.

    `kinds` name the replacements; `changed` [kind, text]: total variation distance of the output; `flipped` [kind, text]: 1
    where the decision changes; `loss` [kind, text]: how much log-probability the model's own answer loses; `noise_changed`,
    `noise_flipped` [kind, text]: the same for random changes of the same length of every head's output. `layer_changed`
    [kind, layer] is the mean distance when one layer is replaced, `layer_noise` its control. `models` name other
    checkpoints, `between` [model, text] the Jensen-Shannon divergence of their token weights from this model's, `twin`
    [text] that of the model with randomised weights.
    """

    texts: tuple[str, ...]
    kinds: tuple[str, ...]
    changed: np.ndarray
    flipped: np.ndarray
    loss: np.ndarray
    noise_changed: np.ndarray
    noise_flipped: np.ndarray
    layer_changed: np.ndarray
    layer_noise: np.ndarray
    models: tuple[str, ...] = ()
    between: np.ndarray
    twin: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """By layer, then all layers at once, then other checkpoints."""
        n = self.layer_changed.shape[1]
        series = [
            s
            for kind, y, noise in zip(self.kinds, self.layer_changed, self.layer_noise)
            for s in (Series(name=kind, y=y), Series(name=f"{kind}: random change", y=noise, control=True))
        ]
        curve = Curves(
            title="Attention of one layer replaced",
            caption="Mean total variation distance of the output; muted: random changes of the same length.",
            x=np.arange(n, dtype=np.float64),
            x_axis="layer",
            y_axis="total variation distance",
            x_names=tuple(f"layer {k}" for k in range(n)),
            series=tuple(series),
        )
        columns = (
            "attention",
            "TVD",
            "decisions changed",
            "log-probability lost",
            "decisions changed by random changes",
        )
        numbers = (self.changed, self.flipped, self.loss, self.noise_flipped)
        rows = [_row((k, *(_mean(x.T)[i] for x in numbers))) for i, k in enumerate(self.kinds)]
        whole = Table(title="Attention of all layers replaced", columns=columns, rows=tuple(rows))
        if not self.models:
            return (curve, whole)
        others = [_row((m, _mean(b[:, None])[0])) for m, b in zip(self.models, self.between)]
        others.append(_row(("randomised weights", _mean(self.twin[:, None])[0])))
        return (
            curve,
            whole,
            Table(title="Attention of other checkpoints", columns=("model", "JSD"), rows=tuple(others)),
        )


class PolarityViolation(Finding):
    """Does removing the token with the largest score move the output where the sign of the score says?

    `scores` name the measures; `violated` [score, text] is 1 where it moves the other way (one half where it does not move); `chance` [score, text] the share
    of tokens of the text for which it does. `top` [score][text] is the token looked at, `effect` [score, text] what the
    measured value loses without it.
    """

    texts: tuple[str, ...]
    scores: tuple[str, ...]
    violated: np.ndarray
    chance: np.ndarray
    top: tuple[tuple[str, ...], ...]
    effect: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """The ratios, then the texts of the first score."""
        columns = ("score", "violations", "of a random token")
        rows = tuple(
            _row((s, v.mean(), c.mean())) for s, v, c in zip(self.scores, self.violated, self.chance)
        )
        whole = Table(title="Share of texts where the sign is wrong", columns=columns, rows=rows)
        first = zip(self.texts, self.top[0], self.effect[0], self.violated[0])
        return (
            whole,
            Table(
                title=f"Text by text: {self.scores[0]}",
                columns=("text", "most attended token", "value lost without it", "violated"),
                rows=tuple(_row(r) for r in first),
            ),
        )


class AttentionDebate(Finding):
    """The tests of the debate in one place. `tests`, `questions`, `answers` (yes, no, undecided) and `reasons` go together.

    `verdict` says whether attention may be read as explanation here.
    """

    tests: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    reasons: tuple[str, ...]
    verdict: str

    def figures(self) -> tuple[AnyFigure, ...]:
        """The tests as a table."""
        rows = tuple(zip(self.questions, self.answers, self.reasons, self.tests))
        return (
            Table(
                title="May attention be read as explanation here?",
                caption="Yes speaks for reading attention as explanation, no against it.",
                columns=("question", "answer", "because", "test"),
                rows=rows,
            ),
        )


def _mean(x: np.ndarray) -> np.ndarray:
    """Mean over the first axis, leaving out NaN; NaN where nothing is left."""
    there = np.isfinite(x)
    n = there.sum(0)
    return np.where(n > 0, np.where(there, x, 0.0).sum(0) / np.maximum(n, 1), np.nan)


def _row(cells: tuple) -> tuple:
    """Cells of a table: plain numbers, None for NaN."""
    return tuple(c if isinstance(c, str) else None if np.isnan(c) else float(c) for c in cells)
