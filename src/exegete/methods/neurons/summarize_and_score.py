"""What raises a module, in words: sum up the n-grams it is highest on, and test the summary on texts that nobody summed up.

1. texts are made distinct and cut in two by a draw: half to explain, half to test; none is in both;
2. the modules are units of the model (`site`, `layers`, `units`; none named: the strongest), or its output (`site="output"`: a class, or
   the next token that the target names); each is a function of a text;
3. every distinct n-gram of the half to explain is read once; the `k` highest are summed up in candidates, by the words they
   share (`writer="embedded"`) or by a language model (`writer="local:NAME"`, an endpoint, a script: `models.chat.open`);
4. a candidate is tested on texts that it fits and texts that it does not: held-out texts with and without its words, or texts that
   the language model writes; the best on one half of them is chosen and scored on the other (`ops.summarize_score`).

Score: mean on texts that fit, minus mean on others, in standard deviations of the module over held-out texts; mean over modules.
Chance: 0. Controls: the best of as many random candidates of like frequency; the same texts read by the other modules.

Cost: 1 forward a text, a distinct n-gram and a text that is written; with `n_ngrams` the rarest n-grams are left out. Values of a text are its
tokens' taken together (`pool`). Reference: Singh et al. 2023, arXiv:2305.09863 (SASC). N-grams are read without the words around them:
a module that answers to what stands far apart is not explained, and the score says so.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.summary import CandidateSummary, Summaries, Summarised, Tried
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.neurons.black_boxes import BlackBox, Pool, output_targets, outputs_box, plain, units_box
from exegete.methods.neurons.chat_writer import ChatWriter
from exegete.methods.neurons.neuron_description import halves
from exegete.methods.neurons.unit_texts import chosen, record
from exegete.models.chat.open import chat
from exegete.models.harvest import sites_at
from exegete.models.lab import Lab
from exegete.ops.ngram_summary import Vectors
from exegete.ops.phrases import spots
from exegete.ops.stats import bootstrap_mean
from exegete.ops.summarize_score import EmbeddedWriter, Explained, Scored, Writer, explain, score_ngrams

OUTPUT = "output"
SHOWN_TEXTS, SHOWN_NGRAMS = 3, 12


@register
class SummarizeAndScore(Study):
    """What raises units or an output of the model, in words, and by how much texts that fit the words raise them."""

    id: ClassVar[str] = "summarize_and_score"
    family: ClassVar[str] = "neurons"
    techniques: ClassVar[tuple[str, ...]] = ("F8", "F9")
    verb: ClassVar[str] = "neurons"
    asks: ClassVar[Any] = "texts"
    least: ClassVar[int] = 2
    usual: ClassVar[int | None] = 400
    finds: ClassVar[type] = Summaries
    reference: ClassVar[Reference] = Reference(
        authors="Singh et al.", year=2023, title="Explaining black box text modules in natural language with language models",
        where="arXiv:2305.09863",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "weights")
    passes: ClassVar[str] = "2 forwards a text to explain, 1 an n-gram, 1 a test text"
    site: str = Field(
        "mlp_act", description="kind of module: mlp_act (neurons), resid_post, z (head outputs), output"
    )
    layers: tuple[int, ...] = Field((), description="layers that are read; none: all")
    units: tuple[int, ...] = Field((), description="numbers of the units explained; none: the strongest")
    n_shown: int = Field(6, ge=1, le=100, description="how many of the strongest units are explained")
    pool: Pool = Field("max", description="a unit's value of a text: max, mean or last of its tokens")
    longest: int = Field(3, ge=1, le=5, description="most words of an n-gram")
    n_ngrams: int = Field(
        20_000, ge=1, le=1_000_000, description="most n-grams that are read; the rarest are left out"
    )
    k: int = Field(30, ge=1, le=1000, description="highest n-grams that are summed up")
    n_candidates: int = Field(8, ge=1, le=100, description="most candidates a module")
    n_random: int = Field(5, ge=1, le=100, description="draws of random candidates; 1 with a language model")
    writer: str = Field(
        "embedded", description="who sums up: embedded, or script:FILE, local:NAME, http://HOST/v1#MODEL"
    )
    n_written: int = Field(
        20, ge=4, le=200, description="texts that a language model writes a candidate and side"
    )
    seed: int = Field(0, description="seed of the halves and of the draws")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Summaries:
        """Over all texts."""
        texts, dropped = plain(lab, items)
        explained, tested, _ = halves(lab, texts)
        seen, test = ([str(t.text) for t in part] for part in (explained, tested))
        names, f = self._modules(lab, explained, target)
        scored = score_ngrams(_inside(f), seen, self.longest, self.n_ngrams)
        writer = self._writer(lab, seen, test)
        draws = self.n_random if isinstance(writer, EmbeddedWriter) else 1
        found = explain(
            f, scored, test, writer, k=self.k, n=self.n_candidates, n_random=draws, seed=self.seed
        )
        told = tuple(_told(n, e, scored) for n, e in zip(names, found))
        scores = self._scores(told)
        written = isinstance(writer, ChatWriter)
        return Summaries(
            title="What raises each module, in words?",
            lede=_lede(told, scores),
            modules=told,
            writer=self.writer if written else "shared words, no language model",
            written=written,
            n_ngrams=len(scored.ngrams),
            n_explain=len(seen),
            n_test=len(test),
            n_unused=writer.failed,
            repeated=dropped,
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _modules(self, lab: Lab, texts: Sequence[Text], target: Target) -> tuple[tuple[str, ...], BlackBox]:
        """Names of what is explained, and the function of texts that it is."""
        if self.site == OUTPUT:
            outputs = output_targets(lab, target)
            return tuple(n for n, _ in outputs), outputs_box(lab, [t for _, t in outputs])
        k = max(1, min(self.k, len(texts)))
        units = chosen(
            record(lab, texts, sites_at(lab.model, self.site, self.layers), k), self.units, self.n_shown
        )
        return tuple(map(str, units)), units_box(lab, units, self.pool)

    def _writer(self, lab: Lab, seen: Sequence[str], test: Sequence[str]) -> Writer:
        if self.writer == "embedded":
            return EmbeddedWriter(test, lab.rng("choose and judge"), self.longest, _vectors(lab))
        return ChatWriter(chat(self.writer), seen, self.n_written, self.seed)

    def _scores(self, told: Sequence[Summarised]) -> tuple[Score, ...]:
        """The same mean over modules beside either control."""
        good = [m for m in told if np.isfinite(m.score)]
        values = np.array([m.score for m in good])
        interval = bootstrap_mean(values, self.seed) if len(good) > 1 else good[0].interval if good else None
        made = []
        for field, name, words, why in (
            ("random", "texts that fit the summary above others", "the best of as many random n-grams", "no random n-gram could be judged"),
            ("swapped", "the same, for its own module alone", "the same texts read by the other modules", "there is no other module"),
        ):  # fmt: skip
            others = np.array([getattr(m, field) for m in good])
            known = others[np.isfinite(others)]
            made.append(
                Score(
                    name=f"{name} (standard deviations)",
                    value=float(values.mean()) if good else float("nan"),
                    chance=0.0,
                    control=float(known.mean()) if len(known) else None,
                    control_name=words if len(known) else "",
                    skipped="" if len(known) else (why if good else "no summary could be judged"),
                    interval=interval,
                    n=len(good),
                    n_failed=len(told) - len(good),
                )
            )
        return tuple(made)


def _inside(f: BlackBox) -> BlackBox:
    """The function read as inside a text: with a blank before, so that tokenizers that tell it apart see whole words."""
    return lambda texts: f([f" {t}" for t in texts])


def _vectors(lab: Lab) -> Vectors:
    """Words as the mean of the model's input vectors of their tokens [word, d]."""
    model = lab.model

    def vectors(words: Sequence[str]) -> np.ndarray:
        ids = [model.tokenizer(f" {w}", add_special_tokens=False)["input_ids"] for w in words]
        table = model.embedding("")
        with torch.no_grad():
            rows = [table(torch.tensor([i or [0]], device=model.device))[0].mean(0) for i in ids]
        return torch.stack(rows).float().cpu().numpy().astype(np.float64)

    return vectors


def _told(name: str, e: Explained, scored: Scored) -> Summarised:
    """One module in plain data."""
    best = e.judged[e.best].candidate if e.best >= 0 else None
    phrases = best.phrases if best else ()
    base = float(np.mean([v for _, v in e.minus if np.isfinite(v)])) if e.minus else 0.0
    top = list(e.top[:SHOWN_NGRAMS])
    return Summarised(
        name=name,
        words=best.told if best else "",
        score=e.score,
        interval=e.interval,
        random=e.random,
        swapped=e.swapped,
        candidates=tuple(
            CandidateSummary(
                words=j.candidate.told,
                chosen_by=j.chosen_by,
                score=j.score,
                n_plus=j.n_plus,
                n_minus=j.n_minus,
                best=i == e.best,
            )
            for i, j in enumerate(e.judged)
        ),
        n_grams=tuple(scored.ngrams[i] for i in top),
        n_gram_values=scored.z[top, e.module],
        n_grams_in=tuple(int(scored.count[i]) for i in top),
        plus=_tried(e.plus, phrases, base),
        minus=_tried(e.minus, phrases, base),
    )


def _tried(texts: Sequence[tuple[str, float]], phrases: Sequence[str], base: float) -> tuple[Tried, ...]:
    """Texts evenly from the highest to the lowest, so that those which do not fit are seen as well."""
    pick = (
        np.unique(np.linspace(0, len(texts) - 1, min(SHOWN_TEXTS, len(texts))).round().astype(int))
        if texts
        else []
    )
    found = []
    for i in pick:
        text, value = texts[int(i)]
        words, marks = spots(text, phrases)
        found.append(Tried(words=words, marks=marks, value=value - base))
    return tuple(found)


def _lede(told: Sequence[Summarised], scores: Sequence[Score]) -> str:
    good = [m for m in told if np.isfinite(m.score)]
    if not good:
        return "No summary could be judged: its words stand in too few of the texts kept for the test. Give more texts."
    best = max(good, key=lambda m: m.score)
    first, second = scores
    text = f"{best.name}: {best.words}; texts that fit raise it by {best.score:.2f} standard deviations."
    if len(told) > 1:
        text += f" Over {len(good)} of {len(told)} modules the mean is {first.value:.2f}"
        text += f", {first.control:.2f} for random n-grams" if first.control is not None else ""
        text += f" and {second.control:.2f} for other modules." if second.control is not None else "."
    elif first.control is not None:
        text += f" Random n-grams: {first.control:.2f}."
    weak = ["chance"] if not first.beats_chance else []
    weak += ["random n-grams"] if first.beats_control is False else []
    weak += ["the other modules"] if second.beats_control is False else []
    return text + (f" Not beaten: {', '.join(weak)}." if weak else "")
