"""`exegete edit`: change what a model says."""

from exegete.cli.study import verb

edit = verb(
    "edit",
    "rank_one_edit",
    "Edit what the model says about a fact, measure what else changed, and save the edit.",
)
