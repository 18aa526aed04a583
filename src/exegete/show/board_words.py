"""What is said below a board of methods by metrics, for pages, terminals, Markdown and LaTeX alike.

    held      what bold stands for: what the scores were really held against
    paired    that verdicts over texts compare text by text, where they do
    luck      on how many metrics the random row beats chance: as many marks of a method mean little

The random row is the yardstick, not a candidate: it gets no mark. References: Dror et al. 2017 (many tests, some won by luck).
"""

from exegete.core.result import MetricTable
from exegete.core.trust import Score
from exegete.show.words import plural

RANDOM = "random"
YARDSTICK = "a random explanation, the yardstick: what scores like it says nothing"
NO_METHODS = (
    "rationale",
    RANDOM,
)  # rows that no method made: people explain without the model, so they have no control
PAIRED = (
    "Verdicts compare text by text, each value less its own chance or control: the interval of those differences decides, "
    "not that of the value."
)


def held(table: MetricTable) -> str:
    """What bold beats, in words: chance, and the control where one was run."""
    scores = [s for s in _candidates(table) if s.n]
    control = sum(s.control is not None for s in scores)
    if not control:
        return "Bold beats chance; no control was run." if scores else "Nothing was held against chance."
    if control < len(scores):
        return f"Bold beats chance and, on the {control} of {plural(len(scores), 'score')} that have one, the control."
    return "Bold beats chance and control."


def paired(table: MetricTable) -> str:
    """That verdicts compare text by text; empty where none does."""
    beside = (*(s for t in table.trusts for s in t.scores), *table.agreement, *table.by_annotator)
    return PAIRED if any(s.over_chance is not None or s.over_control is not None for s in beside) else ""


def luck(table: MetricTable) -> str:
    """On how many metrics the random row beats chance; empty where on none."""
    rows = [t.scores for name, t in zip(table.methods, table.trusts) if name == RANDOM]
    known = [s for s in rows[-1] if s.standing != "unknown"] if rows else []
    won = sum(s.beats_chance is True for s in known)
    if not won:
        return ""
    return (
        f"Here the random row itself beats chance on {won} of {plural(len(known), 'metric')} (n {max(s.n for s in known)}): "
        "a mark on a single metric means little."
    )


def _candidates(table: MetricTable) -> list[Score]:
    return [s for name, t in zip(table.methods, table.trusts) if name not in NO_METHODS for s in t.scores]
