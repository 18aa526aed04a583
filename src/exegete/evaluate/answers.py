"""What a classifier answers to texts: probabilities of its classes, one text at a time, failures counted.

Cost: one forward a text. Shapes: N texts, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.errors import InputError, ModelError
from exegete.core.request import Text
from exegete.core.trust import Cost
from exegete.evaluate.cases import Progress, Quiet, attempt, words
from exegete.models.ask import ask
from exegete.models.model import Model

SHUFFLED = "shuffled answers"
N_SHUFFLES = 200


@dataclass(frozen=True)
class Answers:
    """`probabilities` [N, C] (NaN where a text could not be asked), and in words which could not."""

    labels: tuple[str, ...]
    probabilities: np.ndarray
    failures: tuple[str, ...]
    cost: Cost

    @property
    def known(self) -> np.ndarray:
        """Which texts were answered [N] bool."""
        return np.asarray(np.isfinite(self.probabilities).all(1))

    @property
    def classes(self) -> np.ndarray:
        """The likeliest class [N], -1 where there is no answer."""
        return np.where(self.known, np.nan_to_num(self.probabilities).argmax(1), -1)

    def named(self, i: int) -> str:
        """The class of text i by name; "" without an answer."""
        return self.labels[self.classes[i]] if self.known[i] else ""


def answers(model: Model, texts: Sequence[Text], progress: Progress | None = None) -> Answers:
    """The model's answers. Raises `ModelError` for a model that is no classifier of texts, `InputError` where nothing was answered."""
    only_classifiers(model)
    progress = Quiet() if progress is None else progress
    progress.start(len(texts), "answering")
    rows, failures, cost = [], [], Cost()
    try:
        for i, text in enumerate(texts):
            found, error = attempt(lambda t=text: _asked(model, t))
            rows.append(np.full(len(model.labels), np.nan) if found is None else found[0])
            failures += [] if found is not None else [f"text {i + 1} ({text.text!r:.40}): {words(error)}"]
            cost = cost + (Cost() if found is None else found[1])
            progress.advance()
    finally:
        progress.stop()
    made = Answers(model.labels, np.array(rows), tuple(failures), cost)
    if not made.known.any():
        raise InputError(
            f"You asked {model.name} for the classes of {len(texts)} texts.",
            f"None could be answered: {failures[0] if failures else 'there is no text'}",
            "Mend the texts or choose another model.",
        )
    return made


def only_classifiers(model: Model) -> None:
    """Raises `ModelError` for a model that is no classifier of texts."""
    if model.task != "sequence" or len(model.labels) < 2:
        raise ModelError(
            f"You asked {model.name} for the classes of texts.",
            f"It is a {model.task} model with {len(model.labels)} classes.",
            "Choose a classifier with --model.",
        )


def _asked(model: Model, text: Text) -> tuple[np.ndarray, Cost]:
    question = ask(model, text)
    p = question.reference()[0][0].double().softmax(-1).cpu().numpy()
    return p, question.meter.cost()


def class_of(model_labels: Sequence[str], label: str) -> int:
    """The class that a gold label names, by name (whatever its case) or by number; -1 where the model has none."""
    names = [x.lower() for x in model_labels]
    if label.lower() in names:
        return names.index(label.lower())
    return int(label) if label.isdigit() and int(label) < len(names) else -1


def gold_classes(model: Model, labels: Sequence[str], what: str) -> np.ndarray:
    """The classes of gold labels [N], -1 for those that the model does not know.

    Raises `InputError` where it knows none, `ModelError` for a model that is no classifier.
    """
    only_classifiers(model)
    found = np.array([class_of(model.labels, x) for x in labels], dtype=np.int64)
    if len(found) and (found < 0).all():
        raise InputError(
            f"You asked {model.name} about {what}.",
            f"Their labels ({', '.join(sorted(set(labels))[:5])}) are none of its classes ({', '.join(model.labels)}).",
            "Rename the labels in the file, or set the model's id2label.",
        )
    return found
