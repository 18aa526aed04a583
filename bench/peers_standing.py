"""The standing case beside other packages: GPT-2 6 x 256, 22-token prompt, 11-token target, log-probability of the target."""

from typing import Any

import numpy as np
import torch

from exegete.core.target import Target
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.attribution.occlusion import Occlusion
from exegete.models.load import load
from peers_common import STEPS, UNK, VOCABULARY, Arm, Case, exegete, inseq_model, path, random_ids, words
from timing import word_tokenizer

PROMPT, SPOKEN = 22, 11


def as_loaded(folder: str) -> Any:
    """A copy that a package may change (padding, gradients), with a tokenizer that masks by the unknown token."""
    from transformers import AutoModelForCausalLM

    tokenizer = word_tokenizer(VOCABULARY)
    tokenizer.mask_token = "[UNK]"
    return AutoModelForCausalLM.from_pretrained(folder).eval(), tokenizer


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
