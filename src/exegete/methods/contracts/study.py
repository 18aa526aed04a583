"""The contract of a study: a method that asks how a model works, and returns a finding of its own type.

A study implements `study(lab, items, target) -> Finding`. Everything around it is here, once:

1. refuse what the model does not offer, and material of the wrong kind or number;
2. note the logits of a short random text;
3. let the study work, in evaluation mode and without parameter gradients, through a `Lab` that counts;
4. self-check: the same logits again, bit for bit (every hook, edit and mode was taken back);
5. put provenance, cost and check into the frozen finding.

Cost beside the study's own: two forwards of a short text.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, TypeVar

import torch

from exegete.core.errors import InputError, ModelError, UsageError
from exegete.core.material import Choice, Fact, Marked, Minimal, Pair, Parsed
from exegete.core.method import Method
from exegete.core.request import Text
from exegete.core.results.finding import Finding
from exegete.core.target import Target
from exegete.core.trust import Check, Cost
from exegete.core.value import Value
from exegete.methods.contracts.attribution import provenance
from exegete.models.capture import evaluating
from exegete.models.lab import Lab
from exegete.models.model import Model, still
from exegete.models.prove import probe_inputs

T = TypeVar("T")
Asks = Literal["nothing", "texts", "pairs", "facts", "trees", "marked", "minimal", "questions"]
MATERIAL: dict[str, type] = {
    "texts": Text,
    "pairs": Pair,
    "facts": Fact,
    "trees": Parsed,
    "marked": Marked,
    "minimal": Minimal,
    "questions": Choice,
}
ALSO: dict[str, tuple[type, ...]] = {"marked": (Parsed,)}  # a treebank can be read as labelled texts


class Study(Method):
    """Base of all studies. Subclasses set the class attributes and declare their parameters as fields.

    verb     the verb of the command line that reaches it: attend, lens, trace, patch, circuit, heads, edit, probe, pairs, ...
    asks     what it is asked about; `least` and `most` limit the number of items (most 1: a single text or pair)
    kind     which of the terrarium's labelled texts fit it, where it asks about these (`terrarium.labelled`)
    usual    how many of the terrarium's own items are taken where none are named; None: as many as the kind has by default
    finds    the type of its finding
    home     the embedded model it is shown on when none is named
    shows    True for a plain display, which judges and ranks nothing and so has no score
    """

    verb: ClassVar[str] = ""
    asks: ClassVar[Asks] = "texts"
    least: ClassVar[int] = 1
    most: ClassVar[int | None] = None
    kind: ClassVar[str] = ""
    usual: ClassVar[int | None] = None
    finds: ClassVar[type[Finding]] = Finding
    home: ClassVar[str] = "terrarium/decoder"
    shows: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "seq2seq", "sequence", "token")

    @abstractmethod
    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Finding:
        """What is found about `items` (texts, pairs, facts, questions, as `asks` says; none for "nothing").

        `target` is what is explained of each text where the items do not say it themselves.
        """

    def __call__(
        self, model: Model, request: Any = None, target: Target | str | int | None = None, *, progress: Any = None
    ) -> Finding:  # fmt: skip
        """Make the study. `request` is one item or several, or what people write for one (a string, two strings)."""
        self.check(model)
        items = self.items(request)
        lab = Lab(model, seed=int(getattr(self, "seed", 0)), progress=progress)
        found, untouched = self.watched(model, lambda: self.study(lab, items, Target.of(target)))
        return self.signed(found, model, untouched, lab.meter.cost())

    def watched(self, model: Model, work: Callable[[], T]) -> tuple[T, Check]:
        """What `work` returns, done in evaluation mode and without parameter gradients, and whether the model is as it was before."""
        before = _probe(model)
        grad = torch.enable_grad() if "gradients" in self.needs else torch.no_grad()
        with grad, still(model.module):
            found = work()
        moved = float((_probe(model) - before).abs().nan_to_num(0.0).max())
        words = "logits of a short random text, before and after, bit for bit"
        return found, Check.at_most("model untouched", moved, 0.0, words)

    def signed(self, found: Finding, model: Model, untouched: Check, cost: Cost) -> Finding:
        """A finding with its self-check, provenance and cost."""
        told = {"checks": (untouched, *found.checks), "provenance": provenance(self, model), "cost": cost}
        return found.model_copy(update=told)

    def check(self, model: Model) -> None:
        """Refuse a model that lacks what the study needs, before any work."""
        self.require(model.offers, model.name)
        if model.task not in self.tasks:
            raise ModelError(
                f"You asked for the study {self.id!r} on {model.name}.",
                f"It is a {model.task} model; the study works on {', '.join(self.tasks)}.",
                "Choose another study: `exegete list methods`.",
            )

    def items(self, request: Any) -> tuple[Any, ...]:
        """The request as items of the kind the study asks about. Raises `UsageError` and `InputError`."""
        if self.asks == "nothing":
            if request is not None:
                raise UsageError(
                    f"You gave the study {self.id!r} something to read.",
                    "It looks at the weights and its own material, at no text.",
                    "Leave the request out.",
                )
            return ()
        return self.counted(tuple(self.item_of(r) for r in self._several(request)))

    def counted(self, found: tuple[Any, ...]) -> tuple[Any, ...]:
        """The items, of which there must be as many as the study needs. Raises `InputError`."""
        few = len(found) < self.least
        if few or (self.most is not None and len(found) > self.most):
            raise InputError(
                f"You asked for the study {self.id!r} of {len(found)} {self.asks}.",
                f"It needs at least {self.least}." if few else f"It takes at most {self.most}.",
                "Give the material that it asks for; `exegete list methods` says which.",
            )
        return found

    def brings(self) -> tuple[Any, ...] | None:
        """Items that its parameters bring with them, taken where none are given; None: they bring none."""
        return None

    def _several(self, request: Any) -> Sequence[Any]:
        kinds = (MATERIAL[self.asks], *ALSO.get(self.asks, ()))
        if request is None:
            return ()
        if self.asks == "texts":
            many = isinstance(request, (list, tuple)) and all(isinstance(r, (str, Text)) for r in request)
            return request if many else [request]
        if isinstance(request, (list, tuple)) and all(isinstance(r, kinds) for r in request):
            return request
        return [request]

    def item_of(self, item: Any) -> Any:
        """One item, from what people write for it. Raises `UsageError` and `InputError`."""
        kind = MATERIAL[self.asks]
        if isinstance(item, (kind, *ALSO.get(self.asks, ()))):
            return item
        if kind is Text:
            return Text(**item) if isinstance(item, dict) else Text.of(item)
        if kind is Pair and isinstance(item, (list, tuple)) and len(item) == 2:
            return Pair.of(*item)
        if isinstance(item, dict):
            kinds = (kind, *ALSO.get(self.asks, ()))
            kind = next((k for k in kinds if item.keys() <= k.model_fields.keys()), kind)
            return kind(**(item if kind is not Pair else {**item, **_sides(item)}))
        raise UsageError(
            f"You asked for the study {self.id!r} of a {type(item).__name__}.",
            f"It is asked about {self.asks}: {kind.__name__} values.",
            f"Give a {kind.__name__}(...), or a list of them.",
        )


def _sides(pair: dict[str, Any]) -> dict[str, Any]:
    """The texts of a pair written as a record: strings, ids, or records themselves."""
    given = {k: pair[k] for k in ("clean", "corrupt") if pair.get(k) is not None}
    return {k: Text(**x) if isinstance(x, dict) else Text.of(x) for k, x in given.items()}


def _probe(model: Model) -> torch.Tensor:
    """What the bare model says to a short random text."""
    with torch.no_grad(), evaluating(model.module):
        out = model.module(**probe_inputs(model.map, 0))
    found = getattr(out, "logits", None)
    return (found if found is not None else out[0]).clone()


class Divided(Study):
    """A study whose items can be worked on apart: in stretches, in any order, anywhere (`exegete.run`).

    Subclasses implement `work` and `merge` in place of `study`; `part` is the type of what is kept of an item. What `work` makes of an
    item may not depend on which others it is given with (but for rounding), nor on its place among them: random draws are named by what
    the item holds. Work that is the same for all items belongs into `merge`, or is made again for each stretch.
    """

    over_data: ClassVar[str] = "in shards"
    part: ClassVar[type[Value]]
    reduces: ClassVar[bool] = (
        False  # one part for all items of a stretch (sums, the highest k), in place of one an item
    )

    @property
    def whole(self) -> str:
        """Why it looks at all its items at once with these parameters; "" where it can be divided."""
        return ""

    @abstractmethod
    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Sequence[Value]:
        """What is kept of each item, in order: one `part` an item (one in all, where it `reduces`). An item that cannot be
        worked on raises.
        """

    @abstractmethod
    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Any], target: Target, n_failed: int = 0
    ) -> Finding:
        """The finding of `items` and their `parts`, in order (where it `reduces`: of the stretches, in any order). `n_failed` more
        items failed elsewhere, and are counted as such.
        """

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Finding:
        """All items in one stretch, and what is found."""
        return self.merge(lab, items, self.work(lab, items, target), target)
