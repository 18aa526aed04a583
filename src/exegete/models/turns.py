"""Taking turns: threads of which only one runs at any moment, so that several explanations can wait for one shared pass.

A `Lane` works on some items. Where it would run the model it hands in what it asks and gives up its turn; `models.pool`
runs what all lanes have handed in and gives the turns back. This file knows nothing of how a pass is made.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from exegete.models.forward import Batch, Meter
    from exegete.models.model import Model
    from exegete.models.question import Question

_here = threading.local()


@dataclass
class Ids:
    """Asked by token ids: logits [batch, row, vocab] without gradient."""

    model: "Model"
    batch: "Batch"
    meter: "Meter"

    def __len__(self) -> int:
        return len(self.batch.main)


@dataclass
class Points:
    """Asked by embeddings [P, S, d]: output values [P, R] and gradients of the total [P, S, d]."""

    question: "Question"
    points: Tensor

    @property
    def model(self) -> "Model":
        """The model that is asked."""
        return self.question.model

    def __len__(self) -> int:
        return len(self.points)


class Stop(BaseException):
    """Unwinds the lanes that still wait when one has failed."""


@dataclass
class Lane:
    """One thread: it runs only between `go` and the release of `turn`. `found` takes its results by place."""

    model: "Model"
    items: list[tuple[int, Any]]
    work: Callable[[Any], Any]
    turn: threading.Semaphore
    found: dict[int, Any]
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    asked: Ids | Points | None = None
    answer: Any = None
    error: BaseException | None = None
    done: bool = False
    stop: bool = False

    def run(self) -> None:
        """The thread's work, item by item; what is raised is kept for the caller's thread."""
        self.go.acquire()
        _here.lane = self
        try:
            for place, item in self.items:
                if self.stop:
                    raise Stop
                self.found[place] = self.work(item)
        except Stop:
            self.stop = True
        except BaseException as e:  # noqa: BLE001 (raised again in the caller's thread)
            self.error = e
        self.done = True
        self.turn.release()

    def let(self) -> None:
        """Give the turn to this lane and wait until it gives it back."""
        self.go.release()
        self.turn.acquire()

    def wait(self, asked: Ids | Points) -> Any:
        """Hand in what is asked, give up the turn, and come back with the answer."""
        self.asked = asked
        self.turn.release()
        self.go.acquire()
        if self.stop:
            raise Stop
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def shared(model: "Model") -> Lane | None:
    """The lane of the calling thread, when it works in a pool of `model`; None when it must run passes by itself."""
    lane = getattr(_here, "lane", None)
    return lane if lane is not None and lane.model is model else None
