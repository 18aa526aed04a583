"""Minimum description length probe: how few bits say the labels, to someone who has a layer's representations?

1. read every mark's representation at every layer, of the model and of its twin with randomised weights; standardise
   (sender and receiver both have the representations);
2. online code: texts in random order (those that belong together one after another), labels sent in blocks of 0.1 %, 0.2 % ... 100 %, each by a probe fitted to those before;
3. with code="both", the variational code: a Bayesian probe with group-sparse weights, and the labels under it (`ops.variational_code`);
4. the same bits for control labels (each word type a class at random), for the twin, and for label frequencies alone.

A label that is hard to extract costs more even where a probe reaches the same accuracy in the end. Chance: label frequencies.
Controls: the twin at *its* best layer, control labels at theirs.

Cost: one forward a text for the model, one for its twin; then about 3 fits a layer and strength, no model. Where there are
more than `most_labels`, texts are drawn.
Reference: Voita & Titov 2020, "Information-Theoretic Probing with Minimum Description Length".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from exegete.core.material import Marked, Parsed
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.mdl_probe import MdlProbeResult
from exegete.core.seed import derive
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.harvested import Harvested
from exegete.methods.contracts.twins import TWIN
from exegete.models.harvest import Table, layer_sites, words_of
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.codelength import PORTIONS, ends_of, frequency_code, kbit, online_code, uniform_bits
from exegete.ops.control_labels import classes_of, control_labels
from exegete.ops.split import together
from exegete.ops.stats import bootstrap_groups
from exegete.ops.variational_code import variational_code


@dataclass(frozen=True)
class _Codes:
    """Bits of every label [layer, row], of the labels and of control labels; `y` and `fake` [row] in the order sent."""

    online: np.ndarray
    control: np.ndarray
    y: np.ndarray
    fake: np.ndarray
    ends: np.ndarray
    x: np.ndarray  # [layer, row, width]


@register
class MdlProbe(Harvested):
    """How many bits the labels cost when a layer's representations are known, beside what a control would cost."""

    id: ClassVar[str] = "mdl_probe"
    family: ClassVar[str] = "probing"
    techniques: ClassVar[tuple[str, ...]] = ("E24",)
    verb: ClassVar[str] = "probe"
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "word"
    usual: ClassVar[int | None] = 250
    finds: ClassVar[type] = MdlProbeResult
    reference: ClassVar[Reference] = Reference(
        authors="Voita & Titov", year=2020, title="Information-Theoretic Probing with Minimum Description Length",
        where="EMNLP", equation="sections 2.2.1, 2.2.2",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = "2 a text; then 3 fits a layer and strength without the model"
    code: Literal["online", "both"] = Field(
        "online",
        description="online: blocks that double; both: also the variational code of a Bayesian probe",
    )
    strengths: tuple[float, ...] = Field(
        (1.0, 10.0, 100.0), min_length=1, description="penalties of the online probe, mixed as they prove themselves"
    )  # fmt: skip
    hidden: int = Field(0, ge=0, le=4096, description="hidden units of the Bayesian probe; 0: a linear one")
    n_steps: int = Field(800, ge=1, le=100_000, description="training steps of the Bayesian probe")
    pool: Literal["last", "first", "mean", "max"] = Field(
        "last", description="how the tokens of a mark become one vector"
    )
    most_labels: int = Field(4000, ge=10, le=1_000_000, description="labels at most; texts are drawn")
    seed: int = Field(0, description="seed of the order of texts, control labels and randomised weights")

    def where(self, lab: Lab) -> tuple[Site, ...]:
        """Every layer, and what enters the first."""
        return layer_sites(lab.model)

    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> MdlProbeResult:
        """Code lengths of all layers. Raises `InputError` for numbers as labels and for a single class."""
        sent = self._some(lab, items)
        sites = self.where(lab)
        names = ("embeddings", *(f"layer {s.layer}" for s in sites[1:]))
        table = tables.own(sent, sites, self.pool)
        classes, y = classes_of(table.labels)
        mine = self._codes(lab, table, y, len(classes))
        theirs = None
        if tables.twinned:
            theirs = self._codes(lab, tables.other(sent, sites, self.pool), y, len(classes), False)
        n, free = len(y), uniform_bits(1, len(classes))
        online = mine.online.mean(1)
        twin = theirs.online.mean(1) if theirs else np.full(len(names), np.nan)
        best = int(online.argmin())
        frequency = float(frequency_code(mine.y, len(classes)).mean())
        texts = together([i.ties for i in sent])[table.item]
        interval = np.array(
            [bootstrap_groups(bits, texts, self.seed) or (np.nan, np.nan) for bits in mine.online]
        )
        scores = self._scores(
            online, mine.control.mean(1), twin, interval, frequency, table.n_failed, n, tables.why
        )
        variational = self._variational(mine, theirs, len(classes))
        return MdlProbeResult(
            title="How few bits say the labels, to a reader of each layer?",
            lede=_lede(scores, names[best], free, n, len(classes), theirs is not None),
            layers=names,
            n_labels=n,
            n_classes=len(classes),
            uniform=free,
            frequency=frequency,
            online=online,
            interval=interval,
            control=mine.control.mean(1),
            twin=twin,
            blocks=mine.ends,
            course=_course(mine.online[best], mine.ends),
            course_twin=_course(
                theirs.online[int(twin.argmin())] if theirs else np.full(n, np.nan), mine.ends
            ),
            trust=Trust(scores=scores, seed=self.seed, notes=(*table.notes, *self._notes(classes))),
            **variational,
        )

    def _some(self, lab: Lab, items: Sequence[Any]) -> list[Marked]:
        """The texts in the order they are sent, as many as have `most_labels` labels."""
        marked = [i for item in items for i in (words_of([item]) if isinstance(item, Parsed) else [item])]
        found, size, groups = [], 0, together([i.ties for i in marked])
        order = lab.rng("mdl", "order").permutation(len(marked))
        first = np.unique(groups[order], return_index=True)[1]
        for i in order[np.argsort(first[groups[order]], kind="stable")]:
            if found and size + len(marked[i].marks) > self.most_labels:
                break
            found.append(marked[i])
            size += len(marked[i].marks)
        return found

    def _codes(self, lab: Lab, table: Table, y: np.ndarray, n_classes: int, control: bool = True) -> _Codes:
        """The online code at every layer."""
        fake = control_labels(table.words, y, lab.rng("mdl", "control"))
        ends = ends_of(len(y), PORTIONS)
        x = np.stack([standardised(v.reshape(len(y), -1)) for v in table.values.values()])
        with lab.working(len(x) * (1 + control), "measuring codes") as done:
            found = []
            for labels in (y, fake)[: 1 + control]:
                found.append([])
                for layer in x:
                    found[-1].append(online_code(layer, labels, n_classes, ends, self.strengths))
                    done()
        online = np.array(found[0])
        return _Codes(online, np.array(found[1]) if control else online * np.nan, y, fake, ends, x)

    def _variational(self, mine: _Codes, theirs: _Codes | None, n_classes: int) -> dict[str, Any]:
        """Bits a label [layer] under the variational code."""
        n_layers, n, _ = mine.x.shape
        if self.code == "online":
            return {
                k: np.zeros(0)
                for k in ("variational", "variational_control", "variational_twin", "classifier")
            }
        x = np.concatenate([mine.x, mine.x] + ([theirs.x] if theirs else []))
        y = np.stack([mine.y] * n_layers + [mine.fake] * n_layers + ([mine.y] * n_layers if theirs else []))
        seed = derive(self.seed, "variational")
        labels, classifier = variational_code(
            torch.from_numpy(x).float(), torch.from_numpy(y), n_classes, seed, self.hidden, self.n_steps
        )
        each = ((labels.sum(1) + classifier) / n).double().numpy().reshape(-1, n_layers)
        return {
            "variational": each[0],
            "variational_control": each[1],
            "variational_twin": each[2] if theirs else np.full(n_layers, np.nan),
            "classifier": (classifier[:n_layers] / n).double().numpy(),
        }

    def _scores(
        self, online: np.ndarray, control: np.ndarray, twin: np.ndarray, interval: np.ndarray, frequency: float,
        failed: int, n: int, why: str,
    ) -> tuple[Score, ...]:  # fmt: skip
        """Bits a label at the best layer, against the twin's best layer and against control labels at theirs."""
        best, found = int(online.argmin()), []
        known = not np.isnan(interval[best]).any()
        for name, y, skipped in ((TWIN, twin, why), ("control labels", control, "")):
            none = bool(np.isnan(y).all())
            found.append(
                Score(
                    name="bits a label, online code, best layer",
                    value=float(online[best]),
                    better="lower",
                    chance=frequency,
                    control=None if none else float(y.min()),
                    control_name="" if none else f"{name}, best layer",
                    interval=(float(interval[best, 0]), float(interval[best, 1])) if known else None,
                    n=n,
                    n_failed=failed,
                    skipped=skipped if none else "",
                )
            )
        return tuple(found)

    def _notes(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        shown = ", ".join(c or "(none)" for c in classes[:20])
        return (
            f"Classes: {shown}{' ...' if len(classes) > 20 else ''}.",
            "Chance is the code by label frequencies. Each code is measured at its own best layer.",
        )


def standardised(x: np.ndarray) -> np.ndarray:
    """Columns [row, width] of mean 0 and deviation 1 (a constant column: 0)."""
    x = np.asarray(x, dtype=np.float64)
    spread = x.std(0)
    return (x - x.mean(0)) / np.where(spread > 1e-8 * (1 + np.abs(x).max(initial=0)), spread, np.inf)


def _course(bits: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Mean bits of each block."""
    starts = np.concatenate([[0], ends[:-1]])
    return np.array([bits[a:b].mean() for a, b in zip(starts, ends)])


def _lede(scores: tuple[Score, ...], layer: str, free: float, n: int, n_classes: int, twin: bool) -> str:
    first = scores[0]
    words = [
        f"Read from {layer}, {n:,} labels of {n_classes} classes cost {first.value:.2f} bits each "
        f"({kbit(first.value * n):.2f} kbit), {free / first.value:.1f} times fewer than with no knowledge at all "
        f"({free:.2f}); knowing only how frequent each class is, {first.chance or 0:.2f}."
    ]
    if not first.beats_chance:
        words.append("That does NOT beat the label frequencies.")
    if twin and first.control is not None:
        word = "fewer than" if first.beats_control else "NOT fewer than"
        words.append(
            f"That is {word} to a reader of the model with randomised weights ({first.control:.2f})."
        )
    second = scores[1]
    if second.control is not None:
        word = (
            "cost more" if second.beats_control else "cost no more: the labels may only be learned by heart"
        )
        words.append(f"Labels dealt to words at random {word} ({second.control:.2f}).")
    return " ".join(words)
