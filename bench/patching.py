"""Activation patching sweeps at GPT-2-small size (12 x 768, random weights): every head; every position in every layer.

Two texts of 16 tokens (heads) and 32 (positions), the difference of two logits at the last one. Values first, then CPU time
of this process: exegete against one whole forward a cell by bare hooks, and against TransformerLens where it is installed.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.models.cells import Spot, base_run, run_cells
from exegete.models.lab import Lab
from exegete.models.load import load
from timing import agree, compare, emit, model, word_tokenizer

A, B, SEEDS = 100, 200, (1, 2)


def texts(length: int) -> list[torch.Tensor]:
    """A clean and a corrupt text."""
    draws = (torch.Generator().manual_seed(s) for s in SEEDS)
    return [torch.randint(6, 50000, (1, length), generator=g) for g in draws]


def gap(logits: torch.Tensor) -> torch.Tensor:
    """What is measured."""
    return logits[:, -1, A] - logits[:, -1, B]


class Sweep:
    """One sweep on one model: by exegete, by bare hooks, by TransformerLens."""

    def __init__(self, module: Any, kind: str, length: int) -> None:
        self.module, self.kind = module, kind
        self.clean, self.corrupt = texts(length)
        self.loaded = load((module, word_tokenizer(50257)))
        self.peer: Any = self._lens() if find_spec("transformer_lens") else None

    def exegete(self) -> np.ndarray:
        """Effects [layer, head or position]."""
        lab = Lab(self.loaded)
        target = Target(kind="next", label=(A,), against=(B,), scale="logit")
        there, here = (lab.aim([Text(ids=tuple(t[0].tolist()))], target) for t in (self.clean, self.corrupt))
        sites = [Site(self.kind, layer=i) for i in range(12)]
        seen = lab.run(there.inputs, read=sites, rows=there.positions)
        each = range(12) if self.kind == "z" else range(self.clean.shape[1])
        cells = [
            (Spot(s, head=j) if self.kind == "z" else Spot(s, positions=(j,)),) for s in sites for j in each
        ]
        found = run_cells(base_run(lab, here, ""), cells, {s: seen[s] for s in sites})
        return found.reshape(12, -1)

    def hooks(self) -> np.ndarray:
        """The same, one forward a cell."""
        blocks = self.module.transformer.h
        parts = [b.attn.c_proj if self.kind == "z" else b for b in blocks]
        kept: dict[int, torch.Tensor] = {}
        hooks = [
            p.register_forward_pre_hook(lambda _m, a, i=i: kept.update({i: a[0]}))
            for i, p in enumerate(parts)
        ]
        self.module(input_ids=self.clean, use_cache=False, logits_to_keep=1)
        for h in hooks:
            h.remove()
        n = 12 if self.kind == "z" else self.clean.shape[1]
        return np.array([[self._one(p, kept[i], j) for j in range(n)] for i, p in enumerate(parts)])

    def _one(self, part: Any, source: torch.Tensor, j: int) -> float:
        def patch(_m: Any, a: Any) -> Any:
            x = a[0].clone()
            where = (..., slice(64 * j, 64 * j + 64)) if self.kind == "z" else (slice(None), j)
            x[where] = source[where]
            return (x, *a[1:])

        handle = part.register_forward_pre_hook(patch)
        out = self.module(input_ids=self.corrupt, use_cache=False, logits_to_keep=1)
        handle.remove()
        return float(gap(out.logits)[0])

    def _lens(self) -> Any:
        """The peer's own sweep, and its bridge to the same weights."""
        patching: Any = import_module("transformer_lens.patching")
        bridges: Any = import_module("transformer_lens.model_bridge")
        patching.tqdm = lambda x, **_: x  # no progress bar
        twin = model("gpt2-small")
        twin.set_attn_implementation("eager")
        bridge = bridges.TransformerBridge.boot_transformers(
            "gpt2", hf_model=twin, tokenizer=word_tokenizer(50257), device="cpu"
        )
        bridge.eval()
        name = "attn_head_out_all_pos" if self.kind == "z" else "resid_pre"
        return bridge, getattr(patching, f"get_act_patch_{name}")

    def lens(self) -> np.ndarray:
        """The peer's sweep, its clean run included."""
        bridge, sweep = self.peer
        _, cache = bridge.run_with_cache(self.clean)
        return sweep(bridge, self.corrupt, cache, lambda x: gap(x)[0]).numpy()


def run(name: str, sweep: Sweep, goals: tuple[float, float]) -> None:
    """Values, then time as a multiple of exegete's own; goals are least multiples (hooks, peer)."""
    want = sweep.hooks()
    agree(name, "exegete", sweep.exegete(), want, 1e-5 * max(1.0, float(np.abs(want).max())))
    arms: dict[str, Any] = {"exegete": sweep.exegete, "hooks, one forward a cell": sweep.hooks}
    if sweep.peer is not None:
        agree(name, "transformer_lens", sweep.lens(), want)
        arms["transformer_lens"] = sweep.lens
    else:
        emit("skipped", bench=name, arm="transformer_lens", why="it is not installed")
    ratios = compare(name, arms, "exegete", rounds=3, warm=False)
    for arm, goal in zip(list(arms)[1:], goals):
        emit(
            "figure",
            bench=name,
            arm=f"{arm} / exegete",
            value=ratios[arm],
            goal=goal,
            reached=ratios[arm] >= goal,
        )


@torch.inference_mode()
def main() -> None:
    """Both sweeps."""
    module = model("gpt2-small")
    run("patching 144 heads", Sweep(module, "z", 16), (5.0, 5.0))
    run("patching every position", Sweep(module, "resid_pre", 32), (6.0, 10.0))


if __name__ == "__main__":
    main()
