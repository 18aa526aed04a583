"""Input marginalisation: what would the model say, on average, had any fitting word stood here?

1. a language model gives the distribution of what could stand in a unit's place (token by token, each given those before);
2. candidates less probable than `threshold` are dropped, the rest are put in, and their probabilities rescaled to one;
3. p(y | without the unit) = sum over candidates of p(candidate) p(y | text with the candidate);
4. score = log-odds p(y | text) - log-odds p(y | without the unit); in a contrast log p(y) / p(foil) takes their place.

No unnatural text (masked, cut) is ever shown to the model. The kept share of the distribution is a self-check.
Masked models and causal models are their own language model (a causal one knows only what stands before); classifiers
need one that reads the same tokens.
Cost: at most n_units x max_candidates forwards, and one of the language model a unit (more for units of several tokens).
Reference: Kim et al. 2020, eq. 4 and 6.
"""

from typing import ClassVar

import numpy as np
from pydantic import Field
from scipy.special import logsumexp

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.contracts.attribution import AttributionMethod, Scores
from exegete.models.infill import EMBEDDED, barred, filler, language_model
from exegete.models.model import Model
from exegete.models.odds import log_odds, sides
from exegete.models.question import Question

LEAST_KEPT = 0.5


@register
class InputMarginalisation(AttributionMethod):
    """Log-odds of the target minus those with the unit averaged over what a language model would put in its place."""

    id: ClassVar[str] = "input_marginalisation"
    family: ClassVar[str] = "perturbation"
    techniques: ClassVar[tuple[str, ...]] = ("A8",)
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "sequence", "token")
    reference: ClassVar[Reference] = Reference(
        authors="Kim, Yi, Kim & Yoon",
        year=2020,
        title="Interpretation of NLP models through input marginalization",
        where="arXiv:2010.13984",
        equation="eq. 4, 6",
    )
    passes: ClassVar[str] = "n_units x (candidates + 1) forwards"

    infill: str = Field(
        "auto",
        description="language model, by name or path; auto: the model itself, for classifiers the embedded encoder",
    )
    threshold: float = Field(1e-3, ge=0, lt=1, description="candidates less probable than this are dropped")
    max_candidates: int = Field(100, ge=1, le=100_000, description="most candidates tried for one unit")

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward a candidate and, in units of two tokens, one of the language model a candidate."""
        return units * (2 * self.max_candidates + 1), 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Differences of log-odds [R, U] and for the total [U]."""
        own = q.model.task in ("causal", "masked")
        name = self.infill if self.infill != "auto" else "self" if own else EMBEDDED
        model = language_model(q.model, name)
        asked = sides(q)
        whole = _odds([s.value()[None] for s in asked], np.zeros(1))
        rows, kept = [], []
        for unit in units:
            texts, log_p, share = self._candidates(q, model, unit)
            rows.append(whole - _odds([s.ask(texts) for s in asked], log_p))
            kept.append(share)
        found, least = np.array(rows), float(min(kept))
        words = "smallest share of a filler distribution that was tried; below, lower `threshold`, raise `max_candidates`"
        return Scores(
            total=found[:, -1],
            each=np.where(q.available(units), found[:, :-1].T, 0.0),
            checks=(
                Check(
                    name="fillers kept",
                    value=least,
                    tolerance=LEAST_KEPT,
                    passed=least >= LEAST_KEPT,
                    words=words,
                ),
            ),
            notes=(
                "Scores are log-odds of the target, whatever its scale.",
                f"Fillers come from {model.name}; {np.mean(kept):.0%} of their probability was tried (least {least:.0%}).",
            ),
        )

    def _candidates(self, q: Question, model: Model, unit: Unit) -> tuple[np.ndarray, np.ndarray, float]:
        """Texts with the unit replaced [c, S], their log-probabilities [c] summing to one, and the share that was kept."""
        texts, log_p = q.ids[None].copy(), np.zeros(1)
        for k, place in enumerate(unit.tokens):
            joint = log_p[:, None] + filler(model, texts, place, unit.tokens[k:], q.meter)
            joint[:, barred(q.model, joint.shape[1])] = -np.inf
            flat = joint.ravel()
            order = np.argsort(-flat, kind="stable")[: self.max_candidates]
            order = order[: max(1, int((flat[order] >= np.log(max(self.threshold, 1e-300))).sum()))]
            texts, log_p = texts[order // joint.shape[1]], flat[order]
            texts[:, place] = order % joint.shape[1]
        share = float(np.exp(logsumexp(log_p)))
        return texts, log_p - logsumexp(log_p), share


def _odds(logs: list[np.ndarray], log_p: np.ndarray) -> np.ndarray:
    """Log-odds [R + 1] of outputs and, last, their total, from log-probabilities [c, R] averaged over candidates [c]."""
    whole = [logsumexp(x.sum(1) + log_p) for x in logs]
    total = log_odds(*(np.array([w]) for w in whole))
    each = total if len(logs) > 1 else log_odds(logsumexp(logs[0] + log_p[:, None], axis=0))
    return np.concatenate([each, total])
