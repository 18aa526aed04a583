"""Activation patching sweeps, beside one forward a cell, TransformerLens and nnsight (where they are installed).

heads       144 heads of a 12 x 768 GPT-2 (random weights), all positions, 16 tokens: what each head's output of the clean text
            brings to the corrupt one
residuals   6 layers x 64 positions of a 6 x 256 GPT-2: the residual that enters a layer, position by position

What is measured is the difference of two logits at the last position. Values of all arms are compared first, as changes from
the corrupt text's value. The limit is one forward a cell with a bare hook; the goals are the ratios that must be stayed under.

    OMP_NUM_THREADS=1 python bench/patching.py
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.models.cells import Spot, base_run, run_cells
from exegete.models.lab import Lab
from exegete.models.load import load
from timing import compare, emit, model, word_tokenizer

A, B = 100, 200
Sweep = Callable[[], Tensor]


def ids(length: int, vocab: int, seed: int) -> Tensor:
    """Random tokens [1, length]."""
    return torch.randint(210, vocab, (1, length), generator=torch.Generator().manual_seed(seed))


def told(logits: Tensor) -> Tensor:
    """What is measured [batch]."""
    return logits[:, -1, A] - logits[:, -1, B]


def exegete(module: Any, clean: Tensor, corrupt: Tensor, kind: str) -> Sweep:
    """`run_cells` over all heads (kind z) or all residuals by position (kind resid_pre)."""
    config = module.config
    loaded = load((module, word_tokenizer(config.vocab_size)))
    target = Target(kind="next", label=(A,), against=(B,), scale="logit")
    layers = [Site(kind, layer=i) for i in range(config.n_layer)]
    if kind == "z":
        cells = [(Spot(s, head=h),) for s in layers for h in range(config.n_head)]
    else:
        cells = [(Spot(s, positions=(p,)),) for s in layers for p in range(clean.shape[1])]

    def sweep() -> Tensor:
        lab = Lab(loaded)
        aim = lab.aim([Text(ids=tuple(corrupt[0].tolist()))], target)
        seen = lab.run({"input_ids": clean}, read=layers, rows=aim.positions)
        found = run_cells(base_run(lab, aim, ""), cells, {s: seen[s] for s in layers})
        return torch.from_numpy(found[:, 0]).reshape(config.n_layer, -1)

    return sweep


def one_a_cell(module: Any, clean: Tensor, corrupt: Tensor, kind: str) -> Sweep:
    """The naive sweep: one bare hook and one forward for every cell."""
    config, blocks = module.config, module.transformer.h
    where = [b.attn.c_proj if kind == "z" else b for b in blocks]
    size = config.n_embd // config.n_head

    def sweep() -> Tensor:
        kept: list[Tensor] = []
        hooks = [m.register_forward_pre_hook(lambda _m, a: kept.append(a[0].clone())) for m in where]
        module(clean, use_cache=False, logits_to_keep=1)
        for h in hooks:
            h.remove()
        n = config.n_head if kind == "z" else clean.shape[1]
        out = torch.zeros(config.n_layer, n)
        for layer, m in enumerate(where):
            for j in range(n):
                part = (..., slice(j * size, (j + 1) * size)) if kind == "z" else (slice(None), j)

                def put(_m: Any, a: Any, source: Tensor = kept[layer], part: Any = part) -> Any:
                    x = a[0].clone()
                    x[part] = source[part]
                    return (x, *a[1:])

                hook = m.register_forward_pre_hook(put)
                out[layer, j] = told(module(corrupt, use_cache=False).logits)[0]
                hook.remove()
        return out

    return sweep


def transformer_lens(module: Any, clean: Tensor, corrupt: Tensor, kind: str) -> Sweep:
    """TransformerLens' own sweeps, on its bridge around the same module."""
    import transformer_lens.patching as patching
    from transformer_lens.model_bridge import TransformerBridge

    patching.tqdm = lambda x, **_: x
    module.config._attn_implementation = "eager"
    tokenizer = word_tokenizer(module.config.vocab_size)
    bridge = TransformerBridge.boot_transformers("gpt2", hf_model=module, tokenizer=tokenizer, device="cpu")
    bridge.eval()
    sweep = patching.get_act_patch_attn_head_out_all_pos if kind == "z" else patching.get_act_patch_resid_pre

    def run() -> Tensor:
        _, cache = bridge.run_with_cache(clean)
        return sweep(bridge, corrupt, cache, lambda logits: told(logits)[0])

    return run


def nnsight_loop(module: Any, clean: Tensor, corrupt: Tensor, kind: str) -> Sweep:
    """nnsight, one trace a cell."""
    import nnsight

    config = module.config
    wrapped = nnsight.LanguageModel(module, tokenizer=word_tokenizer(config.vocab_size))
    size, blocks = config.n_embd // config.n_head, range(config.n_layer)
    n = config.n_head if kind == "z" else clean.shape[1]

    def place(layer: int) -> Any:
        block = wrapped.transformer.h[layer]
        return block.attn.c_proj if kind == "z" else block

    def sweep() -> Tensor:
        with wrapped.trace(clean, use_cache=False):
            kept = nnsight.save([place(layer).input for layer in blocks])
        out = torch.zeros(config.n_layer, n)
        for layer in blocks:
            for j in range(n):
                part = (..., slice(j * size, (j + 1) * size)) if kind == "z" else (slice(None), j)
                with wrapped.trace(corrupt, use_cache=False):
                    place(layer).input[part] = kept[layer][part]
                    logits = wrapped.lm_head.output[:, -1].save()
                out[layer, j] = logits[0, A] - logits[0, B]
        return out

    return sweep


def case(name: str, size: str, length: int, kind: str, goal: float, rounds: int) -> None:
    """One sweep, all arms. `goal`: the most that Exegete may take of one forward a cell."""
    module = model(size)
    clean, corrupt = (ids(length, module.config.vocab_size, seed) for seed in (1, 2))
    limit = "one forward a cell"
    arms: dict[str, Sweep] = {limit: one_a_cell(module, clean, corrupt, kind)}
    arms["exegete"] = exegete(module, clean, corrupt, kind)
    for package, label, make in (
        ("transformer_lens", "TransformerLens", transformer_lens),
        ("nnsight", "nnsight", nnsight_loop),
    ):
        if find_spec(package) is None:
            emit("skipped", bench=name, arm=label, why=f"{package} is not installed")
        else:
            arms[label] = make(model(size), clean, corrupt, kind)
    base = float(told(module(corrupt, use_cache=False).logits))
    want = arms[limit]() - base
    for arm, sweep in arms.items():
        gap = float((sweep() - base - want).abs().max())
        emit(
            "check",
            bench=name,
            arm=arm,
            max_abs=gap,
            largest=float(want.abs().max()),
            ok=gap <= 1e-5 * max(1.0, abs(base)),
        )
    slow = dict.fromkeys(("TransformerLens", "nnsight"), 1)
    ratios = compare(name, arms, limit, rounds=rounds, goal={"exegete": goal}, fewer=slow, warm=False)
    if "TransformerLens" in ratios:
        emit(
            "figure",
            bench=name,
            arm="TransformerLens / exegete",
            value=ratios["TransformerLens"] / ratios["exegete"],
        )


@torch.inference_mode()
def main() -> None:
    """Both sweeps."""
    case("patching, 144 heads", "gpt2-small", 16, "z", goal=0.5, rounds=3)
    case("patching, 6 x 64 residuals", "gpt2-tiny", 64, "resid_pre", goal=1 / 6, rounds=3)


if __name__ == "__main__":
    main()
