"""Units that are not numbers of an activation but are made of one: features of a dictionary, and directions.

1. `source_of` opens what is named: a dictionary of sparse features (.exg, or a folder in the SAELens layout), a saved
   `concept_direction`, or vectors of the place's width (.npy; .safetensors); what was made for other weights or another place is
   refused;
2. a unit's value at a token is the feature's value, or the product of activation and direction (as it is, not brought to
   length one: the direction e_i is unit i);
3. `random_like` makes the control. A dictionary of a model tells nothing of the same model with other weights, and a feature
   that is rarely on peaks high for that alone, so features are held against as many random directions of which as many are on
   at a token (top k); directions against `DRAWS` random ones each, of their length.

Cost: none; a product with the dictionary a token. Shapes: read [token, width] -> [token, unit]; writes [unit, width out].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import ModelError, StoreError, UsageError
from exegete.core.request import Text
from exegete.core.results.concept_direction import ConceptDirections
from exegete.core.seed import derive
from exegete.core.site import Site
from exegete.core.store import open_result
from exegete.methods.contracts.dictionaries import opened, place, unpacked, width_of
from exegete.models.harvest import stream
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.ops.dictionary import Dictionary, random_dictionary
from exegete.ops.topk_stream import UnitStream

DRAWS = 16  # random directions for each one asked about
N_FIT = 64  # texts from which the random dictionary takes mean and scale


@dataclass(frozen=True, eq=False)
class Source:
    """Units made of the activations of `site`; `writes` [unit, width of `out`] is what each adds there. `what` they are called."""

    what: str  # "feature" or "direction"
    site: Site
    out: Site
    units: Callable[[Tensor], Tensor]
    writes: Tensor

    @property
    def letter(self) -> str:
        """What a unit's number is called in its name."""
        return self.what[0]


def source_of(path: str, model: Model, site: str) -> Source:
    """The units at `path` for this model; `site` is the place asked for, "" where the file says it.

    Raises `StoreError` for what holds none, `ModelError` for other weights or widths, `UsageError` for another place.
    """
    asked = f"You asked for the units in {path!r} of {model.name}."
    if Path(path).suffix in (".npy", ".safetensors"):
        return _directions(_vectors(path, asked), site, model, asked)
    if not Path(path).is_dir() and isinstance(found := open_result(path), ConceptDirections):
        return _concept(found, site, model, asked)
    data = opened(path, model, site)
    d = unpacked(data, model.device)
    return _features(d, Site.parse(data.site), Site.parse(data.site_out))


def random_like(
    source: Source, lab: Lab, texts: Sequence[Text], found: Mapping[Site, UnitStream]
) -> Source:  # fmt: skip
    """The control of a source whose records are `found`."""
    n, width = len(source.writes), 0
    rows = [c.values[source.site] for c in stream(lab, texts[:N_FIT], [source.site])]
    x = torch.cat(rows)
    if source.what == "feature":
        on = float(found[source.site].rate.sum())
        k = min(n, max(1, round(on)))
        return _features(
            random_dictionary(x, n, k, derive(lab.seed, "random features")), source.site, source.site
        )
    width = x.shape[1]
    lengths = source.writes.norm(dim=1).cpu().numpy().repeat(DRAWS)
    drawn = lab.rng("random directions").normal(size=(n * DRAWS, width))
    drawn *= (lengths / np.linalg.norm(drawn, axis=1))[:, None]
    return _linear(torch.from_numpy(drawn).float().to(x.device), source.site)


def _features(d: Dictionary, site: Site, out: Site) -> Source:
    return Source("feature", site, out, d.encode, d.decoder)


def _linear(rows: Tensor, site: Site) -> Source:
    return Source("direction", site, site, lambda x: x @ rows.T, rows)


def _concept(found: ConceptDirections, site: str, model: Model, asked: str) -> Source:
    """The chosen method's direction, at the place asked for or the chosen one."""
    if found.provenance.fingerprint != model.fingerprint:
        raise ModelError(
            asked,
            f"It was made for {found.provenance.model or 'another model'}, whose weights differ (fingerprint mismatch).",
            "Make one for this model.",
        )
    method, layer = found.chosen
    places = [place(model, s) for s in found.sites]
    if site:
        here = place(model, site)
        if here not in places:
            raise UsageError(
                asked, f"It has no direction at {here}.", f"Give a place from {places[0]} to {places[-1]}."
            )
        layer = places.index(here)
    return _directions(found.directions[method, layer][None], str(places[layer]), model, asked)


def _directions(rows: np.ndarray, site: str, model: Model, asked: str) -> Source:
    if not site:
        raise UsageError(
            asked, "It does not say which place of the model it is for.", "Give it: site='4.resid_post'."
        )
    here = place(model, site)
    width = width_of(model, here)
    if rows.shape[1] != width:
        raise ModelError(
            asked,
            f"Its vectors have {rows.shape[1]} numbers, and {here} has {width}.",
            "Give vectors made for this model and place.",
        )
    return _linear(torch.from_numpy(rows.astype(np.float32)).to(model.device), here)


def _vectors(path: str, asked: str) -> np.ndarray:
    """All vectors of a file, one under the other [vector, width]. Raises `StoreError`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = [np.load(path)] if path.endswith(".npy") else list(load_file(path).values())
    except (OSError, ValueError, SafetensorError) as e:
        raise StoreError(asked, f"It cannot be read ({e}).", "Give a file of one or several vectors.") from e
    rows = [np.atleast_2d(v) for v in found if np.issubdtype(v.dtype, np.number)]
    if not rows or any(r.ndim != 2 or r.shape[1] != rows[0].shape[1] or not r.size for r in rows):
        raise StoreError(
            asked,
            f"It holds arrays of the shapes {', '.join(str(v.shape) for v in found) or 'none'}.",
            "Give one vector, or several of one width.",
        )
    if not all(np.isfinite(r).all() for r in rows):
        raise StoreError(asked, "Some of its numbers are not finite.", "Give vectors of finite numbers.")
    return np.concatenate(rows)
