"""Reading a model while it runs: all block sites against bare hooks, all patterns against the bare forward.

GPT-2-small size (12 x 768, random weights), one text of 16 tokens and a batch of 8 x 128, plus the largest change of any
logit while everything is read (which must be zero).
"""

import torch

from exegete.models.capture import run as traced
from timing import compare, emit, model

BLOCK = ("resid_pre", "attn_out", "mlp_out", "resid_post")


def hooks(module, inputs: dict) -> list[torch.Tensor]:
    """The same tensors by hand: one hook a module, cloned."""
    kept: list[torch.Tensor] = []

    def keep(_m, _a, out) -> None:
        kept.append((out[0] if isinstance(out, tuple) else out).clone())

    placed = [
        b.register_forward_pre_hook(lambda _m, a: kept.append(a[0].clone())) for b in module.transformer.h
    ]
    for b in module.transformer.h:
        placed += [part.register_forward_hook(keep) for part in (b.attn, b.mlp, b)]
    try:
        module(**inputs)
    finally:
        for p in placed:
            p.remove()
    return kept


@torch.inference_mode()
def case(module, batch: int, length: int, rounds: int) -> None:
    """Ratios of CPU time for one shape of input."""
    ids = torch.randint(6, 50000, (batch, length), generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": ids, "use_cache": False}
    sites = [f"{layer}.{kind}" for layer in range(12) for kind in BLOCK]
    patterns = [f"{layer}.pattern" for layer in range(12)]
    name = f"capture {batch}x{length}"
    bare = module(**inputs).logits
    for what, read in (("block sites", sites), ("patterns", patterns)):
        moved = float((traced(module, inputs, read=read).logits - bare).abs().max())
        emit("check", bench=name, arm=what, max_abs=moved, ok=moved == 0.0)
    arms = {
        "bare hooks": lambda: hooks(module, inputs),
        "exegete": lambda: traced(module, inputs, read=sites),
    }
    compare(f"{name} block sites", arms, "bare hooks", rounds=rounds, goal={"exegete": 1.05})
    arms = {
        "bare forward": lambda: module(**inputs),
        "exegete": lambda: traced(module, inputs, read=patterns),
    }
    compare(f"{name} patterns", arms, "bare forward", rounds=rounds, goal={"exegete": 1.10})


def main() -> None:
    """One short text and a batch."""
    module = model("gpt2-small")
    case(module, 1, 16, rounds=15)
    case(module, 8, 128, rounds=5)


if __name__ == "__main__":
    main()
