"""What an edit does to what a model says: the likeliest outputs before, with the edit in place, and taken back.

Cost: four forwards a text; the model is left as it was found.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from exegete.core.result import Listing
from exegete.core.results.edits import ModelEdit
from exegete.models.forward import pick
from exegete.models.lab import Aim, Lab
from exegete.models.model import Model
from exegete.models.rewrite import edited

_TOP = 3


def before_and_after(model: Model, edit: ModelEdit, texts: Sequence[str]) -> Listing:
    """One row a text: what the model says to it before and with the edit. `ok` when afterwards it is as before, to the bit.

    Raises the letters of `models.rewrite.edited`: another model, an edit of nothing, numbers that are not finite.
    """
    lab, mark = Lab(model), model.fingerprint
    aim = lab.aim(list(texts))
    with torch.no_grad():
        before = _outputs(lab, aim)
        with edited(model, edit):
            during = _outputs(lab, aim)
        after = _outputs(lab, aim)
    same = torch.equal(before, after) and model.fingerprint == mark
    rows = [(text, _words(lab, b), _words(lab, d)) for text, b, d in zip(texts, before, during)]
    return Listing(
        title=f"The edit of {model.name}: {edit.claim}",
        columns=("text", "the model says", "with the edit"),
        rows=tuple(rows),
        ok=same,
        footer="The edit was taken back: the model is as it was, to the bit."
        if same
        else "The model is NOT as it was before.",
    )


def _outputs(lab: Lab, aim: Aim) -> Tensor:
    """Probabilities [text, output] of what is said first."""
    at = aim.positions
    logits = lab.run(aim.inputs, rows=at).logits
    if at is not None and logits.shape[1] != at.shape[1]:
        logits = pick(logits, at.to(logits.device))
    return (logits if at is None else logits[:, 0]).float().softmax(-1)


def _words(lab: Lab, p: Tensor) -> str:
    top = p.topk(min(_TOP, len(p)))
    ids, names = top.indices.tolist(), lab.model.labels
    words = [names[i] for i in ids] if names else [w.strip() for w in lab.pieces(ids)]
    return ", ".join(f"{w} {q:.0%}" for w, q in zip(words, top.values.tolist()))
