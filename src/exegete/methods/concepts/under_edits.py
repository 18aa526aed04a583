"""What a model says and holds while a place is edited: outputs at the end of texts, drift on every token, pooled residuals.

1. texts go through in buckets of like length, once for every edit (None: as it is);
2. `outputs`: log-probabilities after the last token (of a classifier: of the classes), KL(as it is || edited) as the mean over
   the tokens of a text, and how likely the text itself is; 3. `pooled`: the mean over tokens that stand for text, at every place asked for. The activation table keeps
   what it read under the model alone, so that an edited model is never read through it.

Cost: one forward a text and edit. Shapes: outputs [edit, text, out], drift [edit, text], pooled [text, d] a place.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.models.capture import EditMap
from exegete.models.encode import encode
from exegete.models.forward import buckets
from exegete.models.lab import Lab, Reading

Edits = Sequence[EditMap | None]


@dataclass(frozen=True)
class Outputs:
    """said [edit, text, out], drift [edit, text], likelihood [edit, text]: mean log-probability of a token after the first
    (language models; NaN for classifiers)."""

    said: np.ndarray
    drift: np.ndarray
    likelihood: np.ndarray


def outputs(lab: Lab, texts: Sequence[str], edits: Edits) -> Outputs:
    """What is said after texts under each edit; drift is from the first of them."""
    said: list[list[np.ndarray]] = [[np.zeros(0)] * len(texts) for _ in edits]
    drift, likely = (np.full((len(edits), len(texts)), np.nan) for _ in range(2))
    with lab.working(len(texts) * len(edits), "reading under edits") as done:
        for members, reading in _batches(lab, texts):
            ends, rows, base = reading.mask.sum(1) - 1, torch.arange(len(members)), None
            for e, edit in enumerate(edits):
                logs = lab.run(lab.passed(reading), edit=edit).logits.float().log_softmax(-1).double()
                base = logs if base is None else base
                kl = (base.exp() * (base - logs)).sum(-1)
                last = logs
                if logs.dim() == 3:
                    last, kl = logs[rows, ends], _over(kl, reading.mask)
                    likely[e, members] = _likelihood(logs, reading).cpu().numpy()
                for k, m in enumerate(members):
                    said[e][m] = last[k].cpu().numpy()
                drift[e, members] = kl.cpu().numpy()
                done(len(members))
    return Outputs(np.stack([np.stack(s) for s in said]), np.maximum(drift, 0.0), likely)


def _over(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum(1) / mask.sum(1).clamp_min(1)


def _likelihood(logs: Tensor, reading: Reading) -> Tensor:
    ids = reading.inputs["input_ids"]
    return _over(logs[:, :-1].gather(-1, ids[:, 1:, None])[..., 0], reading.mask[:, 1:])


def pooled(
    lab: Lab, texts: Sequence[str], sites: Sequence[Site], edit: EditMap | None = None
) -> dict[Site, np.ndarray]:
    """Site -> means [text, d] over the tokens that stand for text."""
    found: dict[Site, list[np.ndarray]] = {s: [np.zeros(0)] * len(texts) for s in sites}
    with lab.working(len(texts), "reading texts") as done:
        for members, reading in _batches(lab, texts):
            keep = torch.zeros(reading.mask.shape, dtype=torch.float64)
            for row, e in enumerate(reading.encoded):
                own = [i for i, t in enumerate(e.tokens) if not t.special] or list(range(len(e.tokens)))
                keep[row, own] = 1.0 / len(own)
            none = torch.zeros(len(members), 1, dtype=torch.int64)
            reduce = {s: _mean(keep) for s in sites}
            trace = lab.run(lab.passed(reading), edit=edit, reduce=reduce, rows=none)
            for s in sites:
                for m, row in zip(members, trace[s]):
                    found[s][m] = row
            done(len(members))
    return {s: np.stack(v) for s, v in found.items()}


def _mean(keep: Tensor) -> Callable[[Tensor], np.ndarray]:
    def mean(x: Tensor) -> np.ndarray:
        return torch.einsum("btd,bt->bd", x.double(), keep.to(x.device)).cpu().numpy()

    return mean


def _batches(lab: Lab, texts: Sequence[str]) -> Iterator[tuple[list[int], Reading]]:
    encoded = [encode(lab.model, Text(text=t, truncate=True)) for t in texts]
    for members in buckets([len(e.tokens) for e in encoded], lab.model.token_budget):
        yield members, lab.batch_of([encoded[m] for m in members])
