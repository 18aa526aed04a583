"""`exegete neurons`: what does each neuron fire on?"""

from exegete.cli.study import verb

neurons = verb(
    "neurons",
    "neuron_records",
    "Say what single units fire on, how much each is needed, and how well a description of one foretells it.",
)
