"""Whether the words an answer hangs on are those its explanation hangs on."""

import numpy as np

from exegete.core.figure import AnyFigure, Table, Tokens
from exegete.core.results.finding import Finding

N_TEXTS = 4


class SelfConsistency(Finding):
    """Contributions of the words of every question to its answer and to the explanation of it.

    `words` [word] are those of all questions, question i from `offsets[i]` to `offsets[i + 1]`; `to_answer`, `to_explanation` and
    `to_other` [word] their contributions to the answer, to the explanation, and to the explanation of another question. `cosine`
    [question, 3] holds the cosine of answer and explanation, what it is on average when words are shuffled, and that of answer and
    other explanation; `spearman` [question, 2] the rank correlation with the explanation and the other one (NaN: all alike).
    """

    method: str
    words: tuple[str, ...]
    offsets: np.ndarray
    to_answer: np.ndarray
    to_explanation: np.ndarray
    to_other: np.ndarray
    answers: tuple[str, ...]
    explanations: tuple[str, ...]
    cosine: np.ndarray
    spearman: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """A row a question, and the words of the first ones."""
        table = Table(
            title="Question by question",
            caption="Cosine of the contributions of the question's words: 1: answer and explanation hang on the same words alike.",
            columns=("answer", "explanation", "cosine", "shuffled words", "another explanation", "Spearman"),
            rows=tuple(
                (a, e, *map(_known, c), _known(s[0]))
                for a, e, c, s in zip(self.answers, self.explanations, self.cosine, self.spearman)
            ),
        )
        return (table, *(f for i in range(min(N_TEXTS, len(self.answers))) for f in self._texts(i)))

    def _texts(self, i: int) -> tuple[Tokens, Tokens]:
        part = slice(int(self.offsets[i]), int(self.offsets[i + 1]))
        both = (
            ("answer", self.answers[i], self.to_answer),
            ("explanation", self.explanations[i], self.to_explanation),
        )
        made = tuple(
            Tokens(
                title=f"Question {i + 1}: what does the {what} hang on?",
                caption=f"{said:.160} (each word's share of all contributions)",
                label=f"question {i + 1}, {what}",
                tokens=tuple(f"{w} " for w in self.words[part]),
                values=x[part],
                signed=True,
                unit="share",
            )
            for what, said, x in both
        )
        return made[0], made[1]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
