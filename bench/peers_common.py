"""What the peer benches share: a table of arms, the same inputs for all, and the loop by hand."""

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

import exegete as xg
from exegete.core.target import Target
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.models.ask import ask
from exegete.models.model import Model
from timing import compare, emit, word_tokenizer

VOCABULARY, UNK, MASK = 5000, 1, 4
LENGTH, STEPS = 64, 50
Arm = Callable[[], Any]


class Case:
    """One table of arms: add them, then `run`."""

    def __init__(self, name: str, limit: str, arm: Arm) -> None:
        self.name, self.limit = name, limit
        self.arms: dict[str, Arm] = {limit: arm}
        self.rounds: dict[str, int] = {}
        self.wants: dict[str, Any] = {}

    def add(
        self, name: str, make: Callable[[], Arm], package: str = "exegete", rounds: int = 9, want: Any = None
    ) -> None:
        """An arm, made only if its package is here. `want`: its own reference, where what it returns is defined otherwise."""
        if find_spec(package) is None:
            emit("skipped", bench=self.name, arm=name, why=f"{package} is not installed")
        else:
            self.arms[name], self.rounds[name], self.wants[name] = make(), rounds, want

    def run(self, reference: Any, rounds: int, near: float = 0.0) -> None:
        """Values, then time. `near`: the correlation at which a sampled estimate counts as agreeing."""
        for name, arm in self.arms.items():
            own = self.wants.get(name)
            want = np.asarray(reference if own is None else own, dtype=float).ravel()
            got = np.asarray(arm(), dtype=float).ravel()[: len(want)]
            gap, r = float(np.abs(got - want).max()), float(np.corrcoef(got, want)[0, 1])
            ok = gap <= 1e-4 * max(1.0, float(np.abs(want).max())) or bool(near and r >= near)
            emit(
                "check", bench=self.name, arm=name, max_abs=gap, largest=float(np.abs(want).max()), r=r, ok=ok
            )
        compare(self.name, self.arms, self.limit, rounds=rounds, fewer=self.rounds, warm=False)


def exegete(
    m: Model, method: AttributionMethod, ids: np.ndarray, target: Target | int
) -> dict[str, Callable[[], Arm]]:
    """Two arms: what the method itself does, and what a user's call does, with self-checks."""
    text = xg.Text(ids=tuple(map(int, ids)))

    def own() -> np.ndarray:
        q = ask(m, text, target)
        return method.attribute(q, q.units("token")).total

    return {
        "exegete": lambda: own,
        "exegete with self-checks": lambda: lambda: method(m, text, target, unit="token").total,
    }


def random_ids(n: int) -> np.ndarray:
    """n different words, for all arms."""
    return np.random.default_rng(1).choice(np.arange(6, VOCABULARY), n, replace=False)


def words(ids: np.ndarray) -> str:
    """The text of ids."""
    return " ".join(f"w{i}" for i in ids)


def legendre() -> tuple[torch.Tensor, torch.Tensor]:
    """Positions and weights of the 50 steps."""
    x, w = np.polynomial.legendre.leggauss(STEPS)
    return torch.tensor((x + 1) / 2, dtype=torch.float32), torch.tensor(w / 2, dtype=torch.float32)


def path(
    module: Any, ids: np.ndarray, fixed: int, score: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """Integrated gradients by hand: tokens after `fixed` stay, the others come from the unknown token; 10 points a batch."""
    at, weight = legendre()
    embed, x = module.get_input_embeddings(), torch.from_numpy(ids)[None]
    base = x.clone()
    base[:, :fixed] = UNK
    with torch.no_grad():
        end, start = embed(x), embed(base)
    total = torch.zeros_like(end)
    for i in range(0, STEPS, 10):
        points = (start + at[i : i + 10, None, None] * (end - start)).requires_grad_(True)
        grads = torch.autograd.grad(score(points), points)[0]
        total += (grads * weight[i : i + 10, None, None]).sum(0)
    return (total * (end - start))[0, :fixed].sum(-1).numpy()


def checkpoint(module: Any) -> str:
    """The model in a folder, for packages that load by themselves."""
    folder = tempfile.mkdtemp(prefix="exegete-peers-")
    module.save_pretrained(folder)
    word_tokenizer(VOCABULARY).save_pretrained(folder)
    return folder


def inseq_model(folder: str, method: str) -> Callable[..., torch.Tensor]:
    """inseq's attributions of a text and its continuation by one method."""
    import inseq

    def log_probability(args: Any) -> torch.Tensor:
        logits = args.attribution_model.output2logits(args.forward_output)
        return logits.log_softmax(-1).gather(-1, args.target_ids.reshape(-1, 1).expand(len(logits), 1))[:, 0]

    inseq.register_step_function(log_probability, "log_probability", overwrite=True)
    by = inseq.load_model(folder, method, device="cpu")

    def run(text: str, whole: str, of: str, **options: Any) -> torch.Tensor:
        quiet = {"show_progress": False, "pretty_progress": False}
        out = by.attribute(text, whole, attributed_fn=of, **quiet, **options)
        return out.sequence_attributions[0].target_attributions

    return run
