"""The proof that a map describes its model: six checks on the live model, run on a short random input.

1. residual   residual in + what each part adds (through the norm on the sum, where there is one) = residual out
2. heads      the outputs of the heads plus the bias = what the output projection returned
3. pattern    softmax(scores) = pattern; pattern @ v = z; repeated key-value heads are equal; sizes are the config's
4. unembed    head(norm(last residual)) = logits; for classifiers: the last residual alone decides the logits
5. silence    reading every site leaves the logits bitwise equal
6. reach      the logits depend on every site (a gradient through it), and an edit of each kind of site moves them

A site whose check fails is refused with the reason from then on; the others stay. A checkpoint that computes something else
than its config says fails here. Cost: about 5 + (kinds of sites) forward passes and one backward pass over 6 tokens.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from exegete.core.errors import ExegeteError, ModelError
from exegete.core.site import Site
from exegete.core.site import Stack as StackName
from exegete.models.capture import Trace, evaluating, run
from exegete.models.edit import Add
from exegete.models.family import ModelLike, ModelMap, bind
from exegete.models.matrix import linear_map
from exegete.models.placement import computes_on
from exegete.models.ports import Tower

CHECKS = ("residual", "heads", "pattern", "unembed", "silence", "reach")
_TOKENS = 6


@dataclass(frozen=True)
class Check:
    """One row: `error` is the largest residual over `sites`, to be at most `tolerance`; `words` say what was compared."""

    name: str
    sites: tuple[str, ...]
    error: float
    tolerance: float
    passed: bool
    words: str


@dataclass(frozen=True)
class Proof:
    """What was proved of one model, and what was refused (site -> reason)."""

    model: str
    family: str
    established: str
    rows: tuple[Check, ...]
    refused: dict[str, str]
    sites: int
    forwards: int
    backwards: int
    seconds: float
    seed: int

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(r.passed for r in self.rows)

    def table(self) -> list[dict[str, Any]]:
        """The rows as plain data, worst first within a check."""
        ordered = sorted(self.rows, key=lambda r: (CHECKS.index(r.name), r.passed, -r.error))
        return [
            {
                "check": r.name,
                "sites": list(r.sites),
                "error": r.error,
                "tolerance": r.tolerance,
                "passed": r.passed,
                "words": r.words,
            }
            for r in ordered
        ]


def prove(model: ModelLike, *, seed: int = 0) -> Proof:
    """Check the map of a model on a short random input, refuse the sites that fail, and report.

    The model is left as found. Raises `ModelError` when it cannot run at all or computes NaN, `UnsupportedModel` when there
    is no map.
    """
    began = time.perf_counter()
    bound = bind(model)
    bound.refused.clear()
    work = _Work(bound, seed)
    with evaluating(bound.module):
        rows = work.rows()
    for row in rows:
        if not row.passed:
            bound.refused.update({Site.parse(s): _reason(row) for s in row.sites})
    return Proof(
        model=type(bound.module).__name__,
        family=bound.family,
        established=bound.established,
        rows=tuple(rows),
        refused={str(s): why for s, why in bound.refused.items()},
        sites=len(bound.sites()),
        forwards=work.forwards,
        backwards=work.backwards,
        seconds=time.perf_counter() - began,
        seed=seed,
    )


class _Work:
    """The passes of one proof and what they showed."""

    def __init__(self, bound: ModelMap, seed: int) -> None:
        self.map, self.seed = bound, seed
        self.forwards = self.backwards = 0
        self.inputs = probe_inputs(bound, seed)
        self.logits = self._bare(self.inputs)
        probe = next(p for p in bound.module.parameters() if p.is_floating_point())
        self.tolerance = 2e-5 if probe.dtype in (torch.float32, torch.float64) else 4e-2

    def rows(self) -> list[Check]:
        """All rows; a kind of site that cannot even be read gives one failed row and is left out of the others."""
        broken = self._unreadable()
        self.map.refused.update({Site.parse(s): r.words for r in broken for s in r.sites})
        with torch.no_grad():
            seen = self._run(read=self.map.sites())
            made: list[Check] = list(broken)
            for name, tower in self.map.towers.items():
                for i in range(len(tower.layers)):
                    made += _residual_rows(self, seen, name, i)
                    made += _attention_rows(self, seen, name, tower, i)
            made += self._unembed_rows(seen)
            made.append(self._silence_row(seen))
        return made + self._reach_rows(seen)

    def row(self, name: str, sites: Iterable[Site], got: Tensor, want: Tensor, words: str) -> Check:
        """Compare two tensors relative to the size of the second."""
        if got.shape != want.shape:
            words += f" (shapes {tuple(got.shape)} and {tuple(want.shape)})"
            return Check(name, tuple(map(str, sites)), float("inf"), self.tolerance, False, words)
        size = max(1.0, float(want.detach().abs().max())) if want.numel() else 1.0
        error = float((got - want).detach().abs().max()) / size if want.numel() else 0.0
        return Check(name, tuple(map(str, sites)), error, self.tolerance, error <= self.tolerance, words)

    def _bare(self, inputs: dict[str, Tensor]) -> Tensor:
        self.forwards += 1
        with torch.no_grad(), evaluating(self.map.module):
            out = self.map.module(**inputs)
        found = getattr(out, "logits", None)
        found = found if found is not None else out.last_hidden_state
        if not bool(torch.isfinite(found).all()):
            raise ModelError(
                f"You asked to prove {type(self.map.module).__name__}.",
                "It computes NaN or infinity on a random input of ordinary tokens.",
                "Check the checkpoint and the number type it was loaded in.",
            )
        return found

    def _run(self, **how: Any) -> Trace:
        self.forwards += 1
        return run(self.map, how.pop("inputs", self.inputs), **how)

    def _unreadable(self) -> list[Check]:
        """Kinds whose sites cannot be read on this model at all (unseen kernels, places never passed)."""
        sites = self.map.sites()
        try:
            seen = self._run(read=sites)
        except ExegeteError:
            return [row for kind in dict.fromkeys(s.kind for s in sites) if (row := self._kind_row(kind))]
        lost = [s for s in sites if s not in seen]
        return [self._lost_row(lost, "the model did not come past this place")] if lost else []

    def _kind_row(self, kind: str) -> Check | None:
        sites = self.map.sites(kind)
        try:
            seen = self._run(read=sites)
        except ExegeteError as err:
            return self._lost_row(sites, err.found)
        lost = [s for s in sites if s not in seen]
        return self._lost_row(lost, "the model did not come past this place") if lost else None

    def _lost_row(self, sites: Iterable[Site], words: str) -> Check:
        return Check("silence", tuple(map(str, sites)), float("inf"), 0.0, False, words)

    def _silence_row(self, seen: Trace) -> Check:
        out = getattr(seen.output, "logits", None)
        out = out if out is not None else seen.output.last_hidden_state
        error = float((out - self.logits).abs().max())
        passed = torch.equal(out, self.logits)
        sites = () if passed else tuple(map(str, seen.sites))
        return Check(
            "silence", sites, error, 0.0, passed, "logits while every site is read = logits of the bare model"
        )

    def _unembed_rows(self, seen: Trace) -> list[Check]:
        last = Site("final_in", stack=self.map.stacks[-1])
        if last not in seen:
            return []
        if self.map.head is not None:
            sites = [s for s in (last, Site("final_norm", stack=last.stack), Site("logits")) if s in seen]
            rows = [self.row("unembed", sites, self.map.unembed(seen[last]), self.logits, _WORDS["unembed"])]
            norm = Site("final_norm", stack=last.stack)
            if norm in seen:
                made = self.map.unembed(seen[norm], norm=False)
                rows.append(self.row("unembed", [norm], made, self.logits, _WORDS["final_norm"]))
            return rows
        if not self.map.has_logits:
            return []
        other = probe_inputs(self.map, self.seed + 1)
        moved = self._run(inputs=other, edit={last: lambda _x: seen[last]})
        return [self.row("unembed", [last], moved.logits, self.logits, _WORDS["decides"])]

    def _reach_rows(self, seen: Trace) -> list[Check]:
        """One backward pass through every site at once, and one edited pass a kind of site."""
        sites = [s for s in self.map.sites() if s in seen and s.kind != "logits"]
        kept = self._run(read=sites, keep_graph=True)
        out = _result(kept)
        draw = torch.Generator().manual_seed(self.seed)
        weight = torch.randn(out.shape, generator=draw).to(out)
        grads = torch.autograd.grad((out * weight).sum(), [kept[s] for s in sites], allow_unused=True)
        self.backwards += 1
        dead = {s for s, g in zip(sites, grads) if g is None or float(g.abs().max()) == 0.0}
        rows = [_reach_row([s], 0.0, "the logits have no gradient at this site") for s in sites if s in dead]
        for i, (kind, stack) in enumerate(dict.fromkeys((s.kind, s.stack) for s in sites)):
            same = [s for s in sites if (s.kind, s.stack) == (kind, stack)]
            site = same[i % len(same)]
            if site not in dead:
                rows.append(self._moved_row(site, same, seen[site]))
        return rows

    def _moved_row(self, site: Site, same: list[Site], value: Tensor) -> Check:
        draw = torch.Generator().manual_seed(self.seed)
        finite = value[torch.isfinite(value)]
        noise = torch.randn(value.shape, generator=draw).to(value) * finite.std().clamp_min(1e-3)
        with torch.no_grad():
            moved = float((_result(self._run(edit={site: Add(noise)})) - self.logits).abs().max())
        if moved == 0.0 or moved != moved:
            return _reach_row(same, moved, f"an edit of {site} does not move the logits")
        return Check("reach", (), moved, float("inf"), True, f"an edit of {site} moves the logits")


def probe_inputs(bound: ModelMap, seed: int) -> dict[str, Tensor]:
    """Two short random texts of ordinary tokens, the same special tokens in every draw."""
    embed: Any = bound.at(bound.tower(bound.stacks[0]).embed)
    decoding = "dec" in bound.stacks and (bound.head is not None or not bound.has_logits)
    return random_inputs(bound.module.config, embed, seed, decoding)


def random_inputs(config: Any, embed: Any, seed: int, decoding: bool = False) -> dict[str, Tensor]:
    """Two random texts for a model with this config and token embedding; `decoding` adds decoder tokens."""
    special = {v for k in _SPECIAL if isinstance(v := getattr(config, f"{k}_token_id", None), int)}
    eos = getattr(config, "eos_token_id", None)
    special |= set(eos if isinstance(eos, list) else ())
    usual = torch.tensor([i for i in range(embed.num_embeddings) if i not in special] or [0])
    draw = torch.Generator().manual_seed(seed)
    ids = usual[torch.randint(len(usual), (2, _TOKENS), generator=draw)]
    if getattr(config, "is_encoder_decoder", False) and isinstance(eos, int):
        ids[:, -1] = eos  # encoder-decoder classifiers read the last token's state there
    device = computes_on(embed, embed.weight)
    inputs = {"input_ids": ids.to(device)}
    if decoding:
        later = usual[torch.randint(len(usual), (2, _TOKENS - 1), generator=draw)]
        inputs["decoder_input_ids"] = later.to(device)
    return inputs


_SPECIAL = ("pad", "bos", "eos", "cls", "sep", "mask", "unk", "decoder_start")
_WORDS = {
    "unembed": "head(norm(last residual)) = logits",
    "final_norm": "head(what the final norm returns) = logits",
    "decides": "another text with this last residual has the same logits",
}


def _residual_rows(work: _Work, seen: Trace, stack: StackName, i: int) -> list[Check]:
    """The residual of one layer, part by part."""
    block = work.map.tower(stack).table.block

    def site(kind: str) -> Site:
        return Site(kind, layer=i, stack=stack)

    if block.parallel:
        needed = [site(k) for k in ("resid_pre", "attn_add", "mlp_add", "resid_post")]
        if any(s not in seen for s in needed):
            return []
        pre, attn, mlp, post = (seen[s] for s in needed)
        return [
            work.row("residual", needed[1:3], pre + attn + mlp, post, "residual + attention + mlp = residual")
        ]
    steps = [("attn", "attn_add", "resid_mid")]
    steps += [("cross", "cross_attn_add", "cross_resid")] if block.cross is not None else []
    steps += [("mlp", "mlp_add", "resid_post")]
    rows, before = [], site("resid_pre")
    for part, add, after in steps:
        needed = [before, site(add), site(after)]
        if all(s in seen for s in needed):
            total = seen[before] + seen[site(add)]
            norm = work.map.part_path(stack, i, part, "after")
            made = work.map.at(norm)(total).to(total.device) if norm else total
            claim = [site(add)] + ([site(after)] if after != "resid_post" else [])
            words = f"{'norm(' if norm else ''}{before.kind} + {add}{')' if norm else ''} = {after}"
            rows.append(work.row("residual", claim, made, seen[needed[-1]], words))
        before = site(after)
    return rows


def _attention_rows(work: _Work, seen: Trace, stack: StackName, tower: Tower, i: int) -> list[Check]:
    """Heads and patterns of one layer's attentions."""
    rows: list[Check] = []
    for prefix, part in (("", "attn"), ("cross_", "cross")):
        if part == "cross" and tower.table.block.cross is None:
            continue
        at = {k: Site(f"{prefix}{k}", layer=i, stack=stack) for k in _INSIDE}
        got: dict[str, Tensor] = {k: seen[s] for k, s in at.items() if s in seen}
        if {"z", "head_out"} <= got.keys():
            proj = work.map.at(work.map.part_path(stack, i, part, "proj"))
            whole = proj(got["z"].transpose(1, 2).flatten(2)).to(got["z"].device)
            made = got["head_out"].sum(1) + linear_map(proj, got["z"].device)[1]
            rows.append(
                work.row("heads", [at["head_out"]], made, whole, "sum of head_out + bias = projection of z")
            )
        if {"pattern", "scores", "v", "z"} <= got.keys():
            rows += _pattern_rows(work, at, got, tower)
    return rows


_INSIDE = ("q", "k", "v", "scores", "pattern", "z", "head_out")


def _pattern_rows(work: _Work, at: dict[str, Site], got: dict[str, Tensor], tower: Tower) -> list[Check]:
    pattern, v, z = got["pattern"], got["v"], got["z"]
    inside = [at[k] for k in ("q", "k", "v", "scores", "pattern")]
    sizes = torch.tensor([got["q"].shape[1], v.shape[1], z.shape[-1]], dtype=torch.float32)
    said = torch.tensor([tower.n_heads, tower.n_kv_heads, tower.d_head], dtype=torch.float32)
    rows = [
        work.row(
            "pattern", [*inside, at["z"]], sizes, said, "heads, key-value heads and head width = the config's"
        ),
        work.row("pattern", [at["scores"]], got["scores"].softmax(-1), pattern, "softmax(scores) = pattern"),
    ]
    if rows[0].passed:
        spread = v.repeat_interleave(tower.n_heads // tower.n_kv_heads, 1)
        rows.append(
            work.row("pattern", [at["pattern"], at["v"]], pattern.to(v.dtype) @ spread, z, "pattern @ v = z")
        )
    return rows


def _reach_row(sites: Iterable[Site], moved: float, words: str) -> Check:
    return Check("reach", tuple(map(str, sites)), moved, float("inf"), False, words)


def _result(t: Trace) -> Tensor:
    found = getattr(t.output, "logits", None)
    return found if found is not None else t.output.last_hidden_state


def _reason(row: Check) -> str:
    if row.name in ("silence", "reach"):
        return f"The proof refused it: {row.words}."
    return f"The proof refused it: {row.words} fails by {row.error:.1e} (tolerance {row.tolerance:.0e})."
