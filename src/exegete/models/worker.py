"""What all workers of a run share that hold a model: which weights and tokenizer it has, and how it takes less memory at a time.

Cost: the hash of the weights once a model, that of the tokenizer once a run.
"""

from exegete.core.job import Worker
from exegete.models.model import Model, lighter
from exegete.models.reference import identity


class ModelWorker(Worker):
    """A worker that asks a model."""

    def __init__(self, model: Model) -> None:
        self.model, self.fingerprint = model, model.fingerprint

    @property
    def identity(self) -> str:
        """Which weights and tokenizer."""
        return identity(self.model)

    def halve(self) -> bool:
        """Half as many tokens in a pass."""
        return lighter(self.model)
