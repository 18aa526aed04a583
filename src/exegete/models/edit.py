"""Edits: frozen values that say what becomes of the tensor at a site, and where in it.

    Set(value)          the value itself (broadcast to the place)
    Add(value)          plus a value: steering, noise
    Scale(factor)       times a factor: head gating
    Ablate("zero")      nothing;  "mean": the mean over batch and tokens;  "resample": another row's value
    Patch(source)       the same place of a tensor captured elsewhere
    ProjectOut(dirs)    minus the component in the span of some directions

The place is the intersection of the site's own head, unit and position with `positions`, `heads`, `units`, `rows` of the
edit; an axis given as one number in the *site* disappears from the value, as it does in what a trace returns for that site.
Any callable tensor -> tensor of equal shape is an edit too. Positions count tokens of the whole text, also while decoding
with a cache; negative ones count from the end of what is being computed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from exegete.core.errors import UsageError
from exegete.core.site import Site

Index = int | Sequence[int] | Tensor | None


@dataclass(frozen=True)
class Moment:
    """What an edit may know of the call: `mask` [batch, tok] of real tokens (None: all), `offset` tokens already cached."""

    mask: Tensor | None = None
    offset: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit(ABC):
    """Where an edit applies. `positions` may also be a bool tensor [batch, tok]; None means everywhere."""

    positions: Index = None
    heads: Index = None
    units: Index = None
    rows: Index = None

    @abstractmethod
    def value_at(self, whole: Tensor, place: "Place", moment: Moment) -> Tensor:
        """New values of `place.get(whole)`."""


@dataclass(frozen=True, eq=False)
class Set(Edit):
    """Replace by `value`, a number or a tensor that broadcasts to the place."""

    value: Tensor | float

    def value_at(self, whole: Tensor, place: "Place", moment: Moment) -> Tensor:
        """The value in the tensor's type."""
        return _like(self.value, whole)


@dataclass(frozen=True, eq=False)
class Add(Edit):
    """Add `value`, a number or a tensor that broadcasts to the place."""

    value: Tensor | float

    def value_at(self, whole: Tensor, place: "Place", moment: Moment) -> Tensor:
        """The old values plus the value."""
        return place.get(whole) + _like(self.value, whole)


@dataclass(frozen=True, eq=False)
class Scale(Edit):
    """Multiply by `factor`, a number or a tensor that broadcasts to the place."""

    factor: Tensor | float

    def value_at(self, whole: Tensor, place: "Place", moment: Moment) -> Tensor:
        """The old values times the factor."""
        return place.get(whole) * _like(self.factor, whole)


@dataclass(frozen=True, eq=False)
class Ablate(Edit):
    """Remove what the place says.

    zero      0
    mean      the mean over batch and real tokens, of `source` (a capture of the same site on reference texts) when given
    resample  the same place of another row of the batch, or of rows drawn from `source`; the draw depends on `seed` only
    """

    how: Literal["zero", "mean", "resample"] = "zero"
    source: Tensor | None = None
    seed: int = 0

    def value_at(self, whole: Tensor, place: "Place", moment: Moment) -> Tensor:
        """Zeros, the mean, or another row's values."""
        if self.how == "zero":
            return torch.zeros_like(place.get(whole))
        if self.how == "mean":
            given = self.source is not None
            mean = _mean(_like(self.source, whole) if given else whole, place, None if given else moment.mask)
            return place.get(mean.expand_as(whole))
        if self.how == "resample":
            return place.get(self._other_rows(whole))
        raise UsageError(
            f"You asked for the ablation {self.how!r}.", "It does not exist.", "Use zero, mean or resample."
        )

    def _other_rows(self, whole: Tensor) -> Tensor:
        draw = torch.Generator().manual_seed(self.seed)
        if self.source is not None:
            rows = torch.randint(len(self.source), (len(whole),), generator=draw)
            return _like(self.source[rows], whole)
        if len(whole) < 2:
            raise UsageError(
                "You asked for a resample ablation of a single text.",
                "There is no other row to take values from.",
                "Run several texts of equal length at once, or give `source`.",
            )
        return whole.roll(int(torch.randint(1, len(whole), (), generator=draw)), 0)


@dataclass(frozen=True, eq=False)
class Patch(Edit):
    """Take the values of `source`: the whole site captured on another text, or just the place of it."""

    source: Tensor

    def value_at(self, whole: Tensor, place: "Place", moment: Moment) -> Tensor:
        """The same place of the source."""
        source = _like(self.source, whole)
        return place.get(source) if source.shape == whole.shape else source


@dataclass(frozen=True, eq=False)
class ProjectOut(Edit):
    """Remove the component along `directions`, [d] or [k, d], from the last axis."""

    directions: Tensor

    def value_at(self, whole: Tensor, place: "Place", moment: Moment) -> Tensor:
        """The old values minus their projection on the span of the directions."""
        x = place.get(whole)
        basis = torch.linalg.qr(torch.atleast_2d(_like(self.directions, whole)).T.float()).Q.to(x.dtype)
        if x.shape[-1:] != basis.shape[:1]:
            raise UsageError(
                f"You asked to project out directions of {basis.shape[0]} entries.",
                f"The place has {x.shape[-1] if x.ndim else 1} entries on its last axis.",
                "Give directions of the width of the site, and no units.",
            )
        return x - (x @ basis) @ basis.T


EditLike = Edit | Callable[[Tensor], Tensor]


def apply_edit(whole: Tensor, site: Site, edit: EditLike, moment: Moment) -> Tensor:
    """`whole` (the full tensor of `site.whole`) after one edit; a new tensor of the same shape, or `whole` itself when the
    edit concerns positions outside of this call. Raises `UsageError` when the place or the value does not fit.
    """
    place = Place.of(site, edit if isinstance(edit, Edit) else None, whole, moment)
    if place.empty:
        return whole
    new = edit.value_at(whole, place, moment) if isinstance(edit, Edit) else edit(place.get(whole))
    return place.put(whole, new)


@dataclass(frozen=True)
class Place:
    """A sub-block of a tensor: per axis a number (the axis disappears), a list, or None (all of it); `mask` over tokens."""

    site: Site
    picks: tuple[int | tuple[int, ...] | None, ...]
    mask: Tensor | None = None
    empty: bool = False

    @classmethod
    def of(cls, site: Site, edit: Edit | None, whole: Tensor, moment: Moment) -> "Place":
        """The intersection of a site's own indices with those of an edit. Raises `UsageError` for what lies outside."""
        axes = _axes(site, whole)
        picks: list[int | tuple[int, ...] | None] = [None] * whole.ndim
        mask = None
        for role, own in (("batch", None), ("head", site.head), ("tok", site.position), ("unit", site.unit)):
            axis = _axis(role, axes)
            wanted = _of_edit(edit, role)
            if role == "tok" and isinstance(wanted, Tensor) and wanted.dtype == torch.bool:
                mask, wanted = wanted, None
            if own is None and wanted is None:
                continue
            if axis is None or (own is not None and wanted is not None):
                raise _bad_place(site, role, axis)
            # Positions are absolute; keys hold the whole text also while decoding, queries only the new tokens.
            shift = moment.offset if role == "tok" and axes[axis] == "tok" else 0
            chosen = _resolve(own if own is not None else wanted, whole.shape[axis], shift, site, role)
            if chosen is None:
                return cls(site, tuple(picks), empty=True)
            picks[axis] = chosen
        return cls(site, tuple(picks), mask)

    def get(self, whole: Tensor) -> Tensor:
        """The values of the place."""
        for axis in reversed(range(whole.ndim)):
            pick = self.picks[axis]
            if isinstance(pick, int):
                whole = whole.select(axis, pick)
            elif pick is not None:
                whole = whole.index_select(axis, torch.tensor(pick, device=whole.device))
        return whole

    def put(self, whole: Tensor, new: Tensor) -> Tensor:
        """A copy of `whole` with new values at the place."""
        old = self.get(whole)
        new = self._fit(new, old)
        if self.mask is not None:
            new = torch.where(self._spread_mask(whole), new, old)
        if all(p is None for p in self.picks):
            return new.clone()  # never a broadcast view or the caller's own tensor: some models add in place
        out = whole.clone()
        for axis, pick in enumerate(self.picks):
            if isinstance(pick, int):
                new = new.unsqueeze(axis)
        out[self._mesh(whole)] = new
        return out

    def _fit(self, new: Tensor, old: Tensor) -> Tensor:
        try:
            return torch.broadcast_to(new, old.shape).to(old.dtype)
        except RuntimeError:
            raise UsageError(
                f"You asked to write a tensor of shape {tuple(new.shape)} at {self.site}.",
                f"The place has the shape {tuple(old.shape)}.",
                "Give values that broadcast to it.",
            ) from None

    def _mesh(self, whole: Tensor) -> tuple[Tensor, ...]:
        grid = []
        for axis, pick in enumerate(self.picks):
            rows = range(whole.shape[axis]) if pick is None else ([pick] if isinstance(pick, int) else pick)
            shape = [-1 if a == axis else 1 for a in range(whole.ndim)]
            grid.append(torch.tensor(list(rows), device=whole.device).reshape(shape))
        return tuple(grid)

    def _spread_mask(self, whole: Tensor) -> Tensor:
        axis = _axis("tok", _axes(self.site, whole))
        mask = self.mask
        if axis is None or mask is None or mask.shape != (whole.shape[0], whole.shape[axis]):
            raise _bad_place(self.site, "tok", axis)
        shape = [1] * whole.ndim
        shape[0], shape[axis] = mask.shape
        return self.get(mask.to(whole.device).reshape(shape).expand_as(whole))


def slice_site(whole: Tensor, site: Site, moment: Moment) -> Tensor | None:
    """The part of a captured tensor that a site with head, unit or position names; None when it lies outside of this call."""
    place = Place.of(site, None, whole, moment)
    return None if place.empty else place.get(whole)


def _axes(site: Site, whole: Tensor) -> list[str]:
    axes = site.axes.split()
    # Pooled logits of a sequence classifier have no token axis.
    return axes if len(axes) == whole.ndim else [a for a in axes if a != "tok"][: whole.ndim]


def _axis(role: str, axes: list[str]) -> int | None:
    if role == "unit":
        return len(axes) - 1
    names = {"batch": ("batch",), "head": ("head", "kvhead"), "tok": ("tok", "key")}[role]
    return next((axes.index(n) for n in names if n in axes), None)


def _of_edit(edit: Edit | None, role: str) -> Index:
    if edit is None:
        return None
    return {"batch": edit.rows, "head": edit.heads, "tok": edit.positions, "unit": edit.units}[role]


def _resolve(wanted: Index, size: int, shift: int, site: Site, role: str) -> int | tuple[int, ...] | None:
    """Indices within this call; None when none of them falls into it."""
    if isinstance(wanted, int):
        local = wanted - shift if wanted >= 0 else wanted + size
        if 0 <= local < size:
            return local
        if wanted >= 0 and role == "tok":
            return None  # a token that is not in this call: cached already, or still to be generated
        raise _outside(site, role, wanted, size + shift)
    listed = wanted.tolist() if isinstance(wanted, Tensor) else list(wanted or ())
    found = [_resolve(int(w), size, shift, site, role) for w in listed]
    inside = tuple(f for f in found if isinstance(f, int))
    return inside or None


def _mean(x: Tensor, place: Place, mask: Tensor | None) -> Tensor:
    """Mean over batch and tokens (over the batch alone for scores and patterns), keeping the axes."""
    axes = _axes(place.site, x)
    over = [0]
    if not ("tok" in axes and "key" in axes):
        tok = _axis("tok", axes)
        over += [tok] if tok is not None else []
    if mask is None or len(over) == 1 or mask.shape != (x.shape[0], x.shape[over[1]]):
        return x.mean(over, keepdim=True)
    shape = [1] * x.ndim
    shape[0], shape[over[1]] = mask.shape
    weight = mask.to(x).reshape(shape)
    return (x * weight).sum(over, keepdim=True) / weight.sum().clamp_min(1)


def _like(value: Tensor | float | None, whole: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=whole.dtype, device=whole.device)


_WORDS = {"batch": "row", "head": "head", "tok": "position", "unit": "unit"}


def _outside(site: Site, role: str, index: int, size: int) -> UsageError:
    return UsageError(
        f"You asked for {_WORDS[role]} {index} of {site}.",
        f"This site has {size} of them here.",
        f"Give a number from 0 to {size - 1}, or a negative one from the end.",
    )


def _bad_place(site: Site, role: str, axis: int | None) -> UsageError:
    word = _WORDS[role]
    found = (
        f"This site has no {word} axis." if axis is None else f"The {word} does not fit, or is given twice."
    )
    return UsageError(
        f"You asked for a {word} of {site}.", found, f"Its axes are: {site.axes}. Give each index once."
    )
