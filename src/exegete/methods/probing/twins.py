"""The control that parameter-free probes share: the same model with the entries of its weights shuffled."""

from exegete.core.errors import ModelError
from exegete.models.lab import Lab
from exegete.models.randomise import Randomiser

TWIN = "the same model with randomised weights"


def twin_of(lab: Lab) -> tuple[Lab | None, str]:
    """A lab with the randomised twin, on the same meter; or None and why there is none (the model is too large to copy)."""
    try:
        return Lab(Randomiser(lab.seed)(lab.model), lab.seed, lab.meter, lab.progress), ""
    except ModelError as e:
        return None, e.found
