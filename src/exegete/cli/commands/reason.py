"""`exegete reason`: are reasons in words true to the model that gives them?"""

from exegete.cli.study import verb

reason = verb(
    "reason",
    "chain_of_thought",
    "Ask whether chains of thought and explanations in words are why the model answers as it does.",
)
