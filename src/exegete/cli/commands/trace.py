"""`exegete trace`: where is this fact stored?"""

from exegete.cli.study import verb

trace = verb(
    "trace",
    "causal_tracing",
    "Trace where a fact is stored: which state brings the answer back after the subject was blurred.",
)
