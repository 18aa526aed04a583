"""What knowledge neurons are: the hidden units that say a fact whatever the wording, and what switching them does."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table
from exegete.core.results.edits import ModelEdit, SiteEdit
from exegete.core.value import Value


class NeuronCase(Value):
    """One fact: `units` as (layer, unit), with the mean `attribution` of each over the `found_on` wordings and in how many of
    them it was strong (`shared`). On the `tested` wordings, of which none was used to find them if `apart`, and beside
    them drawn units: `odds` [5] are mean log-odds of the answer as it is, suppressed, amplified, and suppressed and
    amplified with random units instead; `other` [2] the change of another fact's answer when suppressed or amplified
    (NaN when there is none).
    """

    name: str
    answer: str
    units: tuple[tuple[int, int], ...]
    attribution: tuple[float, ...]
    shared: tuple[int, ...]
    found_on: tuple[str, ...]
    tested: tuple[str, ...]
    apart: bool
    odds: np.ndarray
    other: np.ndarray
    sites: tuple[SiteEdit, ...]


class KnowledgeNeurons(ModelEdit):
    """Knowledge neurons of facts. `only(i)` is the edit that switches those of fact `i` off; `sites` hold it where there is
    one fact. `per_layer` [layer] counts units over facts.
    """

    layers: tuple[str, ...]
    per_layer: np.ndarray
    cases: tuple[NeuronCase, ...]

    def only(self, i: int) -> "KnowledgeNeurons":
        """The edit of fact `i` alone, ready to be applied."""
        case = self.cases[i]
        claim = f"{case.name!r} is no longer completed by {case.answer!r}"
        return self.model_copy(update={"cases": (case,), "sites": case.sites, "claim": claim})

    def figures(self) -> tuple[AnyFigure, ...]:
        """What became of each fact, the neurons, where they are, and what the edit changes."""
        return (self._facts(), self._neurons(), self._layers(), *super().figures())

    def _facts(self) -> Table:
        rows = tuple(
            (c.name, c.answer, len(c.units), *(float(_chance(o)) for o in c.odds[:3]), float(_chance(c.odds[3])))
            for c in self.cases
        )  # fmt: skip
        return Table(
            title="What switching the neurons does",
            caption="P: probability of the answer (from its mean log-odds over the tested wordings). Suppressed: the neurons "
            "set to nothing; amplified: doubled; random: as many other units of the same layers suppressed.",
            columns=("fact", "answer", "neurons", "P", "suppressed", "amplified", "random"),
            rows=rows,
        )

    def _neurons(self) -> Table:
        case = self.cases[0]
        return Table(
            title=f"The neurons of {case.name!r}",
            caption=f"Mean integrated gradient of P({case.answer!r}), and in how many of {len(case.found_on)} wordings it is strong.",
            columns=("neuron", "attribution", "wordings"),
            rows=tuple(
                (f"{layer}.mlp_act[u{unit}]", a, n)
                for (layer, unit), a, n in zip(case.units, case.attribution, case.shared)
            ),
        )

    def _layers(self) -> Curves:
        return Curves(
            title="Where the neurons are",
            caption="Number of neurons by layer, over all facts.",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis="neurons",
            series=(Series(name="neurons", y=self.per_layer.astype(np.float64)),),
        )


def _chance(log_odds: float) -> float:
    """Log-odds as a probability."""
    return float(1 / (1 + np.exp(-log_odds)))
