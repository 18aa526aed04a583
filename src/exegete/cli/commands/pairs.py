"""`exegete pairs`: does the model prefer what is said well?"""

from exegete.cli.study import verb

pairs = verb(
    "pairs",
    "minimal_pairs",
    "Ask whether the model finds the acceptable one of two sentences more likely, by phenomenon.",
)
