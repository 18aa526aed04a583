"""Direct logit attribution: all heads, feed-forward parts and hidden units of 12 layers, in one forward.

GPT-2-small size (12 x 768, random weights), 64 tokens, the next token's logit. The limit is the bare forward; beside it the
same shares by bare hooks, a head at a time. Values first, and the number of forwards.
"""

import numpy as np
import torch

from exegete.core.request import Text
from exegete.core.target import Target
from exegete.models.decompose import decompose
from exegete.models.lab import Lab
from exegete.models.load import load
from timing import agree, compare, emit, model, word_tokenizer

LENGTH, ANSWER = 64, 100


def by_hand(module, ids: torch.Tensor) -> np.ndarray:
    """Shares [layer, head] by one hook a layer, the norm at its own scale."""
    gpt, kept = module.transformer, []
    hooks = [
        b.attn.c_proj.register_forward_pre_hook(lambda _m, a: kept.append(a[0][0, -1].clone())) for b in gpt.h
    ]
    hooks.append(gpt.ln_f.register_forward_pre_hook(lambda _m, a: kept.append(a[0][0, -1].clone())))
    try:
        module(input_ids=ids, use_cache=False)
    finally:
        for h in hooks:
            h.remove()
    x = kept.pop()
    row = module.lm_head.weight[ANSWER] * gpt.ln_f.weight
    u = (row - row.mean()) * ((x - x.mean()).square().mean() + gpt.ln_f.eps).rsqrt()
    heads = [
        (z * (b.attn.c_proj.weight @ u)).unflatten(0, (12, -1)).sum(-1)
        for z, b in zip(kept, gpt.h, strict=True)
    ]
    return torch.stack(heads).numpy()


@torch.inference_mode()
def main() -> None:
    """One text."""
    module = model("gpt2-small")
    loaded = load((module, word_tokenizer(50257)))
    ids = torch.randint(6, 50000, (1, LENGTH), generator=torch.Generator().manual_seed(1))
    lab = Lab(loaded)
    aim = lab.aim([Text(ids=tuple(ids[0].tolist()))], Target(kind="next", label=(ANSWER,), scale="logit"))
    answer = torch.tensor([[ANSWER]])
    before = lab.meter.forwards
    found = decompose(lab, aim, answer, units=1)
    emit(
        "check",
        bench="direct attribution",
        arm="forwards",
        max_abs=lab.meter.forwards - before,
        ok=lab.meter.forwards - before == 1,
    )
    agree("direct attribution", "exegete", found.heads[0, 0].numpy(), by_hand(module, ids))
    agree("direct attribution", "sum of shares", float(found.total), float(found.said))
    arms = {
        "bare forward": lambda: module(input_ids=ids, use_cache=False, logits_to_keep=1),
        "hooks, heads only": lambda: by_hand(module, ids),
        "exegete, heads": lambda: decompose(lab, aim, answer),
        "exegete, heads and 36,864 units": lambda: decompose(lab, aim, answer, units=1),
    }
    compare("direct attribution", arms, "bare forward", rounds=9, goal={"exegete, heads": 1.3})


if __name__ == "__main__":
    main()
