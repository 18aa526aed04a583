"""Dictionaries of sparse features and the model they read: opened, checked against model and place, put into a pass.

1. `opened` reads a saved finding (.exg) or a folder in the SAELens layout, and refuses one that was made for other weights
   (fingerprint), that reads another place than the one asked for, or whose width is not that of the place;
2. `spliced` is the edit of a pass in which the tokens of a text are read through the dictionary: what it does not say is gone.

Tokens that stand for no text (beginning, padding) stay as they are. Per-head places lie flat, [row, head * dh].
Cost: none; the dictionary's own in each pass it is put into. References as in `ops.dictionary`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import ModelError, StoreError, UsageError
from exegete.core.results.finding import Finding
from exegete.core.site import PER_HEAD, Site
from exegete.core.sparse import SparseDictionary, read_dictionary
from exegete.core.store import open_result
from exegete.models.capture import EditMap
from exegete.models.model import Model
from exegete.ops.dictionary import Dictionary

TENSORS = ("encoder", "decoder", "bias", "offset", "threshold", "gain", "level")


def middle(model: Model, kind: str = "resid_post") -> Site:
    """The place of a kind in the middle layer of the stack that reads the text."""
    return Site(
        kind, layer=(len(model.map.tower(model.map.stacks[0]).layers) - 1) // 2, stack=model.map.stacks[0]
    )


def place(model: Model, name: str) -> Site:
    """The place of that name ("middle": the residual after the middle layer). Raises `UsageError`, `SiteError`."""
    site = middle(model) if name == "middle" else Site.parse(name)
    whole = site.whole
    first = model.map.stacks[0]
    if (
        site != whole
        or site.kind in ("scores", "pattern", "logits", "head_out")
        or site.stack not in ("", first)
    ):
        raise UsageError(
            f"You asked for features of {name}.",
            "Features are made of whole activations of the stack that reads the text, one vector a token.",
            f"Give a place like {middle(model)}.",
        )
    if site.stack != first:
        site = Site(site.kind, layer=site.layer, stack=first)
    model.map.port(site)
    return site


def packed(d: Dictionary, model: Model, site: Site, out: Site) -> SparseDictionary:
    """A dictionary as data, with the model and places it was made for."""
    arrays = {n: getattr(d, n).detach().float().cpu().numpy() for n in TENSORS if getattr(d, n) is not None}
    return SparseDictionary(
        kind=d.kind, k=d.k, centred=d.centred, site=str(site), site_out=str(out), model=model.name,
        fingerprint=model.fingerprint, **arrays,
    )  # fmt: skip


def unpacked(data: SparseDictionary, device: torch.device) -> Dictionary:
    """The dictionary as tensors."""
    t = {n: torch.from_numpy(np.array(getattr(data, n))).to(device) for n in TENSORS if getattr(data, n).size}
    return Dictionary(data.kind, **t, k=data.k, centred=data.centred)  # type: ignore[arg-type]


def opened(path: str, model: Model, site: str = "") -> SparseDictionary:
    """The dictionary at `path`, for this model; `site` names the place asked for ("" or "middle": whatever it reads).

    Raises `StoreError` for what holds none, `ModelError` for one made for other weights or widths, `UsageError` for another
    place.
    """
    found = _read(path)
    asked = f"You asked for the dictionary {path!r} on {model.name}."
    if found.fingerprint and found.fingerprint != model.fingerprint:
        raise ModelError(
            asked,
            f"It was made for {found.model or 'another model'}, whose weights differ (fingerprint mismatch).",
            "Train one for this model, or give one that was made for it.",
        )
    if not found.site:
        found = found.model_copy(update={"site": _given(site, asked), "site_out": _given(site, asked)})
    here = place(model, found.site)
    if site not in ("", "middle") and place(model, site) != here:
        raise UsageError(asked, f"It reads {found.site}; you asked for {site}.", f"Leave `site` out, or give {found.site}.")  # fmt: skip
    out = place(model, found.site_out)
    for name, where, width in (("reads", here, len(found.encoder)), ("writes", out, found.decoder.shape[1])):
        real = width_of(model, where)
        if real != width:
            raise ModelError(
                asked,
                f"It {name} {width} numbers a token, and {where} has {real}.",
                "Give the dictionary of this model and place.",
            )
    return found.model_copy(update={"site": str(here), "site_out": str(out)})


def width_of(model: Model, site: Site) -> int:
    """How many numbers a token has at a place, seen in a pass over one token."""
    from exegete.models.capture import run
    from exegete.models.prove import probe_inputs

    seen = run(model, probe_inputs(model.map, 0), reduce={site: lambda x: flat(x, site).shape[-1]})
    return int(seen[site])


def flat(x: Tensor, site: Site) -> Tensor:
    """[batch, tok, width] of what is captured at a place."""
    return x.transpose(1, 2).flatten(2) if site.kind in PER_HEAD else x


def spliced(site: Site, out: Site, through: Callable[[Tensor], Tensor], mask: Tensor) -> EditMap:
    """Edits of a pass that put `through` (activations [row, in] -> [row, out]) in the place of `out`, at tokens of `mask`
    [batch, tok] bool. Where `out` is not `site`, `through` reads what came past `site` in the same pass.
    """
    held: list[Tensor] = []

    def replace(whole: Tensor) -> Tensor:
        x = flat(held[-1] if site != out else whole, site)
        new = flat(whole, out).clone()
        at = mask.to(whole.device)
        new[at] = through(x[at].float()).to(whole.dtype)
        if out.kind in PER_HEAD:
            new = new.unflatten(2, (whole.shape[1], whole.shape[3])).transpose(1, 2)
        return new

    def keep(whole: Tensor) -> Tensor:
        held.append(whole)
        return whole

    return {out: replace} if site == out else {site: keep, out: replace}


def _read(path: str) -> SparseDictionary:
    if Path(path).is_dir():
        return read_dictionary(path)
    found = open_result(path)
    held = getattr(found, "dictionary", None)
    if not isinstance(found, Finding) or not isinstance(held, SparseDictionary):
        raise StoreError(
            f"You asked for the dictionary {path!r}.",
            f"It holds a {type(found).__name__}.",
            "Give a file of `exegete features train --out FILE`, or a folder in the SAELens layout.",
        )
    return held


def _given(site: str, asked: str) -> str:
    if site in ("", "middle"):
        raise UsageError(
            asked, "It does not say which place of the model it reads.", "Give it: site='4.resid_post'."
        )
    return site
