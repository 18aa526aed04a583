"""What a model edit is, as data: changed weights, edited sites, the model it was made for, and what it claims.

WeightDelta   what is added to one parameter, by its name, as two thin factors (rank-one and low-rank edits) or whole
SiteEdit      what becomes of the activations at one site while the edit is in place
ModelEdit     both, with the claim and its scores; `models.rewrite` applies and undoes it exactly
FactEdit      the edit that makes a model say other answers to facts, with what it did to each of them
"""

from typing import Literal

import numpy as np
from pydantic import model_validator

from exegete.core.errors import UsageError
from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding
from exegete.core.value import Value


class WeightDelta(Value):
    """What is added to the parameter called `parameter`, in the parameter's own orientation.

    `left` [rows, rank] @ `right` [rank, columns], or `whole` in the parameter's shape.
    """

    parameter: str
    left: np.ndarray | None = None
    right: np.ndarray | None = None
    whole: np.ndarray | None = None

    @model_validator(mode="after")
    def _one(self) -> "WeightDelta":
        factors = self.left is not None and self.right is not None
        if factors == (self.whole is not None) or (self.left is None) != (self.right is None):
            raise UsageError(
                f"You gave a change of the parameter {self.parameter!r}.",
                "It is neither two factors nor one whole tensor.",
                "Give `left` and `right`, or `whole`.",
            )
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the parameter it fits."""
        if self.left is not None and self.right is not None:
            return (self.left.shape[0], self.right.shape[1])
        return () if self.whole is None else self.whole.shape

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arrays it is made of."""
        return tuple(a for a in (self.left, self.right, self.whole) if a is not None)

    def dense(self) -> np.ndarray:
        """The change itself, in float64."""
        if self.left is not None and self.right is not None:
            return self.left.astype(np.float64) @ self.right.astype(np.float64)
        return np.zeros(()) if self.whole is None else self.whole.astype(np.float64)

    def norm(self) -> float:
        """Frobenius norm of the change; of factors without multiplying them out."""
        if self.left is not None and self.right is not None:
            left, right = self.left.astype(np.float64), self.right.astype(np.float64)
            return float(np.sqrt(max(0.0, float(((left.T @ left) * (right @ right.T)).sum()))))
        return float(np.linalg.norm(self.dense()))


class SiteEdit(Value):
    """What becomes of the activations at `site` (its printed name).

    how          add: plus `value`;  scale: times `value`;  set: `value` itself;
                 emphasise (patterns): attention to keys outside of `positions` times `value`, rows then sum to 1 again;
                 erase: x - ((x - mean) B^T) A, with `value` [1 + 2 k, d] the mean, the k rows of A, the k rows of B
    value        broadcasts to the place
    heads, units the part of the site concerned; `positions` of tokens; None: all of it
    """

    site: str
    how: Literal["add", "scale", "set", "emphasise", "erase"]
    value: np.ndarray
    heads: tuple[int, ...] | None = None
    units: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None


class ModelEdit(Finding):
    """A change to one model that can be saved, applied and taken back: what `models.rewrite` works with.

    `claim` says in one sentence what the edited model does otherwise; the scores of `trust` say how far that holds. The
    model it was made for is `provenance.fingerprint`. `shown` are the figures of the study that made it.
    """

    claim: str
    deltas: tuple[WeightDelta, ...] = ()
    sites: tuple[SiteEdit, ...] = ()
    shown: tuple[AnyFigure, ...] = ()

    @property
    def made_for(self) -> str:
        """Fingerprint of the model it was made for; "" when nobody said."""
        return self.provenance.fingerprint

    def figures(self) -> tuple[AnyFigure, ...]:
        """The study's own figures, then what is changed."""
        return (*self.shown, self.changes()) if self.deltas or self.sites else self.shown

    def changes(self) -> Table:
        """One row a changed parameter or edited site."""
        weights = [
            (d.parameter, _form(d), _shape(d.shape), float(d.norm()), "all inputs") for d in self.deltas
        ]
        sites = [
            (s.site, s.how, _shape(s.value.shape), float(np.linalg.norm(s.value)), _where(s))
            for s in self.sites
        ]
        return Table(
            title="What the edit changes",
            caption="One row a parameter or site. Norm: Frobenius norm of the change, or of the value of a site.",
            columns=("place", "change", "shape", "norm", "where"),
            rows=(*weights, *sites),
        )


class FactCase(Value):
    """What an edit did to one fact.

    `before` and `after` [prompt] are probabilities of (answer, new) for the prompt and then each paraphrase, shape [n, 2];
    `said` [n] whether the edited model's own first choice is the new answer. `kept` (neighbours answered rightly before,
    after) out of `n_neighbours`. `loss` on held-out texts, nats a token, and `entropy` of the n-grams of what it writes after
    the prompt, bits, are (before, after). `deltas`: its own change.
    """

    name: str
    prompt: str
    subject: str
    answer: str
    new: str
    before: np.ndarray
    after: np.ndarray
    said: tuple[bool, ...]
    kept: tuple[int, int]
    n_neighbours: int
    loss: tuple[float, float]
    entropy: tuple[float, float] = (float("nan"), float("nan"))
    deltas: tuple[WeightDelta, ...] = ()


class FactEdit(ModelEdit):
    """Facts rewritten by rank-one changes of one layer's down projection.

    `together`: the facts were edited one after the other, and every case is measured with all changes in place. Otherwise
    each case is an edit of its own, measured alone; `only(i)` is that edit, and `deltas` are empty unless there is one.
    `token` says whose key is written to: the subject's last token, or the prompt's.
    """

    layer: int
    token: Literal["subject", "last"]
    together: bool
    cases: tuple[FactCase, ...]

    def only(self, i: int) -> "FactEdit":
        """The edit of case `i` alone, ready to be applied. Raises `UsageError` for edits that were made together."""
        if self.together and len(self.cases) > 1:
            raise UsageError(
                f"You asked for edit {i} of {len(self.cases)} that were made one on top of the other.",
                "Each was computed on the model that the ones before it left behind.",
                "Apply them all, or make them independently (together=False).",
            )
        case = self.cases[i]
        claim = f"{case.prompt!r} is completed by {case.new!r} rather than {case.answer!r}"
        return self.model_copy(update={"cases": (case,), "deltas": case.deltas, "claim": claim})

    def figures(self) -> tuple[AnyFigure, ...]:
        """What happened to each fact, the study's curves, then the changed parameters."""
        return (self._facts(), *super().figures())

    def _facts(self) -> Table:
        rows = tuple(
            (
                c.prompt,
                c.answer,
                c.new,
                float(c.before[0, 1]),
                float(c.after[0, 1]),
                f"{sum(c.said[1:])} of {len(c.said) - 1}",
                f"{c.kept[1]} of {c.kept[0]}",
                c.loss[1] - c.loss[0],
                c.entropy[1] - c.entropy[0] if np.isfinite(sum(c.entropy)) else None,
            )
            for c in self.cases
        )
        return Table(
            title="What became of each fact",
            caption="P: probability of the new answer. Paraphrases: answered with the new answer. Neighbours: other facts "
            "that were right before and still are. Loss: change on held-out texts, nats a token. Variety: change of the n-gram "
            "entropy of what it writes after the prompt, bits.",
            columns=(
                "prompt",
                "was",
                "new",
                "P before",
                "P after",
                "paraphrases",
                "neighbours",
                "loss",
                "variety",
            ),
            rows=rows,
        )


def _form(delta: WeightDelta) -> str:
    return "whole" if delta.left is None else f"rank {delta.left.shape[1]}"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "1"


def _where(s: SiteEdit) -> str:
    parts = [
        f"{word} {', '.join(map(str, found[:8]))}{' ...' if len(found) > 8 else ''}"
        for word, found in (("heads", s.heads), ("units", s.units), ("positions", s.positions))
        if found is not None
    ]
    return "; ".join(parts) or "everywhere"
