"""The places that a patching study goes through, and what each moves: one pair, one direction, all sites.

    site without heads, or one head named    a row a layer, a column a token (or, where pairs differ in length, a role)
    site with heads                          a row a layer, a column a head (key-value heads for k and v), all tokens

Roles: the tokens that differ, those before and behind them, and the one at which the output is read; the tokens of a role
are patched together.

Denoising runs the corrupt text with values of the clean one, noising the other way. Every cell takes its values from the
other run at the corresponding token. What moves is counted towards the other run, so that 0 is nothing and the span all.

Cost a pair and direction: 2 forwards, and about half a pass a cell (`models.cells`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import SiteError, UsageError
from exegete.core.site import BLOCK_KINDS, PER_HEAD, Site
from exegete.core.text import Token
from exegete.core.trust import Check
from exegete.methods.mechanisms.patch_pairs import Both, Side, correspond
from exegete.models.cells import Base, Cell, Spot, base_run, run_cells
from exegete.models.lab import Lab

Direction = Literal["denoising", "noising"]
ROLES = ("before the change", "changed", "behind the change", "where it is read")


@dataclass(frozen=True)
class Places:
    """Sites in question, the head (None: all) and positions (none: all) asked for, and whether columns are roles."""

    lab: Lab
    kinds: tuple[str, ...]
    head: int | None = None
    positions: tuple[int, ...] = ()
    roles: bool = False

    @property
    def n_layers(self) -> int:
        """Layers of the stack that reads the text."""
        return len(self.lab.model.map.tower(self.lab.model.map.stacks[0]).layers)

    def site(self, kind: str, layer: int) -> Site:
        """The site of a kind in a layer."""
        return Site(kind, layer=layer, stack=self.lab.model.map.stacks[0])

    @property
    def sites(self) -> tuple[Site, ...]:
        """All of them."""
        return tuple(self.site(k, i) for k in self.kinds for i in range(self.n_layers))

    def by_head(self, kind: str) -> bool:
        """Whether the columns of a kind are heads."""
        return kind in PER_HEAD and self.head is None

    def heads(self, kind: str) -> int:
        """Heads of a kind: key-value heads for keys and values."""
        tower = self.lab.model.map.tower(self.lab.model.map.stacks[0])
        return tower.n_kv_heads if "kvhead" in BLOCK_KINDS[kind] else tower.n_heads

    def check(self) -> None:
        """Refuse sites and heads that are not there. Raises `UsageError` and `SiteError`."""
        for kind in self.kinds:
            if kind not in BLOCK_KINDS:
                raise UsageError(
                    f"You asked to patch {kind!r}.",
                    "It is no place inside a layer.",
                    f"Choose among {', '.join(BLOCK_KINDS)}.",
                )
            if self.head is not None and kind in PER_HEAD and not 0 <= self.head < self.heads(kind):
                raise SiteError(
                    f"You asked to patch head {self.head} of {kind}.",
                    f"{self.lab.model.name} has {self.heads(kind)} of them a layer.",
                    f"Give a number from 0 to {self.heads(kind) - 1}, or none for all.",
                )
        for site in self.sites:
            self.lab.model.map.port(site)

    def groups(self, both: Both, host: Side) -> list[tuple[int, ...]]:
        """The tokens of each column."""
        n = len(host.tokens)
        if not self.roles:
            return [(p,) for p in self.positions or range(n)]
        changed = tuple(i for i in _changed(both, host) if i != host.read_at)
        first, last = (min(changed), max(changed)) if changed else (0, -1)
        rest = [i for i in range(n) if i not in changed and i != host.read_at]
        before = tuple(i for i in rest if i < first)
        behind = tuple(i for i in rest if i > last or first < i < last)
        return [before, changed, behind, (host.read_at,)]

    def cells(self, kind: str, both: Both, host: Side) -> list[Cell]:
        """Cells of one grid, row by row."""
        found: list[Cell] = []
        for i in range(self.n_layers):
            site = self.site(kind, i)
            if self.by_head(kind):
                found += [(Spot(site, h, self.positions or None),) for h in range(self.heads(kind))]
            else:
                head = self.head if kind in PER_HEAD else None
                found += [(Spot(site, head, g),) for g in self.groups(both, host)]
        return found


@dataclass(frozen=True, eq=False)
class Moved:
    """What one pair gave: the target on both runs, and what each cell moves towards the other run [cell] for each kind."""

    clean: float
    corrupt: float
    moved: dict[str, np.ndarray]
    checks: tuple[Check, ...]


def sides(both: Both, direction: Direction) -> tuple[Side, Side]:
    """The run that is patched, and the one that values come from."""
    return (both.corrupt, both.clean) if direction == "denoising" else (both.clean, both.corrupt)


def patch_pair(lab: Lab, places: Places, both: Both, direction: Direction) -> Moved:
    """Every cell of every kind, exactly."""
    host, guest = sides(both, direction)
    base = host_run(lab, host, guest)
    sources, there = guest_values(lab, places.sites, host, guest)
    here = float(base.values.double().mean())
    grids = {k: places.cells(k, both, host) for k in places.kinds}
    every = [c for cells in grids.values() for c in cells]
    values = run_cells(base, every, sources).mean(1) - here
    values *= -1.0 if direction == "noising" else 1.0
    ends = np.cumsum([0, *map(len, grids.values())])
    moved = {k: values[a:b] for k, a, b in zip(grids, ends, ends[1:])}
    clean, corrupt = (there, here) if direction == "denoising" else (here, there)
    return Moved(clean, corrupt, moved, tuple(base.checks))


def host_run(lab: Lab, host: Side, guest: Side) -> Base:
    """The run that is patched. It knows how many tokens at the start are alike, where no later token is read by them."""
    same = _alike(host, guest) if lab.model.causal and host.rows == guest.rows == 1 else 0
    rows = max(host.rows, guest.rows)
    return base_run(lab, host.aim, lab.model.map.stacks[0], edit=host.edit, rows=rows, same=same)


def guest_values(
    lab: Lab, sites: Sequence[Site], host: Side, guest: Side
) -> tuple[dict[Site, Tensor], float]:
    """Values of the other run at the tokens of the patched one, and its target."""
    inputs: dict[str, Any] = {k: v.expand(guest.rows, *v.shape[1:]) for k, v in guest.aim.inputs.items()}
    at = guest.aim.positions
    at = None if at is None else at.expand(guest.rows, -1)
    seen = lab.run(inputs, read=sites, edit=guest.edit, rows=at)
    told = float(guest.aim.measure(seen.logits).double().mean())
    where = torch.as_tensor(correspond(host.tokens, guest.tokens), device=lab.model.device)
    return {s: _placed(s, seen[s], where) for s in sites}, told


def _placed(site: Site, x: Tensor, where: Tensor) -> Tensor:
    """Values at the tokens of the other text; patterns by keys too, and only between texts of equal length."""
    axes = site.axes.split()
    if "tok" in axes and "key" in axes and len(where) != x.shape[-1]:
        raise SiteError(
            f"You asked to patch {site} between texts of other lengths.",
            f"The texts have {len(where)} and {x.shape[-1]} tokens, and {site.kind} has a number for each of them.",
            "Patch another site, or give texts of as many tokens.",
        )
    if len(where) == x.shape[axes.index("tok" if "tok" in axes else "key")]:
        return x
    return x.index_select(axes.index("tok" if "tok" in axes else "key"), where)


def _alike(host: Side, guest: Side) -> int:
    pairs = list(zip(host.tokens, guest.tokens))
    alike = next((i for i, (a, b) in enumerate(pairs) if a.id != b.id), len(pairs))
    where = correspond(host.tokens, guest.tokens)
    return int(min(alike, next((i for i, w in enumerate(where) if w != i), len(where))))


def _changed(both: Both, host: Side) -> tuple[int, ...]:
    """Tokens of the patched run that differ."""
    if host.aim is both.clean.aim or not both.changed:
        return both.changed
    where = correspond(both.clean.tokens, host.tokens)
    mine = {int(where[i]) for i in both.changed}
    back = correspond(host.tokens, both.clean.tokens)
    return tuple(sorted(mine | {i for i in range(len(host.tokens)) if int(back[i]) in both.changed}))


def column_names(places: Places, kind: str, several: Sequence[Both], direction: Direction) -> tuple[str, ...]:
    """Names of a grid's columns: heads, roles, or tokens (clean/corrupt where they differ; a number where pairs differ)."""
    if places.by_head(kind):
        return tuple(f"h{h}" for h in range(places.heads(kind)))
    if places.roles:
        return ROLES
    told = [_told(b, direction) for b in several]
    at = places.positions or range(len(told[0]))
    return tuple(told[0][p] if len({t[p] for t in told}) == 1 else f"token {p}" for p in at)


def _told(both: Both, direction: Direction) -> list[str]:
    host, guest = sides(both, direction)
    where = correspond(host.tokens, guest.tokens)
    pairs = [(a, guest.tokens[w]) for a, w in zip(host.tokens, where)]
    clean = [(b, a) if direction == "denoising" else (a, b) for a, b in pairs]
    return [_word(a) if a.id == b.id else f"{_word(a)}/{_word(b)}" for a, b in clean]


def _word(token: Token) -> str:
    return token.text.strip() or repr(token.text)
