"""Behavioural tests of a classifier, as data: contrast sets, and tests of capabilities.

ContrastSet   an original text and perturbed ones that stay close to it, each with its gold label
BehaviourCase      what is looked at together: a text with its label (MFT), or an original and its perturbed texts (INV, DIR)
BehaviourTest a named test of one capability: cases of one type, with what is expected

Types of tests: MFT a minimum of functionality (the label must come out); INV invariance (the class must stay); DIR a direction (the
probability of a class must move, or must not). References: Gardner et al. 2020 (arXiv:2004.02709); Ribeiro et al. 2020
(arXiv:2005.04118).
"""

from typing import Literal

from pydantic import Field, model_validator

from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.core.value import Given

Kind = Literal["MFT", "INV", "DIR"]
Change = Literal["up", "down", "not up", "not down"]


class ContrastSet(Given):
    """Texts that stay close to the first, the original, with the gold label of each."""

    texts: tuple[Text, ...] = Field(min_length=2)
    labels: tuple[str, ...]
    id: str = ""

    @model_validator(mode="after")
    def _labelled(self) -> "ContrastSet":
        if len(self.labels) != len(self.texts):
            raise InputError(
                f"You gave a contrast set of {len(self.texts)} texts.",
                f"It has {len(self.labels)} labels.",
                "Give one each.",
            )
        return self


class Expectation(Given):
    """What a direction test expects of the probability of `label` ("" : the class of the original): to move by at least `by`, or
    ("not up", "not down") to move by no more than that.
    """

    change: Change
    label: str = ""
    by: float = Field(default=0.1, ge=0, le=1)


class BehaviourCase(Given):
    """One case: of MFT one text and its `label` (with `negated` any label but that); else an original and its perturbed texts."""

    texts: tuple[Text, ...] = Field(min_length=1)
    label: str = ""
    negated: bool = False


class BehaviourTest(Given):
    """Cases of one type that test one capability; `expect` is what a DIR test expects."""

    name: str
    capability: str
    kind: Kind
    cases: tuple[BehaviourCase, ...] = Field(min_length=1)
    expect: Expectation | None = None

    @model_validator(mode="after")
    def _fits(self) -> "BehaviourTest":
        lone = self.kind == "MFT"
        for k, case in enumerate(self.cases, 1):
            if (len(case.texts) == 1) != lone:
                raise InputError(
                    f"You gave the {self.kind} test {self.name!r}.",
                    f"Example {k} has {len(case.texts)} texts.",
                    "MFT examples are one text each; INV and DIR examples an original and at least one perturbed text.",
                )
            if lone and not case.label:
                raise InputError(
                    f"You gave the MFT test {self.name!r}.",
                    f"Example {k} has no label.",
                    'Give "label" (or "not_label") to the example or to the whole test.',
                )
        if (self.kind == "DIR") != (self.expect is not None):
            raise InputError(
                f"You gave the {self.kind} test {self.name!r}.",
                "It does not say which way the output should move."
                if self.expect is None
                else "Only DIR tests expect a direction.",
                'Give "expect": {"label": "positive", "change": "not down"} to DIR tests, and to no others.',
            )
        return self
