"""What traced facts come to: averages by role of the token, scores with chance and control, and words. No pass of the model.

The layer of a score is chosen on the other facts, one fact at a time left out, so that the choice is not scored on itself.
Chance is the mean effect of all places of a kind at which a change can have an effect; of a single fact, whose own best layer is
taken, that of all tokens at which it can, each at its own best layer. The control is made where a fact is judged; its curves by layer
are those of at most `CURVES` facts, so that what is left to do when facts are put together stays small.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.material import Fact
from exegete.core.results.tracing import ROLES, CausalTrace, FactTrace
from exegete.core.trust import Check, Score, Trust
from exegete.methods.mechanisms.traced_fact import Place, Places
from exegete.ops.stats import best_crowd, bootstrap_mean, midrank_percentile, share_interval

OTHER = "the same place of another subject's run"
SPOTS = ("the subject's last token", "the last token")
CURVES = 24
WORDS = {"residual": "residual", "attention": "attention", "mlp": "feed-forward parts"}


@dataclass(frozen=True, eq=False)
class Known:
    """A traced fact: its effects, the last token of its subject and its last one (`spots`), the first token that can matter."""

    fact: Fact
    case: FactTrace
    spots: tuple[int, int]
    start: int
    checks: tuple[Check, ...]


def asked_for(found: Sequence[Known], kinds: Sequence[str]) -> list[list[Place]]:
    """Where the control of each fact is needed: at the layers it is judged at, and everywhere for the facts of the curves."""
    layers = [(k, spot, _held_out(_at_spot(found, k, spot))[0]) for (k, _), spot in _scored(kinds)]
    every = list(np.ndindex(len(kinds), found[0].case.effect.shape[1], 2))
    drawn = set(_drawn(len(found)))
    return [
        every if i in drawn else [(k, int(at[i]), spot) for k, spot, at in layers] for i in range(len(found))
    ]


def finding(
    found: Sequence[Known], other: np.ndarray, places: Places, sigma: float, failed: Sequence[tuple[Fact, str]], n_failed: int
) -> CausalTrace:  # fmt: skip
    """The finding of all traced facts and their controls `other` [fact, kind, layer, spot], NaN where none was made or asked for;
    `n_failed` facts are not there, some of them `failed` for reasons that are known.
    """
    by_role = np.stack([_by_role(t.case) for t in found])  # [fact, kind, layer, role]
    there = np.isfinite(by_role[:, 0, 0])  # [fact, role]
    keep = there.any(0)
    by_role, there = by_role[..., keep], there[:, keep]
    low, high = _intervals(by_role)
    scores = tuple(_score(found, other, k, spot, n_failed) for k, spot in _scored(places.kinds))
    shared = _shared(found, places.kinds, n_failed)
    return CausalTrace(
        title="Where does the model look a fact up?" if len(found) > 1 else "Where does the model look this fact up?",
        lede=_lede(found, scores, n_failed),
        kinds=places.kinds,
        layers=tuple(f"layer {i}" for i in range(places.n_layers)),
        roles=tuple(r for r, k in zip(ROLES, np.atleast_1d(keep).tolist()) if k),
        n_role=tuple(there.sum(0).tolist()),
        window=places.window,
        noise=sigma,
        effect=_mean(by_role),
        low=low,
        high=high,
        other=_mean(other[_drawn(len(found))]),
        cases=tuple(t.case for t in found),
        checks=tuple({c.name: c for t in found for c in sorted(t.checks, key=lambda c: c.value)}.values()),
        trust=Trust(scores=(*scores, *shared), notes=(*_notes(failed), *_curves(len(found)))),
    )  # fmt: skip


def _drawn(n: int) -> list[int]:
    """The facts, of n, whose control is made everywhere: evenly spread."""
    return sorted({int(i) for i in np.linspace(0, n - 1, min(n, CURVES)).round()})


def _curves(n: int) -> tuple[str, ...]:
    """What the curves of the control are of, where not of all facts."""
    told = f"The control's curves by layer are those of {CURVES} facts, evenly spread; scores are held against those of all {n}."
    return (told,) if n > CURVES else ()


def _by_role(t: FactTrace) -> np.ndarray:
    """Mean effect [kind, layer, role] over the tokens of each role; NaN where the fact has none."""
    roles = np.array(t.roles)
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
    found: Sequence[Known], other: np.ndarray, which: tuple[int, str], spot: int, n_failed: int
) -> Score:
    """The effect of a kind at a spot, at the layer that is best on the other facts."""
    k, kind = which
    layers, values = _held_out(_at_spot(found, k, spot))
    places = [t.case.effect[k][:, t.start :] for t in found]
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


def _at_spot(found: Sequence[Known], k: int, spot: int) -> np.ndarray:
    """Effects [fact, layer] of a kind at one of the two tokens."""
    return np.stack([t.case.effect[k][:, t.spots[spot]] for t in found])


def _held_out(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(layer [fact] that is best on the other facts, the fact's own value there [fact]); of one fact its own best."""
    total = values.sum(0)
    layers = np.array([int((total - own if len(values) > 1 else own).argmax()) for own in values])
    return layers, values[np.arange(len(values)), layers]


def _shared(found: Sequence[Known], kinds: Sequence[str], n_failed: int) -> tuple[Score, ...]:
    """How many facts have their strongest feed-forward place at the token of the role that most other facts have it at."""
    if "mlp" not in kinds or len(found) == 1:
        return ()
    k = list(kinds).index("mlp")
    best = [t.case.roles[int(t.case.effect[k].max(0)[t.start :].argmax()) + t.start] for t in found]
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


def _share(t: Known, role: str) -> float:
    """The share of a fact's tokens that have a role."""
    roles = t.case.roles[t.start :]
    return roles.count(role) / len(roles)


def _commonest(layers: np.ndarray) -> int:
    return int(np.bincount(layers).argmax())


def _lede(found: Sequence[Known], scores: Sequence[Score], n_failed: int) -> str:
    """What was found, and whether it beats chance and control."""
    clean, noisy = (float(np.mean(x)) for x in ([t.case.clean for t in found], [t.case.noisy for t in found]))
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
