"""Causal tracing of 100 facts: corrupted prefixes are shared, and a cell starts at its layer and token.

GPT-2 of 6 x 256 (random weights), prompts of 12 tokens with a subject of 3, ten draws of noise, the residual at every layer
and token put back. The limit is the released way: for every cell one whole forward of the ten noisy rows (and the clean
one, from which it takes the state). Values first. The study also runs its control, which the loop does not.
"""

import numpy as np
import torch

from exegete.core.material import Fact
from exegete.methods.mechanisms.causal_tracing import CausalTracing
from exegete.models.lab import Lab
from exegete.models.load import load
from timing import agree, compare, emit, model, word_tokenizer

N_FACTS, N_SAMPLES, LENGTH, SUBJECT, CHECKED = 100, 10, 12, range(4, 7), 3


def facts() -> list[Fact]:
    """Prompts of random words, with a subject in the middle."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 4000, (N_FACTS, LENGTH + 1))
    words = [[f"w{i}" for i in row] for row in rows]
    return [
        Fact(prompt=" ".join(w[:-1]), subject=" ".join(w[i] for i in SUBJECT), answer=w[-1]) for w in words
    ]


class ByHand:
    """One forward a cell, by two hooks: noise on the subject's embeddings, the clean row's state copied to the others."""

    def __init__(self, module: torch.nn.Module, tokenizer: object) -> None:
        self.module, self.tokenizer = module, tokenizer
        self.noise, self.cell = torch.zeros(0), None
        module.transformer.wte.register_forward_hook(self._embed)
        for i, block in enumerate(module.transformer.h):
            block.register_forward_hook(self._block(i))

    def trace(self, fact: Fact, noise: torch.Tensor) -> np.ndarray:
        """Effects [layer, token]."""
        ids = self.tokenizer(fact.prompt, return_tensors="pt")["input_ids"].repeat(N_SAMPLES + 1, 1)
        answer, self.noise = self.tokenizer(fact.answer)["input_ids"][0], noise
        n = len(self.module.transformer.h)
        found = np.zeros((n, LENGTH))
        base = self._said(ids, answer, None)
        for layer in range(n):
            for token in range(LENGTH):
                found[layer, token] = self._said(ids, answer, (layer, token)) - base
        return found

    def _said(self, ids: torch.Tensor, answer: int, cell: tuple[int, int] | None) -> float:
        self.cell = cell
        logits = self.module(input_ids=ids, use_cache=False, logits_to_keep=1).logits[1:, -1]
        return float(logits.softmax(-1)[:, answer].mean())

    def _embed(self, _module: object, _args: object, out: torch.Tensor) -> torch.Tensor:
        if len(out) != N_SAMPLES + 1:
            return out
        out = out.clone()
        out[1:, SUBJECT.start : SUBJECT.stop] += self.noise
        return out

    def _block(self, i: int):
        def put(_module: object, _args: object, out: object) -> object:
            x = out[0] if isinstance(out, tuple) else out
            if self.cell is not None and self.cell[0] == i:
                x[1:, self.cell[1]] = x[0, self.cell[1]]
            return out

        return put


@torch.inference_mode()
def main() -> None:
    """A hundred facts."""
    tokenizer = word_tokenizer(5000)
    loaded, asked = load((model("gpt2-tiny"), tokenizer)), facts()
    study = CausalTracing(kinds=("residual",), n_samples=N_SAMPLES, known_only=False)
    r = study(loaded, asked[:CHECKED])
    hand = ByHand(model("gpt2-tiny"), tokenizer)
    lab, width = Lab(loaded), (N_SAMPLES, len(SUBJECT), 256)
    noises = [
        torch.from_numpy(lab.rng("noise", f.prompt).standard_normal(width) * r.noise).float() for f in asked
    ]
    for fact, noise, case in zip(asked[:CHECKED], noises, r.cases, strict=False):
        want = hand.trace(fact, noise)
        scale = float(np.abs(want).max())
        agree("tracing", "exegete", case.effect[0] / scale, want / scale, 2e-3)
    rows = (N_SAMPLES + 1) * (LENGTH * 6 + 1)
    emit("check", bench="tracing", arm="forwards a fact, by hand", max_abs=rows, ok=True)
    emit("check", bench="tracing", arm="forwards a fact, exegete", max_abs=r.cost.forwards / CHECKED, ok=True)
    arms = {
        "one forward a cell": lambda: [hand.trace(f, n) for f, n in zip(asked, noises, strict=True)],
        "exegete, with its control": lambda: study(loaded, asked),
    }
    compare(
        "tracing", arms, "one forward a cell", rounds=1, warm=False, goal={"exegete, with its control": 0.5}
    )


if __name__ == "__main__":
    main()
