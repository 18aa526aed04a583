"""A model by reference: what a worker in another process loads, from the plain data of a plan."""

from exegete.core.job import ModelRef
from exegete.models.load import load
from exegete.models.model import Model


def load_ref(ref: ModelRef) -> Model:
    """The model that a reference names. Raises `ModelError` as `load` does."""
    return load(ref.source, **ref.model_dump(exclude={"source"}))
