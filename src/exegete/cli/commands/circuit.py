"""`exegete circuit`: which parts do it together?"""

from exegete.cli.study import verb

circuit = verb(
    "circuit",
    "edge_attribution_patching",
    "Find the circuit that does a task, and compare it with random circuits of its size.",
)
