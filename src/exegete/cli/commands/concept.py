"""`exegete concept`: does the model use a concept?"""

from exegete.cli.study import verb

concept = verb(
    "concept",
    "tcav",
    "Ask whether a direction stands for a concept, and whether the model's answer depends on it.",
)
