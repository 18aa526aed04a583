"""Patchscopes: a hidden state goes on in another prompt, and what comes next there tells what the state holds.

1. read the states h of every text at one position, before layer 0 and after every layer, and what the model says there next;
2. run the prompt once: words said twice ("x x ; y y ; ?", `identity_prompt`), or one that the user gives; its last token only
   holds the place;
3. put h at the last position of the prompt, before the layer that follows the one it was taken after (or before layer `into`),
   run on from there, and read the next token; greedily on for the first text;
4. precision@1: how often is it what the model itself says next at the place the state was taken from?

Controls: the states of the other texts (of the other positions, for a single text); the logit lens; the prompt left alone. The
row after the last layer is exact by construction when states go back to their own layer, and is left out of the scores.

Cost: 1 forward a text, (layers + 1) / 2 more of the prompt's length, 1 to see whether the prompt works, and
(layers + 1) * n_new for the first text. Decoders only: a masked model writes nothing after the place, and in an
encoder-decoder the place would stand in another stack than the text.
Reference: Ghandeharioun et al. 2024, "Patchscopes" (arXiv:2401.06102), eq. 1 and sec. 4.1.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.patchscope import PatchscopeFinding, Told
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.identity_prompt import identity_prompt
from exegete.methods.mechanisms.patched_prompt import PatchedPrompt, states
from exegete.models.lab import Lab, Reading
from exegete.ops.stats import bootstrap_mean

SHOWN_TOKENS = 6  # of a text's end
MOST_OTHERS = 16  # other positions of a single text that serve as its control


class Spoken(Value):
    """One text: its end as it is `shown`, the token `here` at the place, the `own` next token of the model and its `sure`
    probability; the likeliest tokens that the prompt says with each state, `top` [layer + 1, k], and that the logit lens says,
    `lens`; the probability of the own token `probability` [layer + 1]; whether the prompt repeats the token, `copied`.
    """

    shown: str
    here: int
    own: int
    sure: float
    top: np.ndarray
    lens: np.ndarray
    probability: np.ndarray
    copied: bool


@register
class Patchscope(Divided):
    """What a hidden state says when another prompt goes on with it, layer by layer."""

    id: ClassVar[str] = "patchscope"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("E35",)
    verb: ClassVar[str] = "lens"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = PatchscopeFinding
    part: ClassVar[type[Value]] = Spoken
    tasks: ClassVar[tuple[str, ...]] = ("causal",)
    reference: ClassVar[Reference] = Reference(
        authors="Ghandeharioun et al.", year=2024, where="arXiv:2401.06102", equation="eq. 1, sec. 4.1",
        title="Patchscopes: A Unifying Framework for Inspecting Hidden Representations of Language Models",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "about (layers + 5) / 2 a text"
    prompt: str = Field("", description="the prompt to go on with, whose last token holds the place; empty: words said twice")  # fmt: skip
    n_words: int = Field(4, ge=1, le=100, description="words that the default prompt says twice")
    position: int = Field(-1, description="where states are taken in each text; negative counts from the end")
    into: int | None = Field(
        None, description="layer of the prompt before which states are put; none: the next"
    )
    n_top: int = Field(5, ge=1, le=100, description="tokens listed of each distribution")
    n_new: int = Field(4, ge=0, le=200, description="tokens generated for the first text")
    seed: int = Field(0, description="seed of the words of the default prompt")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Spoken]:
        """What the prompt says with each text's states."""
        self._check_into(lab)
        reading = lab.read(items)
        places = [(i, self._place(n)) for i, n in enumerate(reading.lengths)]
        return self._spoken(lab, reading, places, self._patched(lab))

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Spoken], target: Target, n_failed: int = 0
    ) -> PatchscopeFinding:
        """Over all texts; of a single one the states at its other positions are the unrelated ones."""
        prompt, reading = self._patched(lab), lab.read(items[:1])
        at, other = self._place(reading.lengths[0]), []
        if len(items) == 1:
            places = [(0, p) for p in range(reading.lengths[0]) if p != at][-MOST_OTHERS:]
            other = self._spoken(lab, reading, places, prompt) if places else []
        first = states(lab, reading, [(0, at)]).resid[:, 0] if self.n_new else None
        lines = [""] * len(parts[0].top) if first is None else prompt.generated(first, self.n_new)
        return with_failed(self._finding(lab, parts, other, prompt, lines), n_failed)

    def _spoken(
        self, lab: Lab, reading: Reading, places: list[tuple[int, int]], prompt: PatchedPrompt
    ) -> list[Spoken]:
        """What is said with the states at each place (text, position)."""
        taken = states(lab, reading, places)
        said = [prompt.says(h, i, taken.next, self.n_top) for i, h in enumerate(taken.resid)]
        lens = [prompt.lens(h, taken.next, self.n_top) for h in taken.resid]
        here = [int(reading.inputs["input_ids"][i, p]) for i, p in places]
        kept = prompt.copied(here)
        return [
            Spoken(
                shown=_end(lab, reading, *place), here=here[j], own=int(taken.next[j]), sure=float(taken.probability[j]),
                top=np.stack([s.top[j] for s in said]), lens=np.stack([x.top[j] for x in lens]),
                probability=np.array([s.probability[j] for s in said]), copied=bool(kept[j]),
            )
            for j, place in enumerate(places)
        ]  # fmt: skip

    def _patched(self, lab: Lab) -> PatchedPrompt:
        """The prompt, run once."""
        return PatchedPrompt.of(lab, lab.read([self._prompt(lab)]), self.into)

    def _prompt(self, lab: Lab) -> Text:
        if self.prompt:
            return Text.of(self.prompt)
        return Text(ids=identity_prompt(lab.model, self.n_words, lab.rng("words")))

    def _place(self, length: int) -> int:
        at = self.position if self.position >= 0 else length + self.position
        if 0 <= at < length:
            return at
        raise UsageError(
            f"You asked for the states at position {self.position}.",
            f"One of the texts has {length} tokens.",
            f"Give a position from 0 to {length - 1}, or a negative one from the end.",
        )

    def _check_into(self, lab: Lab) -> None:
        n = lab.model.map.n_layers
        if self.into is not None and not 0 <= self.into < n:
            raise UsageError(
                f"You asked to put states before layer {self.into}.",
                f"{lab.model.name} has the layers 0 to {n - 1}.",
                "Give one of these, or leave it out to put each state back where it came from.",
            )

    def _finding(
        self,
        lab: Lab,
        parts: Sequence[Spoken],
        unrelated: Sequence[Spoken],
        prompt: PatchedPrompt,
        lines: list[str],
    ) -> PatchscopeFinding:
        n, own = len(parts), np.array([p.own for p in parts])
        tops, lens_tops = (np.stack([x[:, 0] for x in each], 1) for each in (
            [p.top for p in (*parts, *unrelated)], [p.lens for p in parts]))  # fmt: skip
        right, lens_right = tops[:, :n] == own, lens_tops == own
        other = _of_others(tops, own)
        ids, kept = np.array([p.here for p in parts]), np.array([p.copied for p in parts])
        alone = np.equal(own, prompt.alone)
        inner = slice(None) if self.into is not None else slice(0, -1)
        scores = _scores(right[inner], lens_right[inner], other[inner], alone, self.seed)
        layers = ("embedding", *(f"layer {i}" for i in range(lab.model.map.n_layers)))
        precision = right.mean(1)
        return PatchscopeFinding(
            title="What does a hidden state say in another prompt?",
            lede=_lede(layers, precision, lens_right.mean(1), other.mean(1), scores, float(kept.mean())),
            prompt=prompt.text,
            layers=layers,
            texts=tuple(p.shown for p in parts),
            said=lab.pieces(own.tolist()),
            top=tuple(lab.pieces(row[:n].tolist()) for row in tops),
            probability=np.stack([p.probability for p in parts], 1),
            precision=precision,
            interval=np.array([bootstrap_mean(row.astype(float), self.seed) or (np.nan, np.nan) for row in right]),
            lens=lens_right.mean(1),
            unrelated=other.mean(1),
            repeats=(tops[:, :n] == ids).mean(1),
            copies=float(kept.mean()),
            told=tuple(
                Told(words=lab.pieces(s.tolist()), lens=lab.pieces(x.tolist()), generated=g)
                for s, x, g in zip(parts[0].top, parts[0].lens, lines)
            ),
            context=(("prompt", prompt.text),),
            checks=_checks(self.into, (*parts, *unrelated)),
            trust=Trust(scores=scores, seed=self.seed),
        )  # fmt: skip


def _of_others(tops: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The share of the other states [layer, text] with which the prompt says what the model says of this text."""
    same = tops[:, None, :] == own[None, :, None]
    mine = tops[:, : len(own)] == own
    others = tops.shape[1] - 1
    return (same.sum(2) - mine) / others if others else np.full(mine.shape, np.nan)


def _scores(
    right: np.ndarray, lens: np.ndarray, other: np.ndarray, alone: np.ndarray, seed: int
) -> tuple[Score, Score]:
    """Precision over texts, mean over layers, against unrelated states and the prompt alone, and against the logit lens."""
    each = right.mean(0)
    value, interval, n = float(each.mean()), bootstrap_mean(each, seed), len(each)
    none = bool(np.isnan(other).any())
    return (
        Score(
            name="precision@1 of the next token, mean over layers",
            value=value,
            interval=interval,
            chance=float(alone.mean()),
            control=None if none else float(other.mean()),
            control_name="" if none else "the states of unrelated places",
            skipped="there is no other place in a text of one token" if none else "",
            n=n,
        ),
        Score(
            name="precision@1 beyond the logit lens",
            value=float((each - lens.mean(0)).mean()),
            interval=bootstrap_mean(each - lens.mean(0), seed),
            chance=0.0,
            n=n,
        ),
    )


def _checks(into: int | None, parts: Sequence[Spoken]) -> tuple[Check, ...]:
    """States put back after the last layer say what the model says."""
    if into is not None:
        return ()
    gap = max(float(abs(np.log(p.probability[-1]) - np.log(p.sure))) for p in parts)
    words = "log-probability of the model's next token, read from the state after the last layer, every text"
    return (Check.at_most("the last layer's state says what the model says", gap, 1e-4, words),)


def _end(lab: Lab, reading: Reading, i: int, p: int) -> str:
    ids = [t.id for t in reading.encoded[i].tokens[max(0, p + 1 - SHOWN_TOKENS) : p + 1]]
    return str(lab.model.tokenizer.decode(ids))


def _lede(
    layers: tuple[str, ...], right: np.ndarray, lens: np.ndarray, other: np.ndarray, scores: tuple[Score, ...], kept: float
) -> str:  # fmt: skip
    half = next((k for k in range(len(right)) if (right[k:] >= 0.5).all()), None)
    since = "never" if half is None else f"from {layers[half]} on"
    first, beside = scores
    tail = (
        "" if first.beats_control is not False else " Unrelated states do as well: nothing is read from them."
    )
    if not beside.beats_chance:
        tail += " It does not read more than the logit lens does."
    if kept < 0.5:
        tail += f" The prompt itself works poorly on this model: it repeats a word written at its end in {kept:.0%} of cases."
    middle = len(right) // 2
    unrelated = "" if np.isnan(other[middle]) else f", states of unrelated places {other[middle]:.0%}"
    return (
        f"With the state the prompt says the model's own next token for at least half of the texts {since}; taken after"
        f" {layers[middle]}, for {right[middle]:.0%} (logit lens {lens[middle]:.0%}{unrelated}).{tail}"
    )
