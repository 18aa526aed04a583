"""Attribution of a sentence probe: which tokens carry what a layer tells of the whole text?

1. a softmax probe on the pooled vector of each layer, fitted to some texts; the layer is chosen on others;
2. on texts that neither saw: gradient times input, from the probe's answer (its logit less the mean of the others) through the
   layers below to the token embeddings; a token's saliency is the sum of that product, or its length;
3. verified: only the most salient tokens are kept, or they are taken out, the text is read again, and the probe asked again.

The same for random tokens of the same number (chance, means over draws), for the rarest tokens first, and for the saliency that
the model with randomised weights has under a probe of its own. A saliency that does not beat these only names rare words.

Cost: one forward a text, one forward and backward a test text (twice: the twin), and (4 orders + draws) x shares x 2 forwards a
test text, what is equal read once.
Reference: Mohebbi et al. 2021, "Exploring the Role of BERT Token Representations to Explain Sentence Probing Results".
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import InputError
from exegete.core.material import Marked
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.probe_attribution import ProbeAttributionResult, ReadText
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import twin_of
from exegete.models.encode import Encoded, encode
from exegete.models.forward import buckets
from exegete.models.harvest import harvest, layer_sites, pooled
from exegete.models.lab import Lab
from exegete.ops.control_labels import classes_of
from exegete.ops.curves import bin_sizes
from exegete.ops.softmax_regression import fit_softmax
from exegete.ops.split import split, together
from exegete.ops.stats import bootstrap_mean, share_interval

SALIENT, RANDOM, RARE, TWINS = "most salient first", "random tokens", "rarest first", "saliency of randomised weights"  # fmt: skip
_SHOWN, _WORDS = 3, 30


@dataclass(frozen=True)
class _Probe:
    """A linear probe at a place: logits = x @ weight + bias (standardisation folded in)."""

    site: Site
    weight: Tensor
    bias: Tensor
    accuracy: float

    def __call__(self, x: Tensor) -> Tensor:
        """Logits [row, class]."""
        return x @ self.weight.to(x) + self.bias.to(x)


@register
class ProbeAttribution(Study):
    """Which tokens a probe of whole texts lives on, verified by keeping them alone and by taking them out."""

    id: ClassVar[str] = "probe_attribution"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E12",)
    verb: ClassVar[str] = "probe"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "text"
    usual: ClassVar[int | None] = 300
    least: ClassVar[int] = 6
    finds: ClassVar[type] = ProbeAttributionResult
    home: ClassVar[str] = "terrarium/sentiment"
    reference: ClassVar[Reference] = Reference(
        authors="Mohebbi et al.", year=2021,
        title="Exploring the Role of BERT Token Representations to Explain Sentence Probing Results", where="EMNLP",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "gradients")
    passes: ClassVar[str] = "2 a text, 2 and 2 backwards a test text, at most (3 + n_draws) x shares x 2 a test text"  # fmt: skip
    layer: int = Field(
        -1, ge=-1, le=1000, description="layer that is probed; -1: the one best on texts of their own"
    )
    pool: Literal["mean", "last", "first", "max"] = Field("mean", description="how a text becomes one vector")
    over: Literal["sum", "l2"] = Field(
        "sum", description="saliency of a token: sum of gradient x input (signed), or its length"
    )
    shares: tuple[float, ...] = Field(
        (0.1, 0.25, 0.5), min_length=1, description="shares of the tokens kept, or removed"
    )
    n_draws: int = Field(3, ge=1, le=1000, description="random orders a text")
    strength: float = Field(10.0, gt=0, description="penalty of the probe")
    seed: int = Field(0, description="seed of the split, random orders and randomised weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> ProbeAttributionResult:
        """The tokens and the curves. Raises `InputError` for marks on words, numbers as labels, or too few texts."""
        marked = _whole(items)
        classes, y = classes_of([m.marks[0].label for m in marked])
        learn, choose, test = split(
            together([m.ties for m in marked]), (0.6, 0.2, 0.2), lab.rng("probe attribution")
        )
        probe = self._probe(lab, marked, y, len(classes), learn, choose)
        read = [encode(lab.model, Text(text=marked[i].text, truncate=True)) for i in test]
        seen: Counter[int] = Counter(
            t.id for i in learn for t in encode(lab.model, Text(text=marked[i].text, truncate=True)).tokens
        )
        own = self._saliency(lab, read, probe)
        twin_lab, why = twin_of(lab)
        orders = {SALIENT: [np.argsort(-s, kind="stable")[None] for s in own]}
        orders[RANDOM] = [
            np.stack([lab.rng("order", i, k).permutation(len(s)) for k in range(self.n_draws)])
            for i, s in zip(test, own)
        ]
        orders[RARE] = [np.argsort([seen[t.id] for t in _said(e)], kind="stable")[None] for e in read]
        twin_accuracy = np.nan
        if twin_lab is not None:
            other = self._probe(twin_lab, marked, y, len(classes), learn, choose)
            twin_accuracy = float(
                (self._answers(twin_lab, read, other, {SALIENT: []})[SALIENT] == y[test]).mean()
            )
            theirs = self._saliency(twin_lab, read, other)
            orders[TWINS] = [np.argsort(-s, kind="stable")[None] for s in theirs]
        right = self._verified(lab, read, probe, orders, y[test])
        whole = right.pop("whole")
        scores = self._scores(right, whole, y, learn, test, twin_accuracy, why)
        words, saliency, count = _words(read, own)
        kept, gone = ({n: r.mean(2) for n, r in side.items()} for side in (right["kept"], right["removed"]))
        return ProbeAttributionResult(
            title="Which tokens carry what a layer tells of the whole text?",
            lede=_lede(scores, str(probe.site.layer) if probe.site.kind == "resid_post" else "", words),
            layer=str(probe.site),
            classes=classes,
            n_test=len(test),
            accuracy=float(whole.mean()),
            majority=scores[0].chance or 0.0,
            orders=tuple(orders),
            shares=np.array(self.shares, dtype=np.float64),
            kept=np.stack([kept[n].mean(0) for n in orders]),
            removed=np.stack([gone[n].mean(0) for n in orders]),
            kept_interval=self._bands(kept[SALIENT]),
            removed_interval=self._bands(gone[SALIENT]),
            words=words,
            word_saliency=saliency,
            word_count=count,
            examples=self._examples(lab, read, own, probe, classes, y[test]),
            trust=Trust(scores=scores, seed=self.seed, notes=self._notes(probe)),
        )

    def _probe(
        self, lab: Lab, marked: list[Marked], y: np.ndarray, n_classes: int, learn: np.ndarray, choose: np.ndarray
    ) -> _Probe:  # fmt: skip
        """The probe of the asked layer, or of the best one."""
        sites = layer_sites(lab.model, first=False)
        if self.layer >= len(sites):
            raise InputError(
                f"You asked to probe layer {self.layer}.",
                f"{lab.model.name} has the layers 0 to {len(sites) - 1}.",
                "Choose one of them, or -1 for the best.",
            )
        sites = sites if self.layer < 0 else (sites[self.layer],)
        table = harvest(lab, marked, sites, self.pool)
        if len(table) != len(marked):
            raise InputError(
                "You asked which tokens a probe of whole texts lives on.",
                f"{len(marked) - len(table)} texts have no tokens that the model reads.",
                "Leave them out.",
            )
        found = []
        for site in sites:
            x = np.asarray(table.values[site], dtype=np.float64)
            mean, spread = x[learn].mean(0), x[learn].std(0)
            spread = np.where(spread > 1e-8, spread, np.inf)
            w = fit_softmax((x[learn] - mean) / spread, y[learn], n_classes, self.strength)
            weight, bias = w[:-1] / spread[:, None], w[-1] - (mean / spread) @ w[:-1]
            accuracy = float(((x[choose] @ weight + bias).argmax(1) == y[choose]).mean())
            found.append(
                _Probe(site, torch.from_numpy(weight).float(), torch.from_numpy(bias).float(), accuracy)
            )
        return max(found, key=lambda p: p.accuracy)

    def _saliency(self, lab: Lab, read: Sequence[Encoded], probe: _Probe) -> list[np.ndarray]:
        """Saliency [token] of each text's tokens, special ones left out."""
        embed, found = Site("embed", stack=probe.site.stack), [np.zeros(0)] * len(read)
        for members in buckets([len(e.tokens) for e in read], lab.model.token_budget):
            batch = [read[m] for m in members]
            reading = lab.batch_of(batch)
            none = torch.zeros(len(batch), 1, dtype=torch.int64)
            t = lab.run(lab.passed(reading), read=[embed, probe.site], keep_graph=True, rows=none)
            logits = probe(self._pooled(t[probe.site], batch))
            answer = logits.max(1).values - logits.mean(1)
            (gradient,) = lab.gradients(answer.sum(), [t[embed]])
            product = (gradient * t[embed]).detach().double()
            each = product.sum(-1) if self.over == "sum" else product.norm(dim=-1)
            for m, e, row in zip(members, batch, each.cpu().numpy()):
                found[m] = row[[i for i, tok in enumerate(e.tokens) if not tok.special]]
        return found

    def _pooled(self, values: Tensor, batch: Sequence[Encoded]) -> Tensor:
        """One vector a text [text, width] from its tokens that are not special."""
        at = [(b, i) for b, e in enumerate(batch) for i, t in enumerate(e.tokens) if not t.special]
        rows = values[[b for b, _ in at], [i for _, i in at]].float()
        return pooled(rows, [len(_said(e)) for e in batch], self.pool)

    def _answers(
        self, lab: Lab, read: Sequence[Encoded], probe: _Probe, variants: dict[str, list[Encoded]]
    ) -> dict[str, np.ndarray]:
        """What the probe says of texts [text]; of variants too, where given. Equal texts are read once."""
        every = {k: v or list(read) for k, v in variants.items()}
        distinct: dict[tuple[int, ...], Encoded] = {}
        for texts in every.values():
            for e in texts:
                distinct.setdefault(_ids(e), e)
        some, said = list(distinct.values()), {}
        for members in buckets([len(e.tokens) for e in some], lab.model.token_budget):
            batch = [some[m] for m in members]
            reading = lab.batch_of(batch)
            none = torch.zeros(len(batch), 1, dtype=torch.int64)
            with torch.no_grad():
                t = lab.run(lab.passed(reading), read=[probe.site], rows=none)
                answers = probe(self._pooled(t[probe.site], batch)).argmax(1).tolist()
            said.update(zip((_ids(e) for e in batch), answers))
        return {k: np.array([said[_ids(e)] for e in texts]) for k, texts in every.items()}

    def _verified(
        self, lab: Lab, read: Sequence[Encoded], probe: _Probe, orders: dict[str, list[np.ndarray]], y: np.ndarray
    ) -> dict[str, Any]:  # fmt: skip
        """Right answers on whole texts [text] ("whole"), and [text, share, draw] of every order, "kept" and "removed"."""
        variants: dict[str, list[Encoded]] = {"whole": list(read)}
        for name, per_text in orders.items():
            for k in range(len(per_text[0])):
                for p, share in enumerate(self.shares):
                    for way in ("kept", "removed"):
                        variants[f"{way}|{name}|{p}|{k}"] = [
                            _cut(e, order[k], share, way == "kept") for e, order in zip(read, per_text)
                        ]
        right = {k: (v == y).astype(np.float64) for k, v in self._answers(lab, read, probe, variants).items()}
        found: dict[str, Any] = {"whole": right["whole"]}
        for way in ("kept", "removed"):
            found[way] = {
                name: np.stack(
                    [
                        np.stack([right[f"{way}|{name}|{p}|{k}"] for k in range(len(per_text[0]))], axis=1)
                        for p in range(len(self.shares))
                    ],
                    axis=1,
                )
                for name, per_text in orders.items()
            }
        return found

    def _scores(
        self, right: dict[str, Any], whole: np.ndarray, y: np.ndarray, learn: np.ndarray, test: np.ndarray,
        twin: float, why: str,
    ) -> tuple[Score, ...]:  # fmt: skip
        """The probe itself, then the curves' mean over shares against each control."""
        n, common = len(test), np.bincount(y[learn]).argmax()
        found = [
            Score(
                name="accuracy of the probe on unseen texts",
                value=float(whole.mean()),
                chance=float((y[test] == common).mean()),
                control=None if np.isnan(twin) else twin,
                control_name="" if np.isnan(twin) else "a probe on randomised weights",
                interval=share_interval(whole, self.seed),
                n=n,
                skipped=why,
            )
        ]
        ways: tuple[tuple[str, str, Literal["higher", "lower"]], ...] = (
            ("kept", "kept alone", "higher"),
            ("removed", "taken out", "lower"),
        )
        for way, words, better in ways:
            each = {name: r.mean((1, 2)) for name, r in right[way].items()}
            for name in (RARE, TWINS):
                none = name not in each
                found.append(
                    Score(
                        name=f"accuracy with the salient tokens {words}",
                        value=float(each[SALIENT].mean()),
                        better=better,
                        chance=float(each[RANDOM].mean()),
                        control=None if none else float(each[name].mean()),
                        control_name="" if none else name,
                        interval=bootstrap_mean(each[SALIENT], self.seed),
                        n=n,
                        skipped=why if none else "",
                    )
                )
        return tuple(found)

    def _bands(self, right: np.ndarray) -> np.ndarray:
        """Interval over texts at every share [share, 2] of right answers [text, share]."""
        return np.array([bootstrap_mean(r, self.seed) or (np.nan, np.nan) for r in right.T])

    def _examples(
        self, lab: Lab, read: Sequence[Encoded], own: list[np.ndarray], probe: _Probe, classes: tuple[str, ...], y: np.ndarray
    ) -> tuple[ReadText, ...]:  # fmt: skip
        """The first test texts, with shares of their saliency."""
        said = self._answers(lab, read[:_SHOWN], probe, {"whole": []})["whole"]
        return tuple(
            ReadText(
                tokens=tuple(t.text for t in _said(e)),
                saliency=s / max(float(np.abs(s).sum()), 1e-30),
                label=classes[truth],
                said=classes[answer],
            )
            for e, s, truth, answer in zip(read[:_SHOWN], own, y, said)
        )

    def _notes(self, probe: _Probe) -> tuple[str, ...]:
        how = "given" if self.layer >= 0 else "the best on texts of their own"
        return (
            f"The probe reads {probe.site} ({how}), {self.pool} over tokens. Chance is random tokens of the same number.",
        )


def _whole(items: Sequence[Any]) -> list[Marked]:
    """Texts with one label each. Raises `InputError` for parsed sentences and marks on words."""
    found = [i for i in items if isinstance(i, Marked) and len(i.marks) == 1 and not i.marks[0].spans]
    if len(found) < len(items):
        raise InputError(
            f"You asked which tokens a probe of whole texts lives on, of {len(items)} texts.",
            f"{len(items) - len(found)} of them have labels on words, or no single label.",
            "Give texts with one label each.",
        )
    return found


def _said(e: Encoded) -> list[Any]:
    return [t for t in e.tokens if not t.special]


def _ids(e: Encoded) -> tuple[int, ...]:
    return tuple(t.id for t in e.tokens)


def _cut(e: Encoded, order: np.ndarray, share: float, keep: bool) -> Encoded:
    """The text with the first tokens of an order kept alone, or taken out (one is always left); special tokens stay."""
    n = len(order)
    first = set(order[: int(bin_sizes(n, (share,))[0])].tolist())
    left = first if keep else set(range(n)) - first or {int(order[-1])}
    at = [i for i, t in enumerate(e.tokens) if not t.special]
    gone = {at[i] for i in range(n) if i not in left}
    return replace(e, tokens=tuple(t for i, t in enumerate(e.tokens) if i not in gone))


def _words(
    read: Sequence[Encoded], own: Sequence[np.ndarray]
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Tokens that stand at least three times (else once), by their mean saliency in units of an even share."""
    found: dict[str, list[float]] = {}
    for e, s in zip(read, own):
        total = max(float(np.abs(s).sum()), 1e-30)
        for t, v in zip(_said(e), s):
            found.setdefault(t.text.strip() or t.text, []).append(float(v) / total * len(s))
    least = 3 if any(len(v) >= 3 for v in found.values()) else 1
    rows = sorted(
        ((float(np.mean(v)), w, len(v)) for w, v in found.items() if len(v) >= least),
        key=lambda r: (-r[0], r[1]),
    )
    rows = rows[:_WORDS]
    return tuple(r[1] for r in rows), np.array([r[0] for r in rows]), np.array([r[2] for r in rows])


def _lede(scores: tuple[Score, ...], layer: str, words: tuple[str, ...]) -> str:
    first, kept, gone = scores[0], scores[1], scores[3]
    said = [
        f"At layer {layer} a probe names {first.value:.0%} of unseen texts rightly (always the commonest class: {first.chance or 0:.0%})."
    ]
    said.append(
        f"With the salient tokens alone it has {kept.value:.0%} (random ones {kept.chance or 0:.0%}), without them {gone.value:.0%} "
        f"(without random ones {gone.chance or 0:.0%})."
    )
    if not first.beats_chance:
        said.append("The probe does NOT beat chance: there is nothing to explain.")
    for s, what in ((kept, "Kept"), (gone, "Taken out")):
        if not s.beats_chance:
            said.append(f"{what}, the salient tokens do NOT beat random ones.")
    for what, pair in (("Kept", scores[1:3]), ("Taken out", scores[3:5])):
        lost = [f"{s.control_name} ({s.control:.0%})" for s in pair if s.beats_control is False]
        if lost:
            said.append(f"{what}, they do NOT beat: {', '.join(lost)}.")
    if words:
        said.append(f"Most salient: {', '.join(words[:5])}.")
    return " ".join(said)
