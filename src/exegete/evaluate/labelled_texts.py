"""Labelled texts as small classifiers read them: plain words, one label, in two parts of which no text is in both.

Every fourth text of a label is held out. Texts that are equal word for word count once. Cost: none.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exegete.core.errors import InputError
from exegete.core.material import Marked
from exegete.core.seed import generator
from exegete.models.small_classifier import plain_words

FEWEST = 4  # texts of a label: three to train on and one held out


@dataclass(frozen=True)
class LabelledTexts:
    """Texts of plain words with a label each, the `labels` from the most frequent down, and the numbers of those held out."""

    texts: tuple[str, ...]
    told: tuple[str, ...]
    labels: tuple[str, ...]
    held_out: tuple[int, ...]

    @classmethod
    def of(cls, items: Sequence[Any], where: str, seed: int = 0) -> "LabelledTexts":
        """From marked texts, by their first mark; labels with fewer than four texts are left out.

        Raises `InputError` where fewer than two labels are left. `where` names the study.
        """
        found: dict[str, str] = {}
        for item in items:
            words = plain_words(item.text) if isinstance(item, Marked) else ""
            if words:
                found.setdefault(words, str(item.marks[0].label))
        counts = Counter(found.values())
        labels = tuple(label for label, n in counts.most_common() if n >= FEWEST)
        if len(labels) < 2:
            raise InputError(
                f"You asked for {where!r} on {len(items)} labelled texts.",
                f"Fewer than two labels have {FEWEST} different texts ({dict(counts.most_common(5))}).",
                "Give texts with their labels, several of each of at least two labels.",
            )
        rows = [(t, label) for t, label in found.items() if label in labels]
        order = generator(seed, "labelled texts").permutation(len(rows)).tolist()
        rows = [rows[i] for i in order]
        seen: Counter[str] = Counter()
        held = []
        for i, (_, label) in enumerate(rows):
            seen[label] += 1
            if seen[label] % FEWEST == 0:
                held.append(i)
        return cls(tuple(t for t, _ in rows), tuple(x for _, x in rows), labels, tuple(held))

    @property
    def training(self) -> tuple[int, ...]:
        """The numbers of the texts that are not held out."""
        held = set(self.held_out)
        return tuple(i for i in range(len(self.texts)) if i not in held)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word, sorted."""
        return tuple(sorted({w for t in self.texts for w in t.split()}))

    @property
    def longest(self) -> int:
        """Words of the longest text."""
        return max(len(t.split()) for t in self.texts)
