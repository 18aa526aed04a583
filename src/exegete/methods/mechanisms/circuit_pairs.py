"""Pairs of texts as circuit studies use them: one aim on the clean texts, the same places read on the corrupt ones.

1. the answer of a pair is what is given, or what the model says on the clean text; the foil likewise on the corrupt text;
   where both are the same token, the answer alone is measured;
2. clean and corrupt must have as many tokens, for a place in one stands for the same place in the other;
3. pairs go in batches under the token budget, one half of them to find a circuit and the other to judge it.

Cost: a pass a text whose answer the model chooses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from exegete.core.errors import InputError, TargetError
from exegete.core.material import Pair
from exegete.core.request import Text
from exegete.core.target import Label, Target
from exegete.models.lab import Aim, Lab
from exegete.models.scale import Row


@dataclass(frozen=True)
class Pairs:
    """Pairs in one batch: the aim at the clean texts, and the inputs of the corrupt ones (the clean ones where there are none)."""

    aim: Aim
    corrupt: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.aim)

    @property
    def length(self) -> int:
        """Tokens of the longest text."""
        return self.aim.inputs["input_ids"].shape[1]

    def take(self, which: Sequence[int]) -> "Pairs":
        """Some of the pairs, without the padding that only the others need."""
        at = list(which)
        width = int(self.aim.inputs["attention_mask"][at].sum(1).max())
        cut = {k: v[at][:, :width] for k, v in self.aim.inputs.items()}
        pick = lambda x: tuple(x[i] for i in at)  # noqa: E731
        a = self.aim
        aim = replace(
            a, inputs=cut, rows=pick(a.rows), tokens=pick(a.tokens), answers=pick(a.answers), foils=pick(a.foils),
            encoded=pick(a.encoded),
        )  # fmt: skip
        return Pairs(aim, {k: v[at][:, :width] for k, v in self.corrupt.items()})

    def batches(self, tokens: int) -> list["Pairs"]:
        """Batches of at most that many tokens, a pair at least."""
        size = max(1, tokens // self.length)
        return [self.take(range(i, min(i + size, len(self)))) for i in range(0, len(self), size)]

    @property
    def plain(self) -> "Pairs":
        """The same pairs, the answers measured alone."""
        return Pairs(
            replace(self.aim, rows=tuple((replace(r[0], foil=None),) for r in self.aim.rows)), self.corrupt
        )

    @property
    def said(self) -> list[str]:
        """What each pair says, whichever pairs stand beside it: a name for its random draws."""
        ids, mask = self.aim.inputs["input_ids"], self.aim.inputs["attention_mask"].sum(1).tolist()
        both = zip(ids.tolist(), self.corrupt["input_ids"].tolist(), mask)
        return [f"{a[:n]} {b[:n]}" for a, b, n in both]

    def halves(self) -> tuple["Pairs", "Pairs"]:
        """Every other pair to find with, the rest to judge with; both are all of them where there is one pair only."""
        if len(self) < 2:
            return self, self
        return self.take(range(0, len(self), 2)), self.take(range(1, len(self), 2))


def read_pairs(
    lab: Lab, items: Sequence[Pair], target: Target, corrupt: bool = True, alike: bool = True
) -> Pairs:
    """Pairs as one batch. `corrupt`: whether corrupt texts are needed. `alike`: where one pair's answers are the same token, the
    answer alone is measured on all of them.

    Raises `InputError` for pairs of unequal length or without the corrupt text they need, `TargetError` for answers of
    several tokens.
    """
    clean = [p.clean for p in items]
    other = [_other(p, corrupt) for p in items]
    aim = _aim(lab, clean, [p.answer for p in items], target)
    there = _aim(
        lab, other, [p.answer if p.answer is not None else r[0].id for p, r in zip(items, aim.rows)], target
    )
    for i, (a, b) in enumerate(zip(aim.tokens, there.tokens)):
        if len(a) != len(b):
            raise InputError(
                f"You gave a pair (number {i}) for a study of circuits.",
                f"Its texts have {len(a)} and {len(b)} tokens: {''.join(a)!r} and {''.join(b)!r}.",
                "Give a corrupt text with as many tokens, so that places correspond.",
            )
    foils = [p.against for p in items]
    against = [_aim(lab, [o if f is None else c], [f], target) for c, o, f in zip(clean, other, foils)]
    rows = [(_contrast(r[0], f.rows[0][0]),) for r, f in zip(aim.rows, against)]
    if alike and any(r[0].foil is None for r in rows):  # numbers that are averaged are of one kind
        rows = [(replace(r[0], foil=None),) for r in rows]
    aim = replace(aim, rows=tuple(rows), foils=tuple(a.answers[0] for a in against))
    return Pairs(aim, there.inputs)


def _other(pair: Pair, needed: bool) -> Text:
    if pair.corrupt is None and needed:
        raise InputError(
            "You asked what parts carry from a corrupt text.",
            f"The pair {pair.clean.text or pair.id!r} has none.",
            "Give a corrupt text; edge_attribution_patching, acdc and circuit_faithfulness also take ablation='mean' or 'zero'.",
        )
    return pair.clean if pair.corrupt is None else pair.corrupt


def _aim(lab: Lab, texts: Sequence[Text], labels: Sequence[Label], target: Target) -> Aim:
    scale = target.scale if target.scale in ("logit", "logprob", "prob") else "logit"
    aim = lab.aim(list(texts), [_target(lab, label, scale) for label in labels])
    long = next((i for i, rows in enumerate(aim.rows) if len(rows) != 1), None)
    if long is not None:
        raise TargetError(
            f"You gave the answer {labels[long]!r} to a study of circuits.",
            f"{lab.model.name} reads it as {len(aim.rows[long])} tokens.",
            "Choose answers of one token each.",
        )
    return aim


def _target(lab: Lab, label: Label, scale: str) -> Target:
    ids = isinstance(label, int) and not isinstance(label, bool) and lab.model.task in ("causal", "masked")
    given: Label = (int(label),) if ids else label  # type: ignore[arg-type]
    return Target(label=given, scale=scale)  # type: ignore[arg-type]


def _contrast(row: Row, foil: Row) -> Row:
    return replace(row, foil=foil.id if foil.id != row.id else None)
