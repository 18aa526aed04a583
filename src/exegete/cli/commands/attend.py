"""`exegete attend`: where do the heads look?"""

from exegete.cli.study import verb

attend = verb(
    "attend", "attention_map", "Show where the heads look, and whether that may be read as an explanation."
)
