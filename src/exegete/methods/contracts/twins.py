"""The control that studies share: the same model with the entries of its weights shuffled, which has learned nothing."""

from exegete.core.errors import ModelError
from exegete.models.lab import Lab
from exegete.models.randomise import Randomiser

TWIN = "the same model with randomised weights"


def twin_of(lab: Lab, seed: int | None = None) -> tuple[Lab | None, str]:
    """A lab with the randomised twin, on the same meter; or None and why there is none (the model is too large to copy).

    `seed` of the shuffling is the lab's own unless given.
    """
    seed = lab.seed if seed is None else seed
    kept = lab.randomiser
    make = kept if kept is not None and kept.seed == seed else Randomiser(seed)
    try:
        return Lab(make(lab.model), seed, lab.meter, progress=lab.progress), ""
    except ModelError as e:
        return None, e.found
