"""What features stand for, in words: the tokens they are strongest on, their strongest place, what they do to the logits.

1. features of the held-out tokens, chunk by chunk: how often each is on, its largest value, its part of the squared sum;
2. of those with the largest part: the tokens by mean value, and the place of the largest one with what stands around it;
3. where a feature writes into the residual of the stack that makes the output: the direction of its decoder row through final
   norm and head, frozen at the mean last residual (`models.direct_effects`).

Cost: no pass beside one of a few texts for the mean residual. Shapes: [feature]; values of shown features [row, shown].
Reference: Bricken et al. 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.request import Text
from exegete.core.results.features import FeatureRow
from exegete.core.site import Site
from exegete.methods.features.activations import Read
from exegete.models.direct_effects import effects
from exegete.models.lab import Lab
from exegete.ops.dictionary import AT_ONCE, Dictionary

AROUND = 5  # tokens shown before and after the strongest place
N_TOKENS = 5


@dataclass(frozen=True)
class Counted:
    """By feature: share of tokens it is on at, largest value, sum of squares; and the mean number on at a token."""

    density: np.ndarray
    largest: np.ndarray
    squares: np.ndarray
    active: float


def counted(d: Dictionary, x: Tensor) -> Counted:
    """How features of activations [row, in] are used."""
    m = d.n_features
    on, largest, squares = (torch.zeros(m, dtype=torch.float64, device=x.device) for _ in range(3))
    for part in x.split(max(1, AT_ONCE // m)):
        f = d.encode(part).double()
        on += (f > 0).sum(0)
        largest = torch.maximum(largest, f.max(0).values)
        squares += f.square().sum(0)
    density, top, energy = (v.cpu().numpy() for v in (on / len(x), largest, squares))
    return Counted(density, top, energy, float(density.sum()))


def rows_of(
    lab: Lab, d: Dictionary, seen: Read, out: Site, which: Sequence[int], texts: Sequence[Text]
) -> tuple[FeatureRow, ...]:
    """The rows of the table for the features `which`."""
    values = torch.cat(
        [d.encode(x)[:, list(which)] for x in seen.values[0].split(max(1, AT_ONCE // d.n_features))]
    )
    f = values.double().cpu().numpy()
    ups, downs = effects(lab, d.decoder[list(which)], out, texts)
    ids, number = np.unique(seen.ids, return_inverse=True)
    count = np.bincount(number)
    found = []
    for j, feature in enumerate(which):
        mean = np.bincount(number, weights=f[:, j]) / count
        best = [i for i in np.argsort(-mean, kind="stable")[:N_TOKENS] if mean[i] > 0]
        found.append(
            FeatureRow(
                feature=int(feature),
                tokens=tuple(t.strip() for t in lab.pieces(int(ids[i]) for i in best)),
                example=example(lab, seen, int(f[:, j].argmax())) if f[:, j].max() > 0 else "",
                up=ups[j],
                down=downs[j],
            )
        )
    return tuple(found)


def example(lab: Lab, seen: Read, row: int) -> str:
    """The token of a row in « », with what stands around it in its text."""
    same = np.flatnonzero(seen.text[max(0, row - AROUND) : row + AROUND + 1] == seen.text[row]) + max(
        0, row - AROUND
    )
    before, after = seen.ids[same[same < row]], seen.ids[same[same > row]]
    decode = lab.model.tokenizer.decode
    left, here, right = (str(decode(x.tolist())).strip() for x in (before, seen.ids[row : row + 1], after))
    return " ".join(p for p in (left, f"«{here}»", right) if p)
