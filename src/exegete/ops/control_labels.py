"""Labels as class numbers, and the control task: labels that can only be remembered.

control labels   every word type gets one class, drawn with the shares that classes have among the rows (Hewitt & Liang 2019,
                 section 2): what a probe says of these it learned by heart, not from the representation's structure

Cost: linear. Shapes: labels, words, y [row].
"""

from collections.abc import Sequence

import numpy as np

from exegete.core.errors import InputError


def classes_of(labels: Sequence[object]) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes, sorted, and the class of every row. Raises `InputError` for numbers and for fewer than two classes."""
    numbers = [x for x in labels if not isinstance(x, str)]
    if numbers:
        raise InputError(
            "You asked what representations tell of classes.",
            f"A label is the number {numbers[0]!r:.40}.",
            "Give class names (strings), or choose a probe that predicts numbers.",
        )
    names = tuple(sorted({str(x) for x in labels}))
    if len(names) < 2:
        raise InputError(
            f"You asked what representations tell of the classes of {len(labels)} examples.",
            f"All of them are {names[0]!r}." if names else "There are none.",
            "Give examples of at least two classes.",
        )
    place = {name: i for i, name in enumerate(names)}
    return names, np.array([place[str(x)] for x in labels], dtype=np.int64)


def control_labels(words: Sequence[str], y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A class for every row [row] that depends on its word alone, and on that at random."""
    types = {word: i for i, word in enumerate(dict.fromkeys(words))}
    drawn = rng.choice(y, len(types))
    return drawn[[types[word] for word in words]]
