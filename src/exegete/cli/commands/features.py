"""`exegete features`: into which features do activations fall apart?"""

from exegete.cli.study import verb

features = verb(
    "features",
    "sparse_autoencoder",
    "Train or open a dictionary of sparse features, and show what each stands for and what is lost.",
)
