"""Truths for probes.

    layer_probe   the additive planted model knows the class of a text and cannot know labels that were dealt at random.

Control: shuffled labels (`marked_texts`). Cost: a forward a text and draw. Reference: Hewitt & Liang 2019 (control tasks).
"""

from collections.abc import Sequence

from exegete.core.material import Marked
from exegete.core.results.layer_profile import LayerProfile
from exegete.core.results.truth import TruthRow
from exegete.core.trust import Cost
from exegete.evaluate.truth.marked_texts import marked_row
from exegete.evaluate.truth.planted import planted
from exegete.evaluate.truth.study_truth import StudyTruth
from exegete.methods.probing.layer_probe import LayerProbe


def _probe(seed: int) -> tuple[TruthRow, ...]:
    """Held-out accuracy of the class of a text after the only layer."""
    what = planted("additive")

    def accuracy(items: Sequence[Marked], draw: int) -> tuple[float, Cost]:
        found = LayerProbe(n_seeds=1, min_count=2, pool="last", label="class", seed=draw)(what.model, items)
        last = float(found.score[-1]) if isinstance(found, LayerProfile) else float("nan")
        return last, found.cost

    name, measure = "planted property", "accuracy on held-out texts"
    return (marked_row(LayerProbe(), name, measure, 0.5, what, seed, accuracy),)


TRUTHS: dict[str, StudyTruth] = {
    "layer_probe": StudyTruth(
        "planted property", "a classifier that knows the class of a text, and cannot know shuffled labels", _probe
    ),
}  # fmt: skip
NO_TRUTH: dict[str, str] = {}
