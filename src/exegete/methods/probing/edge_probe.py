"""Edge probing: from which layers can the label of a stretch, or of a pair of stretches, be told?

1. read every token of every stretch at all layers (frozen); split texts into those to learn from and those to test on (equal
   texts, and texts of one group, stay together); each layer is centred and scaled by the tokens to learn from;
2. a probe mixes the layers by learned weights, pools the tokens of each stretch by attention, and names the label
   (`ops.edge_classifier`); the weights, and their centre of gravity, say where it looks;
3. cumulative scoring: for each l a probe that may mix layers 0 ... l only. What layer l adds is F1(l) - F1(l - 1); the mean layer
   weighted by what each adds to the best so far is the expected layer (losses, which are noise, count as nothing);
4. all probes are trained `n_seeds` times, together.

Chance: always the commonest label. Controls: the same probe on the model with randomised weights; the embeddings alone, which know the
word and not its neighbours; control labels (the class of the first stretch's word drawn at random), whose distance is the
selectivity.

Cost: one forward a text for the model and one for its twin; then training without the model.
Reference: Tenney et al. 2019b, "What do you learn from context?"; Tenney et al. 2019a, "BERT Rediscovers the Classical NLP
Pipeline"; Hewitt & Liang 2019 (control labels).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.material import Marked, Parsed
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.edge_probe import EdgeProbeResult
from exegete.core.seed import derive
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.harvested import Harvested
from exegete.methods.contracts.twins import TWIN
from exegete.models.harvest import Table, layer_sites, words_of
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.control_labels import classes_of, control_labels
from exegete.ops.edge_classifier import Sizes, predicted, stretches, train
from exegete.ops.micro_f1 import counts, f1_interval, micro_f1
from exegete.ops.split import split, together


@dataclass(frozen=True)
class _Data:
    """Values [layer, token, width], tokens of rows [row, stretch, most]."""

    values: torch.Tensor
    where: torch.Tensor

    @classmethod
    def of(cls, table: Table, n_spans: int, learn: np.ndarray) -> "_Data":
        """The table as tensors; each layer has unit mean square in the rows `learn`, so that weights of the mix compare."""
        if table.offsets is None:
            raise UsageError(
                "You asked for an edge probe.", "The table keeps no tokens.", "Read it with pool='all'."
            )
        where = torch.from_numpy(stretches(table.offsets, n_spans))
        values = torch.from_numpy(np.stack([np.array(v) for v in table.values.values()])).float()
        known = where[learn][where[learn] >= 0]
        values = values - values[:, known].mean(1, keepdim=True)
        return cls(values / values[:, known].pow(2).mean((1, 2), keepdim=True).sqrt().clamp_min(1e-12), where)


@dataclass(frozen=True)
class _Told:
    """What probes say of the test rows: `counts` [probe, seed, text, 3], `right` [probe, seed, row], `mixing` [probe, seed, layer]."""

    counts: np.ndarray
    right: np.ndarray
    mixing: np.ndarray


@register
class EdgeProbe(Harvested):
    """From which layers the label of a stretch, or of a pair of stretches, can be told, and what each layer adds."""

    id: ClassVar[str] = "edge_probe"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E15", "E16", "E14")
    verb: ClassVar[str] = "probe"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "pair"
    usual: ClassVar[int | None] = 250
    least: ClassVar[int] = 4
    finds: ClassVar[type] = EdgeProbeResult
    reference: ClassVar[Reference] = Reference(
        authors="Tenney et al.", year=2019, title="What do you learn from context? Probing for sentence structure in contextualized word representations",
        where="ICLR", equation="section 3.1",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = "2 a text; then training without the model"
    project: int = Field(32, ge=1, le=1024, description="width that tokens are projected to")
    hidden: int = Field(64, ge=1, le=4096, description="hidden units of the classifier")
    n_steps: int = Field(500, ge=1, le=100_000, description="training steps")
    batch: int = Field(64, ge=1, le=4096, description="marks a step")
    n_seeds: int = Field(2, ge=1, le=20, description="times that every probe is trained")
    test: float = Field(0.3, gt=0, lt=1, description="share of the texts that is kept for the test")
    seed: int = Field(0, description="seed of the split, of where probes start and of randomised weights")

    def where(self, lab: Lab) -> tuple[Site, ...]:
        """Every layer, and what enters the first."""
        return layer_sites(lab.model)

    def pooling(self, items: Sequence[Marked]) -> str:
        """All tokens; the probe learns how to pool them."""
        return "all"

    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> EdgeProbeResult:
        """F1 by layer and the mix. Raises `InputError` for numbers as labels, a single class, and too few texts."""
        marked = [i for item in items for i in (words_of([item]) if isinstance(item, Parsed) else [item])]
        sites = self.where(lab)
        n_layers = len(sites)
        table = tables.own(marked, sites, "all")
        classes, y = classes_of(table.labels)
        spans = max(1, len(marked[0].marks[0].spans))
        text = together([m.ties for m in marked])[table.item]
        parts = split(text, (1 - self.test, self.test), lab.rng("edge", "split"))
        fake = control_labels(table.words, y, lab.rng("edge", "control"))
        upto = np.tril(np.ones((n_layers, n_layers), dtype=bool))
        allowed, labels = np.concatenate([upto, upto[-1:]]), np.stack([y] * n_layers + [fake])
        mine = self._told(_Data.of(table, spans, parts[0]), labels, allowed, parts, text, len(classes))
        theirs = None
        if tables.twinned:
            other = _Data.of(tables.other(marked, sites, "all"), spans, parts[0])
            theirs = self._told(other, y[None], upto[-1:], parts, text, len(classes))
        f1 = micro_f1(mine.counts.sum(2)).mean(1)
        full, gain = n_layers - 1, np.diff(f1[:n_layers])
        test = parts[1]
        common = np.bincount(y[parts[0]], minlength=len(classes)).argmax()
        values = {
            "majority": float((y[test] == common).mean()),
            "twin": float(micro_f1(theirs.counts.sum(2)).mean()) if theirs else float("nan"),
            "first": float(f1[0]),
            "control": float(f1[n_layers]),
        }
        interval = np.array([f1_interval(c, self.seed) for c in mine.counts[:n_layers]])
        scores = self._scores(float(f1[full]), values, interval[full], len(test), table.n_failed, tables.why)
        mixing = mine.mixing[full]
        gravity = float((mixing.mean(0) * np.arange(n_layers)).sum())
        expected = _expected(f1[:n_layers])
        names = ("embeddings", *(f"layer {s.layer}" for s in sites[1:]))
        return EdgeProbeResult(
            title="From which layers can the labels be told?",
            lede=_lede(scores, gravity, expected, full, spans),
            layers=names,
            n_test=len(test),
            mixing=mixing,
            mixing_twin=theirs.mixing[0] if theirs else np.full_like(mixing, np.nan),
            gravity=gravity,
            f1=f1[:n_layers],
            interval=interval,
            gain=gain,
            expected_layer=expected,
            control=values["control"],
            twin=values["twin"],
            accuracy=float(mine.right[full].mean()),
            majority=values["majority"],
            classes=classes,
            n_class=np.bincount(y[test], minlength=len(classes)),
            recall=_recall(mine.right[full], y[test], len(classes)),
            recall_first=_recall(mine.right[0], y[test], len(classes)),
            trust=Trust(scores=scores, seed=self.seed, notes=(_NOTE,)),
        )

    def _told(
        self, data: _Data, labels: np.ndarray, allowed: np.ndarray, parts: Sequence[np.ndarray], text: np.ndarray, n_classes: int
    ) -> _Told:  # fmt: skip
        """Probes [label set x layer set] x seeds, trained on one part and asked about the other."""
        learn, test = parts
        n, seeds = len(labels), [derive(self.seed, "edge", k) % 2**31 for k in range(self.n_seeds)]
        sizes = Sizes(self.project, self.hidden, self.n_steps, self.batch)
        y = np.tile(labels, (self.n_seeds, 1))
        probes = train(
            data.values,
            data.where[torch.from_numpy(learn)],
            torch.from_numpy(y[:, learn]),
            torch.from_numpy(np.tile(allowed, (self.n_seeds, 1))),
            n_classes,
            sizes,
            [s for s in seeds for _ in range(n)],
        )
        logits = predicted(probes, data.values, data.where[torch.from_numpy(test)])
        counted = np.stack([counts(z, rows[test], text[test]) for z, rows in zip(logits, y)])
        right = logits.argmax(2) == y[:, test]
        mixing = probes.weights.detach().double().numpy()
        shaped = [a.reshape(self.n_seeds, n, *a.shape[1:]).swapaxes(0, 1) for a in (counted, right, mixing)]
        return _Told(*shaped)

    def _scores(
        self, f1: float, values: dict[str, float], interval: np.ndarray, n: int, failed: int, why: str
    ) -> tuple[Score, ...]:
        """F1 of all layers against each control."""
        found = []
        for key, name in (
            ("twin", TWIN),
            ("first", "the embeddings alone"),
            ("control", "control labels"),
        ):
            none = bool(np.isnan(values[key]))
            found.append(
                Score(
                    name="micro F1 on unseen texts, all layers mixed",
                    value=f1,
                    chance=values["majority"],
                    control=None if none else values[key],
                    control_name="" if none else name,
                    interval=None if np.isnan(interval).any() else (float(interval[0]), float(interval[1])),
                    n=n,
                    n_failed=failed,
                    skipped=why if none else "",
                )
            )
        return tuple(found)


_NOTE = "Chance is always saying the commonest label. Layers are scaled alike before they are mixed. Depths are counted from the embeddings, which are 0."


def _expected(f1: np.ndarray) -> float:
    """The mean layer weighted by what each adds to the best so far (a probe may leave a layer out); NaN where nothing is added."""
    gain = np.diff(np.maximum.accumulate(f1))
    total = gain.sum()
    return float((gain * np.arange(1, len(f1))).sum() / total) if total > 0.005 else float("nan")


def _recall(right: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Share of each class that is right [class], over seeds; NaN for a class without marks."""
    share = right.mean(0)
    return np.array([share[y == c].mean() if (y == c).any() else np.nan for c in range(n_classes)])


def _lede(scores: tuple[Score, ...], gravity: float, expected: float, full: int, spans: int) -> str:
    first = scores[0]
    what = "pairs of words" if spans == 2 else "stretches"
    words = [
        f"Reading all layers, a probe names the labels of unseen {what} with a micro F1 of {first.value:.2f}; always the "
        f"commonest label has {first.chance or 0:.2f}."
    ]
    if not first.beats_chance:
        words.append("That does NOT beat chance.")
    for told, name in zip(
        scores, ("the model with randomised weights", "the embeddings alone", "control labels")
    ):
        if told.control is not None:
            word = "more than" if told.beats_control else "NOT more than"
            words.append(
                f"It is {word} from {name} ({told.control:.2f}).".replace("from control", "for control")
            )
    words.append(f"Counted from the embeddings (0), the mix has its centre at {gravity:.1f} of {full}")
    words[-1] += (
        "; further layers add nothing to them."
        if np.isnan(expected)
        else f"; what layers add comes on average at {expected:.1f}."
    )
    return " ".join(words)
