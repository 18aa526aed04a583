"""A divided study of activations: every item is read once at some places, and all the rest is done with the table.

Subclasses say where (`where`), what of an item (`marked`) and what is made of the tables (`found`). Asked about all items at once they
read what they need; in stretches all items are read and kept (`models.harvested`), though `found` may leave some of them out.

Cost: a forward an item, and one of the twin; a part is marks x places x width float32, twice.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from exegete.core.material import Marked, Parsed
from exegete.core.results.finding import Finding
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import twin_of
from exegete.models.harvest import words_of
from exegete.models.harvested import Gathered, Here, Tables, Vectors, vectors
from exegete.models.lab import Lab


class Harvested(Divided):
    """Base of the studies that look at activations of their items' marks. `twinned`: also at those of randomised weights."""

    part: ClassVar[type[Value]] = Vectors
    twinned: ClassVar[bool] = True

    @abstractmethod
    def where(self, lab: Lab) -> tuple[Site, ...]:
        """Where activations are read."""

    @abstractmethod
    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> Finding:
        """The finding of `items`. What it asks of `tables` are marks of `marked`, at `where`, with `pooling`."""

    def marked(self, item: Any) -> Marked | None:
        """What is read of one item; None: nothing. Of a parsed sentence the words."""
        return words_of([item])[0] if isinstance(item, Parsed) else item

    def pooling(self, items: Sequence[Marked]) -> str:
        """How tokens become a vector."""
        return str(getattr(self, "pool", "last"))

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Vectors]:
        """The activations of every item. The parts are kept, so that the tables they are cut from need not be."""
        marked = [self.marked(i) for i in items]
        return vectors(
            self._here(lab, keep=False), marked, self.where(lab), self.pooling([m for m in marked if m])
        )

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Vectors], target: Target, n_failed: int = 0
    ) -> Finding:  # fmt: skip
        """The finding, from what was read."""
        return with_failed(self.found(lab, items, Gathered(parts), target), n_failed)

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Finding:
        """The finding, read as it is needed."""
        return self.found(lab, items, self._here(lab), target)

    def _here(self, lab: Lab, keep: bool = True) -> Here:
        twin, why = twin_of(lab) if self.twinned else (None, "")
        return Here(lab, twin, why, keep)
