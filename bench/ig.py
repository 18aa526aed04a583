"""Integrated gradients against a hand-written plain-torch loop doing the same passes.

    python bench/ig.py [rounds]          JSON lines: one an arm, with its ratio to the plain loop of the same case

Cases: GPT-2 6 x 256 and BERT 4 x 256 on 64 tokens with 50 steps; the standing case (GPT-2 6 x 256, 22-token prompt,
11-token target, log-probability of the target, 50 steps). `exegete` is the method's own work on a question, which makes the
passes of the plain loop; `exegete with self-checks` everything a user's call does, a few passes more. The plain loop is
given for two batch sizes; ratios are to the one of 10, the better one on GPT-2. Memory: high-water of the resident set above
the model, for 50 and 500 steps under one token budget, each in a fresh process.
"""

import os
import subprocess
import sys

import numpy as np
import torch

from exegete.core.request import Text
from exegete.core.target import Target
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.contracts.attribution import explain
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.models.remove import fill
from exegete.models.tiny import tiny
from timing import agree, compare, emit

STEPS, VOCABULARY = 50, 5000
METHOD = IntegratedGradients(n_steps=STEPS, tolerance=1.0)


def model(family: str) -> Model:
    """A random model of the sizes above."""
    causal = family == "gpt2"
    size = {"layers": 6 if causal else 4, "width": 256, "heads": 8 if causal else 4}
    inner = {"n_inner": 1024} if causal else {"intermediate_size": 1024}
    return load(tiny(family, "causal" if causal else "sequence", vocab=VOCABULARY, overrides=inner, **size))


def question(m: Model, prompt: int, target: int = 0) -> Question:
    """A question about random ids; with `target` about the log-probability of that many more."""
    ids = np.random.default_rng(0).integers(300, VOCABULARY, prompt + target).tolist()
    goal = Target(kind="continuation", label=tuple(ids[prompt:])) if target else None
    return ask(m, Text(ids=tuple(ids[:prompt])), goal)


def plain(q: Question, chunk: int) -> np.ndarray:
    """The same passes by hand: embedded inputs, only the asked rows unembedded. Scores [S]."""
    module, rows = q.model.module, q.branches[0].rows
    end, start = q.embeddings(), fill(q, q.units("token"))
    x, w = np.polynomial.legendre.leggauss(STEPS)
    at, weight = torch.tensor((x + 1) / 2, dtype=torch.float32), torch.tensor(w / 2, dtype=torch.float32)
    labels, total = torch.tensor([r.id for r in rows]), torch.zeros_like(end)
    for i in range(0, STEPS, chunk):
        points = (start + at[i : i + chunk, None, None] * (end - start)).requires_grad_(True)
        if q.model.causal:
            logits = module(inputs_embeds=points, use_cache=False, logits_to_keep=len(rows)).logits
            logits = logits.log_softmax(-1) if q.scale == "logprob" else logits
            f = logits[:, torch.arange(len(rows)), labels].sum()
        else:
            f = module(inputs_embeds=points).logits[:, labels[0]].sum()
        grads = torch.autograd.grad(f, points)[0]
        total += (grads * weight[i : i + chunk, None, None]).sum(0)
    return (total * (end - start)).sum(-1).detach().numpy()


def case(name: str, m: Model, prompt: int, target: int, rounds: int) -> None:
    """Print one line an arm; the goal of the standing case is 1.3 for everything a call does, else 1.1 for the same passes."""
    q = question(m, prompt, target)

    def method() -> np.ndarray:
        again = question(m, prompt, target)
        return METHOD.attribute(again, again.units("token")).total

    def whole() -> np.ndarray:
        return explain(METHOD, question(m, prompt, target), "token").total

    units = [u.tokens[0] for u in q.units("token")]
    truth = plain(q, 10)[units]
    agree(name, "exegete", method(), truth, 1e-4 * float(np.abs(truth).max()))
    arms = {
        "plain, 10 a batch": lambda: plain(q, 10),
        "plain, 50 a batch": lambda: plain(q, 50),
        "exegete": method,
        "exegete with self-checks": whole,
    }
    goal = {"exegete": 1.3, "exegete with self-checks": 1.3} if target else {"exegete": 1.1}
    compare(name, arms, "plain, 10 a batch", rounds=rounds, goal=goal)


def memory(steps: int) -> None:
    """Print the high-water mark of one run of `steps` steps, above the loaded model and one short run."""
    m = model("gpt2")
    m.token_budget = 1024
    q = question(m, 64)
    q.model.module(torch.as_tensor(q.ids)[None])
    before = _resident("VmRSS")
    IntegratedGradients(n_steps=steps, tolerance=1.0).attribute(q, q.units("token"))
    peak = _resident("VmHWM") - before
    emit("figure", bench="ig peak memory (MB)", arm=f"{steps} steps, budget 1024", value=peak)


def _resident(key: str) -> float:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def main() -> None:
    """All cases; `--memory N` is the child process of the memory case."""
    if sys.argv[1:2] == ["--memory"]:
        return memory(int(sys.argv[2]))
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    gpt2 = model("gpt2")
    case("ig gpt2 64 tokens", gpt2, 64, 0, rounds)
    case("ig bert 64 tokens", model("bert"), 64, 0, rounds)
    case("ig standing case", gpt2, 22, 11, rounds)
    for steps in (50, 500):
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
        subprocess.run([sys.executable, __file__, "--memory", str(steps)], check=True, env=environment)
    return None


if __name__ == "__main__":
    main()
