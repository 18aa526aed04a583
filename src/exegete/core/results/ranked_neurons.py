"""What rankings of neurons find: the ranking, and how well a probe of its first neurons tells the classes.

`RankedNeurons` and `NeuronCurves` are parts that every ranking has; each method's finding adds what is its own.
"""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, banded
from exegete.core.results.finding import Finding
from exegete.core.value import Value

SHOWN = 20  # neurons in the table


class RankedNeurons(Value):
    """Neurons, the best first: `names` ("2.resid_post[u17]"), `layer` (-1: the embeddings), `unit`, `score`, all [neuron].

    `tells` names for each the class that it stands out on, `how` what the score is.
    """

    names: tuple[str, ...]
    layer: np.ndarray
    unit: np.ndarray
    score: np.ndarray
    tells: tuple[str, ...]
    how: str

    def table(self) -> Table:
        """The first of them."""
        n = min(SHOWN, len(self.names))
        rows = [
            (i + 1, self.names[i], int(self.layer[i]), float(self.score[i]), self.tells[i]) for i in range(n)
        ]
        more = f" The first {n} of {len(self.names):,}." if n < len(self.names) else ""
        return Table(
            title="Which neurons come first?",
            caption=f"Score: {self.how}. The class is the one that the neuron stands out on.{more}",
            columns=("rank", "neuron", "layer", "score", "class"),
            rows=tuple(rows),
        )


class NeuronCurves(Value):
    """Accuracy of a linear probe of `k` neurons [point], on texts that neither the ranking nor the probe has seen.

    `top` are the first k of the ranking and `bottom` the last, with intervals [point, 2]; `random` [draw, point] random ones;
    `untrained` the first k of the same ranking made on the model with randomised weights. `remembered` is the accuracy of
    the first k on a control task (every word has a label drawn at random, the same wherever it stands) and
    `remembered_random` [draw, point] that of random ones: accuracy less this is selectivity. `majority` is what the most
    frequent class scores.
    """

    k: np.ndarray
    top: np.ndarray
    top_interval: np.ndarray
    bottom: np.ndarray
    bottom_interval: np.ndarray
    random: np.ndarray
    remembered: np.ndarray
    remembered_random: np.ndarray
    untrained: np.ndarray
    majority: float

    def figures(self) -> tuple[AnyFigure, ...]:
        """Accuracy by number of neurons, then accuracy against selectivity."""
        names = tuple(f"{int(k):,}" for k in self.k)
        x = np.arange(len(self.k), dtype=np.float64)
        low, high = np.quantile(self.random, (0.025, 0.975), axis=0)
        accuracy = Curves(
            title="How few neurons are enough?",
            caption="Accuracy of a linear probe on texts it has not seen. Bands: 95 % intervals; of random neurons, over the draws.",
            x=x,
            x_axis="neurons",
            x_names=names,
            y_axis="accuracy",
            series=(
                banded("first of the ranking", self.top, self.top_interval),
                banded("last of the ranking", self.bottom, self.bottom_interval),
                Series(name="random neurons", y=self.random.mean(0), low=low, high=high, control=True),
                Series(name="first of an untrained model", y=self.untrained, control=True),
                Series(name="most frequent class", y=np.full(len(x), self.majority), control=True),
            ),
        )
        selective = self.random - self.remembered_random
        selectivity = Curves(
            title="Is the label in the neurons, or in the probe?",
            caption="Selectivity: accuracy less accuracy on a control task, where every word has a random label that can only "
            "be remembered. A ranking can be good at one and bad at the other.",
            x=x,
            x_axis="neurons",
            x_names=names,
            y_axis="accuracy",
            series=(
                Series(name="accuracy", y=self.top),
                Series(name="selectivity", y=self.top - self.remembered),
                Series(name="selectivity of random neurons", y=selective.mean(0), control=True),
                Series(name="control task", y=self.remembered, control=True),
            ),
        )
        return (accuracy, selectivity)


class NeuronRanking(Finding):
    """A ranking and its curves; `classes` are what the labels are."""

    classes: tuple[str, ...]
    ranked: RankedNeurons
    curves: NeuronCurves

    def figures(self) -> tuple[AnyFigure, ...]:
        """The curves and the table."""
        first, second = self.curves.figures()
        return (first, self.ranked.table(), second)


class SalientNeurons(Finding):
    """A ranking by learned weights. For each class [class]: `needed` is how many neurons hold `mass` of its weights.

    `kept` neurons are in the union over classes; `accuracy` is that of the whole probe, `retrained` of one on these alone,
    `retrained_random` [draw] of one on as many random ones.
    """

    classes: tuple[str, ...]
    ranked: RankedNeurons
    curves: NeuronCurves
    mass: float
    needed: np.ndarray
    salient: tuple[tuple[str, ...], ...]
    kept: int
    accuracy: float
    retrained: float
    retrained_random: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """The curves, the classes, the table."""
        first, second = self.curves.figures()
        rows = [
            (name, int(n), ", ".join(these))
            for name, n, these in zip(self.classes, self.needed, self.salient)
        ]
        each = Table(
            title="How many neurons does each class need?",
            caption=f"Neurons that hold {self.mass:.0%} of the weights of a class, the heaviest first.",
            columns=("class", "neurons", "first of them"),
            rows=tuple(rows),
        )
        return (first, each, self.ranked.table(), second)


class GaussianNeurons(Finding):
    """A greedy list. `information` [k + 1] is what a Gaussian probe of the first k tells about the label, as a share of the
    label's entropy, on texts not seen, with `information_interval` [k + 1, 2]; `information_random` [draw, k + 1] of random
    lists; `entropy` of the label in bits.
    """

    classes: tuple[str, ...]
    ranked: RankedNeurons
    curves: NeuronCurves
    information: np.ndarray
    information_interval: np.ndarray
    information_random: np.ndarray
    entropy: float

    def figures(self) -> tuple[AnyFigure, ...]:
        """The information curve, the accuracy curves, the table."""
        first, second = self.curves.figures()
        low, high = np.quantile(self.information_random, (0.025, 0.975), axis=0)
        told = Curves(
            title="How much do the first neurons tell about the label?",
            caption=f"Share of the label's {self.entropy:.2f} bits that a Gaussian probe tells, on texts it has not seen (a lower "
            "bound; below zero it misleads). Bands: 95 % intervals; of random lists, over the draws.",
            x=np.arange(len(self.information), dtype=np.float64),
            x_axis="neurons",
            y_axis="share of the entropy",
            series=(
                banded("greedy list", self.information, self.information_interval),
                Series(
                    name="random lists", y=self.information_random.mean(0), low=low, high=high, control=True
                ),
            ),
        )
        return (told, self.ranked.table(), first, second)


class SparseNeurons(Finding):
    """Probes of k neurons for each class against all others: F1 on texts not seen [class, k], by way of choosing them.

    `k` [point]; `mean_difference`, `l1` and `adaptive` [class, point]; `random` [draw, class, point]; `guess` [class] the best
    F1 of a guess that reads nothing. `best` [class] names the first neuron of the adaptive choice of one.
    """

    classes: tuple[str, ...]
    ranked: RankedNeurons
    curves: NeuronCurves
    k: np.ndarray
    mean_difference: np.ndarray
    l1: np.ndarray
    adaptive: np.ndarray
    random: np.ndarray
    guess: np.ndarray
    best: tuple[str, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """F1 by k, the classes, the accuracy curves, the table."""
        first, second = self.curves.figures()
        draws = self.random.mean(1)
        low, high = np.quantile(draws, (0.025, 0.975), axis=0)
        mean = Curves(
            title="How sparse is a class?",
            caption="F1 of a probe of k neurons for one class against the others, mean over classes, on texts it has not seen.",
            x=np.arange(len(self.k), dtype=np.float64),
            x_axis="neurons",
            x_names=tuple(f"{int(k)}" for k in self.k),
            y_axis="F1",
            series=(
                Series(name="adaptive thresholding", y=self.adaptive.mean(0)),
                Series(name="mean difference", y=self.mean_difference.mean(0)),
                Series(name="L1", y=self.l1.mean(0)),
                Series(name="random neurons", y=draws.mean(0), low=low, high=high, control=True),
                Series(
                    name="a guess that reads nothing",
                    y=np.full(len(self.k), self.guess.mean()),
                    control=True,
                ),
            ),
        )
        rows = [
            (
                name,
                self.best[v],
                float(self.adaptive[v, 0]),
                float(self.adaptive[v, -1]),
                float(self.random[:, v, 0].max()),
                float(self.guess[v]),
            )
            for v, name in enumerate(self.classes)
        ]
        most = int(self.k[-1])
        each = Table(
            title="Is there a neuron for it?",
            caption="F1 of the one neuron that adaptive thresholding leaves, of the last k, of the best random neuron, and of a guess.",
            columns=("class", "neuron", "F1 of one", f"F1 of {most}", "best random one", "guess"),
            rows=tuple(rows),
        )
        return (mean, each, first, self.ranked.table(), second)


class SharedNeurons(Finding):
    """Neurons ranked by how well other models' neurons go with them. `others` are the models.

    By neuron of the ranking [neuron]: `best` |correlation| with the best neuron of any other model, `least` with that of the
    model where it is least found, `regression` and `svcca` shares of its variance foretold; `twin` (model, neuron) names its
    best partner. Of the same measures on shuffled words and on untrained others, means over neurons: `shuffled`, `untrained`.
    """

    classes: tuple[str, ...]
    ranked: RankedNeurons
    curves: NeuronCurves
    others: tuple[str, ...]
    best: np.ndarray
    least: np.ndarray
    regression: np.ndarray
    svcca: np.ndarray
    twin: tuple[tuple[str, str], ...]
    shuffled: dict[str, float]
    untrained: dict[str, float]

    def figures(self) -> tuple[AnyFigure, ...]:
        """The neurons with their partners, the measures with their controls, the accuracy curves."""
        first, second = self.curves.figures()
        n = min(SHOWN, len(self.ranked.names))
        pairs = Table(
            title="Which neurons do other models have too?",
            caption=f"The first {n} of {len(self.ranked.names):,}. Best: |correlation| with the closest neuron of any other model; "
            "least: with the closest of the model where it is least found; regression and SVCCA: share of its variance foretold.",
            columns=("rank", "neuron", "class", "best", "least", "regression", "SVCCA", "partner"),
            rows=tuple(
                (
                    i + 1,
                    self.ranked.names[i],
                    self.ranked.tells[i],
                    *(float(m[i]) for m in (self.best, self.least, self.regression, self.svcca)),
                    " ".join(self.twin[i]),
                )
                for i in range(n)
            ),
        )
        words = {"maxcorr": "best", "mincorr": "least", "linreg": "regression", "svcca": "SVCCA"}
        values = dict(zip(words, (self.best, self.least, self.regression, self.svcca)))
        against = Table(
            title="More than chance?",
            caption="Means over neurons; the same on shuffled words, and with other models whose weights are randomised.",
            columns=("measure", "trained models", "shuffled words", "untrained models"),
            rows=tuple(
                (words[m], float(values[m].mean()), self.shuffled[m], self.untrained[m]) for m in words
            ),
        )
        return (pairs, against, first, second)
