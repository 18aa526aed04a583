"""`exegete probe`: what does each layer know of the words?"""

from exegete.cli.study import verb

probe = verb(
    "probe",
    "layer_probe",
    "Ask what each layer knows (parts of speech, trees, names, meaning), beside what a control would know.",
)
