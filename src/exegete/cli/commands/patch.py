"""`exegete patch`: which state carries it over?"""

from exegete.cli.study import verb

patch = verb(
    "patch",
    "activation_patching",
    "Patch states of one text into another, and measure what each brings over.",
)
