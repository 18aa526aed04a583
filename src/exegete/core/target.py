"""`Target`: the scalar that is explained, as pure data.

kinds    auto          the class the classifier predicts, the token a masked model fills in, the next token a language model prefers
         class         a class of a classifier (by name or index; `position` picks the token of a token classifier)
         next          one next token
         continuation  a given text or token ids after the prompt, one output per token and their total
         generated     what the model itself generates (greedy), one output per token and their total
         mask          what a masked model puts at a mask
scale    logit, logprob, prob, loss (minus log-probability), entropy (of the output distribution, no label needed);
         auto = logit for a single output, logprob for a continuation
against  the foil of a contrast: "this rather than that" explains score(this) - score(that)
"""

from typing import Literal

from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.value import Given

Kind = Literal["auto", "class", "next", "continuation", "generated", "mask"]
Scale = Literal["auto", "logit", "logprob", "prob", "loss", "entropy"]
Label = str | int | tuple[int, ...] | None


class Target(Given):
    """What is explained. `label` is a class name or index, a text, or token ids, as `kind` wants it."""

    kind: Kind = "auto"
    label: Label = None
    against: Label = None
    scale: Scale = "auto"
    position: int | None = Field(
        default=None, description="token index (token classifier) or which mask (masked model)"
    )
    max_new_tokens: int = Field(default=20, ge=1, le=4096, description="length limit of a generated target")

    @classmethod
    def of(
        cls, target: "Target | str | int | None", *, against: Label = None, scale: Scale = "auto"
    ) -> "Target":
        """A target from what people write: nothing (what the model predicts), a name, text, an index, or a `Target`."""
        if isinstance(target, Target):
            extra = {k: v for k, v in (("against", against), ("scale", scale)) if v not in (None, "auto")}
            return target.model_copy(update=extra) if extra else target
        if target in ("entropy", "loss") and against is None:
            return cls(scale=target)  # type: ignore[arg-type]
        if target == "generated":
            return cls(kind="generated", scale=scale)
        if target is not None and not isinstance(target, (str, int)):
            raise UsageError(
                f"You gave the target {target!r}.",
                f"A {type(target).__name__} is not a target.",
                "Give a class name or index, a text, or a Target(...).",
            )
        return cls(label=target, against=against, scale=scale)

    def __str__(self) -> str:
        what = "what the model predicts" if self.label is None else repr(self.label)
        if self.kind not in ("auto", "class"):
            what = f"{self.kind} {what}" if self.label is not None else f"the {self.kind} output"
        foil = f" rather than {self.against!r}" if self.against is not None else ""
        return f"{what}{foil}" + (f" ({self.scale})" if self.scale != "auto" else "")
