"""What a board of concepts says: scores with controls, and the sentences above it.

A concept is scored at its strongest layer: of those where it stands out and its vector is not refused, the largest effect. Its control had the
same choice: as many random-against-random units, at the layer where their mean share is furthest from one half, over many draws.

Cost: no pass. Shapes: shares [concept, layer, unit], random [layer, unit].
"""

import numpy as np

from exegete.core.trust import Score
from exegete.methods.concepts.tcav_cells import Cells
from exegete.ops.stats import bootstrap_mean

_DRAWS = 500


def scores(
    cells: Cells,
    names: tuple[str, ...],
    layers: tuple[str, ...],
    alpha: float,
    rng: np.random.Generator,
    seed: int,
) -> tuple[Score, ...]:
    """For every concept its share at the strongest layer; then how good the vector of the first of them is."""
    k = cells.share.shape[2]
    drawn = rng.integers(0, cells.random.shape[1], (_DRAWS, k))
    best = float(np.abs(cells.random[:, drawn].mean(2) - 0.5).max(0).mean())  # [layer, draw] -> best layer
    moved = float(np.abs(cells.random_effect[:, drawn].mean(2)).max(0).mean())
    found = []
    for i, name in enumerate(names):
        j = cells.strongest(i, alpha)
        share = cells.share[i, j]
        up = share.mean() >= 0.5
        refused = "; vector refused" if cells.refused[i, j] else ""
        found.append(
            Score(
                name=f"share of texts that {name!r} raises, {layers[j]}{refused}", value=float(share.mean()),
                better="higher" if up else "lower", chance=0.5, control=0.5 + (best if up else -best),
                control_name="the strongest layer of as many random sets", interval=bootstrap_mean(share, seed), n=k,
            )
        )  # fmt: skip
        effect = cells.effect[i, j] * (1 if cells.effect[i, j].mean() >= 0 else -1)
        found.append(
            Score(
                name=f"size of the effect of {name!r}, {layers[j]}", value=float(effect.mean()), chance=0.0, control=moved,
                control_name="the strongest layer of as many random sets", interval=bootstrap_mean(effect, seed), n=k,
            )
        )  # fmt: skip
        told = cells.accuracy[i, j]
        found.append(
            Score(
                name=f"accuracy of the vectors of {name!r} on other texts, {layers[j]}", value=float(told.mean()), chance=0.5,
                control=float(cells.random_accuracy[j]), control_name="vectors of random sets",
                interval=bootstrap_mean(told, seed), n=k,
            )
        )  # fmt: skip
    return tuple(found)


def lede(cells: Cells, names: tuple[str, ...], layers: tuple[str, ...], target: str, alpha: float) -> str:
    """Which concepts the target depends on, where most, and which do not stand out."""
    stand = cells.stand(alpha)
    parts = []
    for i in np.flatnonzero(stand.any(1)):
        j = cells.strongest(int(i), alpha)
        share, effect = cells.share[i, j].mean(), cells.effect[i, j].mean()
        up = share >= 0.5
        word, part = ("up", share) if up else ("down", 1 - share)
        though = "," if up == (effect > 0) else ", though"
        parts.append(
            f"{names[i]!r} moves {target} at {layers[j]} by {effect:+.2g} on average{though} {word} on {part:.0%} of the texts "
            f"(other than random sets at {stand[i].sum()} of {len(layers)} places)"
        )
    unknown = [names[i] for i in np.flatnonzero(cells.refused.all(1))]
    quiet = [names[i] for i in np.flatnonzero(~stand.any(1)) if names[i] not in unknown]
    told = ["; ".join(parts) + "."] if parts else []
    if quiet:
        does = "does" if len(quiet) == 1 else "do"
        told.append(f"{', '.join(map(repr, quiet))} {does} not stand out from random sets of texts.")
    if unknown:
        told.append(
            f"{', '.join(map(repr, unknown))} cannot be told from random texts at any place: refused, nothing is said."
        )
    return " ".join(told)
