"""Exegete beside the packages people would use instead, and beside plain torch, in one process.

    pip install -e ".[peers]"; OMP_NUM_THREADS=1 python bench/run.py peers        not part of `make bench`

Cases: integrated gradients (GPT-2 6 x 256, 64 tokens, next token, 50 steps); occlusion, LIME and Kernel SHAP (BERT 4 x 256, 64
tokens, 512 samples); leave-one-out and sequence-level integrated gradients on the standing case (GPT-2 6 x 256, 22-token prompt,
11-token target). All arms get the same module, the same ids, the same removal token and the same float32 on one thread.

1. an arm whose package is missing is skipped, with a line;
2. every arm runs once and its values are compared with the reference; that is also its warm-up;
3. arms run interleaved; a result is CPU time and its ratio to the hand-written loop in the same round.

Where a package defines the scores otherwise or draws its own samples its values differ: the check line says so (`ok` is
false) and gives the correlation. Weights carry no gradient, which favours every arm that uses autograd.
"""

import logging
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from exegete.core.method import Method
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.attribution.kernel_shap import KernelShap
from exegete.methods.attribution.lime import Lime
from exegete.methods.attribution.occlusion import Occlusion
from exegete.models.load import load
from exegete.ops.perturb import removals
from peers_common import (
    LENGTH,
    MASK,
    STEPS,
    UNK,
    VOCABULARY,
    Arm,
    Case,
    checkpoint,
    exegete,
    inseq_model,
    path,
    random_ids,
    words,
)
from peers_standing import Standing, leave_one_out, sequence_gradients
from timing import emit, model, word_tokenizer

SAMPLES = 512


def integrated_gradients(module: Any, folder: str) -> None:
    """50 steps, 64 tokens, the next token's logit."""
    ids = random_ids(LENGTH)
    x = torch.from_numpy(ids)[None]
    target = int(module(x).logits[0, -1].argmax())

    def score(points: torch.Tensor) -> torch.Tensor:
        return module(inputs_embeds=points, logits_to_keep=1, use_cache=False).logits[:, -1, target].sum()

    def captum(**size: int) -> Arm:
        from captum.attr import LayerIntegratedGradients

        by = LayerIntegratedGradients(
            lambda v: module(v).logits[:, -1, target], module.get_input_embeddings()
        )
        base = torch.full_like(x, UNK)
        return lambda: by.attribute(x, baselines=base, n_steps=STEPS, **size).sum(-1)[0].detach()

    def inseq() -> Arm:
        by = inseq_model(folder, "integrated_gradients")
        text = words(ids)
        span = {
            "attr_pos_start": LENGTH,
            "attr_pos_end": LENGTH + 1,
            "n_steps": STEPS,
            "internal_batch_size": 10,
        }
        return lambda: by(text, f"{text} w{target}", "logit", **span)[:LENGTH, 0].sum(-1)

    case = Case("peers ig", "plain torch", lambda: path(module, ids, LENGTH, score))
    method = IntegratedGradients(n_steps=STEPS, tolerance=1.0, baseline="unk")
    m = load((module, word_tokenizer(VOCABULARY)), task="causal")
    for name, make in exegete(m, method, ids, Target(kind="next")).items():
        case.add(name, make)
    case.add("captum", captum, "captum")
    case.add("captum, 10 a batch", lambda: captum(internal_batch_size=10), "captum")
    case.add("inseq, 10 a batch", inseq, "inseq")
    case.run(path(module, ids, LENGTH, score), rounds=4)


class Classifier:
    """BERT 4 x 256 on 64 tokens: what occlusion, LIME and Kernel SHAP have in common."""

    def __init__(self) -> None:
        self.module, self.ids = model("bert-tiny"), random_ids(LENGTH)
        self.x, self.text = torch.from_numpy(self.ids)[None], words(self.ids)
        self.target = int(self.module(self.x).logits.argmax())
        self.m = load((self.module, word_tokenizer(VOCABULARY)), task="sequence")

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """The target's logit."""
        return self.module(ids).logits[:, self.target]

    @torch.inference_mode()
    def game(self, keep: np.ndarray) -> np.ndarray:
        """The target's logit with the other tokens masked, 64 texts a batch."""
        rows = torch.where(torch.as_tensor(np.asarray(keep) > 0.5), self.x, MASK)
        return torch.cat([self.logits(part) for part in rows.split(64)]).double().numpy()

    def captum(self, name: str, **options: Any) -> Arm:
        """A perturbation method of captum."""
        import captum.attr

        by = getattr(captum.attr, name)(self.logits)

        def run() -> torch.Tensor:
            with torch.no_grad():
                return by.attribute(self.x, baselines=MASK, **options)[0]

        return run

    def add(self, case: Case, method: Method, name: str, slow: int, **options: Any) -> None:
        """The arms of exegete and captum."""
        for arm, make in exegete(self.m, method, self.ids, self.target).items():  # type: ignore[arg-type]
            case.add(arm, make)
        case.add("captum", lambda: self.captum(name, **options), "captum", slow)
        whole = {**options, "perturbations_per_eval": 64}
        case.add("captum, 64 a batch", lambda: self.captum(name, **whole), "captum")


def occlusion(c: Classifier) -> None:
    """65 passes."""

    def plain() -> np.ndarray:
        found = c.game(np.vstack([~np.eye(LENGTH, dtype=bool), np.ones((1, LENGTH), dtype=bool)]))
        return found[-1] - found[:-1]

    def interpreto() -> Arm:
        from interpreto import Granularity
        from interpreto import Occlusion as Theirs

        theirs = Theirs(c.module, word_tokenizer(VOCABULARY), batch_size=64, granularity=Granularity.TOKEN)
        return lambda: theirs.explain(c.text, torch.tensor([c.target]))[0].attributions[0]

    case = Case("peers occlusion", "plain torch", plain)
    c.add(case, Occlusion(removal="mask"), "FeatureAblation", 3)
    case.add("interpreto, 64 a batch", interpreto, "interpreto")
    case.run(plain(), rounds=5)


def lime(c: Classifier) -> None:
    """512 samples. captum and lime sample, weigh and penalise otherwise, so that their values are others."""

    def plain() -> np.ndarray:
        keep = removals(generator(0, "lime"), SAMPLES, LENGTH)
        weight = np.exp(-((1 - np.sqrt(keep.mean(1))) ** 2) / 0.25**2)
        return ridge(keep, c.game(keep), weight, 0.01)

    def package() -> Arm:
        from lime.lime_text import LimeTextExplainer

        tokenizer = word_tokenizer(VOCABULARY)

        @torch.inference_mode()
        def answer(texts: list[str]) -> np.ndarray:
            parts = [
                tokenizer(texts[i : i + 64], return_tensors="pt").input_ids for i in range(0, len(texts), 64)
            ]
            return torch.cat([c.module(part).logits for part in parts]).numpy()

        def run() -> np.ndarray:
            by = LimeTextExplainer(class_names=["0", "1"], random_state=0, bow=False, mask_string="[MASK]")
            options = {"num_features": LENGTH, "num_samples": SAMPLES, "labels": (c.target,)}
            found = dict(by.explain_instance(c.text, answer, **options).local_exp[c.target])
            return np.array([found.get(i, 0.0) for i in range(LENGTH)])

        return run

    case = Case("peers lime", "plain torch", plain)
    c.add(case, Lime(n_samples=SAMPLES, removal="mask"), "Lime", 1, n_samples=SAMPLES)
    case.add("lime", package, "lime")
    case.run(plain(), rounds=3)


def ridge(keep: np.ndarray, values: np.ndarray, weight: np.ndarray, alpha: float) -> np.ndarray:
    """Coefficients of a weighted ridge with a free intercept."""
    x, share = keep.astype(float), weight / weight.sum()
    x, y = x - share @ x, values - share @ values
    return np.linalg.solve(
        (x * weight[:, None]).T @ x + alpha * np.eye(x.shape[1]), (x * weight[:, None]).T @ y
    )


def kernel_shap(c: Classifier) -> None:
    """512 samples; every arm draws its own, and is judged by its correlation with 3,000 samples."""

    def plain() -> np.ndarray:
        rng, size = np.random.default_rng(0), np.arange(1, LENGTH)
        odds = 1 / (size * (LENGTH - size))
        drawn = rng.choice(size, SAMPLES // 2 - 1, p=odds / odds.sum())
        keep = rng.random((len(drawn), LENGTH)).argsort(1).argsort(1) < drawn[:, None]
        ends = np.vstack([np.zeros((1, LENGTH), dtype=bool), np.ones((1, LENGTH), dtype=bool)])
        keep = np.vstack([keep, ~keep, ends])
        weight = np.append(np.ones(len(keep) - 2), [1e6, 1e6])
        return ridge(keep, c.game(keep), weight, 1e-9)

    def package() -> Arm:
        import shap

        def run() -> np.ndarray:
            by = shap.KernelExplainer(c.game, np.zeros((1, LENGTH)))
            return by.shap_values(np.ones((1, LENGTH)), nsamples=SAMPLES, silent=True, l1_reg=False)

        return run

    case = Case("peers kernel shap", "plain torch", plain)
    c.add(case, KernelShap(n_samples=SAMPLES, removal="mask"), "KernelShap", 1, n_samples=SAMPLES)
    case.add("shap", package, "shap")
    many = exegete(c.m, KernelShap(n_samples=3000, removal="mask"), c.ids, c.target)["exegete"]()
    case.run(many(), rounds=3, near=0.9)


def main() -> None:
    """All cases."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    names = ("torch", "transformers", "captum", "inseq", "shap", "lime", "interpreto")
    emit("versions", **{n: version(n) for n in names if find_spec(n)})
    module = model("gpt2-tiny")
    folder = checkpoint(module)
    integrated_gradients(module, folder)
    standing = Standing(module, folder)
    leave_one_out(standing)
    sequence_gradients(standing)
    classifier = Classifier()
    occlusion(classifier)
    lime(classifier)
    kernel_shap(classifier)


if __name__ == "__main__":
    main()
