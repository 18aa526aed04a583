"""What the explanations of a data set say together: how far the method can be trusted there, and which words count."""

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding
from exegete.core.value import Value


class WordLead(Value):
    """One word for one target: `lead`, its score less the mean score of the words of its text, over the `n` texts that hold it.

    Scores dealt out at random within each text would have a lead of 0. `interval` is corrected for the number of words looked at.
    """

    target: str
    word: str
    lead: float
    interval: tuple[float, float]
    n: int


class Attributions(Finding):
    """Attributions of `n` rows, `n_failed` more failed. The rows themselves are in the folder of the run."""

    method: str
    model: str
    n: int
    n_failed: int
    predicted: dict[str, int] = {}
    leads: tuple[WordLead, ...] = ()
    failures: tuple[str, ...] = ()
    forwards: int = 0
    backwards: int = 0

    def figures(self) -> tuple[AnyFigure, ...]:
        """The words, and what the model said."""
        words = Table(
            title="Words that count most",
            caption="Lead: the word's score less the mean of its text, over the texts that hold it; scores dealt out at random would "
            "give 0. Intervals of 95 %, corrected for the number of words. Words whose interval holds 0 say nothing.",
            columns=("target", "word", "lead", "low", "high", "texts"),
            rows=tuple((w.target, w.word, w.lead, *w.interval, w.n) for w in self.leads),
        )
        said = Table(
            title="What the model said",
            columns=("prediction", "rows", "share"),
            rows=tuple((k, v, v / max(self.n, 1)) for k, v in self.predicted.items()),
        )
        return (*([words] if self.leads else []), *([said] if self.predicted else []))
