"""Applying a saved edit to a model, and taking it back to the very bits.

1. check, before anything is touched: the model is the one the edit was made for (or that one with edits of this module on
   it), every parameter is there and has the shape, every number is finite, also in the weight's own precision;
2. keep a copy of each parameter concerned, then write W + delta (added in float64, rounded once to W's type) in place;
3. take back by copying the originals over: bits, not sums, since (W + d) - d is not W in floating point.

`edited` is the context (weights and sites; everything back on leaving, also after an exception, also nested), `apply` and
`undo` the lasting form. What was applied is remembered with the module for as long as it lives, and may be undone in any
order: later edits of the same parameter are lifted, and written again on what is left. A parameter under two names (tied
weights) is one: it is changed under both.

Cost: no model pass; two copies of each changed parameter, and two fingerprints of the model. Reference: Meng et al. 2022, arXiv:2202.05262, eq. 2 (the update).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from exegete.core.errors import ModelError, UsageError
from exegete.core.results.edits import ModelEdit, SiteEdit, WeightDelta
from exegete.models.capture import EditMap, SiteLike, trace
from exegete.models.edit import Add, EditLike, Scale, Set
from exegete.models.family import unwrap
from exegete.models.model import Model
from exegete.models.placement import need_here


@dataclass(eq=False)
class _Applied:
    """One edit in place: the parameters it changed, with what they held before, and the fingerprints around it."""

    edit: ModelEdit
    originals: list[tuple[nn.Parameter, Tensor]]
    before: str
    after: str = ""


_LOG: "WeakKeyDictionary[nn.Module, list[_Applied]]" = WeakKeyDictionary()


@contextmanager
def edited(model: Model, edit: ModelEdit) -> Iterator[Model]:
    """The model with the edit in place; bit for bit as before afterwards. Nests.

    Raises `ModelError` for another model or numbers that are not finite, `UsageError` for an edit of nothing and, on
    leaving, for a site edit whose place no pass came by (as in any trace).
    """
    entry = _write(model, edit, lasting=False)
    try:
        with ExitStack() as stack:
            if edit.sites:
                stack.enter_context(trace(model, edit=site_edits(edit)))
            yield model
    finally:
        _take_back(model, entry)


def apply(model: Model, edit: ModelEdit) -> Model:
    """Write the edit's weights into the model to stay, until `undo`. Returns the same model.

    Raises as `edited`, and `UsageError` for an edit of sites, which are no weights.
    """
    _write(model, edit, lasting=True)
    return model


def undo(model: Model, edit: ModelEdit) -> Model:
    """Put back the very bits that `apply` found. Returns the same model.

    Raises `UsageError` when it was not applied here, or when somebody else has written to the weights since.
    """
    log = _LOG.get(unwrap(model), [])
    found = next((e for e in reversed(log) if e.edit is edit or e.edit == edit), None)
    if found is None or model.fingerprint != log[-1].after:
        why = "It was not applied to it" if found is None else "Its weights were written to by other means"
        raise UsageError(
            f"You asked to undo the edit {edit.title!r} of {model.name}.",
            f"{why} since the model was loaded.",
            "Load the model again to have its own weights.",
        )
    _take_back(model, found)
    return model


def applied(model: Model) -> tuple[ModelEdit, ...]:
    """The edits in place on a model, the earliest first."""
    return tuple(e.edit for e in _LOG.get(unwrap(model), ()))


def site_edits(edit: ModelEdit) -> EditMap:
    """The site edits of an edit, as a trace takes them."""
    found: dict[SiteLike, list[EditLike]] = {}
    for s in edit.sites:
        found.setdefault(s.site, []).append(_site_edit(s))
    return {site: tuple(several) for site, several in found.items()}


def emphasise(
    pattern: Tensor, keys: tuple[int, ...], alpha: Tensor | float, heads: tuple[int, ...] | None
) -> Tensor:
    """The pattern [batch, head, tok, key] with attention to all keys but `keys` times `alpha`, rows as heavy as before.

    A row that sees none of `keys` (they come later) stays as it is: scaling all of it alike would change nothing. `heads`
    None: all of them.
    """
    inside = torch.zeros(pattern.shape[-1], dtype=torch.bool, device=pattern.device)
    inside[[k for k in keys if k < pattern.shape[-1]]] = True
    chosen = torch.zeros(pattern.shape[1], dtype=torch.bool, device=pattern.device)
    chosen[list(range(len(chosen)) if heads is None else heads)] = True
    return emphasised(pattern, inside.expand(len(pattern), -1), chosen.expand(len(pattern), -1), alpha)


def emphasised(pattern: Tensor, inside: Tensor, chosen: Tensor, alpha: Tensor | float) -> Tensor:
    """As `emphasise`, each row of the batch with its own keys `inside` [batch, key] and `chosen` heads [batch, head]."""
    keep = inside.to(pattern.device)[:, None, None]
    scaled = torch.where(keep, pattern, pattern * alpha)
    mass, total = scaled.sum(-1, keepdim=True), pattern.sum(-1, keepdim=True)
    sees = (pattern * keep).sum(-1, keepdim=True) > 0
    new = scaled * (total / mass.clamp_min(torch.finfo(pattern.dtype).tiny))
    return torch.where(sees & chosen.to(pattern.device)[:, :, None, None], new, pattern)


def eraser(value: Tensor) -> EditLike:
    """The affine map x - ((x - mean) B^T) A on the last axis; `value` [1 + 2 k, d] is the mean, A [k, d] and B [k, d]."""
    k = (len(value) - 1) // 2

    def _edit(x: Tensor) -> Tensor:
        v = value.to(x.device, torch.float64 if x.dtype == torch.float64 else torch.float32)
        wide = x.to(v.dtype)
        return (wide - (wide - v[0]) @ v[1 + k :].T @ v[1 : 1 + k]).to(x.dtype)

    return _edit


# ---- checks --------------------------------------------------------------------------------------------------------------


def _check_model(model: Model, edit: ModelEdit) -> str:
    """The fingerprint of the model as it is. Raises `ModelError` unless the edit was made for it, or for it before edits."""
    now = model.fingerprint
    log = _LOG.get(unwrap(model), [])
    known = {now, *(e.before for e in log), *(e.after for e in log)}
    if not edit.made_for or edit.made_for not in known:
        whose = f"the weights {edit.made_for}" if edit.made_for else "no weights it names"
        raise ModelError(
            f"You asked to apply the edit {edit.title!r} to {model.name}.",
            f"It was made for {whose}; these are {now}.",
            "Load the model and revision that it was made for, or make the edit again on this one.",
        )
    return now


def _check_edit(edit: ModelEdit, lasting: bool) -> None:
    if not edit.deltas and not edit.sites:
        several = len(getattr(edit, "cases", ())) > 1
        raise UsageError(
            f"You asked to apply the edit {edit.title!r}.",
            "It holds several edits that were made apart." if several else "It changes nothing.",
            "Choose one with `only(i)`." if several else "Give an edit that changes weights or sites.",
        )
    if lasting and edit.sites:
        raise UsageError(
            f"You asked to apply the edit {edit.title!r} to stay.",
            f"It edits activations ({edit.sites[0].site}), which are no weights.",
            "Run the model inside `with edited(model, edit):`.",
        )
    bad = [d.parameter for d in edit.deltas if not all(np.isfinite(a).all() for a in d.arrays)]
    bad += [s.site for s in edit.sites if not np.isfinite(s.value).all()]
    if bad:
        raise _not_finite(edit, bad[0])


def _parameter(module: nn.Module, edit: ModelEdit, delta: WeightDelta) -> nn.Parameter:
    found = dict(module.named_parameters(remove_duplicate=False)).get(delta.parameter)
    if found is None or not found.is_floating_point() or tuple(found.shape) != tuple(delta.shape):
        size = "x".join(map(str, delta.shape))
        there = (
            "There is no such parameter."
            if found is None
            else f"It holds {tuple(found.shape)} numbers of {found.dtype}; the change is {size}."
        )
        raise UsageError(
            f"You asked for an edit of the parameter {delta.parameter!r}.",
            there,
            "Name a floating-point parameter as `module.named_parameters()` does, in its own shape.",
        )
    return found


def _planned(module: nn.Module, edit: ModelEdit) -> list[tuple[nn.Parameter, Tensor]]:
    """Each parameter with its new value. Nothing is written yet."""
    if edit.deltas:
        need_here(module, f"You asked to apply the edit {edit.title!r}.")
    new: dict[nn.Parameter, Tensor] = {}
    for delta in edit.deltas:
        p = _parameter(module, edit, delta)
        change = torch.from_numpy(delta.dense()).to(p.device)
        new[p] = new.get(p, p.detach().double()) + change
    rounded = [(p, value.to(p.dtype)) for p, value in new.items()]
    if not all(bool(torch.isfinite(value).all()) for _, value in rounded):
        raise _not_finite(edit, edit.deltas[0].parameter)
    return rounded


def _not_finite(edit: ModelEdit, where: str) -> ModelError:
    return ModelError(
        f"You asked to apply the edit {edit.title!r}.",
        f"It would put NaN or infinite numbers into {where}.",
        "Make the edit again with fewer steps or a smaller learning rate, or load the model in float32.",
    )


# ---- writing and taking back ---------------------------------------------------------------------------------------------


def _write(model: Model, edit: ModelEdit, lasting: bool) -> _Applied:
    _check_edit(edit, lasting)
    before = _check_model(model, edit)
    module = unwrap(model)
    entry = _Applied(edit, _put(_planned(module, edit)), before)
    entry.after = model.fingerprint if entry.originals else before
    _LOG.setdefault(module, []).append(entry)
    return entry


def _put(planned: list[tuple[nn.Parameter, Tensor]]) -> list[tuple[nn.Parameter, Tensor]]:
    """Write new values into parameters; what each held before."""
    originals = [(p, p.detach().clone()) for p, _ in planned]
    with torch.no_grad():
        for p, value in planned:
            p.copy_(value)
    return originals


def _take_back(model: Model, entry: _Applied) -> None:
    """Restore an entry's originals; later edits of the same parameters are lifted before and written again after."""
    module = unwrap(model)
    log = _LOG[module]
    mine = {p for p, _ in entry.originals}
    above = [e for e in log[log.index(entry) + 1 :] if mine & {p for p, _ in e.originals}]
    for lifted in (*reversed(above), entry):
        _put(lifted.originals)
    log.remove(entry)
    for again in above:
        again.originals = _put(_planned(module, again.edit))
    if log:
        log[-1].after = model.fingerprint
    else:
        del _LOG[module]


def _site_edit(s: SiteEdit) -> EditLike:
    value = torch.from_numpy(np.array(s.value))
    if s.how == "emphasise":
        return _emphasiser(s, float(value))
    if s.how == "erase":
        return eraser(value)
    make: Callable[..., EditLike] = {"add": Add, "scale": Scale, "set": Set}[s.how]
    return make(value, positions=s.positions, heads=s.heads, units=s.units)


def _emphasiser(s: SiteEdit, alpha: float) -> EditLike:
    keys, heads = s.positions or (), s.heads

    def _edit(pattern: Tensor) -> Tensor:
        return emphasise(pattern, keys, alpha, heads)

    return _edit
