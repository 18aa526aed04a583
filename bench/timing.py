"""Fair timing on a shared machine: arms interleaved in one process, CPU time of this process, one thread, ratios.

Every bench prints JSON lines: `check` (the arms agree on the values) before `result` (what an arm cost, and its ratio to
the limit, a hand-written loop of plain torch that makes the same passes). Absolute seconds of different runs are not
compared; ratios within a run are.
"""

import gc
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch

torch.set_num_threads(1)
LINES: list[dict[str, Any]] = []


def emit(kind: str, **values: Any) -> None:
    """One JSON line."""
    line = {"kind": kind, **values}
    LINES.append(line)
    print(json.dumps(line, default=float), flush=True)


def agree(bench: str, arm: str, got: Any, want: Any, tolerance: float = 1e-4) -> bool:
    """Values first: an arm whose values differ is not compared in time, or says that they differ."""
    gap = float(np.abs(np.asarray(got, dtype=float) - np.asarray(want, dtype=float)).max())
    emit("check", bench=bench, arm=arm, max_abs=gap, ok=gap <= tolerance)
    return gap <= tolerance


def compare(
    bench: str,
    arms: Mapping[str, Callable[[], Any]],
    limit: str,
    rounds: int = 7,
    goal: Mapping[str, float] | None = None,
    fewer: Mapping[str, int] | None = None,
    warm: bool = True,
) -> dict[str, float]:
    """CPU seconds of each arm (median and least of interleaved rounds) and the median of its ratios to the limit's.

    `fewer`: rounds of arms too slow for all of them. `warm`: run each arm once before, untimed.
    """
    for run in arms.values() if warm else ():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for r in range(rounds):
        for name, run in arms.items():
            if r < (fewer or {}).get(name, rounds):
                gc.collect()
                started = time.process_time()
                run()
                seconds[name].append(time.process_time() - started)
    return {
        name: _told(bench, name, found, seconds[limit], (goal or {}).get(name))
        for name, found in seconds.items()
    }


def _told(bench: str, arm: str, seconds: list[float], limit: list[float], goal: float | None) -> float:
    """Emit the line of one arm; its ratio."""
    ratios = [a / b for a, b in zip(seconds, limit)]
    ratio = statistics.median(ratios)
    aim = {"goal": goal, "reached": ratio <= goal} if goal else {}
    cpu = {"cpu_median": statistics.median(seconds), "cpu_least": min(seconds)}
    emit("result", bench=bench, arm=arm, **cpu, ratio=ratio, ratios=[round(r, 3) for r in ratios], **aim)
    return ratio


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def word_tokenizer(vocab: int) -> Any:
    """A tokenizer of `vocab` words w0, w1, ... with the usual special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<|endoftext|>"]
    words = {w: i for i, w in enumerate([*special, *(f"w{i}" for i in range(len(special), vocab))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        eos_token="<|endoftext|>",
        model_max_length=512,
    )


def model(kind: str) -> Any:
    """A random model from config, weights scaled so that outputs are not flat: `gpt2-tiny` 6 x 256, `gpt2-small`, `bert-tiny` 4 x 256."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, BertConfig, GPT2Config

    torch.manual_seed(0)
    ids = {"pad_token_id": 0, "bos_token_id": 5, "eos_token_id": 5}
    if kind == "bert-tiny":
        config = BertConfig(
            num_hidden_layers=4,
            hidden_size=256,
            num_attention_heads=4,
            intermediate_size=1024,
            vocab_size=5000,
            num_labels=2,
        )
        module = AutoModelForSequenceClassification.from_config(config)
    else:
        sizes = {"n_layer": 6, "n_embd": 256, "n_head": 8, "vocab_size": 5000, "n_positions": 512}
        module = AutoModelForCausalLM.from_config(GPT2Config(**(sizes if kind == "gpt2-tiny" else {}), **ids))
    with torch.no_grad():
        for p in module.parameters():
            if p.dim() == 2:
                p.mul_(2.0)
    return module.eval().requires_grad_(False)
