"""`exegete heads`: what does each head do?"""

from exegete.cli.study import verb

heads = verb(
    "heads",
    "head_types",
    "Say what each head does: what it looks at, what it copies, what is lost without it.",
)
