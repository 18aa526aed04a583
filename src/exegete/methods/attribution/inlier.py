"""Inlier-weighted perturbation: random removals, where unnatural texts count less.

1. keep every unit with probability `keep_probability`, in n_samples random texts x_m;
2. weight each by how natural it is compared with the whole text, w = min(1, exp((s(x_m) - s(x)) / temperature)); s is
   the mean log-probability a token under a language model (`judge`), or, for a classifier without one, the energy of
   its logits (log-sum-exp), which falls on inputs unlike those it was trained on;
3. score of unit i = mean_w f(texts with i) - mean_w f(texts without i). This is cov_w(f, m_i) / var_w(m_i): the weighted
   sum of w f m of the reference, freed of its constant.

Cost: n_samples forwards, with a judge also its passes (one a text, four for a masked model).
Reference: Qiu et al. 2021, section IV (weights for RISE); energy: Liu et al. 2020, eq. 4.
"""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from scipy.special import logsumexp

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.contracts.attribution import AttributionMethod, Scores
from exegete.models.infill import FOLDS, language_model, naturalness
from exegete.models.question import Branch, Question
from exegete.models.remove import Game, token_id
from exegete.models.scale import score
from exegete.ops.perturb import bernoulli
from exegete.ops.surrogate import contrast, effective

LEAST_EFFECTIVE = 20.0


@register
class Inlier(AttributionMethod):
    """How much the output differs with and without a unit over random removals, natural texts counting most."""

    id: ClassVar[str] = "inlier"
    family: ClassVar[str] = "perturbation"
    techniques: ClassVar[tuple[str, ...]] = ("A6",)
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "sequence", "token")
    reference: ClassVar[Reference] = Reference(
        authors="Qiu et al.",
        year=2021,
        title="Resisting Out-of-Distribution Data Problem in Perturbation of XAI",
        where="arXiv:2107.14000",
        equation="section IV",
    )
    passes: ClassVar[str] = "n_samples forwards, and those of the judge"

    n_samples: int = Field(256, ge=16, le=1_000_000, description="perturbed texts")
    keep_probability: float = Field(0.7, gt=0.02, lt=0.98, description="probability that a unit is kept")
    temperature: float = Field(
        1.0, gt=0, description="difference in naturalness at which a text counts 1/e; large: all alike"
    )
    judge: str = Field(
        "auto",
        description="language model, by name or path; auto: the model itself (a classifier: its energy)",
    )
    removal: Literal["auto", "mask", "delete", "pad", "unk"] = Field(
        "auto", description="how a unit is removed"
    )
    seed: int = Field(0, ge=0, description="seed of the perturbed texts")

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward a text, and as many as a masked judge takes."""
        return (self.n_samples + 1) * (1 + FOLDS), 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Weighted differences [R, U], of the total [U], and their standard errors [U]."""
        keep = bernoulli(generator(self.seed, self.id), self.n_samples, len(units), self.keep_probability)
        keep = np.concatenate([np.ones((1, len(units)), dtype=bool), keep])
        language = q.model.task in ("causal", "masked")
        if self.judge == "auto" and not language:
            values, natural, who = self._by_energy(q, units, keep)
        else:
            values, natural, who = self._by_likelihood(q, units, keep)
        weights = np.minimum(1.0, np.exp((natural - natural[0]) / self.temperature))[1:]
        columns = np.column_stack([values, q.total(values)])[1:]
        found, stderr = contrast(keep[1:], columns, weights)
        size = effective(weights)
        words = (
            "(sum w)^2 / sum w^2: how many texts the weights leave; below, raise n_samples or the temperature"
        )
        return Scores(
            total=found[:, -1],
            each=np.where(q.available(units), found[:, :-1].T, 0.0),
            stderr=stderr[:, -1],
            checks=(
                Check(
                    name="effective samples",
                    value=size,
                    tolerance=LEAST_EFFECTIVE,
                    passed=size >= min(LEAST_EFFECTIVE, self.n_samples / 2),
                    words=words,
                ),
            ),
            notes=(f"Naturalness is {who}.",),
        )

    def _by_energy(
        self, q: Question, units: tuple[Unit, ...], keep: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Output values [V, R] and energies [V] of a classifier, from the same passes."""
        row = q.branches[0].rows[0]
        classes = Branch(tuple(replace(row, id=c, foil=None) for c in range(len(q.model.labels))))
        asked = replace(q, branches=(classes,), scale="logit", _memo={}, _answers={})
        logits = Game(asked, units, self.removal)(keep)
        values = score(torch.from_numpy(logits)[:, None], q.branches[0].rows, q.scale).numpy()
        return values, np.asarray(logsumexp(logits, axis=1)), "the energy of the classifier's own logits"

    def _by_likelihood(
        self, q: Question, units: tuple[Unit, ...], keep: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Output values [V, R] and the judge's mean log-probability a token [V]."""
        judge = language_model(q.model, "self" if self.judge == "auto" else self.judge)
        game = Game(q, units, self.removal)
        slots = game.slots(keep)
        if game.how == "delete":
            texts = [q.ids[s] for s in slots]
        else:
            texts = list(np.where(slots, q.ids, token_id(q, game.how)))
        seen: dict[bytes, float] = {}
        fresh = {t.tobytes(): t for t in texts}
        seen.update(zip(fresh, naturalness(judge, list(fresh.values()), q.meter)))
        return game(keep), np.array([seen[t.tobytes()] for t in texts]), f"the likelihood under {judge.name}"
