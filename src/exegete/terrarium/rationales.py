"""Held-out reviews with the words that decide their label: rationales that are true, as the language itself is the judge.

Neutral reviews, which nothing decides, are left out. Cost: none beside generating. The same seed gives the same reviews.
"""

from exegete.core.rationale import Rationale
from exegete.core.request import Text
from exegete.terrarium import corpora


def rationales(n: int, seed: int = 0) -> tuple[Rationale, ...]:
    """`n` reviews with label and rationale, positive and negative ones in equal number where n is even."""
    found: dict[str, list[Rationale]] = {"positive": [], "negative": []}
    size = 2 * n
    while min(map(len, found.values())) < (n + 1) // 2:
        for rows in found.values():
            rows.clear()
        for e in corpora.sentiment(size, "test", f"rationales-{seed}"):
            s = e.sentence
            if s.rationale and e.label == s.label:
                marks = tuple(s.spans[i] for i in sorted(s.rationale))
                found[s.label].append(Rationale(text=Text(text=s.text), label=s.label, marks=(marks,)))
        size *= 2
    both = zip(found["positive"], found["negative"])
    return tuple(r for pair in both for r in pair)[:n]
