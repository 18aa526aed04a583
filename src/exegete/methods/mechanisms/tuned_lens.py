"""Tuned lens: the logit lens, with a trained translation of each layer's residual into the last layer's language.

1. train one affine translator a layer (`translators`) on texts: a file of yours, or the terrarium's sentences; or take those
   of a saved finding, made for this very model;
2. read the text's residuals, translate them, and unembed them with the model's own final norm and head;
3. on texts the training never saw: KL(output || guess) by layer, of this lens and of the logit lens.

Chance: the best guess that reads nothing (the mean output). Control: this lens on the residuals of shuffled tokens.

Cost: n_steps * batch forwards to train (none with a saved lens), one a held-out text, one for the text. Saved: the finding
holds the translators (`finding.save(path)`, then `TunedLens(lens=path)`).
Reference: Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens".
"""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from exegete.core.errors import InputError, ModelError, UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.lens import TunedLensGrid
from exegete.core.store import open_result
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.corpus import corpus
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.lensing import from_where, grid, log_probabilities, middle_row, read_layers
from exegete.methods.mechanisms.translators import Training, Translators, divergences, train
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean


@register
class TunedLens(Study):
    """What each layer would say if it were the last, read through a trained translation of its residual."""

    id: ClassVar[str] = "tuned_lens"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("E34",)
    verb: ClassVar[str] = "lens"
    asks: ClassVar[Any] = "texts"
    most: ClassVar[int | None] = 1
    finds: ClassVar[type] = TunedLensGrid
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "seq2seq")
    reference: ClassVar[Reference] = Reference(
        authors="Belrose et al.", year=2023, title="Eliciting Latent Predictions from Transformers with the Tuned Lens",
        where="arXiv:2303.08112", equation="eq. 4-6",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "n_steps * batch forwards to train, none with a saved lens; 1 a held-out text"
    lens: str = Field("", description="file of a saved tuned lens of this model; empty: train one")
    corpus: str = Field(
        "", description="text file to train on, one text a line; empty: the terrarium's sentences"
    )
    n_steps: int = Field(250, ge=1, le=100_000, description="training steps")
    batch: int = Field(16, ge=1, le=4096, description="texts a step")
    rate: float = Field(2e-3, gt=0, le=10, description="learning rate at the start; it falls to zero")
    n_held_out: int = Field(32, ge=2, le=10_000, description="texts kept out of the training, to score on")
    seed: int = Field(0, description="seed of the texts, their order and the shuffled control")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> TunedLensGrid:
        """The grid of one text, and how good the lens is on texts it never saw."""
        texts = corpus(self.corpus, self.n_held_out + self._wanted, self.seed, 2 * self.n_held_out)
        held = texts[: self.n_held_out]
        notes = self._notes()
        if self.lens:
            found = self._opened(lab)
            tuned = _saved(lab, found)
            held, notes = _never_read(held, found)
        else:  # a corpus may say a thing twice
            tuned = train(lab, [t for t in texts[self.n_held_out :] if t not in held], self._how)
        plain = Translators(torch.zeros_like(tuned.weight), torch.zeros_like(tuned.bias))
        told, blind, shuffled = divergences(lab, held, (tuned, plain))
        aim = lab.aim(items)
        resid, final = read_layers(lab, aim)
        guess = log_probabilities(lab.model.map.unembed(tuned(resid)))
        score = _score(told[0], blind, shuffled, self.seed)
        return TunedLensGrid(
            title="What would each layer say next, in the last layer's language?",
            lede=f"{from_where(lab, final, guess)} {_better(told, score)}",
            weight=tuned.weight.float().cpu().numpy(),
            bias=tuned.bias.float().cpu().numpy(),
            held_out=told[0].mean(0),
            held_out_plain=told[1].mean(0),
            held_out_interval=np.array([bootstrap_mean(x, self.seed) for x in told[0].T]),
            blind=float(blind.mean()),
            trust=Trust(scores=(score,), seed=self.seed, notes=notes),
            **grid(lab, aim, final, guess),
        )

    @property
    def _wanted(self) -> int:
        return min(self.n_steps * self.batch, 4000)

    @property
    def _how(self) -> Training:
        return Training(self.n_steps, self.batch, self.rate)

    def _notes(self) -> tuple[str, ...]:
        if self.corpus:
            return ()
        return ("The lens was trained on the terrarium's sentences; give corpus=FILE for texts of your own.",)

    def _opened(self, lab: Lab) -> TunedLensGrid:
        """The saved finding. Raises `StoreError`, `UsageError`, and `ModelError` for another model's."""
        found = open_result(self.lens)
        if not isinstance(found, TunedLensGrid):
            raise UsageError(
                f"You gave {self.lens!r} as a tuned lens.",
                f"It holds a {type(found).__name__}.",
                "Give a file written by `exegete lens --method tuned_lens --out FILE`.",
            )
        if found.provenance.fingerprint != lab.model.fingerprint:
            raise ModelError(
                f"You asked for the tuned lens {self.lens!r} on {lab.model.name}.",
                f"It was made for {found.provenance.model or 'another model'}, whose weights differ (fingerprint mismatch).",
                "Train one for this model: leave `lens` out.",
            )
        return found


def _saved(lab: Lab, found: TunedLensGrid) -> Translators:
    """The translators of a saved finding."""
    device = lab.model.device
    return Translators(*(torch.from_numpy(np.array(x)).to(device) for x in (found.weight, found.bias)))


def _never_read(held: list[str], found: TunedLensGrid) -> tuple[list[str], tuple[str, ...]]:
    """Held-out texts less those that a saved lens was trained on, and a note where these cannot be known.

    Raises `InputError` when fewer than two are left.
    """
    learnt = _learnt(found)
    if learnt is None:
        return held, (
            "What the saved lens was trained on cannot be read again: it may have seen these texts.",
        )
    kept = [t for t in held if t not in learnt]
    if len(kept) < 2:
        raise InputError(
            f"You asked to score a saved tuned lens on {len(held)} texts.",
            "It was trained on them.",
            "Give other texts (corpus=FILE), or more of them (n_held_out=...).",
        )
    return kept, ()


def _learnt(found: TunedLensGrid) -> set[str] | None:
    """The texts that a saved lens was trained on; None where its file is gone, or it came from another saved lens."""
    made = TunedLens(**found.provenance.params)
    if made.lens:
        return None
    try:
        return set(corpus(made.corpus, made.n_held_out + made._wanted, made.seed)[made.n_held_out :])
    except InputError:
        return None


def _score(told: np.ndarray, blind: np.ndarray, shuffled: np.ndarray, seed: int) -> Score:
    """KL on held-out texts [text, layer + 1] at the middle layer."""
    middle, where = middle_row(told.shape[1])
    return Score(
        name=f"KL to the output after {where}, on held-out texts",
        value=float(told[:, middle].mean()),
        better="lower",
        chance=float(blind.mean()),
        control=float(shuffled[:, middle].mean()),
        control_name="this lens on residuals of shuffled tokens",
        interval=bootstrap_mean(told[:, middle], seed),
        n=len(told),
    )


def _better(told: np.ndarray, score: Score) -> str:
    """This lens against the logit lens, in words."""
    tuned, plain = told[:, :, :-1].mean((1, 2))
    less = 1 - tuned / plain
    words = f"On held-out texts it is {abs(less):.0%} {'closer to' if less > 0 else 'further from'} the output than the logit lens"
    stands = score.beats_chance and score.beats_control
    return f"{words}, over all layers." + (
        "" if stands else " It does not beat its controls: do not read it."
    )
