"""Tracing one fact: its subject made unreadable by noise, one hidden state at a time put back.

1. the tokens of the prompt get roles: before the subject; its first, middle and last token (the only token of a subject is
   its last); the first token after it; further tokens; the last one, where the answer is read;
2. the clean run is read at every place; `n_samples` runs with noise on the embeddings of the subject are the base;
3. every place (kind, layer, token) is a cell that takes the clean values (`models.cells`); what it brings back of the
   answer's probability, mean over the samples, is its indirect effect;
4. control: the last subject token, and the last token, take the values of another fact's clean run instead.

What can change nothing is not run: tokens before the subject in a causal model, and what the last layer writes at tokens
that are not read. Shapes: effect [kind, layer, tok]. Cost: at most kinds * layers * tokens * n_samples half forwards, less
with the corrupted prefix that they share. Reference: Meng et al. 2022, arXiv:2202.05262, sec. 2.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError
from exegete.core.material import Fact
from exegete.core.results.tracing import ROLES
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Check
from exegete.models.cells import Cell, Spot, base_run, run_cells
from exegete.models.edit import Add
from exegete.models.encode import Encoded
from exegete.models.lab import Aim, Lab

PARTS = {"attention": "attn_add", "mlp": "mlp_add"}


@dataclass(frozen=True, eq=False)
class Places:
    """The places of one model: a tuple of sites for each kind and layer."""

    lab: Lab
    kinds: tuple[str, ...]
    window: int

    @property
    def n_layers(self) -> int:
        """Layers of the stack that reads the prompt."""
        bound = self.lab.model.map
        return len(bound.tower(bound.stacks[0]).layers)

    @property
    def embed(self) -> Site:
        """Where the noise goes."""
        return Site("embed", stack=self.lab.model.map.stacks[0])

    def sites(self, kind: str, layer: int) -> tuple[Site, ...]:
        """The residual after a layer, or what the parts of a window of layers around it add (fewer at the ends)."""
        stack, n = self.lab.model.map.stacks[0], self.n_layers
        if kind == "residual":
            last = layer + 1 == n
            return (
                Site("resid_post" if last else "resid_pre", layer=layer if last else layer + 1, stack=stack),
            )
        first = max(0, layer - self.window // 2)
        behind = min(n, layer + (self.window + 1) // 2)
        return tuple(Site(PARTS[kind], layer=i, stack=stack) for i in range(first, behind))

    @property
    def every(self) -> tuple[Site, ...]:
        """All of them."""
        return tuple(
            dict.fromkeys(s for k in self.kinds for i in range(self.n_layers) for s in self.sites(k, i))
        )

    def check(self) -> None:
        """Refuse a model that lacks one of them. Raises `SiteError`."""
        for site in (self.embed, *self.every):
            self.lab.model.map.port(site)

    def cell(self, kind: str, layer: int, token: int, read: Sequence[int] | None) -> Cell:
        """The sites at a token. `read`: the tokens the output is read at, where the last layer writes to no other's."""
        end = self.n_layers - 1
        mute = read is not None and token not in read
        kept = [s for s in self.sites(kind, layer) if not (mute and s.layer == end and s.kind != "resid_pre")]
        return tuple(Spot(s, positions=(token,)) for s in kept)


@dataclass(frozen=True, eq=False)
class Read:
    """A fact as the model reads it, with `spots` (last subject token, last token), and what its clean run holds: `embedding`
    [subject token, d], the `state` [spot, d] of each site, P(answer), and whether the answer is the model's first choice.
    """

    fact: Fact
    aim: Aim
    subject: tuple[int, ...]
    spots: tuple[int, int]
    roles: tuple[str, ...]
    embedding: Tensor
    state: dict[Site, Tensor]
    clean: float
    known: bool


@dataclass(frozen=True, eq=False)
class Traced:
    """What tracing found: probability `noisy` (mean), `effect` [kind, layer, tok], `other` [kind, layer, spot]
    the control, and the first token `start` at which a change can have an effect at all.
    """

    read: Read
    noisy: float
    effect: np.ndarray
    other: np.ndarray
    start: int
    checks: tuple[Check, ...]


def read_fact(lab: Lab, fact: Fact, places: Places) -> Read:
    """The clean run of a fact. Costs a forward. Raises letters for facts that cannot be asked."""
    aim = lab.aim([fact.prompt], Target(label=fact.answer, scale="prob"))
    subject = subject_tokens(aim.encoded[0], fact)
    rows = aim.rows[0]
    main = lab.model.task != "seq2seq"
    n = len(aim.encoded[0].tokens)
    last = (rows[0].position if main else n - 1) or 0
    sites, spots = places.every, (subject[-1], last)
    seen = lab.run(aim.inputs, read=[places.embed, *sites], rows=aim.positions)
    return Read(
        fact, aim, subject, spots, roles_of(last + 1 if lab.model.causal else n, subject, last),
        seen[places.embed][0, list(subject)], {s: seen[s][0, list(spots)] for s in sites},
        float(aim.measure(seen.logits)[0]), _first(aim, seen.logits),
    )  # fmt: skip


def trace_fact(
    lab: Lab, read: Read, places: Places, sigma: float, n_samples: int, other: Read | None
) -> Traced:
    """Every place of a fact restored; `other` is the fact whose states are the control (NaN without one)."""
    aim, start = read.aim, read.subject[0]
    stack = lab.model.map.stacks[0]
    seen = lab.run(aim.inputs, read=places.every, rows=aim.positions)
    clean = {s: seen[s] for s in places.every}
    draw = lab.rng("noise", read.fact.prompt).standard_normal((n_samples, *read.embedding.shape))
    noise = Add(torch.from_numpy(draw * sigma).to(read.embedding), positions=read.subject)
    same = start if lab.model.causal else 0
    base = base_run(lab, aim, stack, edit={places.embed: noise}, rows=n_samples, same=same)
    noisy = float(base.values.double().mean())
    mute = None if lab.model.task == "seq2seq" else [r.position or 0 for r in aim.rows[0]]
    grid = [(k, i) for k in places.kinds for i in range(places.n_layers)]
    shape = (len(places.kinds), places.n_layers, -1)
    cells = [places.cell(*g, t, mute) for g in grid for t in range(len(read.roles))]
    found = run_cells(base, cells, clean).mean(1) - noisy
    control = np.full((*shape[:2], 2), np.nan)
    if other is not None:
        at = [places.cell(*g, t, mute) for g in grid for t in read.spots]
        taken = {s: _with(clean[s], read.spots, other.state[s]) for s in clean}
        control = run_cells(base, at, taken).mean(1).reshape(shape) - noisy
    return Traced(read, noisy, found.reshape(shape), control, same, tuple(base.checks))


def subject_tokens(encoded: Encoded, fact: Fact) -> tuple[int, ...]:
    """Positions of the tokens of the subject's last mention. Raises `InputError` when there are none."""
    start, end = fact.span
    found = tuple(
        i for i, t in enumerate(encoded.tokens) if not t.special and t.start < end and t.end > start
    )
    if not found:
        raise InputError(
            f"You asked to trace the fact {fact.prompt!r}.",
            f"No token that the model reads stands for its subject {fact.subject!r}.",
            "Give a shorter prompt, or a subject as it stands in it.",
        )
    return found


def roles_of(n: int, subject: tuple[int, ...], last: int) -> tuple[str, ...]:
    """The role of each of `n` tokens; see the module."""
    first, end = subject[0], subject[-1]
    before, one, middle, final, after, further, read = ROLES

    def role(i: int) -> str:
        if i == end:
            return final
        if i == last:
            return read
        if i < first:
            return before
        if i < end:
            return one if i == first else middle
        return after if i == end + 1 else further

    return tuple(role(i) for i in range(n))


def _first(aim: Aim, logits: Tensor) -> bool:
    """Whether every token of the answer is the model's first choice."""
    rows = aim.rows[0]
    return aim.at_rows(logits)[0].argmax(-1).tolist() == [r.id for r in rows]


def _with(values: Tensor, spots: tuple[int, int], states: Tensor) -> Tensor:
    """`values` [1, tok, d] with other states [spot, d] at two tokens (those of the subject where they are one)."""
    new = values.clone()
    for token, state in zip(spots[::-1], states.flip(0)):
        new[0, token] = state
    return new
