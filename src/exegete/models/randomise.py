"""The control of an explanation: the same architecture with its weights shuffled.

1. the module is copied (tied weights stay tied, as one tensor);
2. the entries of every floating-point weight tensor are permuted, each by a draw of its own, so that it keeps its
   distribution and forgets what was learned; buffers (positions, masks, frequencies) are structure and stay;
3. the copy answers the same question, explained by the same method: an explanation that does not depend on what the model
   learned looks the same there.

Cost: memory of one more model while a `Randomiser` is alive, time of one pass over the weights; no forward.
Reference: Adebayo et al. 2018, Sanity Checks for Saliency Maps, section 3 (model parameter randomisation).
"""

import copy
import weakref
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from exegete.core.errors import ModelError
from exegete.core.seed import derive
from exegete.models.forward import Meter
from exegete.models.model import Model
from exegete.models.placement import need_here
from exegete.models.question import Question

MOST_PARAMETERS = 500_000_000  # a second copy of more than this is not made unasked


def randomised(model: Model, seed: int = 0) -> Model:
    """A copy of `model` whose weight tensors have their entries permuted; `model` is left bit-identical.

    Raises `ModelError` when no weight is a floating-point tensor (a quantised model keeps its weights in another form).
    """
    need_here(model.module, f"You asked to randomise the weights of {model.name}.")
    module = copy.deepcopy(model.module)
    shuffled = 0
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.is_floating_point() and weight.device.type != "meta":
                weight.copy_(_permuted(weight, derive(seed, "randomise", name)))
                shuffled += weight.numel()
    if not shuffled:
        raise ModelError(
            f"You asked to randomise the weights of {model.name}.",
            "None of its parameters is a floating-point tensor.",
            "Load it unquantised, or skip this control (trust='fast').",
        )
    twin = Model(module, model.tokenizer, model.task, name=f"{model.name} with randomised weights")
    twin.token_budget = model.token_budget
    return twin


def _permuted(weight: torch.Tensor, seed: int) -> torch.Tensor:
    order = torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(seed))
    return weight.flatten()[order.to(weight.device)].view_as(weight)


@dataclass
class Randomiser:
    """Makes randomised copies, once for each model and seed, so that a set of texts pays for one copy.

    Only the latest copy is held, and no longer than the model it was made from. `most_parameters` is the size above which
    no copy is made.
    """

    seed: int = 0
    most_parameters: int = MOST_PARAMETERS
    _held: tuple[weakref.ref[Model], str, Model] | None = field(default=None, repr=False)

    def __call__(self, model: Model, fingerprint: str = "") -> Model:
        """The randomised copy of `model`; a new `fingerprint` (changed weights) makes a new copy.

        Raises `ModelError` above the size limit.
        """
        size = sum(p.numel() for p in model.module.parameters())
        if size > self.most_parameters:
            raise ModelError(
                f"You asked for a control with randomised weights of {model.name}.",
                f"It has {size:,} parameters, and copies are made up to {self.most_parameters:,}.",
                "Skip this control (trust='fast'), or raise the limit: Randomiser(most_parameters=...).",
            )
        if self._held is not None and self._held[0]() is model and self._held[1] == fingerprint:
            return self._held[2]
        twin = randomised(model, self.seed)
        self._held = (weakref.ref(model, self._drop), fingerprint, twin)
        return twin

    def _drop(self, _: weakref.ref[Model]) -> None:
        self._held = None


def asked_of(twin: Model, question: Question) -> Question:
    """The same question put to a randomised model. Raises `ModelError` when its answer is not finite."""
    asked = replace(question, model=twin, meter=Meter(), tick=None, _memo={}, _answers={})
    if not np.isfinite(asked.value()).all():
        raise ModelError(
            f"You asked to explain {twin.name}.",
            "With randomised weights the model returns infinite values.",
            "Skip this control (trust='fast').",
        )
    return asked
