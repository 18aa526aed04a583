"""`exegete cloze`: what does the model fill in?"""

from exegete.cli.study import verb

cloze = verb(
    "cloze",
    "cloze_facts",
    "Ask what the model fills in: facts, kinds of things, properties, labels under prompts.",
)
