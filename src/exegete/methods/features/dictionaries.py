"""What the studies of dictionaries do, whatever the dictionary reads and writes: train or open, judge, and tell.

1. texts are divided: held-out ones judge, the others teach (of a saved dictionary: the texts it was trained on never judge); in place
   of texts a finished harvest teaches, less its rows that say what a held-out text says (`features.harvests`);
2. loss recovered, really putting the reconstruction into the model, and variance explained, on held-out texts;
3. beside them: the dictionary untrained (as many random directions on), as many principal components, and the same training
   on the model with shuffled weights;
4. the table of features.

Cost: one forward a text to learn from (and a round, where the corpus does not fit into the buffer), the same for the shuffled
model, five a held-out text. Of a harvest nothing is read again but for the shuffled model.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from exegete.core.errors import InputError, UsageError
from exegete.core.method import Need
from exegete.core.request import Text
from exegete.core.results.features import KeptRow, SparseFeatures
from exegete.core.seed import derive
from exegete.core.site import Site
from exegete.core.store import open_result
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.dictionaries import opened, packed, unpacked
from exegete.methods.contracts.study import Study
from exegete.methods.features import harvests
from exegete.methods.features.activations import Lessons, Read, Texts, hashes, read
from exegete.methods.features.learning import (
    ROWS_OF_CONTROLS,
    Corpus,
    Feed,
    Twin,
    components,
    divided,
    learn,
    twin,
    untrained,
)
from exegete.methods.features.splicing import Through, losses, recovered
from exegete.methods.features.telling import Counted, counted, rows_of
from exegete.models.lab import Lab
from exegete.ops.dictionary import Dictionary
from exegete.ops.dictionary_training import Recipe
from exegete.ops.ratio import kept
from exegete.ops.stats import bootstrap_mean

Values = Mapping[str, np.ndarray | None]
THIS, CHANCE, AXES, TWIN = "this dictionary", "untrained", "components", "shuffled"
NAMES = {
    THIS: "this dictionary",
    CHANCE: "the same untrained: random directions",
    AXES: "as many principal components",
    TWIN: "the same trained on shuffled weights",
}


class DictionaryStudy(Study):
    """Base of the studies that train or open a dictionary of sparse features."""

    family: ClassVar[str] = "features"
    techniques: ClassVar[tuple[str, ...]] = ("H4",)
    verb: ClassVar[str] = "features"
    asks: ClassVar[Any] = "texts"
    least: ClassVar[int] = 3
    usual: ClassVar[int | None] = 4000
    finds: ClassVar[type] = SparseFeatures
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "1 a text to learn from, twice; 6 a held-out text"
    saved: str = Field(
        "", description="a saved dictionary (.exg, or a folder in the SAELens layout); empty: train one"
    )
    harvest: str = Field(
        "",
        description="folder of a finished `exegete run harvest` to train from; the texts then only judge, and without any some of its "
        "own are held out",
    )
    architecture: Literal["topk", "jumprelu", "gated", "relu"] = Field(
        "topk", description="how features are switched on"
    )
    width: float = Field(4.0, gt=0, le=1024, description="features a number of the activation")
    k: int = Field(16, ge=1, le=4096, description="features on at a token (topk)")
    sparsity: float | None = Field(
        None, ge=0, description="price of a feature that is on (other kinds); none: the usual one"
    )
    n_steps: int = Field(1000, ge=1, le=10_000_000, description="training steps")
    batch: int = Field(512, ge=1, le=1 << 20, description="tokens a step")
    rate: float = Field(3e-3, gt=0, le=1, description="learning rate at its highest")
    buffer: int = Field(256, ge=1, le=1 << 20, description="megabytes of activations held to be shuffled")
    n_held_out: int = Field(200, ge=2, le=100_000, description="texts kept out of the training, to judge on")
    n_shown: int = Field(40, ge=1, le=10_000, description="features in the table")
    seed: int = Field(0, description="seed of weights, order of tokens, held-out texts and controls")

    @abstractmethod
    def sites(self, lab: Lab) -> tuple[Site, Site]:
        """What is read and what is stood for; the same for an autoencoder."""

    @property
    @abstractmethod
    def asked_site(self) -> str:
        """The site that was asked for, by the field of the study."""

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> SparseFeatures:
        """Train or open a dictionary; judge it on held-out texts; say what its features stand for."""
        if self.saved and self.harvest:
            raise UsageError(
                f"You asked for the dictionary {self.saved!r}, and to train one from {self.harvest!r}.",
                "A saved dictionary is not trained.",
                "Leave one of them out.",
            )
        if self.harvest:
            made = self._harvested(lab, items)
        else:
            corpus = divided(lab, items, self.n_held_out)
            made = self._opened(lab, corpus) if self.saved else self._trained(lab, corpus)
        return _finding(self, lab, made)

    def brings(self) -> tuple[Text, ...] | None:
        """Texts of the harvest, to be held out."""
        return harvests.drawn(self.harvest, self.n_held_out, self.seed) if self.harvest else None

    def _trained(self, lab: Lab, corpus: Corpus) -> "_Made":
        return self._taught(lab, Texts(corpus.train), corpus.held, self.sites(lab))

    def _harvested(self, lab: Lab, items: tuple[Text, ...]) -> "_Made":
        held = items if len(items) <= self.n_held_out else divided(lab, items, self.n_held_out).held
        site, out = self.sites(lab)
        if self.asked_site == "middle" and site == out:
            site = out = harvests.only(self.harvest, lab.model, site)
        places = (site,) if site == out else (site, out)
        lessons = harvests.lessons(self.harvest, lab, places, held, self.batch)
        return self._taught(lab, lessons, held, (site, out))

    def _taught(self, lab: Lab, lessons: Lessons, held: tuple[Text, ...], ends: tuple[Site, Site]) -> "_Made":
        places = ends[:1] if ends[0] == ends[1] else ends
        recipe = self._recipe(read(lab, held[:1], ends[:1]).values[0].shape[1])
        feed = Feed(self.batch, self.buffer)
        trainer = learn(lab, lessons, places, recipe, feed, "learning features")
        return _Made(
            lessons, held, trainer.dictionary(), ends, twin(lab, lessons, held, places, recipe, feed),
            history=np.array(trainer.history), learned=lessons.hashes(),
        )  # fmt: skip

    def _opened(self, lab: Lab, corpus: Corpus) -> "_Made":
        data = opened(self.saved, lab.model, self.asked_site)
        kept_out, notes, learned = _unseen(corpus, self.saved)
        site, out = (Site.parse(s) for s in (data.site, data.site_out))
        other = Twin(None, "an opened dictionary is not trained again on shuffled weights")
        d = unpacked(data, lab.model.device)
        return _Made(Texts(kept_out.train), kept_out.held, d, (site, out), other, notes, learned=learned)

    def _recipe(self, width: int) -> Recipe:
        return Recipe(
            self.architecture, max(2, round(self.width * width)), self.k, self.sparsity, self.n_steps, self.rate,
            derive(self.seed, "dictionary"),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Made:
    """A dictionary, where it stands, what its controls learn from, and the texts it is judged on."""

    lessons: Lessons
    held: tuple[Text, ...]
    dictionary: Dictionary
    places: tuple[Site, Site]
    twin: Twin
    notes: tuple[str, ...] = ()
    history: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    learned: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def _finding(study: DictionaryStudy, lab: Lab, made: _Made) -> SparseFeatures:
    site, out = made.places
    places = (site,) if site == out else (site, out)
    d, held = made.dictionary, made.held
    seen = read(lab, held, places)
    count = counted(d, seen.values[0])
    active = max(1, round(count.active))
    rows = made.lessons.some(lab, places, ROWS_OF_CONTROLS)
    ways: dict[str, Through] = {
        THIS: d,
        CHANCE: untrained(rows, d.n_features, min(active, d.n_features), derive(study.seed, "untrained")),
        AXES: components(rows, active),
    }
    told = losses(lab, held, site, out, {"zero": torch.zeros_like if site == out else _zeros(seen), **ways})
    variance = {n: _variance(seen, way) for n, way in ways.items()}
    lost = {n: recovered(told, n) for n in ways}
    scores = _scores(lost, variance, made.twin, len(held), study.seed)
    order = np.argsort(-count.squares, kind="stable")
    which = [int(i) for i in order[: study.n_shown] if count.density[i] > 0]
    total = max(float(count.squares.sum()), 1e-30)
    return SparseFeatures(
        title=_title(site, out),
        lede=_lede(site, out, d, count, scores, variance, lost),
        context=_context(lab, made, seen, d),
        dictionary=packed(d, lab.model, site, out),
        density=count.density,
        largest=count.largest,
        share=count.squares / total,
        compared=_compared(told, lost, variance, made.twin, count.active, active),
        shown=rows_of(lab, d, seen, out, which, held),
        history=made.history,
        learned=made.learned,
        n_tokens=len(seen),
        trust=Trust(scores=scores, seed=study.seed, notes=made.notes),
    )


def _zeros(seen: Read) -> Through:
    width = seen.values[-1].shape[1]
    return lambda x: x.new_zeros(len(x), width)


def _variance(seen: Read, way: Through) -> np.ndarray | None:
    """By text, values whose mean is the share of the variance that is explained."""
    y = seen.values[-1]
    gone = (y - way(seen.values[0])).double().square().sum(1).cpu().numpy()
    whole = (y - y.mean(0)).double().square().sum(1).cpu().numpy()
    _, number = np.unique(seen.text, return_inverse=True)
    return kept(np.bincount(number, weights=gone), np.bincount(number, weights=whole))


def _scores(lost: Values, variance: Values, other: Twin, n: int, seed: int) -> tuple[Score, Score]:
    this, mine = lost[THIS], variance[THIS]
    first = Score(
        name="loss recovered on held-out texts",
        value=_mean(this),
        chance=None if this is None else _mean(lost[CHANCE]),
        control=None if this is None else _mean(lost[AXES]),
        control_name=NAMES[AXES],
        interval=None if this is None else bootstrap_mean(this, seed),
        n=0 if this is None else len(this),
        n_failed=n if this is None else n - len(this),
        skipped="" if this is not None else "setting the place to zero does not hurt on these texts: there is no loss to recover",
    )  # fmt: skip
    second = Score(
        name="variance explained on held-out texts",
        value=_mean(mine),
        chance=_mean(variance[CHANCE]) if mine is not None else None,
        control=other.value if mine is not None else None,
        control_name=NAMES[TWIN],
        interval=None if mine is None else bootstrap_mean(mine, seed),
        n=0 if mine is None else len(mine),
        n_failed=n if mine is None else n - len(mine),
        skipped=other.skipped if mine is not None else "all activations are the same",
    )
    return first, second


def _mean(values: np.ndarray | None) -> float:
    return float("nan") if values is None else float(values.mean())


def _compared(
    told: Mapping[str, np.ndarray], lost: Values, variance: Values, other: Twin, active: float, k: int
) -> tuple[KeptRow, ...]:
    nan = float("nan")

    def row(name: str, words: str, r: float, v: float, on: float) -> KeptRow:
        loss = float(np.nanmean(told[name])) if name in told and np.isfinite(told[name]).any() else nan
        return KeptRow(name=words, recovered=r, explained=v, active=on, loss=loss)

    found = [row(n, NAMES[n], _mean(lost[n]), _mean(variance[n]), active if n == THIS else k) for n in lost]
    return (
        row("", "the model as it is", 1.0, 1.0, nan),
        *found,
        *([row("?", NAMES[TWIN], nan, other.value, nan)] if other.value is not None else []),
        row("zero", "nothing: zeros", 0.0, nan, 0.0),
    )


def _title(site: Site, out: Site) -> str:
    return (
        f"Into which features does {site} fall apart?"
        if site == out
        else f"Which features does {out} make of {site}?"
    )


def _lede(
    site: Site, out: Site, d: Dictionary, count: Counted, scores: tuple[Score, Score], variance: Values, lost: Values
) -> str:  # fmt: skip
    loss, share = scores
    words = f"{d.n_features:,} features, of which {count.active:.1f} are on at a token, explain {share.value:.1%} of the variance of {out}"
    if np.isfinite(loss.value):
        words += f" and bring back {loss.value:.1%} of what the model loses when it is set to zero"
        others = f"as many random directions bring back {_mean(lost[CHANCE]):.1%}, principal components {_mean(lost[AXES]):.1%}"
    else:
        others = f"as many random directions explain {_mean(variance[CHANCE]):.1%}, principal components {_mean(variance[AXES]):.1%}"
    words += f", on texts they never saw; {others}. {float((count.density == 0).mean()):.0%} of them are never on there."
    if not np.isfinite(loss.value):
        words += " Setting the place to zero does not hurt the model on these texts, so that nothing can be said of its use."
    elif not (loss.beats_chance and loss.beats_control):
        words += (
            " They do not beat random directions or principal components: they are not worth their name here."
        )
    if share.beats_control is False:
        words += " Features of the same model with shuffled weights explain as much: this share says nothing of what was learned."
    return words


def _context(lab: Lab, made: _Made, seen: Read, d: Dictionary) -> tuple[tuple[str, str], ...]:
    site, out = made.places
    how = {"topk": f"topk, {d.k} on", "relu": "relu, L1"}.get(d.kind, d.kind)
    texts = f"{len(made.held):,} held out ({len(seen):,} tokens)"
    if len(made.history):
        texts = f"{made.lessons.words}, {texts}"
    return (
        ("reads", str(site)), *(() if site == out else (("stands for", str(out)),)),
        ("dictionary", f"{how}; {d.n_features:,} features of {seen.values[0].shape[1]} numbers"), ("texts", texts),
    )  # fmt: skip


def _unseen(corpus: Corpus, path: str) -> tuple[Corpus, tuple[str, ...], np.ndarray]:
    """Texts that a saved dictionary never learned from, to judge it; a note where that is not known. Raises `InputError`."""
    held = open_result(path) if not Path(path).is_dir() else None
    learned = held.learned if isinstance(held, SparseFeatures) else np.zeros(0, np.int64)
    if not len(learned):
        return (
            corpus,
            ("What this dictionary was trained on is not known: it may have seen these texts.",),
            learned,
        )
    every, known = (*corpus.held, *corpus.train), set(learned.tolist())
    new = [t for t, h in zip(every, hashes(every).tolist()) if h not in known]
    if len(new) < 2:
        raise InputError(
            f"You asked to judge the dictionary {path!r} on {len(every)} texts.",
            "It was trained on them.",
            "Give other texts.",
        )
    held_out = tuple(new[: len(corpus.held)])
    said = {(t.text, t.ids) for t in held_out}
    # what the controls are fitted on must not be what they are judged on either
    rest = tuple(t for t in every if (t.text, t.ids) not in said)
    return Corpus(rest or corpus.train, held_out), (), learned
