"""Prompt probe: can the model label texts when it is only asked, and how much does the wording of the question decide?

1. a prompt is a template ("{text} it was {label}.") and a word for each class; every template is taken with every set of words;
   with `shots`, labelled examples of each class stand before the text, and are not scored, nor are texts equal to one of them
   or of its group;
2. each text is given the class whose word is the most probable in the blank (joint probability where a word has several tokens);
3. calibrated: probabilities divided by those of the same prompt about texts that say nothing (Zhao et al. 2021);
4. accuracy by prompt, and its spread over prompts; the best prompt is chosen on half of the texts and scored on the other;
5. a check: the first text read alone has the same probabilities (right padding and masks: no batch changes an answer).

Chance: 1 / classes. Controls: the model with randomised weights under the same prompts (its best prompt chosen in the same way);
the largest class; the label words dealt to other classes.

Cost: for the model and its twin one forward a text and template (words of one token share it).
Reference: Zhang et al. 2022 (prompt variance); Schick & Schuetze 2021 (patterns and verbalisers); Zhao et al. 2021 (calibration).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError, UsageError
from exegete.core.material import Marked
from exegete.core.method import Need, register
from exegete.core.read_pairs import BLANK
from exegete.core.reference import Reference
from exegete.core.results.prompt_probe import PromptProbe as Found
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import TWIN, twin_of
from exegete.models.blank import Blank, answer_ids, answers, blank
from exegete.models.lab import Lab
from exegete.ops.stats import share_interval

TEMPLATES = (
    "{text} it was {label}.",
    "{text} in short, it was {label}.",
    "{text} i think that this is {label}.",
    "{text} this was {label}.",
)
WORDS: Mapping[str, tuple[str, ...]] = {
    "positive": ("positive", "good", "wonderful"),
    "negative": ("negative", "bad", "terrible"),
    "neutral": ("neutral", "normal", "usual"),
}
SILENT = ("N/A", "nothing", "...")  # texts that say nothing


@dataclass(frozen=True)
class _Prompt:
    template: str
    words: tuple[str, ...]  # one a class

    def __str__(self) -> str:
        return f"{self.template} ({', '.join(self.words)})"

    def of(self, text: str, word: str) -> str:
        return self.template.replace("{text}", text).replace("{label}", word)


@register
class PromptProbe(Study):
    """How well the model labels texts when asked by prompts, and how much the choice of prompt decides."""

    id: ClassVar[str] = "prompt_probe"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E18",)
    verb: ClassVar[str] = "cloze"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "text"
    least: ClassVar[int] = 4
    usual: ClassVar[int | None] = 120
    finds: ClassVar[type] = Found
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked")
    reference: ClassVar[Reference] = Reference(
        authors="Zhang et al.", year=2022, title="Probing GPT-3's Linguistic Knowledge on Semantic Tasks", where="BlackboxNLP",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs")
    passes: ClassVar[str] = "2 a text and template; more for label words of several tokens"
    templates: tuple[str, ...] = Field(
        TEMPLATES,
        min_length=1,
        description="prompts with {text} and {label}; separate by commas, or give a JSON list",
    )
    words: tuple[str, ...] = Field(
        (),
        description="words of the classes, such as 1=good|great,0=bad|awful; empty: usual ones, or the labels themselves",
    )
    shots: int = Field(0, ge=0, le=32, description="labelled examples a class that stand before each text")
    seed: int = Field(
        0, description="seed of the examples, the halves, the intervals and the randomised weights"
    )

    def study(self, lab: Lab, items: tuple[Marked, ...], target: Target) -> Found:
        """Accuracy by prompt beside its controls. Raises `InputError` for material that is no set of labelled texts."""
        texts, labels = _labelled(items)
        classes = tuple(sorted(set(labels)))
        prompts = self._prompts(classes)
        shown = self._examples(lab, labels, classes)
        told = {t for i in shown for t in items[i].ties}
        rest = [i for i, item in enumerate(items) if not told & set(item.ties)]
        before = {p: self._before(p, [(texts[i], classes.index(labels[i])) for i in shown]) for p in prompts}
        p, free, kept = self._asked(lab, prompts, before, [texts[i] for i in rest])
        said = [labels[rest[i]] for i in kept]
        true = np.array([classes.index(x) for x in said])
        right = p.argmax(2) == true[:, None]  # [text, prompt]
        fair = (p / free).argmax(2) == true[:, None]
        twin_lab, why = twin_of(lab)
        twin = (
            self._twin(twin_lab, prompts, before, [texts[rest[i]] for i in kept], true) if twin_lab else None
        )
        majority = max(Counter(said).values()) / len(said)
        failed = len(rest) - len(kept)
        scores = self._scores(lab, right, fair, twin, majority, p, true, failed, why)
        unknown = np.full(len(prompts), np.nan)
        found = Found(
            title="Can the model label texts when it is only asked?",
            lede="",
            prompts=tuple(map(str, prompts)),
            classes=classes,
            labels=tuple(said),
            raw=right.mean(0),
            calibrated=fair.mean(0),
            interval=np.array([share_interval(x, self.seed) or (np.nan, np.nan) for x in right.T]),
            twin=unknown if twin is None else twin[0].mean(0),
            majority=majority,
            probabilities=p,
            content_free=free,
            shots=self.shots,
            checks=(self._alone(lab, prompts, before, [texts[rest[i]] for i in kept], p),),
            trust=Trust(scores=scores, seed=self.seed, notes=_notes(self.shots, classes)),
        )
        return found.model_copy(update={"lede": _lede(found, scores)})

    def _prompts(self, classes: Sequence[str]) -> tuple[_Prompt, ...]:
        """Every template with every set of words. Raises `UsageError` for those that do not fit."""
        wrong = next((t for t in self.templates if t.count("{text}") != 1 or t.count("{label}") != 1), None)
        if wrong is not None:
            raise UsageError(
                f"You gave the template {wrong!r}.", "It must hold {text} and {label} once each.",
                "Such as: '{text} it was {label}.'",
            )  # fmt: skip
        given = {w.partition("=")[0]: w.partition("=")[2] for w in self.words}
        unknown = [c for c in given if c not in classes]
        if unknown or any(not v for v in given.values()):
            raise UsageError(
                f"You gave words for {', '.join(given)}.", f"The classes are {', '.join(classes)}.",
                "Write class=word, several as class=word|word.",
            )  # fmt: skip
        words = [given[c].split("|") if c in given else WORDS.get(c, (c,)) for c in classes]
        sets = [tuple(w[min(k, len(w) - 1)] for w in words) for k in range(max(map(len, words)))]
        return tuple(_Prompt(t, s) for t, s in product(self.templates, dict.fromkeys(sets)))

    def _examples(self, lab: Lab, labels: Sequence[str], classes: Sequence[str]) -> list[int]:
        """Indices of the examples that are shown, `shots` a class, in random order."""
        rng, found = lab.rng("shots"), []
        for c in classes:
            own = [i for i, x in enumerate(labels) if x == c]
            if len(own) <= self.shots:
                raise InputError(
                    f"You asked for {self.shots} examples of the class {c!r} before each text.",
                    f"There are {len(own)} texts of it, and some must be left to score.", "Give more texts, or fewer shots.",
                )  # fmt: skip
            found += [own[i] for i in rng.permutation(len(own))[: self.shots]]
        return [found[i] for i in rng.permutation(len(found))]

    def _before(self, prompt: _Prompt, examples: Sequence[tuple[str, int]]) -> str:
        return "".join(f"{prompt.of(text, prompt.words[k])} " for text, k in examples)

    def _asked(
        self, lab: Lab, prompts: Sequence[_Prompt], before: Mapping[_Prompt, str], texts: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Probabilities [text, prompt, class], those without content [prompt, class], and which texts could be read."""
        drafts: list[list[Blank] | None] = []
        fresh = (
            {p.template: p for p in prompts} if not self.shots else {}
        )  # without examples, words change no prompt
        for text in (*SILENT, *texts):
            try:
                one = {t: blank(lab.model, p.of(text, BLANK), "") for t, p in fresh.items()}
                drafts.append(
                    [
                        one.get(p.template) or blank(lab.model, before[p] + p.of(text, BLANK), "")
                        for p in prompts
                    ]
                )
            except InputError:
                drafts.append(None)  # counted as failed
        kept = [i for i, d in enumerate(drafts[len(SILENT) :]) if d]
        if not kept:
            raise InputError(
                f"You asked {lab.model.name} to label {len(texts)} texts under prompts.",
                "None fits into its context, or a decoder would have to read past the blank.",
                "Give shorter or more texts, fewer shots, or templates that end with {label}.",
            )
        places = [(b, p) for d in drafts if d for b, p in zip(d, prompts)]
        ids: dict[
            tuple[str, str], tuple[int, ...]
        ] = {}  # the tokens of a word hang on what stands just before it

        def of(place: Blank, word: str) -> tuple[int, ...]:
            key = place.before[-12:], word
            if key not in ids:
                ids[key] = answer_ids(lab.model, place, word)
            return ids[key]

        logs = answers(lab, [b for b, _ in places], [[of(b, w) for w in p.words] for b, p in places])
        values = np.stack(logs).reshape(-1, len(prompts), len(prompts[0].words))
        values = np.exp(values - values.max(2, keepdims=True))
        values /= values.sum(2, keepdims=True)
        silent = len(values) - len(kept)
        free = values[:silent].mean(0) if silent else np.full(values.shape[1:], 1 / values.shape[2])
        return values[silent:], np.maximum(free, 1e-12), kept

    def _twin(
        self,
        twin: Lab,
        prompts: Sequence[_Prompt],
        before: Mapping[_Prompt, str],
        texts: Sequence[str],
        true: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        p, free, _ = self._asked(twin, prompts, before, texts)
        return p.argmax(2) == true[:, None], (p / free).argmax(2) == true[:, None]

    def _scores(
        self,
        lab: Lab,
        right: np.ndarray,
        fair: np.ndarray,
        twin: tuple[np.ndarray, np.ndarray] | None,
        majority: float,
        p: np.ndarray,
        true: np.ndarray,
        failed: int,
        why: str,
    ) -> tuple[Score, ...]:
        """Mean accuracy over prompts beside each control, calibrated, and of the best prompt chosen on other texts."""
        k = p.shape[2]
        turned = np.mean([(p.argmax(2) + s) % k == true[:, None] for s in range(1, k)])
        half = lab.rng("halves").permutation(len(true)) % 2 == 0

        def best(hits: np.ndarray) -> np.ndarray:
            """Correctness of each text under the prompt that is best on the other half of the texts."""
            out = np.zeros(len(hits))
            for side in (half, ~half):
                out[side] = hits[side][:, hits[~side].sum(0).argmax()]  # of a single text: the first prompt
            return out

        def score(name: str, hits: np.ndarray, control: float | None, called: str) -> Score:
            return Score(
                name=name, value=float(hits.mean()), chance=1 / k, control=control,
                control_name=called if control is not None else "", interval=share_interval(hits, self.seed),
                n=len(true), n_failed=failed, skipped="" if control is not None else why,
            )  # fmt: skip

        there = twin or (None, None)
        means = [None if t is None else float(t.mean()) for t in there]
        mean = "accuracy, mean over prompts"
        return (
            score(mean, right.mean(1), means[0], TWIN),
            score(mean, right.mean(1), majority, "the largest class"),
            score(mean, right.mean(1), float(turned), "label words dealt to other classes"),
            score("calibrated accuracy, mean over prompts", fair.mean(1), means[1], TWIN),
            score(
                "accuracy of the best prompt, chosen on other texts", best(right),
                None if there[0] is None else float(best(there[0]).mean()), f"the best prompt of {TWIN}",
            ),
        )  # fmt: skip

    def _alone(
        self,
        lab: Lab,
        prompts: Sequence[_Prompt],
        before: Mapping[_Prompt, str],
        texts: Sequence[str],
        p: np.ndarray,
    ) -> Check:
        alone, _, _ = self._asked(lab, prompts, before, texts[:1])
        tolerance = 1e-5 if lab.model.dtype.itemsize >= 4 else 0.05
        words = "probabilities of the first text, read alone and among others"
        return Check.at_most(
            "company changes nothing", float(np.abs(alone[0] - p[0]).max()), tolerance, words
        )


def _labelled(items: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Texts and their labels. Raises `InputError` for labels of words, and for fewer than two classes."""
    asked = f"You asked to label {len(items)} texts under prompts."
    if not all(isinstance(i, Marked) and not i.marks[0].spans for i in items):
        raise InputError(
            asked, "Their labels stand on words.", "Give whole texts with labels: columns text and label."
        )
    labels = [str(i.labels[0]) for i in items]
    if len(set(labels)) < 2:
        raise InputError(
            asked, f"They have a single class, {labels[0]!r}.", "Give texts of two classes at least."
        )
    if len(set(labels)) > 200:
        raise InputError(asked, f"They have {len(set(labels))} classes.", "Give class names, no numbers.")
    return [i.text for i in items], labels


def _notes(shots: int, classes: Sequence[str]) -> tuple[str, ...]:
    how = f"{shots} examples a class stand before each text" if shots else "No example is shown (shots=0)"
    return (f"{how}; classes: {', '.join(classes)}.",)


def _lede(found: Found, scores: Sequence[Score]) -> str:
    first, majority = scores[0], scores[1]
    low, high, spread = found.spread
    between = f" (95 %: {first.interval[0]:.0%} to {first.interval[1]:.0%})" if first.interval else ""
    words = [
        f"Asked in {len(found.prompts)} ways, the model labels {first.value:.0%}{between} of {len(found.labels)} texts right; "
        f"the largest class is {found.majority:.0%}, chance {first.chance:.0%}."
    ]
    if len(found.prompts) > 1:
        words.append(
            f"By prompt it is {low:.0%} to {high:.0%} (standard deviation {spread:.0%}); calibrated, {scores[3].value:.0%}."
        )
    lost = [
        s.control_name for s in (first, majority, scores[2]) if s.control is not None and not s.beats_control
    ]
    if lost:
        words.append(f"It does NOT beat {', '.join(lost)}.")
    return " ".join(words)
