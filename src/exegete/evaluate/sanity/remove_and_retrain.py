"""ROAR, remove and retrain: is what a method puts first what the labels can be learned from?

1. a small classifier of whole words is trained on three quarters of the labelled texts (`models.small_classifier`);
2. each method explains its answer on all texts, training and held-out ones alike;
3. for each fraction, that share of the words of every text, the highest first, becomes the mask token, in both parts; random
   words likewise;
4. fresh classifiers are trained on what is left (`n_seeds` each) and judged on the held-out texts. Retraining takes away the
   excuse that the model merely meets texts it never saw.

Value: mean fall of the accuracy over the fractions, against that on whole texts. Chance is 0, what removing nothing loses; control: the
fall when random words go, the same number in each text; held against it text by text. A held-out text that a method cannot
explain is not scored. Interval: held-out texts drawn anew, with the trainings as they are. A method can also lose to random words:
where the labels hang on many words each, what is left still says them. The model that is named is not used.
Cost: (methods + 1) * fractions * n_seeds trainings, one explanation a text and method.
Reference: Hooker et al. 2019 (arXiv:1806.10758), section 3.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.remove_retrain import RemoveAndRetrain
from exegete.core.seed import derive, generator
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.evaluate.labelled_texts import LabelledTexts
from exegete.evaluate.sanity.checking import Bench, SanityStudy
from exegete.models.bare_classifier import MASK
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.small_classifier import Recipe, answers, from_texts, trained
from exegete.ops.rank import descending
from exegete.ops.stats import mean_interval

NAN = float("nan")
RANDOM = "random words"


@register
class RemoveAndRetrainStudy(SanityStudy):
    """How much less can be learned from texts without the words that a method puts first than without random words."""

    id: ClassVar[str] = "remove_and_retrain"
    techniques: ClassVar[tuple[str, ...]] = ("O1",)
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "text"
    usual: ClassVar[int | None] = 240
    finds: ClassVar[type] = RemoveAndRetrain
    needs: ClassVar[tuple[Need, ...]] = ("weights",)
    reference: ClassVar[Reference] = Reference(
        authors="Hooker et al.", year=2019, title="A Benchmark for Interpretability Methods in Deep Neural Networks",
        where="arXiv:1806.10758", equation="section 3",
    )  # fmt: skip
    passes: ClassVar[str] = (
        "(methods + 1) * fractions * n_seeds trainings of n_steps, and an explanation a text and method"
    )
    fractions: tuple[float, ...] = Field(
        (0.1, 0.3, 0.5), min_length=1, description="shares of the words that are removed, between 0 and 1"
    )
    n_seeds: int = Field(2, ge=1, le=100, description="trainings of each kind")
    n_steps: int = Field(150, ge=1, le=100_000, description="training steps of each classifier")
    width: int = Field(32, ge=4, le=1024, multiple_of=4, description="width of the classifiers")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> RemoveAndRetrain:
        """Train, explain, remove, train again."""
        if not all(0 < f <= 1 for f in self.fractions):
            raise UsageError(
                f"You asked for words to be removed in shares {self.fractions}.",
                "Nothing removed is always among them; shares lie above 0 and up to 1.",
                "Give shares such as 0.1,0.3,0.5.",
            )
        data = LabelledTexts.of(items, self.id, self.seed)
        fractions = (0.0, *sorted(set(self.fractions)))
        whole = [self._trained(data, data.texts, k) for k in range(self.n_seeds)]
        bench = self.bench(
            replace(lab, model=whole[0]), [Text(text=t) for t in data.texts], Target(scale="logit")
        )
        held = list(data.held_out)
        names = (*bench.names, RANDOM)
        right = np.full((len(names), len(fractions), len(held)), NAN)
        there = np.ones((len(names), len(held)), dtype=bool)
        right[:, 0] = self._right(whole, data, data.texts)
        with lab.working(len(names) * (len(fractions) - 1), "removing and training again") as done:
            for m in range(len(names)):
                scores, explained = self._scores(bench, data, m)
                there[m] = explained[held]
                for f, share in enumerate(fractions[1:], 1):
                    texts = [without(t, s, share) for t, s in zip(data.texts, scores)]
                    again = [self._trained(data, texts, k) for k in range(self.n_seeds)]
                    right[m, f] = self._right(again, data, texts)
                    done()
        n = len(names) * (len(fractions) - 1) * self.n_seeds + self.n_seeds
        lab.meter.forwards += n * (self.n_steps * Recipe().batch + len(held))
        lab.meter.backwards += n * self.n_steps * Recipe().batch
        fall = (right[:, :1] - right[:, 1:]).mean(1)
        told = tuple(self._score(name, fall[m], fall[-1], there[m]) for m, name in enumerate(bench.names))
        majority = float(np.mean([data.told[i] == data.labels[0] for i in held]))
        return RemoveAndRetrain(
            title="Is what the method puts first what the labels are learned from?",
            lede=_lede(told, fall, float(right[-1, 0].mean()), majority),
            context=(
                ("texts", f"{len(data.texts)}, of which {len(held)} held out"),
                ("labels", ", ".join(data.labels)),
            ),
            rows=names,
            fractions=np.array(fractions),
            accuracy=right.mean(2),
            interval=np.array(
                [[mean_interval(x, self.seed, (0, 1)) or (NAN, NAN) for x in row] for row in right]
            ),
            drop=fall.mean(1),
            majority=majority,
            trust=Trust(scores=told, seed=self.seed, notes=bench.notes()),
        )

    def _trained(self, data: LabelledTexts, texts: Sequence[str], k: int) -> Model:
        """A classifier of the training texts as they are now; the kth has the same first weights whatever was removed."""
        at, recipe = data.training, Recipe(width=self.width, n_steps=self.n_steps)
        draw = from_texts([texts[i] for i in at], [data.told[i] for i in at])
        return trained(
            data.vocabulary, data.labels, draw, data.longest, recipe, derive(self.seed, "training", k), "trained again"
        )  # fmt: skip

    def _right(self, models: Sequence[Model], data: LabelledTexts, texts: Sequence[str]) -> np.ndarray:
        """The share of the models that get each held-out text right [text]."""
        at = data.held_out
        own = [data.told[i] for i in at]
        return np.mean(
            [[a == b for a, b in zip(answers(m, [texts[i] for i in at]), own)] for m in models], axis=0
        )

    def _scores(self, bench: Bench, data: LabelledTexts, m: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Scores of every text's words, and which texts [text] the method could explain; a text of one word has one order.

        A text that cannot be explained gets random ones, as the random row has; among the training texts that makes the method look
        no better than random.
        """
        asked = {"".join(a.question.encoded.text.split()): i for i, a in enumerate(bench.asked)}
        found, there = [], np.ones(len(data.texts), dtype=bool)
        for at, t in enumerate(data.texts):
            n, i = len(t.split()), asked.get("".join(t.split()))
            own = bench.explain(m, i) if m < len(bench.methods) and i is not None else None
            usable = own is not None and len(own) == n
            found.append(own if usable and own is not None else generator(self.seed, RANDOM, t).random(n))
            there[at] = usable or n < 2 or m == len(bench.methods)
        return found, there

    def _score(self, name: str, fall: np.ndarray, random: np.ndarray, there: np.ndarray) -> Score:
        """The mean fall of the held-out texts that were explained [text] beside that of random words in the same texts."""
        n, own, bar = int(there.sum()), fall[there], random[there]
        return Score(
            name=f"{name}: accuracy lost beyond retraining, mean over fractions",
            value=float(own.mean()) if n else NAN,
            chance=0.0,
            control=float(bar.mean()) if n else None,
            control_name="random words removed" if n else "",
            interval=mean_interval(own, self.seed, (-1, 1)),
            over_control=mean_interval(own - bar, self.seed, (-2, 2)),
            n=n,
            n_failed=len(fall) - n,
            skipped="" if n else "no held-out text could be explained",
        )


def without(text: str, scores: np.ndarray, share: float) -> str:
    """The text with that share of its words masked, highest scores [word] first; at least one word."""
    words = text.split()
    for i in descending(scores)[: max(1, int(np.ceil(share * len(words) - 1e-9)))]:
        words[i] = MASK
    return " ".join(words)


def _lede(scores: Sequence[Score], fall: np.ndarray, whole: float, majority: float) -> str:
    known = sorted((s for s in scores if s.n), key=lambda s: -s.value)
    told = (
        ", ".join(f"{s.name.split(':')[0]} {s.value:.2f}" for s in known)
        or "nothing, as no text could be explained"
    )
    words = f"Of an accuracy of {whole:.2f} on whole texts (most frequent label: {majority:.2f}), retraining without the first words loses {told}; without random words {fall[-1].mean():.2f}."
    good = [s.name.split(":")[0] for s in scores if s.beats_chance and s.beats_control]
    if whole <= majority + 0.05:
        return f"{words} The classifier has learned little from these texts, so that there is little to lose."
    return f"{words} {'None loses' if not good else ', '.join(good) + (' lose' if len(good) > 1 else ' loses')} surely more than random words do."
