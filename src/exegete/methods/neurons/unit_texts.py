"""Single units of a model on texts: records of all of them in one reading, and the activations of a few, token by token.

    record     strongest texts, samples, rates and moments of every unit of some sites (`ops.topk_stream`): 1 forward a text
    read_units the tokens of texts, and on each what a few units do: 1 forward a text
    shuffled   the same texts with their tokens in random order: same words, same lengths, no context

Units are named by site and number: "2.mlp_act[u17]"; the dimensions of all heads' outputs z lie side by side.
Units of a source (`unit_sources`: features of a dictionary, directions) are named "2.resid_post[f17]" and "2.resid_post[d0]".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.errors import InputError, UsageError
from exegete.core.request import Text
from exegete.core.seed import derive
from exegete.core.site import Site
from exegete.methods.neurons.unit_sources import Source
from exegete.models.encode import encode
from exegete.models.harvest import Chunk, stream
from exegete.models.lab import Lab
from exegete.ops.topk_stream import UnitStream


@dataclass(frozen=True)
class Unit:
    """One unit: its site (whole) and its number there; `letter`: u of an activation's own, f a feature's, d a direction's."""

    site: Site
    unit: int
    letter: str = "u"

    def __str__(self) -> str:
        return f"{self.site}[{self.letter}{self.unit}]"


@dataclass(frozen=True)
class Read:
    """One text as read: its tokens (those that stand for text) and what the units do at each, values [token, unit]; the tokens' `ids`,
    and their positions in what the model reads.
    """

    tokens: tuple[str, ...]
    values: np.ndarray
    ids: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()


def record(
    lab: Lab, texts: Sequence[Text], sites: Sequence[Site], k: int, source: Source | None = None,
    by: np.ndarray | None = None, least: int | None = None,
) -> dict[Site, UnitStream]:  # fmt: skip
    """What every unit of `sites` does on `texts`, `k` strongest of them held; of the units of a `source` instead, which reads its own site.
    `by` [text]: numbers of what the texts hold (`numbers`), that samples are drawn by.

    Raises `InputError` for fewer texts than `least`; usually `k`.
    """
    held: dict[Site, UnitStream] = {}
    with lab.working(len(texts), "reading texts") as done:
        for chunk in stream(lab, texts, sites if source is None else [source.site]):
            for site, read in chunk.values.items():
                values = read if source is None else source.units(read)
                if site not in held:
                    held[site] = UnitStream(values.shape[1], k)
                held[site].add(values, chunk.text, chunk.position, None if by is None else by[chunk.text])
            done(len(set(chunk.text.tolist())))
    if not held:
        raise InputError(
            "You asked what units do on texts.", "No text has a token.", "Give texts with words."
        )
    return {s: held[s].enough(least) for s in sites}


def read_units(
    lab: Lab, texts: Sequence[Text], units: Sequence[Unit], source: Source | None = None
) -> tuple[Read, ...]:
    """Every text with what `units` (of a `source`) do on each of its tokens, in the order of `texts`."""
    sites = tuple(dict.fromkeys(u.site for u in units))
    found: dict[int, Read] = {}
    with lab.working(len(texts), "reading what units do, token by token") as done:
        for chunk in stream(lab, texts, sites):
            _note(lab, chunk, units, source, found)
            done(len(set(chunk.text.tolist())))
    return tuple(found.get(i, Read((), np.zeros((0, len(units))))) for i in range(len(texts)))


def _note(
    lab: Lab, chunk: Chunk, units: Sequence[Unit], source: Source | None, found: dict[int, Read]
) -> None:
    """Put the texts of one pass into `found`."""
    seen = {s: v if source is None else source.units(v) for s, v in chunk.values.items()}
    columns = [seen[u.site][:, u.unit].cpu().numpy() for u in units]
    values = np.stack(columns, 1).astype(np.float64)
    for i in np.unique(chunk.text):
        rows = chunk.text == i
        ids = tuple(chunk.ids[rows].tolist())
        found[int(i)] = Read(lab.pieces(ids), values[rows], ids, tuple(chunk.position[rows].tolist()))


def numbers(texts: Sequence[Text]) -> np.ndarray:
    """A number of each text that says what it holds, whatever stands beside it [text]."""
    return np.array([derive(0, t.model_dump_json()) for t in texts], dtype=np.int64)


def shuffled(lab: Lab, texts: Sequence[Text]) -> tuple[Text, ...]:
    """The texts with the tokens that stand for text in random order, which a text itself decides; special tokens stay where they are."""
    found = []
    for t in texts:
        tokens = encode(lab.model, t.model_copy(update={"truncate": True})).tokens
        ids = np.array([x.id for x in tokens])
        plain = np.array([not x.special for x in tokens])
        rng = lab.rng("shuffled tokens", ids.tolist())
        ids[plain] = rng.permutation(ids[plain])
        found.append(Text(ids=tuple(int(i) for i in ids)))
    return tuple(found)


def chosen(
    records: Mapping[Site, UnitStream], units: Sequence[int], n: int, letter: str = "u"
) -> tuple[Unit, ...]:
    """The units named, in every site (called by `letter`); where none is, the `n` that peak highest above their own mean.

    Raises `UsageError` for a unit that a site does not have.
    """
    if units:
        for site, r in records.items():
            wrong = [u for u in units if not 0 <= u < r.units]
            if wrong:
                raise UsageError(
                    f"You asked for unit {wrong[0]} of {site}.",
                    f"It has the units 0 to {r.units - 1}.",
                    "Name units among these, or none for the strongest.",
                )
        return tuple(Unit(s, u, letter) for s in records for u in units)
    every = [(float(p), s, u) for s, r in records.items() for u, p in enumerate(peaks(r))]
    every.sort(key=lambda e: -e[0])
    return tuple(Unit(s, u, letter) for _, s, u in every[:n])


def peaks(r: UnitStream) -> np.ndarray:
    """Mean of the k largest values above the unit's mean, in its standard deviations over tokens [unit]; 0 where it never moves."""
    spread = r.spread
    flat = spread <= 1e-6 * np.maximum(np.abs(r.mean), 1e-6)
    high = r.value.astype(np.float64).mean(1) - r.mean
    return np.where(flat, 0.0, high / np.where(flat, 1.0, spread))
