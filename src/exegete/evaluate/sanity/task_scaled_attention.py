"""Task-scaled attention: does attention say more of a decision when it is multiplied by a score that the task has taught?

1. four classifiers that are attention and little else (`models.attention_classifier`) are trained on three quarters of the
   labelled texts, from the same seed: plain, and with a score a word beside each weight (Lin-, Feat- and Conv-TaSc);
2. held-out texts are explained: plain by its attention a, the others by |a s|;
3. the words are removed in that order: the share that must go before the decision flips (`decision_flip_fraction`, lower is
   better), and whether it flips without the first (`decision_flip_most_informative`, higher is better).

Chance: random orders of the same text on the same classifier; control: the attention of the same classifier without its scores;
of the plain one, random orders again. Both are held against the value text by text. Interval: over texts. The
scores are learned with the classifier, so that a model as it is
has none: the model that is named is not used, and the finding speaks of this kind of attention, not of its.
Left out: the paper's gradient forms, its other encoders (LSTM, GRU, CNN, BERT) and tuning a form on a development set.
Cost: four trainings, a few forwards a word and text. Reference: Chrysostomou & Aletras 2021 (arXiv:2105.02657), sections 3 and 4.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.task_scaled import TaskScaled
from exegete.core.seed import derive, generator
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.evaluate.contract import FaithfulnessMetric, Ranking, judging, metric_of
from exegete.evaluate.labelled_texts import LabelledTexts
from exegete.methods.contracts.study import Study
from exegete.models.ask import ask
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.small_classifier import Recipe, answers, from_texts, trained_attention
from exegete.ops.rank import random_orders
from exegete.ops.stats import mean_interval

NAN = float("nan")
METRICS = ("decision_flip_fraction", "decision_flip_most_informative")
Form = Literal["plain", "lin", "feat", "conv"]


@dataclass(frozen=True)
class _Judged:
    """One classifier: metrics of its explanation, of its attention alone, of random orders, each [metric, text]; accuracy."""

    own: np.ndarray
    alone: np.ndarray
    random: np.ndarray
    accuracy: float


@register
class TaskScaledAttention(Study):
    """Whether decisions flip sooner by attention that is scaled by scores learned with the task than by attention alone."""

    id: ClassVar[str] = "task_scaled_attention"
    family: ClassVar[str] = "evaluation"
    techniques: ClassVar[tuple[str, ...]] = ("O6",)
    verb: ClassVar[str] = "sanity"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "text"
    usual: ClassVar[int | None] = 400
    finds: ClassVar[type] = TaskScaled
    home: ClassVar[str] = "terrarium/sentiment"
    needs: ClassVar[tuple[Need, ...]] = ("weights",)
    reference: ClassVar[Reference] = Reference(
        authors="Chrysostomou & Aletras", year=2021, where="arXiv:2105.02657", equation="sections 3 and 4",
        title="Improving the Faithfulness of Attention-based Explanations with Task-specific Information",
    )  # fmt: skip
    passes: ClassVar[str] = (
        "four trainings of n_steps, and at most one forward a distinct set of leading words"
    )
    n_explained: int = Field(60, ge=2, le=10_000, description="held-out texts that are explained")
    n_random: int = Field(10, ge=1, le=10_000, description="random orders of every text, for chance")
    n_steps: int = Field(300, ge=1, le=100_000, description="training steps of each classifier")
    width: int = Field(32, ge=2, le=1024, description="width of the classifiers")
    seed: int = Field(0, ge=0, description="seed of the split, the weights, the batches and the orders")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> TaskScaled:
        """Train every form, explain, remove."""
        data = LabelledTexts.of(items, self.id, self.seed)
        forms: tuple[Form, ...] = get_args(Form)
        metrics = tuple(metric_of(m).model_copy(update={"removal": "delete"}) for m in METRICS)
        with lab.working(len(forms), "training attention") as done:
            found = []
            for form in forms:
                found.append(self._judged(self._trained(data, form), data, metrics, lab))
                done()
        steps = len(forms) * self.n_steps * Recipe().batch
        lab.meter.forwards += steps
        lab.meter.backwards += steps
        scores = tuple(
            self._score(form, metric, j.own[k], j.random[k] if form == "plain" else j.alone[k], j.random[k])
            for k, metric in enumerate(metrics)
            for form, j in zip(forms, found)
        )
        return TaskScaled(
            title="Does attention say more of a decision when the task scales it?",
            lede=_lede(scores, len(forms)),
            context=(("texts", f"{len(data.texts)}, of which {len(data.held_out)} held out"),),
            forms=tuple(forms),
            metrics=METRICS,
            value=np.array([j.own.mean(1) for j in found]),
            interval=np.array(
                [[mean_interval(x, self.seed, (0, 1)) or (NAN, NAN) for x in j.own] for j in found]
            ),
            alone=np.array([j.alone.mean(1) for j in found]),
            random=np.array([j.random.mean(1) for j in found]),
            accuracy=np.array([j.accuracy for j in found]),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _trained(self, data: LabelledTexts, form: Form) -> Model:
        at = data.training
        draw = from_texts([data.texts[i] for i in at], [data.told[i] for i in at])
        recipe = Recipe(width=self.width, n_steps=self.n_steps, rate=1e-2)
        return trained_attention(
            data.vocabulary, data.labels, draw, data.longest, recipe, derive(self.seed, "attention"), form
        )  # fmt: skip

    def _judged(
        self, model: Model, data: LabelledTexts, metrics: tuple[FaithfulnessMetric, ...], lab: Lab
    ) -> _Judged:
        texts = [data.texts[i] for i in data.held_out]
        own = [data.told[i] for i in data.held_out]
        accuracy = float(np.mean([a == b for a, b in zip(answers(model, texts), own)]))
        rows = []
        for i, text in enumerate(texts[: self.n_explained]):
            question = replace(judging(ask(model, text)), meter=lab.meter)
            units = question.units("word")
            at = [u.tokens[0] for u in units]
            weight, score = attended(model, question.ids)
            orders = random_orders(len(units), self.n_random, generator(self.seed, "orders", i))
            ranking = Ranking.of(np.stack([np.abs(weight * score)[at], weight[at]]))
            ranking += Ranking.random(np.arange(float(len(units))), orders)
            values = [m.score_orders(m.game(question, units), ranking) for m in metrics]
            rows.append([(v[0], v[1], v[2:].mean()) for v in values])
        table = np.array(rows).transpose(2, 1, 0)
        return _Judged(table[0], table[1], table[2], accuracy)

    def _score(
        self, form: Form, metric: FaithfulnessMetric, own: np.ndarray, bar: np.ndarray, random: np.ndarray
    ) -> Score:
        return Score(
            name=f"{form}: {metric.id}",
            value=float(own.mean()),
            better=metric.better,
            chance=float(random.mean()),
            control=float(bar.mean()),
            control_name="random orders" if form == "plain" else "its attention without the scores",
            interval=mean_interval(own, self.seed, (0, 1)),
            over_chance=mean_interval(own - random, self.seed, (-1, 1)),
            over_control=mean_interval(own - bar, self.seed, (-1, 1)),
            n=len(own),
        )


def attended(model: Model, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Attention and scores [tok] of an attention classifier on ids [tok]."""
    module: Any = model.module
    with torch.no_grad():
        _, weight, score = module.attend(torch.tensor(ids)[None].to(model.device))
    return weight[0].double().cpu().numpy(), score[0].double().cpu().numpy()


def _lede(scores: tuple[Score, ...], n: int) -> str:
    flips = scores[:n]
    plain, *others = flips
    told = ", ".join(
        f"{s.name.split(':')[0]} {s.value:.2f} (its attention alone {s.control or NAN:.2f})" for s in others
    )
    words = f"Before the decision flips, plain attention removes {plain.value:.2f} of the words, random orders {plain.chance or NAN:.2f}; task-scaled: {told}."
    good = [s.name.split(":")[0] for s in others if s.beats_chance and s.beats_control]
    return f"{words} {', '.join(good) if good else 'No form'} surely {'flip' if len(good) > 1 else 'flips'} it sooner than its attention alone."
