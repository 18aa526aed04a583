"""What weights say when they are read as tables: bigrams, skip-trigrams, and which heads copy."""

import numpy as np

from exegete.core.figure import AnyFigure, Grid, Table
from exegete.core.results.finding import Finding


class WeightTables(Finding):
    """Tables over tokens, from weights alone.

    `bigrams` are rows (token, what the direct path says next, its probability there, what the model says after the token
    alone, its probability, KL(model || table) in nats). `skip_trigrams` are rows (head, token read, tokens that look for it,
    tokens it raises, by how many logits, rank of the token itself among them from 0). `copying` [layer, head] in [-1, 1],
    `copying_shuffled` and `copying_random` the same with other tokens paired, and with randomised weights (NaN where skipped).
    `scale` is the scale of the final norm at which logits of heads are given; `distance_zero`: rotations of positions are left
    out of who looks for whom.
    """

    bigrams: tuple[tuple[str, str, float, str, float, float], ...]
    skip_trigrams: tuple[tuple[str, str, str, str, float, int], ...]
    copying: np.ndarray
    copying_shuffled: np.ndarray
    copying_random: np.ndarray
    scale: float
    distance_zero: bool

    def figures(self) -> tuple[AnyFigure, ...]:
        """Bigrams, skip-trigrams, copying and its control."""
        note = " Positions are rotations here: seen as at distance 0." if self.distance_zero else ""
        bigrams = Table(
            title="Bigrams: what the residual alone says next",
            caption="Embedding straight to unembedding, through the final norm as it stands there; beside it what the whole "
            "model says after the same token.",
            columns=("token", "table says", "probability", "model says", "its probability", "KL"),
            rows=self.bigrams,
        )
        trigrams = Table(
            title="Skip-trigrams: where a head reads a token, what it raises",
            caption=f"Logits at attention 1 and a final norm of scale {self.scale:.3g}, centred over the vocabulary, as if the "
            f"residual held nothing but the token. Looked for by: the queries that prefer it most over other tokens.{note}",
            columns=("head", "reads", "looked for by", "raises", "by (logits)", "rank of itself"),
            rows=self.skip_trigrams,
        )
        return (
            bigrams,
            trigrams,
            self._grid(
                "Copying",
                "1 where a head raises the very tokens it reads, -1 where it lowers them.",
                self.copying,
            ),
            self._grid(
                "Control: other tokens paired",
                "The same heads, input and output tokens shuffled.",
                self.copying_shuffled,
            ),
            self._grid(
                "Control: randomised weights",
                "The same with the entries of every weight shuffled.",
                self.copying_random,
            ),
        )

    def _grid(self, title: str, caption: str, values: np.ndarray) -> Grid:
        return Grid(
            title=title,
            caption=caption,
            values=values,
            rows=tuple(f"layer {i}" for i in range(values.shape[0])),
            columns=tuple(f"head {i}" for i in range(values.shape[1])),
            row_axis="layer",
            column_axis="head",
            unit="sum of eigenvalues / sum of their sizes",
            signed=True,
        )
