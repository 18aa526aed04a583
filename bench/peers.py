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
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

import exegete as xg
from exegete.core.method import Method
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.methods.attribution.contract import AttributionMethod
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.attribution.kernel_shap import KernelShap
from exegete.methods.attribution.lime import Lime
from exegete.methods.attribution.occlusion import Occlusion
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.model import Model
from exegete.ops.perturb import removals
from timing import compare, emit, model, word_tokenizer

VOCABULARY, UNK, MASK = 5000, 1, 4
LENGTH, STEPS, SAMPLES = 64, 50, 512
PROMPT, SPOKEN = 22, 11
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


def as_loaded(folder: str) -> Any:
    """A copy that a package may change (padding, gradients), with a tokenizer that masks by the unknown token."""
    from transformers import AutoModelForCausalLM

    tokenizer = word_tokenizer(VOCABULARY)
    tokenizer.mask_token = "[UNK]"
    return AutoModelForCausalLM.from_pretrained(folder).eval(), tokenizer


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


class Standing:
    """The standing case: 22-token prompt, 11-token target, log-probability of the target."""

    def __init__(self, module: Any, folder: str) -> None:
        self.module, self.folder, self.ids = module, folder, random_ids(PROMPT + SPOKEN)
        self.prompt, self.spoken = words(self.ids[:PROMPT]), words(self.ids[PROMPT:])
        self.goal = Target(kind="continuation", label=tuple(map(int, self.ids[PROMPT:])))
        self.m = load((module, word_tokenizer(VOCABULARY)), task="causal")

    def each(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the target's tokens [batch, 11] from the states of all positions."""
        log = self.module.lm_head(hidden[:, PROMPT - 1 : -1]).log_softmax(-1)
        asked = torch.from_numpy(self.ids[PROMPT:])[None, :, None].expand(len(hidden), -1, 1)
        return log.gather(-1, asked)[..., 0]

    def of_ids(self, ids: torch.Tensor) -> torch.Tensor:
        """The same after other prompts [batch, 22]."""
        whole = torch.cat([ids, torch.from_numpy(self.ids[PROMPT:])[None].expand(len(ids), -1)], 1)
        return self.each(self.module.transformer(input_ids=whole, use_cache=False).last_hidden_state)

    def inseq(self, method: str, **options: Any) -> Arm:
        """Its scores of each target token's log-probability, summed over the target."""
        by = inseq_model(self.folder, method)
        span = {"attr_pos_start": PROMPT, "attr_pos_end": PROMPT + SPOKEN}

        def run() -> np.ndarray:
            out = by(self.prompt, f"{self.prompt} {self.spoken}", "log_probability", **span, **options)
            return out[:PROMPT].reshape(PROMPT, SPOKEN, -1).sum((1, 2)).numpy()

        return run

    def interpreto(self, name: str, **options: Any) -> Arm:
        """Its scores, summed over the target."""
        import interpreto
        from interpreto.attributions import InferenceModes

        module, tokenizer = as_loaded(self.folder)
        how = {"granularity": interpreto.Granularity.TOKEN, "inference_mode": InferenceModes.LOG_SOFTMAX}
        by = getattr(interpreto, name)(module, tokenizer, **how, **options)
        return lambda: np.nansum(by.explain(self.prompt, self.spoken)[0].attributions.numpy(), 0)[:PROMPT]

    def captum_text(self, wrapper: str, method: str, **options: Any) -> Arm:
        """captum's own way with a prompt and a target, one target token after the other."""
        import captum.attr

        layer = (self.module.get_input_embeddings(),) if "Gradient" in wrapper else ()
        tokenizer = word_tokenizer(VOCABULARY)
        by = getattr(captum.attr, wrapper)(getattr(captum.attr, method)(self.module, *layer), tokenizer)
        text = captum.attr.TextTokenInput(self.prompt, tokenizer, baselines=UNK)
        return lambda: by.attribute(text, target=self.spoken, **options).seq_attr.detach().numpy()


def leave_one_out(s: Standing) -> None:
    """23 texts, read once, give all 22 x 11 scores; arms are compared on their sum over the target."""

    @torch.inference_mode()
    def each() -> torch.Tensor:
        rows = np.tile(s.ids[:PROMPT], (PROMPT + 1, 1))
        np.fill_diagonal(rows[:PROMPT], UNK)
        found = s.of_ids(torch.from_numpy(rows))
        return found[-1] - found[:-1]

    def by_hand() -> np.ndarray:
        return each().sum(1).numpy()

    def captum() -> Arm:
        from captum.attr import FeatureAblation

        by, x = FeatureAblation(lambda v: s.of_ids(v).sum(1)), torch.from_numpy(s.ids[:PROMPT])[None]

        def run() -> torch.Tensor:
            with torch.no_grad():
                return by.attribute(x, baselines=UNK, perturbations_per_eval=PROMPT)[0]

        return run

    case = Case("peers loo standing", "one pass by hand", by_hand)
    for name, make in exegete(s.m, Occlusion(removal="unk"), s.ids[:PROMPT], s.goal).items():
        case.add(name, make)
    case.add("captum, hand-written scorer", captum, "captum")
    text = ("LLMAttribution", "FeatureAblation")
    case.add("captum, text interface", lambda: s.captum_text(*text), "captum", 2)
    uncached = {"use_cached_outputs": False}
    case.add("captum, text, no cache", lambda: s.captum_text(*text, **uncached), "captum", 2)
    sizes = each().abs().sum(1).numpy()  # inseq returns the size of an effect, without its sign
    case.add("inseq", lambda: s.inseq("occlusion"), "inseq", 2, want=sizes)
    case.add("interpreto", lambda: s.interpreto("Occlusion", batch_size=64), "interpreto")
    case.run(by_hand(), rounds=5)


def sequence_gradients(s: Standing) -> None:
    """50 steps on the log-probability of the whole target; arms are compared on their sum over the target."""
    spoken = torch.from_numpy(s.ids[PROMPT:])

    def score(points: torch.Tensor) -> torch.Tensor:
        return s.each(s.module.transformer(inputs_embeds=points, use_cache=False).last_hidden_state).sum()

    def captum() -> Arm:
        from captum.attr import LayerIntegratedGradients

        x = torch.from_numpy(s.ids)[None]
        base = torch.cat([torch.full((1, PROMPT), UNK), spoken[None]], 1)
        by = LayerIntegratedGradients(
            lambda v: s.of_ids(v[:, :PROMPT]).sum(1), s.module.get_input_embeddings()
        )
        return lambda: (
            by.attribute(x, baselines=base, n_steps=STEPS, internal_batch_size=10).sum(-1)[0].detach()
        )

    case = Case("peers ig standing", "one loop by hand", lambda: path(s.module, s.ids, PROMPT, score))
    method = IntegratedGradients(n_steps=STEPS, tolerance=1.0, baseline="unk")
    for name, make in exegete(s.m, method, s.ids[:PROMPT], s.goal).items():
        case.add(name, make)
    text = ("LLMGradientAttribution", "LayerIntegratedGradients")
    case.add("captum, hand-written scorer", captum, "captum")
    case.add("captum, text interface", lambda: s.captum_text(*text, n_steps=STEPS), "captum", 1)
    case.add("inseq", lambda: s.inseq("integrated_gradients", n_steps=STEPS), "inseq", 1)
    options = {"n_perturbations": STEPS, "batch_size": 10}
    case.add("interpreto", lambda: s.interpreto("IntegratedGradients", **options), "interpreto", 1)
    case.run(path(s.module, s.ids, PROMPT, score), rounds=4)


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
