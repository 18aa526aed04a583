"""Tracing one fact: its subject made unreadable by noise, one hidden state at a time put back.

1. the tokens of the prompt get roles: before the subject; its first, middle and last token (the only token of a subject is
   its last); the first token after it; further tokens; the last one, where the answer is read;
2. the clean run is read at every place; `n_samples` runs with noise on the embeddings of the subject are the base;
3. every place (kind, layer, token) is a cell that takes the clean values (`models.cells`); what it brings back of the
   answer's probability, mean over the samples, is its indirect effect;
4. control, of the places that are asked for: the last subject token, or the last token, takes the values of another fact's
   clean run instead.

The noise is named by the prompt, so that a fact gives the same wherever it is traced. What can change nothing is not run:
tokens before the subject in a causal model, and what the last layer writes at tokens that are not read.

Shapes: effect [kind, layer, tok]. Cost: at most kinds * layers * tokens * n_samples half forwards, less with the corrupted
prefix that they share; a control n_samples forwards and as many halves a place. Reference: Meng et al. 2022,
arXiv:2202.05262, sec. 2.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError
from exegete.core.material import Fact
from exegete.core.results.tracing import ROLES, FactTrace
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Check
from exegete.core.value import Value
from exegete.methods.contracts.failures import Unfit
from exegete.models.cells import Base, Cell, Spot, base_run, run_cells
from exegete.models.edit import Add
from exegete.models.encode import Encoded
from exegete.models.lab import Aim, Lab

PARTS = {"attention": "attn_add", "mlp": "mlp_add"}
_ROWS = 4096  # of the embedding table that are looked at at once
Place = tuple[int, int, int]  # of a control: kind, layer, and which of the two tokens


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

    @property
    def width(self) -> int:
        """Entries of what the noise is added to."""
        return int(cast(Tensor, self._table.weight).shape[-1])

    @property
    def spread(self) -> float:
        """Standard deviation of the embeddings of the whole vocabulary, as they stand where the noise goes. No pass."""
        n, total, squares, size = self.lab.model.vocabulary, 0.0, 0.0, 0
        with torch.no_grad():
            for ids in torch.arange(n, device=self.lab.model.device).split(_ROWS):
                x = self._table(ids).double()
                total, squares, size = (
                    total + float(x.sum()),
                    squares + float(x.square().sum()),
                    size + x.numel(),
                )
        return float(np.sqrt(max(0.0, squares / size - (total / size) ** 2)))

    @property
    def _table(self) -> torch.nn.Module:
        bound = self.lab.model.map
        return bound.at(bound.port(self.embed).path)

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
class Asked:
    """A fact ready to be asked, with its `subject` tokens, the `spots` (last subject token, last token), and all tokens' roles."""

    fact: Fact
    aim: Aim
    subject: tuple[int, ...]
    spots: tuple[int, int]
    roles: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Read:
    """What the clean run of a fact holds: `embedding` [subject token, d], P(answer), and whether the answer is the model's
    first choice.
    """

    asked: Asked
    embedding: Tensor
    clean: float
    known: bool


class Traced(Value):
    """What tracing found of one fact: its effects, with the `spots` (last subject token, last token) and the first token `start`
    at which a change can have an effect at all. Or why it was not traced: the model does not know it (`unknown`), or the
    letter that says why it cannot be asked.
    """

    case: FactTrace | None = None
    spots: tuple[int, int] = (0, 0)
    start: int = 0
    checks: tuple[Check, ...] = ()
    unknown: str = ""
    unfit: Unfit | None = None

    @property
    def why(self) -> str:
        """Why it was not traced; "" where it was."""
        return self.unfit.found if self.unfit is not None else self.unknown


def ask_fact(lab: Lab, fact: Fact) -> Asked:
    """A fact ready to be asked. No pass. Raises letters for facts that cannot be."""
    aim = lab.aim([fact.prompt], Target(label=fact.answer, scale="prob"))
    subject = subject_tokens(aim.encoded[0], fact)
    n = len(aim.encoded[0].tokens)
    last = (aim.rows[0][0].position if lab.model.task != "seq2seq" else n - 1) or 0
    roles = roles_of(last + 1 if lab.model.causal else n, subject, last)
    return Asked(fact, aim, subject, (subject[-1], last), roles)


def read_fact(lab: Lab, fact: Fact, places: Places) -> Read:
    """The clean run of a fact. Costs a forward. Raises as `ask_fact`."""
    asked = ask_fact(lab, fact)
    seen = lab.run(asked.aim.inputs, read=[places.embed], rows=asked.aim.positions)
    return Read(
        asked,
        seen[places.embed][0, list(asked.subject)],
        float(asked.aim.measure(seen.logits)[0]),
        _first(asked.aim, seen.logits),
    )


def trace_fact(lab: Lab, read: Read, places: Places, sigma: float, n_samples: int) -> Traced:
    """Every place of a fact restored."""
    asked, aim = read.asked, read.asked.aim
    seen = lab.run(aim.inputs, read=places.every, rows=aim.positions)
    base = _noisy(lab, asked, places, sigma, n_samples)
    noisy = float(base.values.double().mean())
    grid = [(k, i) for k in places.kinds for i in range(places.n_layers)]
    cells = [places.cell(*g, t, _read_at(lab, aim)) for g in grid for t in range(len(asked.roles))]
    found = run_cells(base, cells, {s: seen[s] for s in places.every}).mean(1) - noisy
    case = FactTrace(
        name=asked.fact.prompt,
        answer=asked.fact.answer,
        tokens=_words(asked),
        roles=asked.roles,
        clean=read.clean,
        noisy=noisy,
        effect=found.reshape(len(places.kinds), places.n_layers, -1),
    )
    return Traced(case=case, spots=asked.spots, start=base.same, checks=tuple(base.checks))


def state_of(lab: Lab, asked: Asked, places: Places) -> dict[Site, Tensor]:
    """What the clean run of a fact holds at its two spots [spot, d] of each site. Costs a forward."""
    seen = lab.run(asked.aim.inputs, read=places.every, rows=asked.aim.positions)
    return {s: seen[s][0, list(asked.spots)] for s in places.every}


def control_fact(
    lab: Lab, asked: Asked, places: Places, sigma: float, n_samples: int, state: dict[Site, Tensor], at: Sequence[Place]
) -> np.ndarray:  # fmt: skip
    """Effects [place] of the `state` of another fact's run, put at places of this one."""
    base = _noisy(lab, asked, places, sigma, n_samples)
    mute = _read_at(lab, asked.aim)
    cells = [places.cell(places.kinds[k], i, asked.spots[spot], mute) for k, i, spot in at]
    taken = {s: _at(asked.spots, base.length, x) for s, x in state.items()}
    return run_cells(base, cells, taken).mean(1) - float(base.values.double().mean())


def _noisy(lab: Lab, asked: Asked, places: Places, sigma: float, n_samples: int) -> Base:
    """The run whose subject is noise."""
    draw = lab.rng("noise", asked.fact.prompt).standard_normal((n_samples, len(asked.subject), places.width))
    noise = Add(torch.from_numpy(draw * sigma).to(lab.model.device, lab.model.dtype), positions=asked.subject)
    same = asked.subject[0] if lab.model.causal else 0
    stack = lab.model.map.stacks[0]
    return base_run(lab, asked.aim, stack, edit={places.embed: noise}, rows=n_samples, same=same)


def _read_at(lab: Lab, aim: Aim) -> list[int] | None:
    """The tokens the output is read at, where the stack that is traced holds them."""
    return None if lab.model.task == "seq2seq" else [r.position or 0 for r in aim.rows[0]]


def _words(asked: Asked) -> tuple[str, ...]:
    """The tokens that have a role, in words."""
    tokens = [tok.text for tok in asked.aim.encoded[0].tokens]
    return tuple((tokens + list(asked.aim.tokens[0][len(tokens) :]))[: len(asked.roles)])


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


def _at(spots: tuple[int, int], length: int, states: Tensor) -> Tensor:
    """Values [1, tok, d] with states [spot, d] at two tokens (those of the subject where they are one); nothing else is taken."""
    new = states.new_zeros(1, length, states.shape[-1])
    for token, state in zip(spots[::-1], states.flip(0)):
        new[0, token] = state
    return new
