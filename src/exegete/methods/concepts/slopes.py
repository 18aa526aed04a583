"""How the target of a text rises along a direction: gradients at every layer, summed over the tokens the model reads.

The derivative of the target when a vector v is added to every token at a layer is v . sum over tokens of the gradient there.

Cost: one forward and one backward a text give all layers. Shapes: [text, d] a layer.
"""

from collections.abc import Sequence

import numpy as np
import torch

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.models.encode import encode
from exegete.models.forward import buckets
from exegete.models.lab import Lab


def token_gradients(
    lab: Lab, texts: Sequence[str], target: Target, sites: Sequence[Site]
) -> tuple[dict[Site, np.ndarray], tuple[str, ...]]:
    """(site -> gradients [text, d] summed over tokens, what is explained of each text)."""
    asked = [Text(text=t, truncate=True) for t in texts]
    lengths = [len(encode(lab.model, t).tokens) for t in asked]
    found: dict[Site, list[np.ndarray]] = {s: [np.zeros(0)] * len(texts) for s in sites}
    names = [""] * len(texts)
    with lab.working(len(texts), "gradients") as done:
        for members in buckets(lengths, lab.model.token_budget):
            aim = lab.aim([asked[m] for m in members], target)
            seen = lab.run(aim.inputs, read=sites, keep_graph=True, rows=aim.positions)
            with torch.enable_grad():
                total = aim.measure(seen.logits).sum()
            grads = lab.gradients(total, [seen[s] for s in sites])
            for site, g in zip(sites, grads):
                rows = g.detach().sum(1).double().cpu().numpy()
                for m, row in zip(members, rows):
                    found[site][m] = row
            for m, name in zip(members, aim.answers):
                names[m] = name
            done(len(members))
    return {s: np.stack(v) for s, v in found.items()}, tuple(names)


def explained(
    lab: Lab, texts: tuple[str, ...], target: Target, of_class: bool
) -> tuple[Target, str, tuple[str, ...]]:
    """(target on the logit scale, its name, the texts that are explained).

    Of a classifier without a target it is the class that it gives most often, and with `of_class` the texts are those that it
    gives to the class (all of them where it gives fewer than two).
    """
    scaled = target.model_copy(update={"scale": "logit"}) if target.scale == "auto" else target
    if lab.model.task != "sequence":
        foil = f" rather than {target.against}" if target.against is not None else ""
        name = "what the model says next" if target.label is None else f"{str(target.label).strip()!r}{foil}"
        return scaled, name, texts
    said = _said(lab, texts)
    wanted = target.label if target.label is not None else max(sorted(set(said)), key=said.count)
    goal = scaled.model_copy(update={"label": wanted})
    name = lab.aim(texts[:1], goal).answers[0]  # a class may be asked for by its number
    own = tuple(t for t, s in zip(texts, said) if s == name)
    foil = f" rather than {target.against}" if target.against is not None else ""
    return goal, f"{name!r}{foil}", own if of_class and len(own) > 1 else texts


def _said(lab: Lab, texts: Sequence[str]) -> list[str]:
    """The class that the model gives to each text."""
    asked, said = [Text(text=t, truncate=True) for t in texts], [""] * len(texts)
    for members in buckets([len(encode(lab.model, t).tokens) for t in asked], lab.model.token_budget):
        for m, name in zip(members, lab.aim([asked[m] for m in members]).answers):
            said[m] = name
    return said
