"""What a model loses when a place is read through something else: losses of whole texts, pass by pass.

1. texts go through the model in buckets of like length; for every variant (nothing, zero, a dictionary, ...) the place is
   replaced at the tokens that stand for text, in the same pass;
2. decoders: the mean surprise of the next token; other models: KL(own output || output with the replacement), mean over
   positions (over classes for a classifier), which is 0 where nothing is replaced;
3. loss recovered = 1 - sum (L_variant - L) / sum (L_zero - L), over texts: 1 keeps everything, 0 is as bad as zeros.

Cost: one forward a text and variant. Shapes: losses [variant, text], NaN for a text that has nothing to predict.
Reference: Bricken et al. 2023 (loss recovered); Gao et al. 2024, arXiv:2406.04093, section 4.1.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.methods.contracts.dictionaries import spliced
from exegete.models.encode import encode
from exegete.models.forward import buckets
from exegete.models.lab import Lab, Reading
from exegete.ops.ratio import kept

Through = Callable[[Tensor], Tensor]


def losses(
    lab: Lab, texts: Sequence[Text], site: Site, out: Site, variants: Mapping[str, Through]
) -> dict[str, np.ndarray]:
    """Loss by variant, and under "" that of the model as it is: [text] each."""
    encoded = [encode(lab.model, t.model_copy(update={"truncate": True})) for t in texts]
    found = {name: np.full(len(texts), np.nan) for name in ("", *variants)}
    for members in buckets([len(e.tokens) for e in encoded], lab.model.token_budget):
        reading = lab.batch_of([encoded[m] for m in members])
        inputs = _inputs(lab, reading)
        mask = _words(reading)
        own = lab.run(inputs).logits
        for name in found:
            edit = spliced(site, out, variants[name], mask) if name else None
            logits = own if edit is None else lab.run(inputs, edit=edit).logits
            found[name][members] = _loss(lab, reading, logits, own)
    return found


def recovered(found: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    """By text, values whose mean is the loss recovered by a variant; None where zeros do not hurt, so that nothing is lost."""
    return kept(found[name] - found[""], found["zero"] - found[""])


def _inputs(lab: Lab, reading: Reading) -> dict[str, Tensor]:
    """Inputs of the passes: the decoder of an encoder-decoder reads the text itself, behind its start token."""
    inputs = lab.passed(reading)
    if "decoder_input_ids" in inputs:
        inputs["decoder_input_ids"] = torch.cat([inputs["decoder_input_ids"], inputs["input_ids"][:, :-1]], 1)
    return inputs


def _words(reading: Reading) -> Tensor:
    """Tokens that stand for text [batch, tok] bool."""
    mask = torch.zeros_like(reading.mask)
    for i, e in enumerate(reading.encoded):
        mask[i, : len(e.tokens)] = torch.tensor([not t.special for t in e.tokens])
    return mask


def _loss(lab: Lab, reading: Reading, logits: Tensor, own: Tensor) -> np.ndarray:
    logs = logits.double().log_softmax(-1)
    if lab.model.task == "causal":
        ids = reading.inputs["input_ids"][:, 1:].to(logs.device)
        real = _words(reading)[:, 1:].to(logs.device)
        each = -logs[:, :-1].gather(-1, ids[..., None])[..., 0]
    else:
        true = own.double().log_softmax(-1)
        each = (true.exp() * (true - logs)).sum(-1)
        each = each[:, None] if each.dim() == 1 else each
        real = torch.ones_like(each, dtype=torch.bool) if own.dim() == 2 else reading.mask.to(logs.device)
    total, n = (each * real).sum(1), real.sum(1)
    return torch.where(n > 0, total / n.clamp_min(1), torch.nan).cpu().numpy()
