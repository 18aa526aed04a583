"""Edge attribution patching: all 32,491 edges of a GPT-2-small in 2 forwards and 1 backward a pair.

GPT-2-small size (12 x 768, random weights), one pair of 32 tokens. The limit is plain torch making these passes and nothing
else; beside it exact patching, one edge run an edge, of a sample of edges, and what all edges would cost by it. Values
first: the scores of the embedding's edges sum to gradient times change by plain torch, and the passes are counted.

    python bench/circuits.py             JSON lines
    python bench/circuits.py --memory N  the child process of the memory case: high-water of the resident set, N tokens

Memory: what one array over edges and places would take is given beside it.
"""

import os
import subprocess
import sys

import numpy as np
import torch

from exegete.core.material import Pair
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.methods.mechanisms.circuit_pairs import Pairs, read_pairs
from exegete.methods.mechanisms.circuit_runs import Judge, grounds
from exegete.methods.mechanisms.edge_attribution_patching import exact_effects
from exegete.methods.mechanisms.edge_scores import edge_scores
from exegete.models.edges import EdgeGraph, edge_graph
from exegete.models.lab import Lab
from exegete.models.load import load
from timing import agree, compare, emit, model, word_tokenizer

BENCH, LENGTH, ANSWERS, SAMPLE = "circuits", 32, (100, 200), 16


def setting(length: int) -> tuple[Lab, EdgeGraph, Pairs]:
    """A model of GPT-2-small's size, its graph, and one pair that differs in four tokens."""
    module = model("gpt2-small")
    loaded = load((module, word_tokenizer(50257)))
    ids = torch.randint(6, 50000, (2, length), generator=torch.Generator().manual_seed(1))
    ids[1, 4:] = ids[0, 4:]
    pair = Pair.of(
        Text(ids=tuple(ids[0].tolist())), Text(ids=tuple(ids[1].tolist())), (ANSWERS[0],), (ANSWERS[1],)
    )
    lab = Lab(loaded)
    return lab, edge_graph(loaded.map), read_pairs(lab, [pair], Target(scale="logit"))


def score(lab: Lab, graph: EdgeGraph, pairs: Pairs) -> np.ndarray:
    """All edges: what the corrupt text writes, and gradient times change."""
    return edge_scores(lab, graph, grounds(lab, graph, pairs, "corrupt"), 0)


def by_hand(lab: Lab, pairs: Pairs) -> float:
    """Two forwards and a backward: the change of the embedded text times the gradient there."""
    module = lab.model.module
    embed = module.get_input_embeddings()
    clean, corrupt = (x["input_ids"] for x in (pairs.aim.inputs, pairs.corrupt))
    with torch.no_grad():
        module(input_ids=corrupt, use_cache=False, logits_to_keep=1)
    with torch.enable_grad():
        x = embed(clean).detach().requires_grad_(True)
        logits = module(inputs_embeds=x, use_cache=False, logits_to_keep=1).logits[0, -1]
        gradient = torch.autograd.grad(logits[ANSWERS[0]] - logits[ANSWERS[1]], x)[0]
    return float(((x.detach() - embed(corrupt)) * gradient).sum())


def passes(lab: Lab, graph: EdgeGraph, pairs: Pairs) -> np.ndarray:
    """The scores, with the passes they took."""
    before = lab.meter.forwards, lab.meter.backwards
    found = score(lab, graph, pairs)
    for name, spent, want in (
        ("forwards", lab.meter.forwards - before[0], 2),
        ("backwards", lab.meter.backwards - before[1], 1),
    ):
        emit("check", bench=BENCH, arm=f"{name} a pair", max_abs=spent, ok=spent == want)
    return found


def memory(length: int) -> None:
    """Print the high-water mark of scoring one pair of `length` tokens, above the model and one forward."""
    lab, graph, pairs = setting(length)
    lab.model.module(input_ids=pairs.aim.inputs["input_ids"], use_cache=False, logits_to_keep=1)
    before = _resident("VmRSS")
    score(lab, graph, pairs)
    arm = f"{length} tokens"
    emit("figure", bench="circuits peak memory (MB)", arm=arm, value=_resident("VmHWM") - before)
    flat = len(graph.edges) * length * lab.model.map.d_model * 4 / 2**20
    emit("figure", bench="edges x tokens x width (MB)", arm=arm, value=flat)


def _resident(key: str) -> float:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def main() -> None:
    """Values, passes, times, memory."""
    if sys.argv[1:2] == ["--memory"]:
        return memory(int(sys.argv[2]))
    lab, graph, pairs = setting(LENGTH)
    found = passes(lab, graph, pairs)
    whole = by_hand(lab, pairs)
    agree(BENCH, "exegete", found[:, 0].sum() / whole, 1.0, 1e-3)
    judge = Judge(lab, graph, pairs)
    sample = graph.edges[np.random.default_rng(0).choice(len(graph.edges), SAMPLE, replace=False)]
    arms = {
        "2 forwards + 1 backward": lambda: by_hand(lab, pairs),
        f"exegete, {len(graph.edges)} edges": lambda: score(lab, graph, pairs),
        f"exact patching, {SAMPLE} edges": lambda: _exact(judge, sample),
    }
    ratios = compare(BENCH, arms, "2 forwards + 1 backward", rounds=3)
    every, some = list(ratios.values())[1:]
    emit(
        "figure",
        bench="exact patching of all edges",
        arm="times as long",
        value=some * len(graph.edges) / SAMPLE / every,
    )
    for length in (32, 64, 128):
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
        subprocess.run([sys.executable, __file__, "--memory", str(length)], check=True, env=environment)
    return None


def _exact(judge: Judge, edges: np.ndarray) -> np.ndarray:
    judge.known.clear()
    return exact_effects(judge, edges)


if __name__ == "__main__":
    main()
