"""What studies of questions share: who is asked, how many calls may be made, and how a prompt is written."""

from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from exegete.core.method import Need
from exegete.evaluate.respond import ChatRespondent, Frame, LocalRespondent, Respondent
from exegete.methods.contracts.study import Study
from exegete.models.chat.open import chat
from exegete.models.lab import Lab


class QuestionStudy(Study):
    """Base of studies of questions with options."""

    family: ClassVar[str] = "evaluation"
    verb: ClassVar[str] = "reason"
    asks: ClassVar[Any] = "questions"
    tasks: ClassVar[tuple[str, ...]] = ("causal",)
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs")
    frame: str = Field(
        "{question} {chain} {lead}", description="the prompt; {question}, {chain} and {lead} are put in"
    )
    lead: str = Field(
        "So the answer is", description="what stands before the answer where a question has no lead"
    )
    seed: int = Field(0, description="seed of everything that is drawn")

    @cached_property
    def framed(self) -> Frame:
        """How a prompt is written."""
        return Frame(self.frame, self.lead)


class AskingStudy(QuestionStudy):
    """Base of those that ask the model, or any other that answers."""

    answerer: str = Field(
        "", description="who answers: empty: the model; local:NAME, http://HOST/v1#MODEL, script:FILE"
    )
    most_calls: int = Field(
        2000,
        ge=1,
        description="most calls to an answerer that is no local model (where a study is divided: a stretch)",
    )

    def who(self, lab: Lab) -> Respondent:
        """Who answers."""
        return ChatRespondent(chat(self.answerer), self.most_calls) if self.answerer else LocalRespondent(lab)

    def notes_of(self, lab: Lab) -> tuple[str, ...]:
        """Who answered, where it was not the model at hand."""
        return (
            (f"Answers are those of {self.answerer}; {lab.model.name} was not asked.",)
            if self.answerer
            else ()
        )
