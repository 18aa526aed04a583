"""Probes of every layer with all their controls, over several splits: the engine of layer profiles.

For every seed: split texts (the same text twice, and texts of one group, stay together) into training, development and test; at every layer

    task        the probe on the labels
    control     the same probe on labels drawn for each word at random (whole texts: labels shuffled over texts)
    untrained   the same probe on the model with randomised weights
    neighbour   the probe on the label of the word right before, and right after (words only)

and, reading no vector, the most frequent label and what words alone tell (`ops.probe_words`). Principal axes are made once a
layer and seed and serve all probes on it. What is kept of a probe: what it lost, by held-out text.

Cost: no forwards beside the two tables; layers x seeds x 5 fits. Shapes: lost [layer, text].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from exegete.core.errors import InputError
from exegete.core.seed import derive, generator
from exegete.core.site import Site
from exegete.methods.probing.rows import Asked
from exegete.models.harvest import Table
from exegete.ops.control_labels import classes_of, control_labels
from exegete.ops.probe import axes, fit_linear
from exegete.ops.probe_mlp import fit_mlp
from exegete.ops.probe_ridge import fit_ridge, great_circle
from exegete.ops.probe_words import by_bag, by_word, numbers_by_bag
from exegete.ops.profile import Run, by_text
from exegete.ops.split import split, together

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
_DRAWS = 20  # splits tried until every class is in the training part


@dataclass(frozen=True)
class Data:
    """Rows to probe: `y` classes [row] or numbers [row, target], `group` the text of a row (one number for texts that belong together), `words` what it stands on, `texts`
    its text; `before` and `after` the rows of its neighbours (-1: none).
    """

    y: np.ndarray
    names: tuple[str, ...]
    level: str
    group: np.ndarray
    words: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray

    @property
    def numbers(self) -> bool:
        """Whether labels are numbers."""
        return not self.names

    @property
    def sided(self) -> bool:
        """Whether most rows have neighbours to ask about."""
        return self.level == "word" and float((self.before >= 0).mean()) >= 0.5


@dataclass(frozen=True)
class Seeded:
    """What one seed found: runs by name, what no vector is read for (lost [text]), and of the task right and n [layer, class]."""

    runs: dict[str, Run]
    blind: dict[str, np.ndarray]
    bar: np.ndarray
    right: np.ndarray
    asked: np.ndarray
    missing: int
    measures: tuple[tuple[str, float, float], ...] = ()


def data_of(table: Table, ask: Asked) -> Data:
    """The rows of a table, ready to probe."""
    texts = [ask.items[i].text for i in table.item]
    stretches = [ask.items[i].marks[m].spans for i, m in zip(table.item, table.mark)]
    same = np.array(
        [i == j and _beside_each_other(t, a, b) for i, j, t, a, b in zip(table.item, table.item[1:], texts, stretches, stretches[1:])],
        dtype=bool,
    )  # fmt: skip
    rows = np.arange(len(table))
    before = np.where(np.concatenate([[False], same]), rows - 1, -1)
    after = np.where(np.concatenate([same, [False]]), rows + 1, -1)
    if ask.numbers:
        y, names = np.array(table.labels, dtype=np.float64).reshape(len(table), -1), ()
    else:
        names, y = classes_of(table.labels)
    words = tuple(tuple(t[slice(*s)] for s in spans) or (t,) for t, spans in zip(texts, stretches))
    group = together([i.ties for i in ask.items])[table.item]
    return Data(y, names, ask.level, group, words, tuple(texts), before, after)


def _beside_each_other(text: str, a: tuple[tuple[int, int], ...], b: tuple[tuple[int, int], ...]) -> bool:
    """Whether word b follows word a with nothing but blanks between; a word that lost its mark lies between others."""
    return len(a) == len(b) == 1 and a[0][1] <= b[0][0] and not text[a[0][1] : b[0][0]].strip()


def features(values: np.ndarray) -> np.ndarray:
    """Vectors as features [row, feature]; of a pair both vectors and their product [row, 2, width] -> [row, 3 * width]."""
    if values.ndim == 2:
        return np.asarray(values)
    a, b = values[:, 0], values[:, 1]
    return np.concatenate([a, b, a * b], axis=1)


@dataclass(frozen=True)
class Prober:
    """How a probe is fitted; the same for the task and every control."""

    kind: Literal["linear", "mlp"]
    n_classes: int
    hidden: int = 64

    def lost(self, z: np.ndarray, y: np.ndarray, spread: np.ndarray, parts: Parts, seed: int) -> "Told":
        """Fit on training rows, choose on development rows, tell the test rows."""
        train, held, test = parts
        if y.ndim == 2:
            fit = fit_ridge(z[train], y[train], spread, (z[held], y[held]))
            dev = 1 - fit.errors(z[held], y[held]).sum() / max(fit.bars(y[held]).sum(), 1e-12)
            return Told(fit.predict(z[test]), fit.errors(z[test], y[test]), fit.bars(y[test]), float(dev))
        if self.kind == "mlp":
            fit = fit_mlp(z[train], y[train], (z[held], y[held]), self.n_classes, seed, self.hidden)
        else:
            fit = fit_linear(z[train], y[train], (z[held], y[held]), self.n_classes)
        said = fit.predict(z[test])
        dev = float((fit.predict(z[held]) == y[held]).mean()) if len(held) else 0.0
        return Told(said, (said != y[test]).astype(float), np.ones(len(test)), dev)


@dataclass(frozen=True)
class Told:
    """What a probe said of test rows, what it lost there, the bar of each row, and its score on development rows."""

    said: np.ndarray
    lost: np.ndarray
    bar: np.ndarray
    dev: float


def run_seed(
    tables: tuple[Table, Table | None],
    sites: Sequence[Site],
    data: Data,
    prober: Prober,
    seed: int,
    places: bool,
    done: Callable[[int], None],
) -> Seeded:
    """All probes of one split. Raises `InputError` where its training texts hold a single class."""
    parts, missing = _split(data, seed)
    texts = data.group[parts[2]]
    control = _control(data, generator(seed, "control task"))
    sides = [_beside(data, side, parts) for side in (data.before, data.after)] if data.sided else []
    found: dict[str, list[list[Told]]] = {
        "task": [], "control": [], "untrained": [], "neighbour": []
    }  # fmt: skip
    for site in sites:
        at = derive(seed, "probe", str(site))
        x = features(tables[0].values[site])
        turned = axes(x[parts[0]])
        z = turned.of(x)
        found["task"].append([prober.lost(z, data.y, turned.spread, parts, at)])
        found["control"].append([prober.lost(z, control, turned.spread, parts, at)])
        if sides:
            found["neighbour"].append([prober.lost(z, y, turned.spread, p, at) for y, p in sides])
        if tables[1] is not None:
            x = features(tables[1].values[site])
            turned = axes(x[parts[0]])
            found["untrained"].append([prober.lost(turned.of(x), data.y, turned.spread, parts, at)])
        done(1)
    side_texts = [data.group[p[2]] for _, p in sides]
    runs = {
        name: _run(told, side_texts if name == "neighbour" else [texts])
        for name, told in found.items()
        if told
    }
    task = [t[0] for t in found["task"]]
    bar = by_text(task[0].bar, texts)
    blind = {name: by_text(lost, texts) for name, lost in _blind(data, parts).items()}
    if sides:
        blind |= _blind_sides(data, sides)
    right, asked = _by_class(task, data, parts[2])
    best = task[runs["task"].best]
    return Seeded(runs, blind, bar, right, asked, missing, _measures(data, parts, best.said, places))


def _split(data: Data, seed: int) -> tuple[Parts, int]:
    """Rows of training, development and test texts, and how many classes training lacks; of some draws the one that lacks least."""
    best: tuple[Parts, int] | None = None
    for draw in range(_DRAWS):
        train, held, test = split(data.group, (0.6, 0.2, 0.2), generator(seed, "probe split", draw))
        lacks = 0 if data.numbers else len(data.names) - len(np.unique(data.y[train]))
        if best is None or lacks < best[1]:
            best = (train, held, test), lacks
        if not lacks:
            break
    if best is None or (not data.numbers and len(data.names) - best[1] < 2):
        raise InputError(
            f"You asked to probe {len(data.names)} classes in {len(np.unique(data.group))} texts.",
            "After the split into training and held-out texts, training has fewer than two of them.",
            "Give more texts.",
        )
    return best


def _control(data: Data, rng: np.random.Generator) -> np.ndarray:
    """Labels that can only be remembered: one a word, drawn from the labels there are; of whole texts shuffled labels."""
    if data.level == "text":
        return data.y[rng.permutation(len(data.y))]
    if not data.numbers:
        return control_labels([w[0] for w in data.words], data.y, rng)
    rows = control_labels([w[0] for w in data.words], np.arange(len(data.y)), rng)
    return data.y[rows]


def _beside(data: Data, side: np.ndarray, parts: Parts) -> tuple[np.ndarray, Parts]:
    """Labels of the neighbours on one side (rows without one are in no part)."""
    train, held, test = (p[side[p] >= 0] for p in parts)
    return data.y[np.maximum(side, 0)], (train, held, test)


def _run(told: list[list[Told]], texts: Sequence[np.ndarray]) -> Run:
    """Layers of probes as a run; several probes of a layer (both neighbours) are summed."""
    groups = np.concatenate(texts)
    lost = np.stack([np.concatenate([t.lost for t in layer]) for layer in told])
    bar = np.concatenate([t.bar for t in told[0]])
    dev = np.array([np.mean([t.dev for t in layer]) for layer in told])
    return Run(by_text(lost, groups), by_text(bar, groups), dev, np.unique(groups))


def _blind(data: Data, parts: Parts) -> dict[str, np.ndarray]:
    """What is lost without any vector [test row]: by the most frequent label, and by words alone."""
    train, held, test = parts
    y = data.y
    if data.numbers:
        mean, scale = y[train].mean(0), np.where(y[train].std(0) > 0, y[train].std(0), 1.0)
        said = numbers_by_bag(_bags(data), y, train, held, test)
        return {
            "majority": (((y[test] - mean) / scale) ** 2).sum(1),
            "words": (((y[test] - said) / scale) ** 2).sum(1),
        }
    said = (
        by_bag(data.texts, y, train, held, test)
        if data.level == "text"
        else by_word(data.words, y, train, test)
    )
    return {
        "majority": (y[test] != np.bincount(y[train]).argmax()).astype(float),
        "words": (said != y[test]).astype(float),
    }


def _blind_sides(data: Data, sides: Sequence[tuple[np.ndarray, Parts]]) -> dict[str, np.ndarray]:
    """What is lost of neighbours' labels by this word alone, and the bars of those rows."""
    if data.numbers:
        return {}
    lost = [(by_word(data.words, y, p[0], p[2]) != y[p[2]]).astype(float) for y, p in sides]
    return {"neighbour words": np.concatenate(lost), "neighbour bar": np.ones(sum(map(len, lost)))}


def _bags(data: Data) -> list[str]:
    return list(data.texts) if data.level == "text" else [" ".join(w) for w in data.words]


def _by_class(task: Sequence[Told], data: Data, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test rows told right, and asked, by layer and class [layer, class]."""
    k = len(data.names)
    if data.numbers:
        return np.zeros((len(task), 0)), np.zeros((len(task), 0))
    y = data.y[test]
    right = np.stack([np.bincount(y[t.said == y], minlength=k) for t in task])
    return right, np.tile(np.bincount(y, minlength=k), (len(task), 1))


def _measures(
    data: Data, parts: Parts, said: np.ndarray, places: bool
) -> tuple[tuple[str, float, float], ...]:
    """Rank correlation of every number; of places the median distance. The last value is what the mean guess gets (NaN: none)."""
    if not data.numbers:
        return ()
    train, _, test = parts
    y = data.y[test]
    found = [
        (
            f"Spearman correlation{f' of number {j + 1}' if y.shape[1] > 1 else ''}",
            _spearman(said[:, j], y[:, j]),
            float("nan"),
        )
        for j in range(y.shape[1])
    ]
    if places:
        guess = np.tile(data.y[train].mean(0), (len(test), 1))
        name = "median distance (km)"
        found.append(
            (name, float(np.median(great_circle(said, y))), float(np.median(great_circle(guess, y))))
        )
    return tuple(found)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; 0 where one side never changes."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
