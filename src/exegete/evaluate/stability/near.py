"""What the metrics of nearby texts share: how many there are, and how near. Cost: explaining `n_variants` texts, shared."""

from typing import ClassVar

from pydantic import Field

from exegete.evaluate.changes import Change, Nudge
from exegete.evaluate.contract import Better, StabilityMetric


class NearMetric(StabilityMetric):
    """Base of the metrics that take the worst of some nearby texts: embeddings moved a little."""

    worst: ClassVar[bool] = True
    better: ClassVar[Better] = "lower"
    n_variants: int = Field(4, ge=1, le=1000, description="nearby texts that are explained")
    radius: float = Field(
        0.05, gt=0, le=1, description="how far each embedding is moved, as a share of its length"
    )

    def changes(self) -> tuple[Change, ...]:
        """Nudges, which all metrics of the same number and radius share."""
        return (Nudge(self.n_variants, self.radius),)
