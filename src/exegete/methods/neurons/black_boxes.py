"""Units and outputs of a model as functions of texts: strings in, one number a module out [text, module].

    units_box    activations of units, taken together over the tokens that stand for text (max, mean, last): 1 forward a text
    outputs_box  logits of classes, or of next tokens at the end of the text: 1 forward a text for all of them
    plain        the texts of any request as strings, no two alike

A text that the model cannot read (no token stands for it) is NaN. Texts are read in the order of their lengths.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch

from exegete.core.errors import InputError, UsageError
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.methods.neurons.unit_texts import Unit
from exegete.models.encode import encode
from exegete.models.forward import buckets
from exegete.models.harvest import stream
from exegete.models.lab import Lab

Pool = Literal["max", "mean", "last"]
BlackBox = Callable[[Sequence[str]], np.ndarray]


def units_box(lab: Lab, units: Sequence[Unit], pool: str) -> BlackBox:
    """What `units` do on texts."""
    sites = tuple(dict.fromkeys(u.site for u in units))

    def f(texts: Sequence[str]) -> np.ndarray:
        out = np.full((len(texts), len(units)), np.nan)
        good = [i for i, n in enumerate(_lengths(lab, texts)) if n]
        with lab.working(len(good), "reading n-grams and texts") as done:
            for chunk in stream(lab, [texts[i] for i in good], sites):
                values = np.stack([chunk.values[u.site][:, u.unit].cpu().numpy() for u in units], 1)
                start = np.flatnonzero(np.diff(chunk.text, prepend=-1))  # tokens of one text stand together
                for a, b in zip(start, np.append(start[1:], len(chunk.text))):
                    out[good[int(chunk.text[a])]] = _pooled(values[a:b].astype(np.float64), pool)
                done(len(start))
        return out

    return f


def outputs_box(lab: Lab, targets: Sequence[Target]) -> BlackBox:
    """The logits of `targets`, each a class or a next token, in one pass for all of them."""

    def f(texts: Sequence[str]) -> np.ndarray:
        lengths = _lengths(lab, texts)
        good = [i for i, n in enumerate(lengths) if n]
        out = np.full((len(texts), len(targets)), np.nan)
        if not good:
            return out
        aims = [lab.aim([Text(text=texts[good[0]], truncate=True)], t) for t in targets]
        ids, pooled = [a.rows[0][0].id for a in aims], aims[0].pooled
        with lab.working(len(good), "reading n-grams and texts") as done:
            for members in buckets([lengths[i] for i in good], lab.model.token_budget):
                where = [good[m] for m in members]
                inputs = lab.read([Text(text=texts[i], truncate=True) for i in where]).inputs
                rows = None if pooled else torch.tensor([[lengths[i] - 1] for i in where])
                logits = lab.run(inputs, rows=rows).logits
                if rows is not None:
                    logits = (
                        logits[:, 0] if logits.shape[1] == 1 else logits[torch.arange(len(where)), rows[:, 0]]
                    )
                out[where] = logits[:, ids].float().cpu().numpy()
                done(len(members))
        return out

    return f


def output_targets(lab: Lab, target: Target) -> tuple[tuple[str, Target], ...]:
    """The outputs that `target` means, by name: one class or next token; of a classifier without a label, every class.

    Raises `UsageError` where a language model is asked without a token, or for more than one token.
    """
    if lab.model.task == "sequence" and target.label is None:
        return tuple((f"class {n}", Target.of(i, scale="logit")) for i, n in enumerate(lab.model.labels))
    if lab.model.task in ("sequence", "causal") and target.label is not None and target.against is None:
        kind = "class" if lab.model.task == "sequence" else "next"
        return ((f"{kind} {target.label}", target.model_copy(update={"kind": kind, "scale": "logit"})),)
    raise UsageError(
        f"You asked what raises {target} of {lab.model.name}.",
        "One output is explained: a class of a classifier, or one next token of a causal language model.",
        "Name it with --target, or explain units: site=mlp_act.",
    )


def plain(lab: Lab, texts: Sequence[Text]) -> tuple[tuple[Text, ...], int]:
    """Texts as plain strings that differ, and how many were left out as repeated or without a word."""
    read = (encode(lab.model, t.model_copy(update={"truncate": True})).text.strip() for t in texts)
    found = [t for t in dict.fromkeys(read) if t]
    return tuple(Text(text=t) for t in found), len(texts) - len(found)


def _lengths(lab: Lab, texts: Sequence[str]) -> list[int]:
    """Tokens a text; 0 where the model cannot read it, which is counted by the caller as a missing value."""
    found = []
    for t in texts:
        try:
            found.append(len(encode(lab.model, Text(text=t, truncate=True)).tokens))
        except InputError:
            found.append(0)
    return found


def _pooled(values: np.ndarray, pool: str) -> np.ndarray:
    """Values [token, module] of one text taken together [module]."""
    if pool == "last":
        return values[-1]
    return values.max(0) if pool == "max" else values.mean(0)
