"""Coreference by similarity: at which layers does a pronoun lie nearer to what it stands for than to the other candidates?

1. read pronouns and candidates before them at every layer, once (frozen; last token of each, or another pooling);
2. p(candidate) is proportional to exp(W pronoun . W candidate) (or of a scaled cosine): one matrix W of small rank is learned a
   layer (`ops.antecedents`); a pronoun is resolved to its likeliest candidate;
3. pronouns are dealt into folds; where candidates' words form circles that no text crosses, by these (pronouns whose candidates
   share a word, through any chain of pronouns, belong together), so that no candidate of the
   test was seen in training (with few words W can learn each by heart); else by texts, and a note says so;
4. every fold is asked of probes that learned from the others, at the layer that was best on the fold beside it, which was not
   learned from either.

Chance: one of the candidates at random. Controls: the same on the model with randomised weights (with its own choice of layer),
the embeddings alone (a word can carry its gender anywhere), cosines of the vectors as they are at the layer best elsewhere, and
always the first or the last mention. Intervals draw the circles (or texts) again, not single pronouns, for these share words.

Cost: 2 forwards a text (one for the twin); then training without the model.
Reference: Sorodoc et al. 2020, "Probing for Referential Information in Language Models", section 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import InputError
from exegete.core.material import Marked
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.coreference import Coreference
from exegete.core.seed import derive
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.harvested import Harvested
from exegete.methods.contracts.twins import TWIN
from exegete.models.harvest import Table, layer_sites
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.antecedents import Similarity, Training, cosines, hits, train
from exegete.ops.split import together
from exegete.ops.stats import bootstrap_groups

_LEAST = 3  # folds: one to learn from, one to choose the layer on, one to ask


@dataclass(frozen=True)
class _Read:
    """Pronouns at all layers: pronoun [layer, pronoun, width], candidates [layer, pronoun, most, width], what is there and
    right [pronoun, most]; `words` of candidates, `text` and `word` of each pronoun; `failed` pronouns."""

    pronouns: Tensor
    candidates: Tensor
    there: Tensor
    right: Tensor
    words: tuple[tuple[str, ...], ...]
    text: tuple[int, ...]
    word: tuple[str, ...]
    failed: int


@dataclass(frozen=True)
class _Told:
    """What probes say of pronouns they did not learn from: `hit` and `taken` [layer, pronoun], `chosen` [fold], `overall` [pronoun]."""

    hit: np.ndarray
    taken: np.ndarray
    chosen: np.ndarray
    overall: np.ndarray


@register
class CoreferenceProbe(Harvested):
    """At which layers a pronoun lies nearer to what it stands for than to other candidates."""

    id: ClassVar[str] = "coreference_probe"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E17",)
    verb: ClassVar[str] = "probe"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "coreference"
    least: ClassVar[int] = 3
    finds: ClassVar[type] = Coreference
    reference: ClassVar[Reference] = Reference(
        authors="Sorodoc et al.", year=2020, title="Probing for Referential Information in Language Models", where="ACL",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = "2 a text; then training without the model"
    rank: int = Field(4, ge=1, le=1024, description="rank of the learned matrix")
    similarity: Similarity = Field("bilinear", description="what is compared: products, or scaled cosines")
    pool: Literal["last", "first", "mean"] = Field("last", description="which tokens of a mention are read")
    n_folds: int = Field(5, ge=_LEAST, le=100, description="parts that are held out in turn")
    n_steps: int = Field(150, ge=1, le=100_000, description="training steps")
    rate: float = Field(0.02, gt=0, le=10, description="learning rate")
    decay: float = Field(0.01, ge=0, le=1000, description="weight of the squared matrix in the loss")
    seed: int = Field(0, description="seed of the folds, the start, the intervals and randomised weights")

    def where(self, lab: Lab) -> tuple[Site, ...]:
        """Every layer, and what enters the first."""
        return layer_sites(lab.model)

    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> Coreference:
        """Accuracy by layer. Raises `InputError` for marks that are no yes-or-no pairs, and for too few pronouns."""
        for item in items:
            _fitting(item)
        sites = self.where(lab)
        read = self._read(tables.own(items, sites, self.pool), items)
        texts = [items[i].ties for i in read.text]
        groups = together([(*words, *ties) for words, ties in zip(read.words, texts)])
        unseen = len(np.unique(groups)) >= _LEAST
        if not unseen:
            groups = together(texts)
        folds = self._folds(lab, groups)
        mine = self._told(read, folds)
        twin = None
        if tables.twinned:
            twin = self._told(self._read(tables.other(items, sites, self.pool), items), folds)
        plain = np.stack(
            [
                hits(cosines(p, c, read.there), read.right)
                for p, c in zip(read.pronouns.float(), read.candidates.float())
            ]
        )
        right, there = read.right.numpy(), read.there.numpy()
        final = there.sum(1) - 1
        bars = {
            TWIN: np.nan if twin is None else twin.overall.mean(),
            "the embeddings alone": mine.hit[0].mean(),
            "cosines of the vectors as they are": _elsewhere(plain, folds).mean(),
            "always the first mention": right[:, 0].mean(),
            "always the last mention": right[np.arange(len(final)), final].mean(),
        }
        chance = float((right.sum(1) / there.sum(1)).mean())
        scores = self._scores(mine.overall, bars, chance, groups, read.failed, tables.why)
        layer = mine.chosen[folds]
        said = mine.taken[layer, np.arange(len(layer))]
        return Coreference(
            title="Does a pronoun lie near what it stands for?",
            lede=_lede(scores, unseen),
            layers=("embeddings", *(f"layer {i}" for i in range(len(read.pronouns) - 1))),
            accuracy=mine.hit.mean(1),
            interval=np.array([bootstrap_groups(h, groups, self.seed) or (np.nan, np.nan) for h in mine.hit]),
            cosine=plain.mean(1),
            twin=np.full(len(plain), np.nan) if twin is None else twin.hit.mean(1),
            overall=float(mine.overall.mean()),
            chosen=mine.chosen,
            first=float(bars["always the first mention"]),
            last=float(bars["always the last mention"]),
            chance=chance,
            unseen=unseen,
            texts=tuple(items[i].text for i in read.text),
            pronouns=read.word,
            said=tuple(w[i] for w, i in zip(read.words, said)),
            right=tuple(w[int(r.argmax())] for w, r in zip(read.words, right)),
            hit=mine.overall,
            trust=Trust(scores=scores, seed=self.seed, notes=(_UNSEEN if unseen else _SEEN,)),
        )

    def _read(self, table: Table, items: Sequence[Any]) -> _Read:
        """Pronouns that have at least two candidates before them, one of them right."""
        rows: dict[tuple[int, tuple[int, int]], list[int]] = {}
        asked = {(i, m.spans[0]) for i, item in enumerate(items) for m in item.marks}
        for row, (i, m) in enumerate(zip(table.item, table.mark)):
            pronoun, candidate = items[i].marks[m].spans
            if candidate[0] < pronoun[0]:
                rows.setdefault((int(i), pronoun), []).append(row)
        yes = [str(label).lower() == "yes" for label in table.labels]
        kept = {key: r for key, r in rows.items() if len(r) > 1 and any(yes[x] for x in r)}
        if len(kept) < _LEAST:
            raise InputError(
                f"You asked what {len(asked)} pronouns stand for.",
                f"{len(kept)} have two candidates before them and the right one among these.",
                f"Give at least {_LEAST} such pronouns.",
            )
        for r in kept.values():
            r.sort(key=lambda x: items[table.item[x]].marks[table.mark[x]].spans[1])
        most = max(map(len, kept.values()))
        where = torch.tensor([r + r[:1] * (most - len(r)) for r in kept.values()])
        there = torch.tensor([[k < len(r) for k in range(most)] for r in kept.values()])
        values = torch.stack([torch.from_numpy(np.array(v)).float() for v in table.values.values()])
        words = tuple(
            tuple(items[i].text[slice(*items[i].marks[table.mark[x]].spans[1])] for x in r)
            for (i, _), r in kept.items()
        )
        return _Read(
            pronouns=values[:, where[:, 0], 0],
            candidates=values[:, where, 1],
            there=there,
            right=torch.tensor(yes)[where] & there,
            words=words,
            text=tuple(i for i, _ in kept),
            word=tuple(items[i].text[slice(*span)] for i, span in kept),
            failed=len(asked) - len(kept),
        )

    def _folds(self, lab: Lab, groups: np.ndarray) -> np.ndarray:
        """The fold of every pronoun; groups are dealt whole, the largest first, to the fold that has least."""
        _, member, size = np.unique(groups, return_inverse=True, return_counts=True)
        n = min(self.n_folds, len(size))
        if n < _LEAST:
            raise InputError(
                f"You asked for a probe of {len(groups)} pronouns.",
                f"They come from {len(size)} texts, and {_LEAST} parts are needed: to learn, to choose, to ask.",
                "Give more texts.",
            )
        order = lab.rng("coreference", "folds").permutation(len(size))
        filled, fold = np.zeros(n), np.zeros(len(size), dtype=np.int64)
        for g in order[np.argsort(-size[order], kind="stable")]:
            fold[g] = int(filled.argmin())
            filled[fold[g]] += size[g]
        return fold[member]

    def _told(self, read: _Read, folds: np.ndarray) -> _Told:
        """Probes of every layer and fold; each fold is asked, the next one chooses the layer, the others are learned from."""
        n = int(folds.max()) + 1
        asked = folds[None] == np.arange(n)[:, None]
        choose = np.roll(asked, -1, axis=0)
        learn = torch.from_numpy(~asked & ~choose)
        how = Training(
            self.rank, self.n_steps, self.rate, self.decay, self.similarity, derive(self.seed, "coreference")
        )
        every, taken = [], []
        for p, c in zip(read.pronouns, read.candidates):
            middle, scale = p.mean(0), (p - p.mean(0)).pow(2).mean().sqrt()
            scale = torch.maximum(scale, (c - middle).pow(2).mean().sqrt()).clamp_min(1e-12)
            p, c = (p - middle) / scale, (c - middle) / scale
            scores = train(p, c, read.there, read.right, learn, how)
            every.append(hits(scores, read.right[None]))
            taken.append(scores.argmax(2).numpy()[folds, np.arange(len(folds))])
        hit = np.stack(every)  # [layer, fold, pronoun]
        chosen = np.array([hit[:, f, choose[f]].mean(1).argmax() for f in range(n)])
        at = np.arange(len(folds))
        return _Told(hit[:, folds, at], np.stack(taken), chosen, hit[chosen[folds], folds, at])

    def _scores(
        self,
        overall: np.ndarray,
        bars: dict[str, Any],
        chance: float,
        groups: np.ndarray,
        failed: int,
        why: str,
    ) -> tuple[Score, ...]:
        """Accuracy against each control."""
        return tuple(
            Score(
                name="accuracy, layer chosen on other pronouns",
                value=float(overall.mean()),
                chance=chance,
                control=None if np.isnan(bar) else float(bar),
                control_name="" if np.isnan(bar) else name,
                interval=bootstrap_groups(overall, groups, self.seed),
                n=len(overall),
                n_failed=failed,
                skipped=why if np.isnan(bar) else "",
            )
            for name, bar in bars.items()
        )


_UNSEEN = "No candidate that is asked about was a candidate in training: what is found holds for words never learned from."
_SEEN = (
    "Texts share their candidates, so that words were learned from that are asked about again: what is found may be known by "
    "heart. The control with randomised weights can learn words by heart too."
)


def _fitting(item: Any) -> None:
    """Refuse what is no text of (pronoun, candidate) pairs with yes or no."""
    if isinstance(item, Marked) and all(
        len(m.spans) == 2 and str(m.label).lower() in ("yes", "no") for m in item.marks
    ):
        return
    found = sorted({str(m.label) for m in item.marks})[:3] if isinstance(item, Marked) else ["a tree"]
    raise InputError(
        "You asked what pronouns stand for.",
        f"A text is labelled with {', '.join(found)}, and pairs of stretches with yes or no are needed.",
        "Mark (pronoun, candidate) pairs, each with the label yes or no.",
    )


def _elsewhere(hit: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Hits [pronoun] of [layer, pronoun] at the layer that is best on all other folds."""
    chosen = np.array([hit[:, folds != f].mean(1).argmax() for f in range(folds.max() + 1)])
    return hit[chosen[folds], np.arange(len(folds))]


def _lede(scores: Sequence[Score], unseen: bool) -> str:
    one = scores[0]
    known = "candidates" if unseen else "texts"
    words = [
        f"A learned similarity finds what {one.n} pronouns stand for in {one.value:.0%} of cases, among "
        f"{known} that it never learned from (a guess: {one.chance:.0%})."
    ]
    lost = [f"{s.control_name} ({s.control:.0%})" for s in scores if s.beats_control is False]
    inside = "the embeddings alone"
    if not one.beats_chance or (one.control is not None and not one.beats_control):
        words.append(
            f"That does NOT beat {'a guess' if not one.beats_chance else lost[0]}: the model is not shown to know."
        )
        return " ".join(words)
    if one.control is not None:
        words.append(f"With randomised weights it is {one.control:.0%}.")
    rest = [x for x in lost if not x.startswith(inside)]
    if rest:
        words.append(f"It does NOT beat {', nor '.join(rest)}.")
    if len(rest) < len(lost):
        words.append(
            f"It does NOT beat {next(x for x in lost if x.startswith(inside))}: what is needed stands in the words themselves, "
            "and no layer is shown to add to it."
        )
    return " ".join(words)
