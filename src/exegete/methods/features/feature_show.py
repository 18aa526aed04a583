"""Feature visualisation: what one feature stands for, by the texts in which it is strongest and by optimised inputs.

1. the dictionary is opened (`saved`), or a small one is trained on the texts;
2. the feature's value at every token; the texts with the largest values, and how its values are spread;
3. inputs that drive it most, from random starts (`optimising`), read as the tokens nearest to them;
4. held against each other: the nearest tokens, the random tokens they began from (chance), and as many of the texts in which
   it is strongest (control). Optimised inputs that do not beat real texts say less about the feature than these.

Cost: one forward a text (the first few two, where no feature is named); n_ascent forwards and backwards a start. Memory: one block
of the texts, and a number a token.
References: Olah et al. 2017 (feature visualisation); Bricken et al. 2023 (examples).
"""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from exegete.core.errors import InputError, UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.feature_show import FeatureShow
from exegete.core.seed import derive
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.dictionaries import opened, place, unpacked
from exegete.methods.contracts.study import Study
from exegete.methods.features.activations import Read, Texts, blocks, read
from exegete.methods.features.learning import ROWS_OF_CONTROLS, Feed, learn
from exegete.methods.features.optimising import Wished, wished, words
from exegete.methods.features.telling import counted
from exegete.models.direct_effects import effects
from exegete.models.lab import Lab
from exegete.ops.dictionary import AT_ONCE, Dictionary
from exegete.ops.dictionary_training import Recipe
from exegete.ops.stats import bootstrap_mean


@register
class FeatureShowStudy(Study):
    """What one feature of a dictionary stands for: the texts in which it is strongest, and inputs optimised for it."""

    id: ClassVar[str] = "feature_show"
    family: ClassVar[str] = "features"
    techniques: ClassVar[tuple[str, ...]] = ("H2",)
    verb: ClassVar[str] = "features"
    asks: ClassVar[Any] = "texts"
    least: ClassVar[int] = 2
    usual: ClassVar[int | None] = 1000
    finds: ClassVar[type] = FeatureShow
    reference: ClassVar[Reference] = Reference(
        authors="Olah, Mordvintsev & Schubert", year=2017, title="Feature Visualization", where="distill.pub"
    )
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients", "sites")
    passes: ClassVar[str] = "1 a text; n_ascent forwards and backwards a start"
    saved: str = Field(
        "",
        description="a saved dictionary (.exg, or a folder in the SAELens layout); empty: train a small one",
    )
    site: str = Field(
        "middle", description="the place of a dictionary that is trained, or that does not say what it reads"
    )
    feature: int = Field(
        -1, ge=-1, description="number of the feature; -1: the one that carries most on the first tokens"
    )
    n_examples: int = Field(20, ge=1, le=1000, description="texts in which it is strongest")
    n_soft: int = Field(4, ge=1, le=64, description="tokens of an optimised input")
    n_draws: int = Field(8, ge=2, le=1000, description="random starts of the optimisation")
    n_ascent: int = Field(60, ge=1, le=100_000, description="steps along the gradient")
    rate: float = Field(0.1, gt=0, le=10, description="length of a step, in lengths of an embedding")
    n_steps: int = Field(300, ge=1, le=1_000_000, description="training steps, where no dictionary is named")
    seed: int = Field(0, description="seed of starts, and of a dictionary that is trained")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> FeatureShow:
        """Show the feature."""
        d, site, out = self._dictionary(lab, items)
        chosen = self._chosen(lab, d, items, site)
        parts, value = [], []
        for block in blocks(items):
            seen = read(lab, block, [site])
            value.append(_values(d, seen.values[0], chosen))
            seen.values = ()  # so that memory does not grow by the activations of the corpus
            parts.append(seen)
        every = np.concatenate(value)
        if not every.max(initial=0) > 0:
            raise InputError(
                f"You asked what feature {chosen} stands for, on {len(items)} texts.",
                "It is never on in them.",
                "Give other texts, or another feature.",
            )
        best = _best(parts, value, self.n_examples)
        wish = wished(lab, d, chosen, site, self.n_soft, self.n_draws, self.n_ascent, self.rate)
        on = every[every > 0]
        counts, edges = np.histogram(on, 20)
        up, down = effects(lab, d.decoder[[chosen]], out, items)
        told = tuple(tuple(v[rows].tolist()) for v, _, rows in best)
        score = self._score(wish, np.array([max(t) for t in told]), len(best))
        tokens = tuple(lab.pieces(p.ids[rows].tolist()) for _, p, rows in best)
        return FeatureShow(
            title=f"What does feature {chosen} of {site} stand for?",
            lede=_lede(chosen, tokens, told, every, wish, score),
            context=_context(site, d, len(items), len(every), up[0], down[0]),
            feature=chosen,
            site=str(site),
            density=float((every > 0).mean()),
            texts=tokens,
            values=told,
            counts=counts,
            edges=edges,
            wished=words(lab, wish.tokens.tolist()),
            soft=wish.soft,
            hard=wish.hard,
            start=wish.start,
            up=up[0],
            down=down[0],
            trust=Trust(scores=(score,), seed=self.seed),
        )

    def _dictionary(self, lab: Lab, items: tuple[Any, ...]) -> tuple[Dictionary, Site, Site]:
        if self.saved:
            data = opened(self.saved, lab.model, self.site)
            return unpacked(data, lab.model.device), Site.parse(data.site), Site.parse(data.site_out)
        site = place(lab.model, self.site)
        width = read(lab, items[:1], [site]).values[0].shape[1]
        recipe = Recipe(
            "topk", 2 * width, min(8, width), n_steps=self.n_steps, seed=derive(self.seed, "dictionary")
        )
        trainer = learn(lab, Texts(items), (site,), recipe, Feed(256, 256), "learning features")
        return trainer.dictionary(), site, site

    def _chosen(self, lab: Lab, d: Dictionary, items: tuple[Any, ...], site: Site) -> int:
        """The feature asked for; else the one with the largest sum of squares on the first tokens. Raises `UsageError` for one that
        is not there.
        """
        if self.feature >= d.n_features:
            raise UsageError(
                f"You asked for feature {self.feature}.",
                f"The dictionary has {d.n_features:,}, counted from 0.",
                f"Give a number from 0 to {d.n_features - 1}.",
            )
        if self.feature >= 0:
            return self.feature
        return int(counted(d, Texts(items).some(lab, (site,), ROWS_OF_CONTROLS)[0]).squares.argmax())

    def _score(self, wish: Wished, real: np.ndarray, n: int) -> Score:
        return Score(
            name="value of the feature on the tokens nearest to optimised inputs",
            value=float(wish.hard.mean()),
            chance=float(wish.start.mean()),
            control=float(real[: self.n_draws].mean()),
            control_name=f"the {min(n, self.n_draws)} real texts in which it is strongest",
            interval=bootstrap_mean(wish.hard, self.seed),
            n=len(wish.hard),
        )


def _values(d: Dictionary, x: torch.Tensor, feature: int) -> np.ndarray:
    """Values of one feature at activations x [row, in]: [row]."""
    parts = [d.encode(part)[:, feature].double() for part in x.split(max(1, AT_ONCE // d.n_features))]
    return torch.cat(parts).cpu().numpy()


def _best(parts: list[Read], value: list[np.ndarray], n: int) -> list[tuple[np.ndarray, Read, np.ndarray]]:
    """Of the texts in which the largest value stands: (values, read, rows of the text), the largest first."""
    found = []
    for p, v in zip(parts, value):
        texts, first = np.unique(p.text, return_index=True)
        top = np.maximum.reduceat(v, first)
        found += [(float(t), v, p, np.flatnonzero(p.text == i)) for i, t in zip(texts, top) if t > 0]
    found.sort(key=lambda f: -f[0])
    return [(v, p, rows) for _, v, p, rows in found[:n]]


def _context(
    site: Site, d: Dictionary, n: int, tokens: int, up: tuple[str, ...], down: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    said = [
        ("dictionary", f"{d.kind}, {d.n_features:,} features of {site}"),
        ("texts", f"{n:,} ({tokens:,} tokens)"),
    ]
    if up:
        said += [("pushes up", " ".join(up)), ("pushes down", " ".join(down))]
    return tuple(said)


def _lede(
    feature: int, tokens: tuple[tuple[str, ...], ...], told: tuple[tuple[float, ...], ...], every: np.ndarray, wish: Wished, score: Score
) -> str:  # fmt: skip
    top = dict.fromkeys(t[int(np.argmax(v))].strip() for t, v in zip(tokens, told))
    words = f"Feature {feature} is on at {float((every > 0).mean()):.1%} of the tokens, most strongly at {', '.join(map(repr, list(top)[:4]))}."
    words += f" Tokens nearest to optimised inputs bring it to {score.value:.2f}, random ones to {score.chance:.2f}"
    words += f", the texts in which it is strongest to {score.control:.2f}."
    if not score.beats_chance:
        return f"{words} The optimised inputs do not beat random tokens: read the texts alone."
    return words if score.beats_control else f"{words} Real texts drive it further: read these first."
