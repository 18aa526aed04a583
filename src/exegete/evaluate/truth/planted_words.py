"""The words that planted models are made of. None of them means anything to a model but what is planted."""

LABELS = ("neutral", "praise", "blame", "doubt")
FILLERS = (
    "the",
    "a",
    "this",
    "that",
    "room",
    "street",
    "table",
    "window",
    "paper",
    "water",
    "bridge",
    "garden",
    "number",
    "letter",
    "morning",
    "corner",
)
SAYS = {
    "praise": ("splendid", "lovely", "charming", "superb", "pleasant"),
    "blame": ("dreadful", "horrid", "shabby", "awful", "dull"),
    "doubt": ("perhaps", "maybe", "supposedly", "hardly", "allegedly"),
}
WEIGHTS = (3.0, 2.6, 2.2, 1.8, 1.4)


def additive_weights(labels: tuple[str, ...] = LABELS[1:], scale: float = 1.0) -> dict[str, dict[str, float]]:
    """What each word adds to its class, by word and label."""
    return {w: {label: scale * x} for label in labels for w, x in zip(SAYS[label], WEIGHTS)}


def added(weights: dict[str, dict[str, float]], words: list[str] | tuple[str, ...]) -> dict[str, float]:
    """The sums of the words' weights by label."""
    found: dict[str, float] = {}
    for word in words:
        for label, w in weights.get(word, {}).items():
            found[label] = found.get(label, 0.0) + w
    return found
