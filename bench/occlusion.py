"""Leave-one-out: against one batched pass by hand, on a classifier and on the standing case of a longer target.

Standing case: 6-layer, 256-wide GPT-2, 22-token prompt, 11-token target, float32, one thread.
"""

import numpy as np
import torch

import exegete as xg
from exegete.core.target import Target
from exegete.methods.attribution.occlusion import Occlusion
from exegete.models.ask import ask
from exegete.models.load import load
from timing import agree, compare, model, word_tokenizer

MASK, UNK = 4, 1


@torch.inference_mode()
def one_pass(module, ids: np.ndarray, prompt: int) -> np.ndarray:
    """Log-probabilities of the target with each prompt token replaced, all in one batch."""
    rows = np.tile(ids, (prompt + 1, 1))
    rows[np.arange(prompt), np.arange(prompt)] = UNK
    x = torch.from_numpy(rows[:, :-1])
    hidden = module.transformer(input_ids=x, use_cache=False).last_hidden_state[:, prompt - 1 :]
    log = module.lm_head(hidden).log_softmax(-1)
    picked = log.gather(-1, torch.from_numpy(rows[:, prompt:])[..., None])[..., 0]
    return (picked[-1:] - picked[:-1]).sum(1).numpy()


def standing() -> None:
    """The standing case; both arms return the effect of each prompt token on the sequence's log-probability."""
    module = model("gpt2-tiny")
    m = load((module, word_tokenizer(5000)), task="causal")
    ids = np.random.default_rng(1).integers(6, 5000, 33)
    goal = Target(kind="continuation", label=tuple(map(int, ids[22:])))
    request, method = xg.Text(ids=tuple(map(int, ids[:22]))), Occlusion(removal="unk")

    def ours() -> np.ndarray:
        q = ask(m, request, goal)
        return method.attribute(q, q.units("token")).total

    def whole() -> np.ndarray:
        return method(m, request, goal, unit="token").total

    agree("loo standing case", "exegete", ours(), one_pass(module, ids, 22))
    arms = {
        "one pass by hand": lambda: one_pass(module, ids, 22),
        "exegete": ours,
        "exegete with self-checks": whole,
    }
    compare(
        "loo standing case",
        arms,
        "one pass by hand",
        rounds=15,
        goal={"exegete": 1.3, "exegete with self-checks": 1.3},
    )


def classifier() -> None:
    """64 tokens, BERT 4 x 256."""
    module = model("bert-tiny")
    m = load((module, word_tokenizer(5000)), task="sequence")
    ids = np.random.default_rng(1).integers(6, 5000, 64)
    target = int(module(torch.from_numpy(ids)[None]).logits.argmax())

    @torch.inference_mode()
    def plain() -> np.ndarray:
        rows = np.tile(ids, (65, 1))
        rows[np.arange(64), np.arange(64)] = MASK
        s = module(torch.from_numpy(rows)).logits[:, target]
        return (s[-1] - s[:-1]).numpy()

    def ours() -> np.ndarray:
        q = ask(m, xg.Text(ids=tuple(map(int, ids))), target)
        return Occlusion().attribute(q, q.units("token")).total

    def whole() -> np.ndarray:
        return Occlusion()(m, xg.Text(ids=tuple(map(int, ids))), target, unit="token").total

    agree("occlusion bert", "exegete", ours(), plain())
    compare(
        "occlusion bert",
        {"plain torch": plain, "exegete": ours, "exegete with self-checks": whole},
        "plain torch",
        goal={"exegete": 1.1},
    )


if __name__ == "__main__":
    standing()
    classifier()
