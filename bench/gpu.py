"""A model of 7 billion parameters on one GPU, beside plain torch making the same passes: time, memory, values.

    python bench/gpu.py [layers width]     JSON lines; a Llama of 32 x 4096 by default, random weights in bfloat16

capture     all block sites of a batch of 8 x 512 tokens, against bare hooks that keep the same tensors; logits bit by bit
ig          integrated gradients, 50 steps, 128 tokens, against a loop of as many points a pass; token budgets side by side
direct      direct logit attribution of all heads and feed-forward parts, 512 tokens, against the bare forward
patching    residuals of 32 layers x 64 positions, against one forward a cell (a sample of them, times their number)
edges       edge attribution patching of all edges, 64 tokens, against the two forwards and the backward that it needs

Time is the clock's, between two synchronisations, the median of interleaved rounds: here the GPU works and the processor
waits. Memory is the most that torch held, above the weights. Without a GPU a tiny model
(2 x 128) runs on the processor, which shows that it runs and no more.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.material import Pair
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.mechanisms.circuit_pairs import read_pairs
from exegete.methods.mechanisms.circuit_runs import grounds
from exegete.methods.mechanisms.edge_scores import edge_scores
from exegete.models.ask import ask
from exegete.models.capture import run as traced
from exegete.models.cells import Spot, base_run, run_cells
from exegete.models.decompose import decompose
from exegete.models.edges import edge_graph
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.remove import fill
from timing import emit, word_tokenizer

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
VOCABULARY, A, B = 32000, 100, 200
BLOCK = ("resid_pre", "attn_out", "mlp_out", "resid_post")


def llama(layers: int, width: int) -> Model:
    """A Llama of the given size with random weights (of 7B: 32 x 4096), in bfloat16 on the GPU."""
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = max(1, width // 128)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=int(width * 2.6875), num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=4096, pad_token_id=0, bos_token_id=5,
        eos_token_id=5,
    )  # fmt: skip
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if GPU else torch.float32)
    with torch.device(DEVICE):
        module = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model = load((module.eval().requires_grad_(False), word_tokenizer(VOCABULARY)), task="causal")
    emit(
        "figure", bench="gpu", arm="parameters (1e9)", value=sum(p.numel() for p in module.parameters()) / 1e9
    )
    return model


def ids(rows: int, length: int, seed: int = 1) -> Tensor:
    """Random tokens [rows, length]."""
    return torch.randint(300, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed)).to(
        DEVICE
    )


def still() -> None:
    """Wait for the GPU."""
    if GPU:
        torch.cuda.synchronize()


def compare(
    bench: str, arms: Mapping[str, Callable[[], Any]], limit: str, rounds: int = 5
) -> dict[str, float]:
    """Seconds and peak memory (GB, above what stood before) of each arm, and the median ratio to the limit's."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    peak: dict[str, float] = {}
    for r in range(rounds + 1):  # the first warms up
        for name, arm in arms.items():
            gc.collect()
            if GPU:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated() if GPU else 0
            still()
            started = time.perf_counter()
            arm()
            still()
            if r:
                seconds[name].append(time.perf_counter() - started)
            peak[name] = (torch.cuda.max_memory_allocated() - before) / 1e9 if GPU else float("nan")
    ratios = {}
    for name, found in seconds.items():
        each = [a / b for a, b in zip(found, seconds[limit])]
        ratios[name] = statistics.median(each)
        emit(
            "result", bench=bench, arm=name, seconds=statistics.median(found), ratio=ratios[name],
            ratios=[round(x, 3) for x in each], peak_gb=peak[name],
        )  # fmt: skip
    return ratios


@torch.inference_mode()
def capture(model: Model) -> None:
    """All block sites against bare hooks."""
    module, rows = model.module, ids(8, 512)
    inputs = {"input_ids": rows, "use_cache": False}
    sites = [f"{i}.{kind}" for i in range(module.config.num_hidden_layers) for kind in BLOCK]

    def hooks() -> list[Tensor]:
        kept: list[Tensor] = []

        def keep(_m: Any, _a: Any, out: Any) -> None:
            kept.append((out[0] if isinstance(out, tuple) else out).clone())

        placed = []
        for b in module.model.layers:
            placed.append(b.register_forward_pre_hook(lambda _m, a: kept.append(a[0].clone())))
            placed += [part.register_forward_hook(keep) for part in (b.self_attn, b.mlp, b)]
        try:
            module(**inputs)
        finally:
            for p in placed:
                p.remove()
        return kept

    bare = module(**inputs).logits
    off = float((traced(model, inputs, read=sites).output.logits - bare).abs().max())
    emit("check", bench="gpu capture", arm="largest change of a logit", max_abs=off, ok=off == 0)
    del bare
    arms = {
        "bare forward": lambda: module(**inputs),
        "bare hooks": hooks,
        "exegete": lambda: traced(model, inputs, read=sites),
    }
    compare("gpu capture", arms, "bare hooks")


def gradients(model: Model, steps: int = 50, length: int = 128) -> None:
    """Integrated gradients by token budget."""
    module, row = model.module, tuple(ids(1, length)[0].tolist())
    goal = Target(kind="continuation", label=(A,))
    method = IntegratedGradients(n_steps=steps, tolerance=1.0)

    def ours(budget: int) -> np.ndarray:
        model.token_budget = budget
        q = ask(model, Text(ids=row), goal)
        return method.attribute(q, q.units("token")).total

    def plain(chunk: int) -> np.ndarray:
        q = ask(model, Text(ids=row), goal)
        end, start = q.embeddings(), fill(q, q.units("token"))
        x, w = np.polynomial.legendre.leggauss(steps)
        at = torch.tensor((x + 1) / 2, dtype=end.dtype, device=end.device)
        weight = torch.tensor(w / 2, dtype=torch.float32, device=end.device)
        total = torch.zeros_like(end, dtype=torch.float32)
        for i in range(0, steps, chunk):
            points = (start + at[i : i + chunk, None, None] * (end - start)).requires_grad_(True)
            logits = module(inputs_embeds=points, use_cache=False, logits_to_keep=1).logits[:, -1].float()
            said = logits.log_softmax(-1) if q.scale == "logprob" else logits
            (grads,) = torch.autograd.grad(said[:, A].sum(), points)
            total += (grads.float() * weight[i : i + chunk, None, None]).sum(0)
        return (total * (end - start).float()).sum(-1).detach().cpu().numpy()

    truth, other, found = plain(50), plain(8), ours(128 * steps)
    largest = float(np.abs(truth).max())
    noise = (
        float(np.abs(other - truth).max()) / largest
    )  # what the size of a batch alone changes in this precision
    gap = float(np.abs(found - truth[-len(found) :]).max()) / largest
    words = "exegete, off as a share of the largest; plain torch in other batches:"
    emit("check", bench="gpu ig", arm=words, max_abs=gap, noise=noise, ok=gap <= max(1e-4, 2 * noise))
    arms: dict[str, Callable[[], Any]] = {
        "plain, 8 points a pass": lambda: plain(8),
        "plain, 50 points a pass": lambda: plain(50),
    }
    for budget in (1024, 4096, 16384):
        arms[f"exegete, budget {budget}"] = lambda budget=budget: ours(budget)
    compare("gpu ig", arms, "plain, 50 points a pass", rounds=3)
    model.token_budget = 16384


@torch.inference_mode()
def direct(model: Model) -> None:
    """Direct logit attribution."""
    rows = ids(1, 512)
    lab = Lab(model)
    aim = lab.aim([Text(ids=tuple(rows[0].tolist()))], Target(kind="next", label=(A,), scale="logit"))
    answer = torch.tensor([[A]])
    found = decompose(lab, aim, answer, units=1)
    gap = abs(float(found.total) - float(found.said)) / max(1.0, abs(float(found.said)))
    emit(
        "check",
        bench="gpu direct attribution",
        arm="sum of shares against the logit",
        max_abs=gap,
        ok=gap < 0.02,
    )
    arms = {
        "bare forward": lambda: model.module(input_ids=rows, use_cache=False, logits_to_keep=1),
        "exegete, heads": lambda: decompose(lab, aim, answer),
        "exegete, heads and units": lambda: decompose(lab, aim, answer, units=1),
    }
    compare("gpu direct attribution", arms, "bare forward")


@torch.inference_mode()
def patching(model: Model, length: int = 64, sampled: int = 64) -> None:
    """Every residual of every layer and position; one forward a cell for a sample of cells."""
    module, config = model.module, model.module.config
    clean, corrupt = ids(1, length, 1), ids(1, length, 2)
    target = Target(kind="next", label=(A,), against=(B,), scale="logit")
    layers = [Site("resid_pre", layer=i) for i in range(config.num_hidden_layers)]
    cells = [(Spot(s, positions=(p,)),) for s in layers for p in range(length)]

    def ours(which: list = cells) -> np.ndarray:
        lab = Lab(model)
        aim = lab.aim([Text(ids=tuple(corrupt[0].tolist()))], target)
        seen = lab.run({"input_ids": clean}, read=layers, rows=aim.positions)
        return run_cells(base_run(lab, aim, ""), which, {s: seen[s] for s in layers})[:, 0]

    picked = np.random.default_rng(0).choice(len(cells), min(sampled, len(cells)), replace=False)

    def one_a_cell() -> np.ndarray:
        kept: list[Tensor] = []
        hooks = [
            b.register_forward_pre_hook(lambda _m, a: kept.append(a[0].clone())) for b in module.model.layers
        ]
        module(clean, use_cache=False, logits_to_keep=1)
        for h in hooks:
            h.remove()
        out = []
        for c in picked:
            layer, p = divmod(int(c), length)

            def put(_m: Any, a: Any, source: Tensor = kept[layer], p: int = p) -> Any:
                x = a[0].clone()
                x[:, p] = source[:, p]
                return (x, *a[1:])

            hook = module.model.layers[layer].register_forward_pre_hook(put)
            logits = module(corrupt, use_cache=False, logits_to_keep=1).logits[0, -1].float()
            hook.remove()
            out.append(float(logits[A] - logits[B]))
        return np.array(out)

    found, truth = ours(), one_a_cell()
    spread = float(np.abs(truth - truth.mean()).max())
    gap = float(np.abs(found[picked] - truth).max())
    emit(
        "check",
        bench="gpu patching",
        arm="off, beside a spread of",
        max_abs=gap,
        spread=spread,
        ok=gap < 0.1 * spread,
    )
    rated = compare("gpu patching", {f"one forward a cell, {len(picked)} cells": one_a_cell, "exegete, all cells": ours},
                    "exegete, all cells", rounds=3)  # fmt: skip
    each = next(iter(rated.values())) * len(cells) / len(picked)
    emit(
        "figure", bench="gpu patching", arm=f"one forward a cell, all {len(cells)}, times as long", value=each
    )


def edges(model: Model, length: int = 64) -> None:
    """All edges in two forwards and a backward."""
    rows = ids(2, length)
    rows[1, 4:] = rows[0, 4:]
    texts = [Text(ids=tuple(r.tolist())) for r in rows]
    lab, graph = Lab(model), edge_graph(model.map)
    pairs = read_pairs(lab, [Pair.of(texts[0], texts[1], (A,), (B,))], Target(scale="logit"))
    module = model.module
    embed = module.get_input_embeddings()
    clean, corrupt = (x["input_ids"] for x in (pairs.aim.inputs, pairs.corrupt))

    def bare() -> float:
        with torch.no_grad():
            module(input_ids=corrupt, use_cache=False, logits_to_keep=1)
        x = embed(clean).detach().requires_grad_(True)
        logits = module(inputs_embeds=x, use_cache=False, logits_to_keep=1).logits[0, -1]
        (gradient,) = torch.autograd.grad(logits[A] - logits[B], x)
        return float(((x.detach() - embed(corrupt)) * gradient).float().sum())

    def ours() -> np.ndarray:
        return edge_scores(lab, graph, grounds(lab, graph, pairs, "corrupt"), 0)

    whole, found = bare(), ours()
    gap = abs(float(found[:, 0].sum()) / whole - 1)
    emit(
        "check",
        bench="gpu edges",
        arm=f"{len(graph.edges)} edges: those of the embedding, as a share off",
        max_abs=gap,
    )
    compare(
        "gpu edges", {"2 forwards + 1 backward": bare, "exegete": ours}, "2 forwards + 1 backward", rounds=3
    )


def main() -> None:
    """Every case; one that fails is said and the next goes on."""
    sizes = [int(x) for x in sys.argv[1:3]] or ([32, 4096] if GPU else [2, 128])
    if GPU:
        emit(
            "figure",
            bench="gpu",
            arm=torch.cuda.get_device_name(),
            value=torch.cuda.get_device_properties(0).total_memory / 1e9,
        )
    model = llama(*sizes)
    for case in (capture, direct, patching, gradients, edges):
        try:
            case(model)
        except RuntimeError as e:  # out of memory, most of all: a figure too
            emit("failed", bench=case.__name__, why=str(e)[:300])
        gc.collect()


if __name__ == "__main__":
    main()
