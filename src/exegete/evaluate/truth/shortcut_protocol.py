"""Shortcut protocol: which methods find a shortcut that a classifier was made to learn from your own labelled texts?

1. for each kind of shortcut a small classifier of whole words is trained on the texts, some of them with the shortcut and its label
   (`shortcuts`); a quarter of the texts is held out;
2. reliance: on held-out texts of one label with the shortcut of the other, how often does the model say the shortcut's? A shortcut
   that fewer than 0.9 of them follow, or of which a word is not needed, scores no method;
3. each method explains the shortcut's label on those texts: precision at k (share of the k shortcut words among the k highest)
   and their mean rank, with chance, random scores and the same method on shuffled weights (`attributions`).

The model that is named is not used: a method is judged on a model of which it is known what it looks at. Which method is best
differs by shortcut; a method that misses one should not be trusted to rule it out.
Cost: n_steps training steps a shortcut, and twice the passes of each method a text.
Reference: Bastings et al. 2022 (arXiv:2111.07367), sections 3 and 4.
"""

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.method import Need, method_of, register
from exegete.core.reference import Reference
from exegete.core.results.truth import WORDS_ON_TOP, TruthBoard, TruthRow
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.evaluate.cases import attempt, words
from exegete.evaluate.explained import attribution_method
from exegete.evaluate.labelled_texts import LabelledTexts
from exegete.evaluate.truth.attributions import NOISE, Ground
from exegete.evaluate.truth.planted import Planted
from exegete.evaluate.truth.shortcuts import KINDS, Shortcut
from exegete.methods.contracts.study import Study
from exegete.models.lab import Lab
from exegete.models.small_classifier import Recipe, answers
from exegete.ops.stats import mean_interval

USUAL = ("saliency", "input_x_gradient", "integrated_gradients", "occlusion")
Kind = Literal["single token", "token in context", "ordered pair"]


@register
class ShortcutProtocol(Study):
    """Which methods find the shortcut that a small classifier was made to learn from given labelled texts."""

    id: ClassVar[str] = "shortcut_protocol"
    family: ClassVar[str] = "evaluation"
    techniques: ClassVar[tuple[str, ...]] = ("O14",)
    verb: ClassVar[str] = "sanity"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "text"
    usual: ClassVar[int | None] = 400
    finds: ClassVar[type] = TruthBoard
    home: ClassVar[str] = "terrarium/sentiment"
    needs: ClassVar[tuple[Need, ...]] = ("weights",)
    reference: ClassVar[Reference] = Reference(
        authors="Bastings et al.", year=2022, where="arXiv:2111.07367", equation="sections 3 and 4",
        title="Will You Find These Shortcuts? A Protocol for Evaluating the Faithfulness of Input Salience Methods for Text Classification",
    )  # fmt: skip
    passes: ClassVar[str] = "n_steps training steps a shortcut, and twice those of each method a text"
    explainers: tuple[str, ...] = Field(
        USUAL, min_length=1, description="ids of the attribution methods that are judged"
    )
    shortcuts: tuple[Kind, ...] = Field(
        KINDS, min_length=1, description="kinds of shortcut: single token, token in context, ordered pair"
    )
    n_explained: int = Field(
        12, ge=2, le=1000, description="counter-examples that are explained, of each shortcut"
    )
    n_steps: int = Field(600, ge=1, le=100_000, description="training steps of each classifier")
    width: int = Field(48, ge=4, le=1024, multiple_of=4, description="width of the classifiers")
    seed: int = Field(
        0, ge=0, description="seed of the split, the weights, the batches and the shortcuts' places"
    )

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> TruthBoard:
        """Train, verify, explain, one kind of shortcut after the other."""
        methods = [attribution_method(method_of(name)) for name in self.explainers]
        data = LabelledTexts.of(items, self.id, self.seed)
        recipe = Recipe(width=self.width, n_steps=self.n_steps)
        rows: list[TruthRow] = []
        reliance: list[Score] = []
        told, lost = [], []
        with lab.working(
            len(self.shortcuts) * len(methods) * self.n_explained, "training and explaining"
        ) as done:
            for kind in self.shortcuts:
                what = Shortcut.of(kind, data).planted(data, recipe, self.seed)
                lab.meter.forwards += recipe.n_steps * recipe.batch
                lab.meter.backwards += recipe.n_steps * recipe.batch
                reliance.append(self._reliance(what, lab))
                ground, error = attempt(lambda what=what: Ground.of(what, self.n_explained, self.seed))
                if ground is None:
                    lost.append((kind, "shortcut", words(error)))
                    continue
                lab.meter.forwards += ground.proof.forwards
                told.append((kind, what.says))
                rows += ground.noise()
                for method in methods:
                    found, why = ground.judge(method, done)
                    rows += found
                    lab.meter.forwards += int(2 * sum(r.passes * r.score.n for r in found[:1]))
                    if why:
                        lost.append((method.id, method.family, f"{kind}: {why}"))
        own = [
            r.score.model_copy(update={"name": f"{r.method} on {r.truth}: {r.score.name}"})
            for r in rows
            if r.method != NOISE
        ]
        return TruthBoard(
            title="Which methods find the shortcut?",
            lede=_lede(rows, reliance, len(lost)),
            context=(
                ("texts", f"{len(data.texts)}, of which {len(data.held_out)} held out"),
                ("labels of the shortcuts", ", ".join(data.labels[:2])),
            ),
            rows=tuple(rows),
            truths=tuple(told),
            unscored=tuple(lost),
            trust=Trust(scores=(*reliance, *own), seed=self.seed),
        )

    def _reliance(self, what: Planted, lab: Lab) -> Score:
        """How often counter-examples get the shortcut's label, and how often they do without the shortcut."""
        texts = what.texts(max(4 * self.n_explained, 40), self.seed + 1)
        bare = [" ".join(w for w in t.text.split() if w not in t.words) for t in texts]
        won = [a == t.label for a, t in zip(answers(what.model, [t.text for t in texts]), texts)]
        own = [a == t.label for a, t in zip(answers(what.model, bare), texts)]
        lab.meter.forwards += 2 * len(texts)
        lead = np.array(won, dtype=np.float64) - np.array(own, dtype=np.float64)
        return Score(
            name=f"reliance on {what.name}: counter-examples that follow it",
            value=float(np.mean(won)),
            chance=1 / len(what.model.labels),
            control=float(np.mean(own)),
            control_name="the same texts without it",
            interval=mean_interval(np.array(won, dtype=np.float64), self.seed, (0, 1)),
            over_control=mean_interval(lead, self.seed, (-1, 1)),
            n=len(won),
        )


def _lede(rows: list[TruthRow], reliance: list[Score], n_lost: int) -> str:
    parts = []
    for truth in dict.fromkeys(r.truth for r in rows):
        own = [r for r in rows if r.truth == truth and r.score.name == WORDS_ON_TOP and r.method != NOISE]
        if not own:
            continue
        best = max(own, key=lambda r: r.score.value)
        worst = min(own, key=lambda r: r.score.value)
        parts.append(
            f"{truth}: best {best.method} ({best.score.value:.0%} of its words on top, a guess {best.score.chance or 0:.0%}), last "
            f"{worst.method} ({worst.score.value:.0%})."
        )
    weak = [s.name.split(":")[0].removeprefix("reliance on ") for s in reliance if s.value < 0.9]
    if weak:
        parts.append(f"Not learned, and so not scored: {', '.join(weak)}; train longer or give more texts.")
    if not parts:
        parts.append(f"Nothing could be scored; {n_lost} reasons are listed.")
    return " ".join(parts)
