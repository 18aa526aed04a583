"""What hypernymy probes find: does the model say what kind of thing a word names, in the singular and in the plural alike?"""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding


class Hypernymy(Finding):
    """Kinds of things in blanks ("a robin is a [MASK]", "robins are [MASK]").

    `words` and their `kinds`; `prompts` and `first` [form][word] what was asked and what the model says first; `ranks` [form, word]
    where the right kind stands (1 best), `other` the same when the word is replaced by one of another kind, `twin` with
    randomised weights (NaN where skipped). A form is right when the kind is among the first `k` `among` what it is ranked in.
    """

    forms: tuple[str, ...]
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    first: tuple[tuple[str, ...], ...]
    ranks: np.ndarray
    other: np.ndarray
    twin: np.ndarray
    k: int
    among: str

    @property
    def consistent(self) -> np.ndarray:
        """Whether a word is right in every form [word]."""
        return np.all(self.ranks <= self.k, axis=0)

    def figures(self) -> tuple[AnyFigure, ...]:
        """Hits by kind and form, and every word."""
        return (self._kinds(), self._words())

    def _kinds(self) -> Table:
        rows = []
        for kind in ("", *dict.fromkeys(self.kinds)):
            mine = np.array([not kind or x == kind for x in self.kinds])
            hits = [round(float((r[mine] <= self.k).mean()), 3) for r in self.ranks]
            both = round(float(self.consistent[mine].mean()), 3)
            other = round(float((self.other[:, mine] <= self.k).mean()), 3)
            twin = self.twin[:, mine]
            untold = None if np.isnan(twin).any() else round(float((twin <= self.k).mean()), 3)
            rows.append((kind or "all", int(mine.sum()), *hits, both, other, untold))
        return Table(
            title="By kind",
            caption=f"Share of words whose kind is among the first {self.k} {self.among}; all forms: right in every one. Beside "
            "it: the same prompts about a word of another kind, and the model with randomised weights.",
            columns=("kind", "words", *self.forms, "all forms", "another word", "randomised"),
            rows=tuple(rows),
        )

    def _words(self) -> Table:
        return Table(
            title="Word by word",
            caption="Where the right kind stands in each form, and what the model says first.",
            columns=(
                "word",
                "kind",
                *(f"rank, {f}" for f in self.forms),
                *(f"said, {f}" for f in self.forms),
            ),
            rows=tuple(
                (w, kind, *(float(r[i]) for r in self.ranks), *(f[i] for f in self.first))
                for i, (w, kind) in enumerate(zip(self.words, self.kinds))
            ),
        )
