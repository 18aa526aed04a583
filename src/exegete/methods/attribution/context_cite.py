"""ContextCite: which sentences or documents of the context made the model say this?

1. the sources are the units (best: sentences or segments); of marked segments, those whose role is `role`;
2. leave out random halves of the sources, and ask for the log-odds of the whole continuation each time;
3. a sparse linear model (lasso) of which sources are there gives the scores, in log-odds;
4. other ablations, never fitted, say how well it predicts: R2 and rank correlation (linear datamodelling score).

Standard errors: bootstrap over ablations. With few sources every combination is asked, and nothing is held out.
Cost: n_ablations + n_held_out forwards.
Reference: Cohen-Wang et al. 2024, section 3 (eq. 2 and 3).
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.attribution.removing import RemovingMethod, active
from exegete.methods.contracts.attribution import Scores
from exegete.models.odds import log_odds, sides
from exegete.models.question import Question
from exegete.models.remove import Game, Removal
from exegete.ops.linear import r_squared
from exegete.ops.perturb import bernoulli, subsets
from exegete.ops.surrogate import Surrogate, rank_agreement

LEAST_FIT, LEAST_RANK = 0.3, 0.5
CONTEXT_ROLES = ("document", "context", "source", "demonstration")


@register
class ContextCite(RemovingMethod):
    """Sparse linear model of how leaving out sources changes the log-odds of what was said."""

    id: ClassVar[str] = "context_cite"
    family: ClassVar[str] = "surrogate"
    techniques: ClassVar[tuple[str, ...]] = ("D9",)
    reference: ClassVar[Reference] = Reference(
        authors="Cohen-Wang, Shah, Georgiev & Madry",
        year=2024,
        title="ContextCite: Attributing Model Generation to Context",
        where="arXiv:2409.00729",
        equation="section 3",
    )
    passes: ClassVar[str] = "n_ablations + n_held_out forwards"

    n_ablations: int = Field(
        64, ge=4, le=100_000, description="ablated contexts that the linear model is fitted to"
    )
    n_held_out: int = Field(
        16, ge=4, le=100_000, description="further ablated contexts that say how well it predicts"
    )
    alpha: float = Field(0.01, ge=0, description="strength of the lasso, sources standardised")
    role: str = Field(
        "auto",
        description="role of the segments that are sources; auto: document-like roles if any, else all",
    )

    removal: Removal = Field(
        "delete", description="how a source is left out: delete, mask, pad, unk, mean, zero, resample"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward an ablation (two in a contrast of several tokens)."""
        return min(self.n_ablations + self.n_held_out, 2 ** min(units, 62)) * self.repeats, 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Coefficients [R, U] and of the whole continuation [U], in log-odds; 0 for units that are no sources."""
        mine = self._sources(q, units)
        sources = tuple(u for u, m in zip(units, mine) if m)
        game = self._odds(q, sources)
        rng = generator(self.seed, self.id)
        keep, held = ablations(rng, len(sources), self.n_ablations, self.n_held_out)
        values, weights = game(keep), np.ones(len(keep))
        surrogate = Surrogate("lasso", self.alpha / 2)  # a half: masks have deviation 1/2
        fit = surrogate.fit(keep, values, weights, active(q, sources))
        stderr = surrogate.stderr(keep, values, weights, fit, rng) if len(held) else np.zeros(len(sources))
        checks = _fit_checks(game(held)[:, -1], fit(held)[:, -1]) if len(held) else ()
        notes = ["Scores are log-odds of the target, whatever its scale."]
        if not len(held):
            notes.append(
                f"All {len(keep)} combinations of sources were asked; none is left to test the fit on."
            )
        return Scores(
            total=_spread(fit.coef[:, -1:].T, mine)[0],
            each=_spread(fit.coef[:, :-1].T, mine),
            stderr=_spread(stderr[None], mine)[0],
            base_value=float(fit.intercept[-1]),
            checks=checks,
            notes=tuple(notes),
        )

    def _sources(self, q: Question, units: tuple[Unit, ...]) -> np.ndarray:
        """Which units are sources [U] bool."""
        roles = q.encoded.segment_roles
        names = [roles[u.segment] if 0 <= u.segment < len(roles) else "" for u in units]
        wanted = CONTEXT_ROLES if self.role == "auto" else (self.role,)
        mine = np.array([n in wanted for n in names])
        if mine.any():
            return mine
        if self.role == "auto":
            return np.ones(len(units), dtype=bool)
        raise UsageError(
            f"You asked for sources with the role {self.role!r}.",
            f"The units have the roles {', '.join(sorted({n or 'none' for n in names}))}.",
            "Name one of them, or mark the sources with Text.of_segments(Segment(text=..., role='document'), ...).",
        )

    def _odds(self, q: Question, sources: tuple[Unit, ...]) -> Callable[[np.ndarray], np.ndarray]:
        """Masks [V, sources] -> log-odds [V, R + 1] of every output and, last, of all together."""
        games = [Game(s, sources, self.removal, self.seed, self.draws) for s in sides(q)]

        def odds(keep: np.ndarray) -> np.ndarray:
            logs = [g(keep) for g in games]
            whole = log_odds(*(x.sum(1) for x in logs))[:, None]
            each = whole if len(logs) > 1 else log_odds(logs[0])
            return np.concatenate([each, whole], axis=1)

        return odds


def ablations(rng: np.random.Generator, n: int, fitted: int, held: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks to fit [k, n] and masks to test [h, n], without a common row; all 2^n and none where `fitted` covers them."""
    if n < 31 and 2**n <= fitted:
        return subsets(n), np.zeros((0, n), dtype=bool)
    keep = bernoulli(rng, fitted, n)
    known = {row.tobytes() for row in keep}
    fresh = {row.tobytes(): row for row in bernoulli(rng, 8 * held, n) if row.tobytes() not in known}
    return keep, np.array(list(fresh.values())[:held], dtype=bool).reshape(-1, n)


def _fit_checks(truth: np.ndarray, predicted: np.ndarray) -> tuple[Check, ...]:
    """R2 and rank correlation on held-out ablations."""
    fit, rank = r_squared(truth, predicted), rank_agreement(truth, predicted)
    words = "on ablations that were not fitted: {}; lower means that sources act together, not one by one"
    return (
        Check(
            name="held-out fit",
            value=fit,
            tolerance=LEAST_FIT,
            passed=fit >= LEAST_FIT,
            words=words.format("R2"),
        ),
        Check(
            name="held-out ranks",
            value=rank,
            tolerance=LEAST_RANK,
            passed=rank >= LEAST_RANK,
            words=words.format("Spearman correlation"),
        ),
    )


def _spread(scores: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """Scores [R, sources] at their units [R, U], 0 elsewhere."""
    out = np.zeros((len(scores), len(mine)))
    out[:, mine] = scores
    return out
