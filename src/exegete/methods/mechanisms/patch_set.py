"""A set of pairs for patching: those that can be patched, those that cannot and why, and the places common to them.

Cost: a pass a text whose answer the model chooses, and for noise a forward a pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exegete.core.errors import ExegeteError, UsageError
from exegete.core.material import Pair
from exegete.core.target import Target
from exegete.methods.mechanisms.patch_cells import Direction, Places, sides
from exegete.methods.mechanisms.patch_pairs import Both, Corruption, noised, read_both, spread
from exegete.models.lab import Lab

TIED: Mapping[Corruption, str] = {
    "noise": "noise is scaled by all pairs",
    "resample": "corrupt texts are those of other pairs",
}  # why pairs cannot be worked on apart


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs that can be patched, and the reasons why others cannot."""

    several: tuple[Both, ...]
    failed: tuple[str, ...]


def read_all(
    lab: Lab, items: Sequence[Pair], corruption: Corruption, target: Target, noise: float, n_samples: int
) -> Pairs:
    """Every pair, with its corrupt run. A letter of one pair counts as its failure; where none is left, it is raised."""
    kept: list[Both] = []
    letters: list[ExegeteError] = []
    for i in range(len(items)):
        try:
            kept.append(read_both(lab, items, i, corruption, target))
        except ExegeteError as letter:
            letters.append(letter)
    if not kept:
        raise letters[0]
    if corruption == "noise":
        sigma = noise * spread(lab, kept)
        kept = [noised(lab, b, sigma, n_samples) for b in kept]
    return Pairs(tuple(kept), tuple(f"{e.asked} {e.found} {e.do}" for e in letters))


def places_of(
    lab: Lab, several: Sequence[Both], direction: Direction, kinds: Sequence[str], head: int | None,
    positions: tuple[int, ...],
) -> Places:  # fmt: skip
    """The places to patch: tokens where all texts have as many, else roles. Raises letters for what is not there."""
    lengths = {len(sides(b, direction)[0].tokens) for b in several}
    roles = len(lengths) > 1 and not positions
    places = Places(lab, tuple(dict.fromkeys(kinds)), head, positions, roles)
    places.check()
    outside = [p for p in positions if not 0 <= p < min(lengths)]
    if outside:
        raise UsageError(
            f"You asked to patch token {outside[0]}.",
            f"The shortest text has {min(lengths)} tokens.",
            f"Count tokens from 0 to {min(lengths) - 1}.",
        )
    return places
