"""Layerwise surprisal: in which layer does a wrong sentence look strange, and is that the layer where its kind of wrong is known?

1. read ordinary texts, and fit a Gaussian to the activations of their tokens at every layer, streamed (shrunk covariance); with
   `components` above 1 a mixture of 1, 2, 4 ... Gaussians, as many as make a fifth of the texts, held out, most likely;
2. the surprisal of a sentence at a layer is the sum over its tokens of -log density;
3. of every minimal pair: surprisal of the worse sentence minus that of the better one, by layer and phenomenon;
4. one layer is chosen on half of the pairs and scored on the other half, and the other way round, so that the choice is free.

Chance: 0.5. Controls, on the same pairs and with the same choice of a layer: the model with randomised weights, with Gaussians of
its own; pairs whose better and worse sentence are exchanged at random; and the rarer tokens (frequencies in the same texts).

A pair of which one sentence does not fit the model's context cannot be judged, and is counted as failed.

Cost: one forward an ordinary text and a different sentence, for the model and its twin; memory of one covariance a layer (for
mixtures: of 20,000 tokens at all layers, which are read once more).
Reference: Li et al. 2021, "How is BERT surprised? Layerwise detection of linguistic anomalies".
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.material import Minimal
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.layer_surprisal import LayerSurprisalResult
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.corpus import corpus
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import TWIN, twin_of
from exegete.models.encode import encode
from exegete.models.harvest import layer_sites, stream
from exegete.models.lab import Lab
from exegete.ops.gaussian import Gaussian, Moments
from exegete.ops.gaussian_mixture import Mixture, chosen_mixture
from exegete.ops.stats import share_interval

_MIXED = 20_000  # tokens that mixtures are fitted to


@register
class LayerSurprisal(Study):
    """In which layers the worse sentence of a minimal pair looks strange, by what is wrong with it."""

    id: ClassVar[str] = "layer_surprisal"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E13",)
    verb: ClassVar[str] = "probe"
    asks: ClassVar[Any] = "minimal"
    least: ClassVar[int] = 4
    finds: ClassVar[type] = LayerSurprisalResult
    home: ClassVar[str] = "terrarium/encoder"
    reference: ClassVar[Reference] = Reference(
        authors="Li et al.", year=2021, title="How is BERT surprised? Layerwise detection of linguistic anomalies",
        where="ACL", equation="section 3",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = "2 an ordinary text, 2 a different sentence of the pairs"
    corpus: str = Field(
        "", description="text file of ordinary texts, one a line; empty: the terrarium's sentences"
    )
    n_corpus: int = Field(1500, ge=2, le=10_000_000, description="ordinary texts that are read")
    shrink: float = Field(
        0.02, ge=0, le=1, description="share of the covariance that is replaced by one equal in all directions"
    )  # fmt: skip
    components: int = Field(
        1,
        ge=1,
        le=64,
        description="Gaussians a layer at most; of 1, 2, 4 ... those that held-out texts fit best",
    )
    over: Literal["sum", "mean", "max"] = Field("sum", description="surprisal of a sentence from its tokens'")
    seed: int = Field(0, description="seed of the halves, the exchanged pairs and the randomised weights")

    def study(self, lab: Lab, items: tuple[Minimal, ...], target: Target) -> LayerSurprisalResult:
        """Gaps by layer and phenomenon. Raises `InputError` where no pair can be read or nothing varies."""
        said = tuple(dict.fromkeys(t for p in items for t in (p.good, p.bad)))
        learn = [t for t in corpus(self.corpus, self.n_corpus, self.seed) if t not in set(said)]
        sites = layer_sites(lab.model)
        gap, rare, many = self._gaps(lab, learn, said, items, sites)
        twin_lab, why = twin_of(lab)
        twin = gap * np.nan if twin_lab is None else self._gaps(twin_lab, learn, said, items, sites)[0]
        known = ~np.isnan(gap).any(1)
        if known.sum() < 4:
            raise InputError(
                f"You asked how surprising {len(items)} minimal pairs are.",
                f"{int(known.sum())} of them can be read whole.",
                "Give at least four pairs that fit the model's context.",
            )
        right = _right(gap)
        names = tuple(p.phenomenon or "pairs" for p in items)
        phenomena = tuple(dict.fromkeys(names))
        rows = [np.array([n == p for n in names]) & known for p in phenomena]
        scores = self._scores(lab, right[known], _right(twin)[known], _right(rare)[known], len(items), why)
        layers = ("embeddings", *(f"layer {s.layer}" for s in sites[1:]))
        each = [share_interval(r, self.seed) or (np.nan, np.nan) for r in right[known].T]
        return LayerSurprisalResult(
            title="In which layers does a wrong sentence look strange?",
            lede=_lede(scores, right[known].mean(0), layers, int(known.sum())),
            layers=layers,
            names=names,
            gap=gap,
            share=right[known].mean(0),
            interval=np.array(each),
            share_twin=_right(twin)[known].mean(0),
            unigram=float(_right(rare)[known].mean()),
            phenomena=phenomena,
            n=np.array([r.sum() for r in rows]),
            shares=_by(rows, right, lambda x: x.mean(0)),
            sizes=_by(rows, gap, lambda x: x.mean(0) / np.maximum(x.std(0), 1e-9)),
            shares_twin=_by(rows, _right(twin), lambda x: x.mean(0)),
            shares_unigram=_by(rows, _right(rare)[:, None], lambda x: x.mean(0))[:, 0],
            trust=Trust(scores=scores, seed=self.seed, notes=self._notes(learn, many)),
        )

    def _gaps(
        self, lab: Lab, learn: Sequence[str], said: Sequence[str], items: Sequence[Minimal], sites: Sequence[Site]
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:  # fmt: skip
        """Surprisal of the worse sentence minus that of the better [pair, layer], the same of token frequencies [pair], and how
        many Gaussians each layer has.
        """
        usual, seen = self._usual(lab, learn, sites)
        if self.components > 1:
            usual = self._mixed(lab, learn, sites)
        total = sum(seen.values()) + lab.model.vocabulary
        said = [t for t in said if _fits(lab, t)]
        found: list[list[np.ndarray]] = [[] for _ in said]
        for chunk in stream(lab, said, sites):
            values = [usual[s].surprisal(chunk.values[s].cpu().numpy()) for s in sites]
            values.append(-np.log([(seen[int(i)] + 1) / total for i in chunk.ids]))
            each = np.stack(values, axis=1)
            for text in np.unique(chunk.text):
                found[text].append(each[chunk.text == text])
        none = np.full(len(sites) + 1, np.nan)
        how = {"sum": np.sum, "mean": np.mean, "max": np.max}[self.over]
        strange = {t: how(np.concatenate(x), axis=0) if x else none for t, x in zip(said, found)}
        gap = np.stack([strange.get(p.bad, none) - strange.get(p.good, none) for p in items])
        return (
            gap[:, :-1],
            gap[:, -1],
            tuple(len(g.parts) if isinstance(g, Mixture) else 1 for g in usual.values()),
        )

    def _usual(
        self, lab: Lab, learn: Sequence[str], sites: Sequence[Site]
    ) -> tuple[dict[Site, Any], Counter[int]]:
        """A Gaussian of every layer, and how often each token stands in the texts to learn from."""
        moments: dict[Site, Moments] = {}
        seen: Counter[int] = Counter()
        for chunk in stream(lab, learn, sites):
            seen.update(chunk.ids.tolist())
            for site, x in chunk.values.items():
                moments.setdefault(site, Moments(x.shape[1])).add(x.cpu().numpy())
        if not moments:
            raise InputError(
                f"You asked to learn what is usual from {len(learn)} texts.",
                "No token of them can be read.",
                "Give other texts (corpus=FILE).",
            )
        return {s: Gaussian.of(m, self.shrink) for s, m in moments.items()}, seen

    def _mixed(self, lab: Lab, learn: Sequence[str], sites: Sequence[Site]) -> dict[Site, Mixture]:
        """The mixture of every layer, of texts drawn at random; every fifth of them is held out."""
        drawn: list[str] = []
        size = 0
        for i in lab.rng("surprisal", "mixture texts").permutation(len(learn)):
            if size < _MIXED:
                text = learn[int(i)]
                drawn.append(text)
                size += len(encode(lab.model, Text(text=text, truncate=True)).tokens)
        chunks = list(stream(lab, drawn, sites))
        row, position = (np.concatenate([getattr(c, name) for c in chunks]) for name in ("text", "position"))
        order = np.lexsort((position, row))  # the same whatever the batches
        held = row[order] % 5 == 4
        found = {}
        for site in sites:
            x = np.concatenate([c.values[site].cpu().numpy() for c in chunks])[order]
            rng = lab.rng("surprisal", "mixture", site)
            found[site] = chosen_mixture(x[~held], x[held], self.components, self.shrink, rng)
        return found

    def _scores(
        self, lab: Lab, right: np.ndarray, twin: np.ndarray, rare: np.ndarray, n: int, why: str
    ) -> tuple[Score, ...]:
        """The share at a layer chosen on other pairs, against each control with the same choice."""
        half = lab.rng("surprisal", "halves").permutation(len(right)) < len(right) // 2
        mine = chosen(right, half)
        flips = lab.rng("surprisal", "exchanged").integers(0, 2, (20, len(right), 1))
        exchanged = float(np.mean([chosen(np.where(f, 1 - right, right), half).mean() for f in flips]))
        controls = (
            (TWIN, float(chosen(twin, half).mean()) if not np.isnan(twin).any() else np.nan, why),
            ("the rarer tokens", float(rare.mean()), ""),
            ("pairs exchanged at random", exchanged, ""),
        )
        return tuple(
            Score(
                name="pairs in which the worse sentence is stranger, at a layer chosen on other pairs",
                value=float(mine.mean()),
                chance=0.5,
                control=None if np.isnan(value) else value,
                control_name="" if np.isnan(value) else name,
                interval=share_interval(mine, self.seed),
                n=len(right),
                n_failed=n - len(right),
                skipped=skipped if np.isnan(value) else "",
            )
            for name, value, skipped in controls
        )

    def _notes(self, learn: Sequence[str], many: tuple[int, ...]) -> tuple[str, ...]:
        where = self.corpus or "the terrarium's sentences (give corpus=FILE for texts of your own)"
        return (
            f"What is usual was learned from {len(learn):,} texts: {where}.",
            f"A sentence's surprisal is the {self.over} over its tokens; special tokens are left out.",
            *([f"Gaussians that held-out texts choose, from the embeddings upwards: {', '.join(map(str, many))}."] if self.components > 1 else []),
        )  # fmt: skip


def _fits(lab: Lab, text: str) -> bool:
    """Whether the model can read the whole text."""
    try:
        return bool(encode(lab.model, Text(text=text)).tokens)
    except InputError:
        return False


def chosen(right: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Of `right` [pair, layer], what each half [pair] has at the layer that is best in the other one [pair]."""
    found = np.empty(len(right))
    for side in (half, ~half):
        found[side] = right[side, int(right[~side].mean(0).argmax())]
    return found


def _right(gap: np.ndarray) -> np.ndarray:
    """1 where the gap is above zero, 0.5 on a tie (to rounding error), NaN where it is unknown."""
    return np.where(np.isnan(gap), np.nan, np.where(np.abs(gap) < 1e-6, 0.5, gap > 0))


def _by(rows: Sequence[np.ndarray], values: np.ndarray, how: Any) -> np.ndarray:
    """`how` of the values [pair, layer] of each phenomenon [phenomenon, layer]; NaN for one without pairs."""
    return np.stack([how(values[r]) if r.any() else np.full(values.shape[1], np.nan) for r in rows])


def _lede(scores: tuple[Score, ...], share: np.ndarray, layers: tuple[str, ...], n: int) -> str:
    first, best = scores[0], int(share.argmax())
    words = [
        f"At a layer chosen on other pairs, the worse of two sentences is the stranger one in {first.value:.0%} of {n:,} pairs; "
        f"chance is 50 %. Over all pairs it stands out the most at {layers[best]} ({share[best]:.0%})."
    ]
    if not first.beats_chance:
        words.append("That does NOT beat chance.")
    told = [s for s in scores if s.control is not None]
    for won, word in ((True, "It beats "), (False, "It does NOT beat ")):
        those = [f"{s.control_name} ({s.control:.0%})" for s in told if s.beats_control is won]
        if those:
            words.append(word + ", ".join(those) + ".")
    return " ".join(words)
