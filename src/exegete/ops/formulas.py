"""Logical formulas that say where a mask is on: beam search over AND, OR and NOT of given concepts.

A formula is a chain of concepts, read from the left: ((a and not b) or c). NOT follows AND only: a mask that is rarely on is badly
described by what is not there, and such beginnings would crowd the beam. A formula is as good as its IoU with the mask (items on in
both over items on in either) times a penalty for every concept after the first.

1. concepts [atom, item] are packed, 64 items a number; of every concept also what lies inside the mask, which is short;
2. the best `beam` concepts start; each is joined to every concept by AND, AND NOT, OR. Sizes and overlaps of all three follow from
   |f and g| alone, so that a step is one count of bits a pair;
3. a formula that is always on, or on where its beginning or one found before is on, says nothing new and is dropped;
4. the best of the lengths so far is kept for every length. With a beam as wide as there are concepts, length 2 is exhaustive.

Cost: length x beam x atoms x items / 64 operations. Shapes: masks [atom, item] bool, active [item] bool.
Reference: Mu & Andreas 2020, "Compositional Explanations of Neurons".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from exegete.core.errors import InputError

WAYS = (("and", False), ("and", True), ("or", False))


@dataclass(frozen=True)
class Literal:
    """A concept, or (after AND) what it leaves out; `join` ties it to what stands before it ("" for the first)."""

    join: str
    atom: int
    negated: bool = False


@dataclass(frozen=True)
class Formula:
    """A chain of literals, read from the left."""

    literals: tuple[Literal, ...]

    def __len__(self) -> int:
        return len(self.literals)

    def on(self, masks: np.ndarray) -> np.ndarray:
        """Where it holds [item], given the concepts [atom, item]."""
        held = np.zeros(masks.shape[1], dtype=bool)
        for one in self.literals:
            this = masks[one.atom] ^ one.negated
            held = held & this if one.join == "and" else held | this
        return held

    def told(self, names: Sequence[str]) -> str:
        """In words, with brackets where AND and OR follow each other."""
        words, last = "", ""
        for one in self.literals:
            name = f"not {names[one.atom]}" if one.negated else names[one.atom]
            if last and one.join != last:
                words = f"({words})"
            words = f"{words} {one.join} {name}" if one.join else name
            last = one.join
        return words


@dataclass(frozen=True)
class Found:
    """A formula with its IoU with the mask that was searched, and the penalised score it was chosen by."""

    formula: Formula
    iou: float
    score: float


@dataclass(frozen=True)
class Atoms:
    """Concepts `masks` [atom, item], packed once for many searches."""

    masks: np.ndarray
    bits: np.ndarray = field(init=False)
    sizes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", pack(self.masks))
        object.__setattr__(self, "sizes", count(self.bits))


@dataclass(frozen=True)
class _State:
    """A formula in the beam: where it is on everywhere (`bits`) and inside the mask (`near`)."""

    formula: Formula
    bits: np.ndarray
    near: np.ndarray
    size: int
    hits: int


def pack(masks: np.ndarray) -> np.ndarray:
    """Booleans [..., item] as bits, 64 in one number [..., block]; what is beyond the last item is off."""
    short = -masks.shape[-1] % 64
    padded = np.concatenate([masks, np.zeros((*masks.shape[:-1], short), dtype=bool)], -1)
    return np.packbits(padded, axis=-1).view(np.uint64)


def count(bits: np.ndarray) -> np.ndarray:
    """How many bits are on [...], of numbers [..., block]."""
    return np.bitwise_count(bits).sum(-1, dtype=np.int64)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Items on in both over items on in either; 0 where neither is ever on."""
    either = int((a | b).sum())
    return float((a & b).sum() / either) if either else 0.0


def search(
    atoms: Atoms, active: np.ndarray, length: int = 5, beam: int = 10, penalty: float = 0.99
) -> tuple[Found, ...]:
    """The best formulas of at most 1, 2, ... `length` concepts for the mask `active` [item].

    Raises `InputError` where the mask is empty or there are no concepts.
    """
    n, total = atoms.masks.shape[1], int(active.sum())
    if not total or not len(atoms.masks):
        raise InputError(
            f"You asked for a formula over {len(atoms.masks)} concepts.",
            f"The mask is on at {total} of {n} items.",
            "Give at least one concept, and a mask that is on somewhere.",
        )
    near = pack(atoms.masks[:, active])
    hits = count(near)
    # as though all began with a formula that is never on: joined to it, only OR says anything
    states = [_State(Formula(()), np.zeros_like(atoms.bits[0]), np.zeros_like(near[0]), 0, 0)]
    seen: set[bytes] = set()
    best: list[Found] = []
    for step in range(length):
        sizes, inside = _joined(states, atoms, near, hits)
        held = inside / (sizes + total - inside)
        start = np.array([s.size for s in states])[:, None, None]
        held[(sizes == start) | (sizes == 0) | (sizes == n)] = -1.0
        order = np.argsort(-held, axis=None, kind="stable")
        grown: list[_State] = []
        for flat in order:
            i, way, atom = (int(x) for x in np.unravel_index(flat, held.shape))
            if held[i, way, atom] < 0 or len(grown) == beam:
                break
            join, negated = WAYS[way]
            bits = _join(join, states[i].bits, ~atoms.bits[atom] if negated else atoms.bits[atom])
            key = bits.tobytes()
            if key in seen:
                continue
            seen.add(key)
            inner = _join(join, states[i].near, ~near[atom] if negated else near[atom])
            formula = Formula((*states[i].formula.literals, Literal(join if step else "", atom, negated)))
            grown.append(_State(formula, bits, inner, int(sizes[i, way, atom]), int(inside[i, way, atom])))
        if grown:
            top = grown[0]
            value = top.hits / (top.size + total - top.hits)
            best.append(Found(top.formula, value, value * penalty**step))
        elif not best:
            raise InputError(
                f"You asked for a formula over {len(atoms.masks)} concepts.",
                "All of them are always on, or never.",
                "Give concepts that tell some items from others.",
            )
        states = grown or states
    kept = best[:1]
    for found in best[1:]:
        kept.append(found if found.score > kept[-1].score else kept[-1])
    return tuple(kept + [kept[-1]] * (length - len(kept)))


def _join(join: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a & b if join == "and" else a | b


def _joined(
    states: Sequence[_State], atoms: Atoms, near: np.ndarray, hits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and overlaps with the mask of every formula joined to every concept, each [state, way, atom]."""

    def three(one: int, both: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.stack([both, one - both, one + other - both])

    sizes = [three(s.size, count(s.bits & atoms.bits), atoms.sizes) for s in states]
    inside = [three(s.hits, count(s.near & near), hits) for s in states]
    return np.stack(sizes), np.stack(inside)
