"""Steering: what does the model say when a concept's direction is added to its residual stream, and what does that cost?

1. the direction at a layer: of a saved `concept_direction`, or the difference of means of the texts to learn on (`contrast`);
2. every dose adds it to every token, `dose` times the mean length of what is there;
3. response: the probability of a class or a next token on texts that the direction was not learned on, or (language models without a target) how much likelier
   held-out texts of the concept are than their partners, nats a token; cost: how far all outputs drift from the model as it is, and what is written under the edit, by the unedited model's own loss;
4. the dose that is scored, and saved as an edit, is the largest whose drift stays under a bound: it is chosen by cost alone.

Chance: no change. Control: random directions of the same length, at the same doses. The finding is an edit: save it, and
`exegete apply` (or `xg.edited`) puts it in place, also while the model generates.

Cost: doses (1 + n_random) forwards a text; with a language model also n_generated a prompt and dose.
Shapes: responses [dose], of random directions [draw, dose]. References: Turner et al. 2023, arXiv:2308.10248 (activation addition);
Zou et al. 2023, arXiv:2310.01405, sec. 3.2 (control).
"""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from exegete.core.errors import InputError, ModelError, UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.concept_direction import ConceptDirections
from exegete.core.results.concept_edits import ConceptSteering
from exegete.core.results.edits import SiteEdit
from exegete.core.site import Site
from exegete.core.store import open_result
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.concepts.concept_words import Measured, measured, share_of, shares_of, write
from exegete.methods.concepts.contrast import Contrast, contrast
from exegete.methods.concepts.under_edits import outputs, pooled
from exegete.methods.contracts.corpus import corpus
from exegete.methods.contracts.study import Study
from exegete.models.capture import EditMap
from exegete.models.edit import Add
from exegete.models.harvest import layer_sites
from exegete.models.lab import Lab
from exegete.ops.directions import direction
from exegete.ops.stats import bootstrap_mean
from exegete.terrarium import material


@register
class ConceptSteeringStudy(Study):
    """Adds a concept's direction in growing doses, and measures what the model then says and what it costs."""

    id: ClassVar[str] = "concept_steering"
    family: ClassVar[str] = "concepts"
    techniques: ClassVar[tuple[str, ...]] = ("G6", "G7")
    verb: ClassVar[str] = "concept"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "concept"
    usual: ClassVar[int | None] = 1300
    finds: ClassVar[type] = ConceptSteering
    home: ClassVar[str] = "terrarium/sentiment"
    tasks: ClassVar[tuple[str, ...]] = ("causal", "sequence")
    reference: ClassVar[Reference] = Reference(
        authors="Turner et al.", year=2023, where="arXiv:2308.10248", equation="alg. 1",
        title="Steering Language Models With Activation Engineering",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "doses (1 + n_random) a text; n_generated a prompt and dose"
    concept: str = Field("", description="label that is steered to; empty: of the two most frequent")
    against: str = Field("", description="label that is steered away from")
    direction: str = Field(
        "", description="file of a saved concept_direction of this model; empty: difference of means"
    )
    layer: int | None = Field(
        None, ge=0, description="layer whose output is edited; none: that of the file, else the middle"
    )
    doses: tuple[float, ...] = Field(
        (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0),
        min_length=2,
        description="in mean lengths of the residual",
    )
    most_drift: float = Field(
        1.0, gt=0, description="the saved dose drifts no further than this, nats a token"
    )
    texts: str = Field(
        "", description="file of the texts that are steered, one a line; empty: the terrarium's"
    )
    n_texts: int = Field(40, ge=2, le=10_000, description="most texts that are steered")
    n_random: int = Field(5, ge=1, le=100, description="random directions of the same length")
    n_words: int = Field(30, ge=1, le=1000, description="most words of the concept that are measured")
    n_generated: int = Field(12, ge=1, le=500, description="tokens written by language models")
    seed: int = Field(0, description="seed of the pairs, the random directions and the writing")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> ConceptSteering:
        """The dose-response curve, and the edit of one dose."""
        found = contrast(items, self.concept, self.against, lab.rng("pairs"))
        learn, *held = found.parts(lab.rng("parts"))
        site, v, length = self._direction(lab, found, learn)
        what = measured(lab, found, learn, target, self.n_words)
        learned, left_out = {found.items[i].text for i in found.pairs[learn].ravel()}, 0
        if what.id is None:
            asked = [found.items[i].text for i in found.pairs[np.concatenate(held)].ravel()]
        else:
            asked, left_out = self._texts(lab, learned)
        draws = [lab.rng("random direction", k).normal(size=len(v)) for k in range(self.n_random)]
        vectors = [v, *(d / np.linalg.norm(d) for d in draws)]
        doses = np.array(sorted({0.0, *self.doses}))
        edits: list[EditMap | None] = [None]
        edits += [_add(site, u * d * length) for u in vectors for d in doses if d]
        seen = outputs(lab, asked, edits)
        response, moved = (
            self._by_dose(x, doses) for x in (what(seen), seen.drift)
        )  # [direction, dose, text]
        at = self._saved(moved[0].mean(1), doses)
        written = self._written(lab, asked, site, vectors, doses * length, at, what)
        scores = self._scores(response, written, int(np.flatnonzero(doses == 0)[0]), at, what, doses[at])
        return ConceptSteering(
            title=f"What does the model say when it is steered from {found.against!r} to {found.concept!r}?",
            lede=_lede(scores, response, moved, at, doses, what),
            claim=f"steered from {found.against!r} to {found.concept!r}: {what.name} {'rises' if scores[0].value > 0 else 'falls'}",
            sites=(SiteEdit(site=str(site), how="add", value=(v * doses[at] * length).astype(np.float32)),),
            concept=found.concept, against=found.against, site=str(site), target=what.name, unit=what.unit, words=what.words, doses=doses,
            response=response[0].mean(1), response_random=response[1:].mean(2), drift=moved[0].mean(1),
            drift_random=moved[1:].mean(2), written=written.share, loss=written.loss, samples=written.samples,
            dose=float(doses[at]), trust=Trust(scores=scores, seed=self.seed, notes=_notes(left_out)),
        )  # fmt: skip

    def _direction(self, lab: Lab, found: Contrast, learn: np.ndarray) -> tuple[Site, np.ndarray, float]:
        """(where, unit vector, mean length of the means of a text's tokens there)."""
        sites = layer_sites(lab.model)[1:]
        if self.layer is not None and self.layer >= len(sites):
            raise UsageError(
                f"You asked to steer at layer {self.layer} of {lab.model.name}.",
                f"It has {len(sites)} layers.",
                f"Give a layer from 0 to {len(sites) - 1}.",
            )
        saved = self._opened(lab) if self.direction else None
        site = sites[len(sites) // 2 if self.layer is None else self.layer]
        if saved is not None and self.layer is None:
            site = Site.parse(saved.sites[saved.chosen[1]])
        values = pooled(lab, [found.items[i].text for i in found.pairs[learn].ravel()], [site])[site]
        length = float(np.linalg.norm(values, axis=1).mean())
        if saved is not None:
            i = saved.chosen[0]
            v = saved.directions[i, saved.sites.index(str(site))]
            if saved.concept == found.against and saved.against == found.concept:
                v = -v
            return site, np.asarray(v, dtype=np.float64), length
        pairs = values.reshape(len(learn), 2, -1)
        return site, direction("mean difference", pairs[:, 0], pairs[:, 1], lab.rng("direction")), length

    def _opened(self, lab: Lab) -> ConceptDirections:
        """The saved directions. Raises `UsageError` for another finding, `ModelError` for another model's."""
        saved = open_result(self.direction)
        if not isinstance(saved, ConceptDirections):
            raise UsageError(
                f"You gave {self.direction!r} as a direction.",
                f"It holds a {type(saved).__name__}.",
                "Give a file written by `exegete concept --method concept_direction --out FILE`.",
            )
        if saved.provenance.fingerprint != lab.model.fingerprint:
            raise ModelError(
                f"You asked to steer {lab.model.name} by {self.direction!r}.",
                f"It was made for {saved.provenance.model or 'another model'}, whose weights differ.",
                "Make one for this model: leave `direction` out.",
            )
        return saved

    def _texts(self, lab: Lab, learned: set[str]) -> tuple[list[str], int]:
        """The texts that are steered, none of them `learned` from, and how many were. Raises `InputError` where all were."""
        if self.texts:
            given = corpus(self.texts, self.n_texts, self.seed)
        else:
            given = [str(t.text) for t in material.texts(lab.model.task, self.n_texts, self.seed)]
        kept = [t for t in given if t not in learned]
        if not kept:
            raise InputError(
                f"You gave {len(given)} texts to steer.",
                "The direction was learned on every one of them.",
                "Give other texts (texts=FILE).",
            )
        return kept, len(given) - len(kept)

    def _by_dose(self, values: np.ndarray, doses: np.ndarray) -> np.ndarray:
        """Values [edit, text], the first without an edit, as [direction, dose, text]."""
        rest = values[1:].reshape(1 + self.n_random, len(doses) - 1, -1)
        zero = np.broadcast_to(values[0], (len(rest), 1, values.shape[1]))
        k = int((doses < 0).sum())
        return np.concatenate([rest[:, :k], zero, rest[:, k:]], 1)

    def _saved(self, drift: np.ndarray, doses: np.ndarray) -> int:
        """The largest dose whose drift stays under the bound; the smallest above zero where none does."""
        up = np.flatnonzero(doses > 0)
        up = up if len(up) else np.flatnonzero(doses != 0)
        cheap = up[drift[up] <= self.most_drift]
        return int(cheap[-1]) if len(cheap) else int(up[0])

    def _written(
        self, lab: Lab, texts: list[str], site: Site, vectors: list[np.ndarray], sizes: np.ndarray, at: int, what: Measured
    ) -> "Written":  # fmt: skip
        """What is written at every dose, and at the saved one along every random direction."""
        if lab.model.task != "causal":
            return Written(np.zeros(0), np.zeros(0), (), np.zeros(0), None, 0)
        edits = [_add(site, vectors[0] * s) if s else None for s in sizes]
        edits += [_add(site, u * sizes[at]) for u in vectors[1:]]
        said, loss = write(lab, texts[:16], edits, self.n_generated)
        share = np.array([share_of(s, what.words) for s in said])
        k = len(sizes)
        samples = tuple(s[0].strip() for s in said[:k])
        by_text = shares_of(said[at], what.words)
        return Written(share[:k], loss[:k], samples, share[k:], by_text, len(said[at]))

    def _scores(
        self, response: np.ndarray, written: "Written", zero: int, at: int, what: Measured, dose: float
    ) -> tuple[Score, ...]:  # fmt: skip
        gain = response[0, at] - response[0, zero]
        name = "random directions of the same length"
        found = [
            Score(
                name=f"gain in {what.name}, dose {dose:g}", value=float(gain.mean()), chance=0.0,
                control=float((response[1:, at] - response[1:, zero]).mean()), control_name=name, n=len(gain),
                interval=bootstrap_mean(gain, self.seed),
            ),
        ]  # fmt: skip
        if len(written.share) and np.isfinite(written.share[at]) and what.words:
            found.append(
                Score(
                    name=f"share of words of the concept among those written, dose {dose:g}", value=float(written.share[at]),
                    chance=float(np.nan_to_num(written.share[zero])), control=float(np.nanmean(written.random)),
                    control_name=name, interval=None if written.by_text is None else bootstrap_mean(written.by_text, self.seed),
                    n=written.n,
                )
            )  # fmt: skip
        return tuple(found)


def _notes(left_out: int) -> tuple[str, ...]:
    told = f"{left_out} of the texts to steer were left out: the direction was learned on them."
    return (told,) if left_out else ()


class Written:
    """What was written: shares of words of the concept and losses [dose], one text a dose, shares along random directions; at the
    saved dose the share `by_text` and how many texts, `n`."""

    def __init__(
        self, share: np.ndarray, loss: np.ndarray, samples: tuple[str, ...], random: np.ndarray, by_text: np.ndarray | None, n: int
    ) -> None:  # fmt: skip
        self.share, self.loss, self.samples, self.random = share, loss, samples, np.nan_to_num(random)
        self.by_text, self.n = by_text, n


def _add(site: Site, vector: np.ndarray) -> EditMap:
    return {site: Add(torch.from_numpy(vector.astype(np.float32)))}


def _lede(
    scores: tuple[Score, ...], response: np.ndarray, drift: np.ndarray, at: int, doses: np.ndarray, what: Measured
) -> str:  # fmt: skip
    gain = scores[0]
    zero = int(np.flatnonzero(doses == 0)[0])
    words = (
        f"At dose {doses[at]:g}, {what.name} is {response[0, at].mean():.2g} rather than "
        f"{response[0, zero].mean():.2g}; random directions of the same length make it {response[1:, at].mean():.2g}. "
        f"All outputs drift by {drift[0, at].mean():.2g} nats a token (random: {drift[1:, at].mean():.2g})."
    )
    if not gain.beats_control:
        words += " It does not beat random directions: the direction does not steer this."
    return words
