"""How all metrics of a suite remove units, where one way is asked for.

A metric that cannot remove so (soft erasure has no half of a deleted token) keeps its own way, and is named. Who fills in is looked
up before any work. Cost: loading that model.
"""

from collections.abc import Sequence
from typing import get_args

from exegete.core.errors import UnknownName, UsageError
from exegete.evaluate.contract import ExplanationMetric, FaithfulnessMetric
from exegete.models.infill import infiller
from exegete.models.model import Model
from exegete.models.remove import Removing


def removing(
    model: Model, metrics: Sequence[ExplanationMetric], how: str | None, filler: str | None
) -> tuple[tuple[ExplanationMetric, ...], tuple[str, ...]]:
    """The metrics with units removed by `how`, and notes that say so; None leaves both as they are.

    Raises `UsageError` where no metric removes units or a filler has nothing to fill, `ModelError` for one that cannot fill in.
    """
    if how is None and filler is None:
        return tuple(metrics), ()
    how = how or "infill"
    if how not in get_args(Removing):
        raise UnknownName("removal", how, get_args(Removing))
    if filler is not None and how != "infill":
        raise UsageError(
            f"You asked {filler!r} to fill in removed words, and to remove them by {how}.",
            "Nothing is filled in then.",
            "Use --removal infill, or leave the infiller out.",
        )
    able = [isinstance(m, FaithfulnessMetric) and how in m.removals for m in metrics]
    if not any(able):
        raise UsageError(
            f"You asked to remove units by {how}.",
            f"None of the metrics does ({', '.join(m.id for m in metrics)}).",
            "Choose a faithfulness metric: `exegete list metrics`.",
        )
    notes = [f"Units are removed by {how}."]
    changes = {"removal": how}
    if how == "infill":
        notes = [
            f"Units are removed by infill: {infiller(model, filler or 'auto').name} draws what stands there instead."
        ]
        changes["infiller"] = filler or "auto"
    left = [m.id for m, can in zip(metrics, able) if isinstance(m, FaithfulnessMetric) and not can]
    notes += (
        [f"{', '.join(left)}: cannot remove units by {how}, and removes them its own way."] if left else []
    )
    chosen = [m.model_copy(update=changes) if can else m for m, can in zip(metrics, able)]
    return tuple(chosen), tuple(notes)
