"""From patched values to a finding: shares with intervals, and for each site a score of its strongest place.

The place judged is chosen on the other pairs; of residuals in the middle layer only. Chance is the mean place of the same
choice; the control is the same place with values of an unrelated text, which brings over a real state of the model, but
none of this pair's clean text.

Cost: 2 forwards a pair, and a pass a site.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.core.results.patching import PatchGrid, Patching
from exegete.core.trust import Check, Score, Trust
from exegete.methods.mechanisms.patch_cells import (
    Direction,
    Moved,
    Places,
    column_names,
    guest_values,
    host_run,
    patch_pair,
    sides,
)
from exegete.methods.mechanisms.patch_pairs import Both, Side
from exegete.methods.mechanisms.patch_set import Pairs
from exegete.models.cells import run_cells
from exegete.models.lab import Lab
from exegete.ops.patching import picked_elsewhere, share_intervals, shares

_WHOLE = ("resid_pre", "resid_mid", "resid_post")  # at its ends a residual carries everything by construction


@dataclass(frozen=True, eq=False)
class Patched:
    """What every pair gave: target values [pair], and what each cell moves [pair, cell] for each kind."""

    clean: np.ndarray
    corrupt: np.ndarray
    moved: dict[str, np.ndarray]
    checks: tuple[Check, ...]

    @property
    def span(self) -> np.ndarray:
        """What separates the two texts [pair]."""
        return self.clean - self.corrupt


def patch_all(lab: Lab, places: Places, pairs: Pairs, direction: Direction) -> Patched:
    """Every pair. Raises `InputError` where the texts move the target alike."""
    return together([patch_pair(lab, places, b, direction) for b in pairs.several], places.kinds)


def together(found: Sequence[Moved], kinds: Sequence[str]) -> Patched:
    """Pairs stacked, and each check once, the worst of all pairs. Raises `InputError` as `gathered`."""
    checks = {c.name: c for m in found for c in sorted(m.checks, key=lambda c: not c.passed)}
    return gathered(found, kinds, tuple(checks.values()))


def gathered(found: Sequence[Moved], kinds: Sequence[str], checks: tuple[Check, ...]) -> Patched:
    """Pairs stacked. Raises `InputError` where the texts move the target alike."""
    done = Patched(
        np.array([m.clean for m in found]),
        np.array([m.corrupt for m in found]),
        {k: np.stack([m.moved[k] for m in found]) for k in kinds},
        checks,
    )
    if np.isnan(shares(done.span[:, None], done.span)).any():
        raise InputError(
            "You asked what carries the answer from a clean text to a corrupt one.",
            "The target is the same on both, so there is nothing to carry.",
            "Give a corrupt text that changes the answer, or name answer and against.",
        )
    return done


def found(
    lab: Lab, places: Places, pairs: Pairs, direction: Direction, corruption: str, done: Patched
) -> Patching:
    """The finding."""
    grids = tuple(grid_of(places, k, pairs.several, direction, done, lab.seed) for k in places.kinds)
    scores = _scores(lab, places, pairs, direction, done)
    words = " ".join(_told(g, s, direction) for g, s in zip(grids, scores))
    return Patching(
        title="Which states carry the answer?",
        lede=share_of(pairs) + words, context=context_of(pairs, direction, corruption),
        direction=direction, corruption=corruption, grids=grids, clean=done.clean, corrupt=done.corrupt,
        checks=done.checks, trust=Trust(scores=scores, seed=lab.seed, notes=notes_of(pairs)),
    )  # fmt: skip


def context_of(pairs: Pairs, direction: Direction, corruption: str) -> tuple[tuple[str, str], ...]:
    """What is shown above the figures: both texts of the first pair, the direction and the target."""
    first = pairs.several[0]
    more = f" (first of {len(pairs.several)})" if len(pairs.several) > 1 else ""
    other = _text(first.corrupt) if corruption != "noise" else f"{_text(first.clean)} (with noise)"
    said = first.clean.aim.answers[0].strip() + _foil(first)
    return (
        (f"clean{more}", _text(first.clean)),
        (f"corrupt{more}", other),
        ("direction", direction),
        ("target", said),
    )


def grid_of(
    places: Places, kind: str, several: Sequence[Both], direction: Direction, done: Patched, seed: int
) -> PatchGrid:
    """Shares of one site as a grid, with their intervals over pairs."""
    shape = (places.n_layers, -1)
    low, high = share_intervals(done.moved[kind], done.span, seed).T
    columns = column_names(places, kind, several, direction)
    return PatchGrid(
        site=kind if places.head is None or places.by_head(kind) else f"{kind}[h{places.head}]",
        rows=tuple(str(i) for i in range(places.n_layers)),
        columns=columns,
        axis="head" if places.by_head(kind) else "role" if places.roles else "token",
        effect=shares(done.moved[kind], done.span).reshape(shape),
        low=low.reshape(shape),
        high=high.reshape(shape),
    )


def _scores(lab: Lab, places: Places, pairs: Pairs, direction: Direction, done: Patched) -> tuple[Score, ...]:
    """The strongest place of each site against a random place and an unrelated text."""
    picked = {k: _judged(places, k, done) for k in places.kinds}
    control = np.array(
        [
            _unrelated(lab, places, pairs, i, direction, [int(picked[k][1][i]) for k in places.kinds])
            for i in range(len(pairs.several))
        ]
    )
    n = len(pairs.several)
    found = []
    for at, (kind, (among, best)) in enumerate(picked.items()):
        mine = done.moved[kind][np.arange(n), best][:, None]
        low, high = share_intervals(mine, done.span, lab.seed)[0]
        layer = f" in layer {places.n_layers // 2}" if kind in _WHOLE and places.n_layers > 1 else ""
        found.append(
            Score(
                name=f"share moved by the strongest place of {kind}{layer}"
                + (", chosen on other pairs" if n > 1 else ", chosen on this very pair"),
                value=float(shares(mine, done.span)[0]),
                chance=float(shares(done.moved[kind][:, among].mean(1, keepdims=True), done.span)[0]),
                control=float(shares(control[:, at : at + 1], done.span)[0]),
                control_name="the same place from an unrelated text",
                interval=(float(low), float(high)) if n > 1 else None,
                n=n,
                n_failed=len(pairs.failed),
            )
        )
    return tuple(found)


def _judged(places: Places, kind: str, done: Patched) -> tuple[np.ndarray, np.ndarray]:
    """Cells among which the strongest is chosen, and the one chosen for each pair."""
    cells = np.arange(done.moved[kind].shape[1]).reshape(places.n_layers, -1)
    among = cells[places.n_layers // 2] if kind in _WHOLE else cells.ravel()
    return among, among[picked_elsewhere(done.moved[kind][:, among], done.span)]


def _unrelated(
    lab: Lab, places: Places, pairs: Pairs, i: int, direction: Direction, cells: Sequence[int]
) -> list[float]:
    """What the chosen cell of each kind moves with values of an unrelated text."""
    both = pairs.several[i]
    host, guest = sides(both, direction)
    stranger = _stranger(lab, pairs.several, i, direction)
    base = host_run(lab, replace(host, rows=max(host.rows, guest.rows)), stranger)
    chosen = [places.cells(k, both, host)[c] for k, c in zip(places.kinds, cells)]
    sites = [s.site for cell in chosen for s in cell]
    sources, _ = guest_values(lab, sites, host, stranger)
    values = run_cells(base, chosen, sources).mean(1) - float(base.values.double().mean())
    return list(-values if direction == "noising" else values)


def _stranger(lab: Lab, several: Sequence[Both], i: int, direction: Direction) -> Side:
    """Another pair's text of as many tokens and another answer; else this pair's tokens in another order."""
    host, guest = sides(several[i], direction)
    n, mine = len(host.tokens), several[i].clean.aim.rows[0][0]
    for step in range(1, len(several)):
        other = several[(i + step) % len(several)]
        side = replace(sides(other, direction)[1], edit=None, rows=1)
        if len(side.tokens) == n and other.clean.aim.rows[0][0].id not in (mine.id, mine.foil):
            return side
    tokens = (guest if len(guest.tokens) == n else host).tokens
    ids = np.array([t.id for t in tokens])
    said = ids.tolist()
    free = np.array([j for j, t in enumerate(tokens) if not t.special and j != host.read_at], dtype=int)
    ids[free] = ids[lab.rng("stranger", said).permutation(free)]
    shuffled = Text(ids=tuple(int(x) for x in ids))
    inputs = {**host.aim.inputs, "input_ids": host.aim.inputs["input_ids"].new_tensor(ids)[None]}
    return Side(replace(host.aim, inputs=inputs, encoded=lab.read([shuffled]).encoded))


def _told(grid: PatchGrid, score: Score, direction: Direction) -> str:
    """One sentence about a site."""
    i, j = grid.best
    if grid.site in _WHOLE:
        i = len(grid.rows) // 2
        j = int(np.nanargmax(grid.effect[i]))
    verb = "brings back" if direction == "denoising" else "takes away"
    place = (
        f"{grid.site} of layer {i} at {grid.columns[j]!r}"
        if grid.axis != "head"
        else f"head {i}.{grid.columns[j]}"
    )
    tail = "" if score.beats_control else "; an unrelated text's value there does as much"
    return f"Of what separates the texts, {place} alone {verb} {grid.effect[i, j]:.0%}{tail}."


def _text(side: Side) -> str:
    """What was read, as it was written."""
    return side.aim.encoded[0].text


def _foil(both: Both) -> str:
    name = both.clean.aim.foils[0]
    return f" rather than {name.strip()}" if both.clean.aim.rows[0][0].foil is not None and name else ""


def notes_of(pairs: Pairs) -> tuple[str, ...]:
    """Why some pairs are not there."""
    if not pairs.failed:
        return ()
    n = len(pairs.failed)
    return (f"{n} pair{'' if n == 1 else 's'} could not be patched. The first: {pairs.failed[0]}",)


def share_of(pairs: Pairs) -> str:
    """Before anything else is said: that most of what was asked for is not there; "" where no pair failed."""
    n = len(pairs.several)
    return f"Of {n + len(pairs.failed)} pairs {n} could be patched. " if pairs.failed else ""
