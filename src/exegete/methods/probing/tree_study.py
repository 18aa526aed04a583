"""What studies that train tree probes share: their parameters, and what is read and dealt before anything is trained.

1. sentences are read once by the model and once by its twin with randomised weights (`tree_table`);
2. they are dealt into training, development and test; a probe has no more ranks than vectors have dimensions.

Cost: 2 forwards a sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from exegete.core.material import Marked
from exegete.core.method import Need
from exegete.core.results.tree_by_layer import TreeByLayer
from exegete.core.site import Site
from exegete.methods.contracts.harvested import Harvested
from exegete.methods.probing.tree_table import POOL, Parts, TreeTable, read_table
from exegete.models.harvest import layer_sites
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.tree_probe import Training


@dataclass(frozen=True)
class ReadTrees:
    """Sentences at all `sites`: of the model, and of its twin (none: `reason` says why), dealt into parts; how probes are trained."""

    sites: tuple[Site, ...]
    table: TreeTable
    parts: Parts
    notes: tuple[str, ...]
    twin: Lab | None
    other: TreeTable | None
    reason: str
    how: Training


class TreeStudy(Harvested):
    """Base of the studies that train probes of parsed sentences at every layer."""

    family: ClassVar[str] = "probing"
    verb: ClassVar[str] = "probe"
    asks: ClassVar[Any] = "trees"
    least: ClassVar[int] = 3
    usual: ClassVar[int | None] = 400
    finds: ClassVar[type] = TreeByLayer
    home: ClassVar[str] = "terrarium/encoder"
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = "2 forwards a sentence"
    rank: int = Field(64, ge=1, le=65536, description="rank of the probe")
    n_steps: int = Field(2000, ge=1, le=1_000_000, description="most training steps of a probe")
    batch: int = Field(20, ge=1, le=4096, description="sentences a step")
    rate: float = Field(2e-3, gt=0, le=10, description="first learning rate")
    seed: int = Field(0, description="seed of the split, the starts, the controls and the intervals")

    def where(self, lab: Lab) -> tuple[Site, ...]:
        """Every layer, and what enters the first."""
        return layer_sites(lab.model)

    def pooling(self, items: Sequence[Marked]) -> str:
        """A word is the mean of its tokens."""
        return POOL

    def read(self, lab: Lab, items: Sequence[Any], tables: Tables) -> ReadTrees:
        """Sentences ready to be probed. Raises `InputError` for fewer than three, or heads in a circle."""
        sites = self.where(lab)
        table = read_table(lab, items, sites, read=tables.own)
        parts, notes = table.parts(lab.rng("parts"))
        other = read_table(lab, items, sites, read=tables.other) if tables.twinned else None
        width = table.values[sites[0]][0].shape[1]
        how = Training(min(self.rank, width), self.n_steps, self.batch, self.rate)
        return ReadTrees(sites, table, parts, notes, tables.twin, other, tables.why, how)
