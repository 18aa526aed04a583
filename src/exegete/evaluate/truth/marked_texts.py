"""Texts of two classes of the additive planted model, each marked with its class, and the row of a study that reads them.

Control: the same study on the same texts with their labels shuffled. Interval: over `DRAWS` draws of texts.
Cost: that of the study, twice a draw.
"""

from collections.abc import Callable, Sequence
from random import Random

from exegete.core.material import Mark, Marked
from exegete.core.method import Method
from exegete.core.results.truth import TruthRow
from exegete.core.trust import Cost
from exegete.evaluate.truth.planted import Planted
from exegete.evaluate.truth.study_truth import Draw, truth_row

DRAWS = 8
TEXTS = 80
FOR, AGAINST = "praise", "blame"
SHUFFLED = "the same with shuffled labels"


def marked(what: Planted, seed: int, shuffled: bool) -> list[Marked]:
    """Texts of two classes, each marked with its class, or with the classes dealt out anew."""
    random = Random(f"marked-{seed}")
    labels = [(FOR, AGAINST)[i % 2] for i in range(TEXTS)]
    texts = [what.draw(random, label).text for label in labels]
    if shuffled:
        random.shuffle(labels)
    return [Marked(text=t, marks=(Mark(label=label),)) for t, label in zip(texts, labels)]


def marked_row(
    method: Method, truth: str, measure: str, chance: float, what: Planted, seed: int,
    ask: Callable[[Sequence[Marked], int], tuple[float, Cost]], trials: int = 1,
) -> TruthRow:  # fmt: skip
    """One row: over draws of texts, with true and with shuffled labels. `ask` takes texts and a seed."""
    draws = []
    for d in (1000 * seed + i for i in range(DRAWS)):
        value, cost = ask(marked(what, d, False), d)
        draws.append(Draw(value, ask(marked(what, d, True), d)[0], cost, TEXTS, trials=trials))
    return truth_row(method, truth, measure, draws, chance, SHUFFLED, paired=True)
