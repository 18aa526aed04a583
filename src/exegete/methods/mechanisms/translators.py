"""Translators: an affine map a layer that turns its residual into what the last layer's would look like, trained.

1. read residuals and output of a batch of texts; 2. guess_l = head(norm(h_l + A_l h_l + b_l)), with A_l and b_l zero at first
(so the start is the logit lens); 3. loss = mean over tokens of KL(output || guess_l), each layer for itself; 4. Adam on A and
b with a learning rate that falls to zero; the model itself never changes, and no gradient enters its layers.

Shapes: weight [layer, d, d], bias [layer, d], residual [layer, tok, d]. Cost: n_steps * batch forwards, and one pass through
the unembedding with its gradient for every layer and token read. Memory: one batch.
Reference: Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens", eq. 4-6.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import ModelError
from exegete.methods.mechanisms.lensing import lens_sites, log_probabilities
from exegete.models.lab import Lab


@dataclass(frozen=True, eq=False)
class Translators:
    """`weight` [layer, d, d] and `bias` [layer, d], float32, of the residuals before the last layer's; the last one is left
    alone.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, resid: Tensor) -> Tensor:
        """Translated residuals [layer + 1, ..., d]."""
        early = resid[:-1].float()
        moved = torch.einsum("l...d,lde->l...e", early, self.weight)
        bias = self.bias.reshape(len(self.bias), *[1] * (resid.ndim - 2), -1)
        return torch.cat([(early + moved + bias).to(resid.dtype), resid[-1:]])

    @classmethod
    def none(cls, layers: int, d: int, device: torch.device) -> "Translators":
        """Translators that change nothing: the logit lens."""
        return cls(torch.zeros(layers, d, d, device=device), torch.zeros(layers, d, device=device))


@dataclass(frozen=True)
class Training:
    """How translators are trained."""

    n_steps: int
    batch: int
    rate: float


def train(lab: Lab, texts: Sequence[str], how: Training) -> Translators:
    """Translators of a model, trained on texts. Raises `ModelError` when the training diverges."""
    found = Translators.none(lab.model.map.n_layers, lab.model.map.d_model, lab.model.device)
    weights = (found.weight.requires_grad_(), found.bias.requires_grad_())
    steps = torch.optim.Adam(weights, lr=how.rate)
    with lab.working(how.n_steps, "training the lens") as shown, torch.enable_grad():
        for i, chosen in enumerate(_batches(lab, len(texts), how)):
            for group in steps.param_groups:
                group["lr"] = how.rate * (1 - i / how.n_steps)
            loss = _loss(lab, found, [texts[int(j)] for j in chosen])
            steps.zero_grad()
            loss.backward()
            steps.step()
            shown()
    if not all(bool(torch.isfinite(w).all()) for w in weights):
        raise ModelError(
            "You asked to train a tuned lens.",
            f"The training diverged at the learning rate {how.rate:g}.",
            "Give a smaller rate.",
        )
    return Translators(found.weight.detach(), found.bias.detach())


def read_batch(lab: Lab, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Residuals [layer + 1, tok, d] and output log-probabilities [tok, vocab] of the real tokens of a batch of texts.

    An encoder-decoder's decoder reads the text itself, behind its start token.
    """
    reading = lab.read(texts)
    inputs = lab.passed(reading)
    if "decoder_input_ids" in inputs:
        inputs["decoder_input_ids"] = torch.cat([inputs["decoder_input_ids"], inputs["input_ids"][:, :-1]], 1)
    sites = lens_sites(lab)
    with torch.no_grad():
        seen = lab.run(inputs, read=sites)
        real = reading.mask
        return torch.stack([seen[s][real] for s in sites]), log_probabilities(seen.logits[real])


def _loss(lab: Lab, lens: Translators, texts: Sequence[str]) -> Tensor:
    """Sum over layers of the mean KL(output || guess)."""
    resid, final = read_batch(lab, texts)
    guess = log_probabilities(lab.model.map.unembed(lens(resid)[:-1]))
    return (final.exp() * (final - guess)).sum(-1).mean(-1).sum()


def _batches(lab: Lab, n: int, how: Training) -> Iterator[np.ndarray]:
    """Indices of the texts of every step: shuffled, all before any again."""
    rng, queue = lab.rng("batches"), np.zeros(0, dtype=np.int64)
    for _ in range(how.n_steps):
        while len(queue) < min(how.batch, n):
            queue = np.concatenate([queue, rng.permutation(n)])
        yield queue[: how.batch]
        queue = queue[how.batch :]


def divergences(
    lab: Lab, texts: Sequence[str], lenses: Sequence[Callable[[Tensor], Tensor]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean KL(output || guess) of each text under each lens [lens, text, layer + 1]; that of the best guess that reads nothing
    (the mean output over all tokens) [text]; and that of the first lens on residuals of shuffled tokens [text, layer + 1].
    """
    every, finals, shuffled = [], [], []
    for i, text in enumerate(texts):
        resid, final = read_batch(lab, [text])
        guesses = [log_probabilities(lab.model.map.unembed(lens(resid))) for lens in lenses]
        every.append([(final.exp() * (final - g)).sum(-1).mean(-1) for g in guesses])
        order = torch.as_tensor(lab.rng("shuffle", i).permutation(resid.shape[1]))
        shuffled.append((final.exp() * (final - guesses[0][:, order])).sum(-1).mean(-1))
        finals.append(final)
    mean = torch.cat(finals).double().exp().mean(0).log()
    blind = [float((f.exp() * (f - mean)).sum(-1).mean()) for f in finals]
    values = torch.stack([torch.stack(e) for e in every], 1)
    return values.double().cpu().numpy(), np.array(blind), torch.stack(shuffled).double().cpu().numpy()
