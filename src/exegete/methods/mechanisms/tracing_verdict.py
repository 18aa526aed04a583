"""What traced facts come to: averages by role of the token, scores with chance and control, and words. No pass of the model.

The layer of a score is chosen on the other facts, one fact at a time left out, so that the choice is not scored on itself.
Chance is the mean effect of all places of a kind at which a change can have an effect; of a single fact, whose own best layer is
taken, that of all tokens at which it can, each at its own best layer.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from exegete.core.material import Fact
from exegete.core.results.tracing import ROLES, CausalTrace, FactTrace
from exegete.core.trust import Score, Trust
from exegete.methods.mechanisms.traced_fact import Places, Traced
from exegete.ops.stats import best_crowd, bootstrap_mean, midrank_percentile, share_interval

OTHER = "the same place of another subject's run"
SPOTS = ("the subject's last token", "the last token")
WORDS = {"residual": "residual", "attention": "attention", "mlp": "feed-forward parts"}


def finding(
    found: Sequence[Traced], places: Places, sigma: float, failed: Sequence[tuple[Fact, str]]
) -> CausalTrace:
    """The finding of all traced facts."""
    by_role = np.stack([_by_role(t) for t in found])  # [fact, kind, layer, role]
    there = np.isfinite(by_role[:, 0, 0])  # [fact, role]
    keep = there.any(0)
    by_role, there = by_role[..., keep], there[:, keep]
    low, high = _intervals(by_role)
    other = np.stack([t.other for t in found])
    scores = tuple(_score(found, other, k, spot, len(failed)) for k, spot in _scored(places.kinds))
    shared = _shared(found, places.kinds, len(failed))
    return CausalTrace(
        title="Where does the model look a fact up?" if len(found) > 1 else "Where does the model look this fact up?",
        lede=_lede(found, scores, len(failed)),
        kinds=places.kinds,
        layers=tuple(f"layer {i}" for i in range(places.n_layers)),
        roles=tuple(r for r, k in zip(ROLES, np.atleast_1d(keep).tolist()) if k),
        n_role=tuple(there.sum(0).tolist()),
        window=places.window,
        noise=sigma,
        effect=_mean(by_role),
        low=low,
        high=high,
        other=_mean(other),
        cases=tuple(_case(t) for t in found),
        checks=tuple({c.name: c for t in found for c in sorted(t.checks, key=lambda c: c.value)}.values()),
        trust=Trust(scores=(*scores, *shared), notes=_notes(failed)),
    )  # fmt: skip


def _by_role(t: Traced) -> np.ndarray:
    """Mean effect [kind, layer, role] over the tokens of each role; NaN where the fact has none."""
    roles = np.array(t.read.roles)
    columns = [
        t.effect[..., roles == r].mean(-1) if (roles == r).any() else np.full(t.effect.shape[:2], np.nan)
        for r in ROLES
    ]
    return np.stack(columns, -1)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over facts, NaN left out; NaN where nothing is left."""
    n = np.isfinite(values).sum(0)
    return np.where(n > 0, np.nansum(values, 0) / np.maximum(n, 1), np.nan)


def _intervals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of the mean over facts of each place; NaN where fewer than two facts have it."""
    low, high = np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
    for at in np.ndindex(values.shape[1:]):
        x = values[(slice(None), *at)]
        interval = bootstrap_mean(x[np.isfinite(x)])
        if interval is not None:
            low[at], high[at] = interval
    return low, high


def _scored(kinds: Sequence[str]) -> list[tuple[tuple[int, str], int]]:
    """((kind's index, kind), spot) of each score. The residual at the last token is not one: it holds all that is said."""
    each = [((k, kind), spot) for spot in range(2) for k, kind in enumerate(kinds)]
    return [(kind, spot) for kind, spot in each if (kind[1], spot) != ("residual", 1)]


def _score(
    found: Sequence[Traced], other: np.ndarray, which: tuple[int, str], spot: int, n_failed: int
) -> Score:
    """The effect of a kind at a spot, at the layer that is best on the other facts."""
    k, kind = which
    layers, values = _held_out(np.stack([t.effect[k][:, t.read.spots[spot]] for t in found]))
    places = [t.effect[k][:, t.start :] for t in found]
    if len(found) == 1:  # its layer is its own best: every token gets that choice
        places = [places[0].max(0)]
    control = other[np.arange(len(found)), k, layers, spot]
    controlled = bool(np.isfinite(control).all())
    return Score(
        name=f"{WORDS[kind]} put back at {SPOTS[spot]}, layer {_commonest(layers)}",
        value=float(values.mean()),
        chance=float(np.mean([p.mean() for p in places])),
        control=float(control.mean()) if controlled else None,
        control_name=OTHER if controlled else "",
        skipped="" if controlled else "no other subject with another answer was given",
        interval=bootstrap_mean(values),
        percentile=midrank_percentile(float(values[0]), places[0]) if len(found) == 1 else None,
        crowd=best_crowd(float(values[0]), places[0]) if len(found) == 1 else None,
        n=len(found),
        n_failed=n_failed,
    )


def _held_out(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(layer [fact] that is best on the other facts, the fact's own value there [fact]); of one fact its own best."""
    total = values.sum(0)
    layers = np.array([int((total - own if len(values) > 1 else own).argmax()) for own in values])
    return layers, values[np.arange(len(values)), layers]


def _shared(found: Sequence[Traced], kinds: Sequence[str], n_failed: int) -> tuple[Score, ...]:
    """How many facts have their strongest feed-forward place at the token of the role that most other facts have it at."""
    if "mlp" not in kinds or len(found) == 1:
        return ()
    k = list(kinds).index("mlp")
    best = [t.read.roles[int(t.effect[k].max(0)[t.start :].argmax()) + t.start] for t in found]
    every = Counter(best)
    chosen = [(every - Counter([b])).most_common(1)[0][0] for b in best]
    hit = np.array([b == c for b, c in zip(best, chosen)], dtype=np.float64)
    return (
        Score(
            name=f"facts whose strongest feed-forward place is at the token {every.most_common(1)[0][0]!r}",
            value=float(hit.mean()),
            chance=float(np.mean([_share(t, c) for t, c in zip(found, chosen)])),
            interval=share_interval(hit),
            n=len(found),
            n_failed=n_failed,
        ),
    )


def _share(t: Traced, role: str) -> float:
    """The share of a fact's tokens that have a role."""
    roles = t.read.roles[t.start :]
    return roles.count(role) / len(roles)


def _commonest(layers: np.ndarray) -> int:
    return int(np.bincount(layers).argmax())


def _lede(found: Sequence[Traced], scores: Sequence[Score], n_failed: int) -> str:
    """What was found, and whether it beats chance and control."""
    clean, noisy = (float(np.mean(x)) for x in ([t.read.clean for t in found], [t.noisy for t in found]))
    many = f"Over {len(found)} facts noise" if len(found) > 1 else "Noise"
    words = [f"{many} on the subject takes the answer from {clean:.1%} to {noisy:.1%}."]
    order = sorted(scores, key=lambda s: -s.value)
    stand = [s for s in order if s.beats_chance and s.beats_control is not False]
    open_ = [s for s in order if s.undecided]
    rest = [s for s in order if s not in stand and s not in open_]
    if stand:
        words.append(f"What brings it back: {'; '.join(_beside(s) for s in stand)}.")
    if open_:
        words.append(
            f"With so few tokens it cannot be told from a random place: {'; '.join(map(_beside, open_))}."
        )
    if rest:
        words.append(
            f"No more than a random place or the control: {'; '.join(f'{s.name} ({s.value:.1%})' for s in rest)}."
        )
    if clean - noisy < 0.1 * clean:
        words.append("The noise hardly hides the subject, so there is little to bring back.")
    if n_failed:
        words.append(f"{n_failed} {'fact was' if n_failed == 1 else 'facts were'} not traced.")
    return " ".join(words)


def _beside(s: Score) -> str:
    """A score with what stands beside it."""
    control = f", {OTHER} {s.control:.1%}" if s.control is not None else ""
    return f"{s.name} ({s.value:.1%}; a random place {s.chance:.1%}{control})"


def _notes(failed: Sequence[tuple[Fact, str]]) -> tuple[str, ...]:
    shown = tuple(f"{fact.prompt!r} was not traced: {why}" for fact, why in failed[:5])
    return shown + ((f"And {len(failed) - 5} more.",) if len(failed) > 5 else ())


def _case(t: Traced) -> FactTrace:
    aim = t.read.aim
    tokens = [tok.text for tok in aim.encoded[0].tokens]
    n = len(t.read.roles)
    return FactTrace(
        name=t.read.fact.prompt,
        answer=t.read.fact.answer,
        tokens=tuple((tokens + list(aim.tokens[0][len(tokens) :]))[:n]),
        roles=t.read.roles,
        clean=t.read.clean,
        noisy=t.noisy,
        effect=t.effect,
    )
