"""`exegete sanity`: do methods of explanation depend on what they must, and on nothing else?"""

from exegete.cli.study import verb

sanity = verb(
    "sanity",
    "cascading_randomisation",
    "Check whole methods: does an explanation change with the model, and only with what the model computes?",
)
