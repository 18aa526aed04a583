"""Learning a dictionary on a model: what all studies of features share.

1. texts are split: held-out ones are never trained on; of the others (`activations.Lessons`) activations are streamed, shuffled and
   learned from;
2. beside it stand what would look alike and mean nothing: the same dictionary untrained (random directions, as many on at a
   time), as many principal components, and the same training on the model with shuffled weights.

Cost: one forward a text (and round, where the corpus does not fit into memory), none where a harvest is learned from; one forward a
text for the shuffled model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from exegete.core.errors import InputError, ModelError
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.methods.contracts.twins import twin_of
from exegete.methods.features.activations import Lessons, Rows, batches, read
from exegete.models.lab import Lab
from exegete.ops.dictionary import Dictionary, explained, random_dictionary
from exegete.ops.dictionary_training import Recipe, Trainer, train

ROWS_OF_CONTROLS = 8192  # rows that untrained directions and principal components are fitted on


@dataclass(frozen=True)
class Corpus:
    """Texts to learn from and texts held out."""

    train: tuple[Text, ...]
    held: tuple[Text, ...]


@dataclass(frozen=True)
class Feed:
    """How batches are made: rows a step, and megabytes of the buffer."""

    batch: int
    megabytes: int


def divided(lab: Lab, texts: Sequence[Text], n_held_out: int) -> Corpus:
    """Held-out texts by a seeded draw, and the others less those that say the same. Raises `InputError` for too few."""
    n = min(n_held_out, len(texts) - 1)
    order = lab.rng("held out").permutation(len(texts))
    held = tuple(texts[i] for i in sorted(order[:n]))
    said = {(t.text, t.ids) for t in held}
    rest = tuple(texts[i] for i in sorted(order[n:]) if (texts[i].text, texts[i].ids) not in said)
    if not rest or n < 1:
        raise InputError(
            f"You asked to learn features from {len(texts)} texts.",
            "None is left to learn from when some are held out.",
            "Give more texts, or a smaller n_held_out.",
        )
    return Corpus(rest, held)


def learn(
    lab: Lab, lessons: Lessons, sites: tuple[Site, ...], recipe: Recipe, feed: Feed, words: str
) -> Trainer:
    """A dictionary trained on `lessons`; `sites` is the one place of an autoencoder or the two of a transcoder.

    Raises `ModelError` when the training diverges.
    """
    pairs = len(sites) == 2
    with lab.working(recipe.n_steps, words) as step:

        def told() -> Iterator[Tensor | tuple[Tensor, Tensor]]:
            for rows in batches(lab, lessons, sites, feed.batch, feed.megabytes, str(recipe.seed)):
                step()
                yield (rows[0], rows[1]) if pairs else rows[0]

        trainer = train(told(), recipe)
    if not all(bool(torch.isfinite(t).all()) for t in trainer.weights.named().values()):
        raise ModelError(
            "You asked to train a dictionary of features.",
            f"The training diverged at the learning rate {recipe.rate:g}.",
            "Give a smaller rate.",
        )
    return trainer


@dataclass(frozen=True, eq=False)
class Components:
    """As many principal components as features are on: x -> mean_out + (x - mean) @ map."""

    mean: Tensor
    mean_out: Tensor
    map: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """What the components keep of activations [row, in]."""
        return (x - self.mean) @ self.map + self.mean_out


def components(rows: Rows, k: int) -> Components:
    """The best map of rank k by least squares: principal components (one place), reduced-rank regression (two)."""
    x, y = rows[0].double(), rows[-1].double()
    a, b = x - x.mean(0), y - y.mean(0)
    if len(rows) == 1:
        v = torch.linalg.svd(a, full_matrices=False).Vh[:k]
        return Components(x.mean(0).float(), x.mean(0).float(), (v.T @ v).float())
    full = torch.linalg.lstsq(a, b, driver="gelsd" if a.device.type == "cpu" else None).solution
    v = torch.linalg.svd(a @ full, full_matrices=False).Vh[:k]
    return Components(x.mean(0).float(), y.mean(0).float(), (full @ v.T @ v).float())


def untrained(rows: Rows, n_features: int, k: int, seed: int) -> Dictionary:
    """The same number of random directions, as many on at a time; for a transcoder with the decoder fitted by one factor."""
    x, y = rows[0], rows[-1]
    if len(rows) == 1:
        return random_dictionary(x, n_features, k, seed)
    reader = random_dictionary(x, n_features, k, seed)
    draw = torch.Generator().manual_seed((seed + 1) % (1 << 63))
    out = torch.randn(n_features, y.shape[1], generator=draw).to(x)
    out = out / out.norm(dim=1, keepdim=True)
    bias = -reader.offset @ reader.encoder
    plain = replace(reader, decoder=out, bias=bias, offset=y.mean(0), centred=False)
    moved, wanted = plain(x) - plain.offset, y - plain.offset
    fit = max(float((moved * wanted).sum() / moved.square().sum().clamp_min(1e-30)), 0.0)
    return replace(plain, encoder=plain.encoder * fit, bias=bias * fit)


@dataclass(frozen=True, eq=False)
class Twin:
    """The same on the model with shuffled weights: explained variance of each held-out text, or why it was left out."""

    value: float | None
    skipped: str = ""


def twin(
    lab: Lab, lessons: Lessons, held: Sequence[Text], sites: tuple[Site, ...], recipe: Recipe, feed: Feed
) -> Twin:
    """Explained variance on held-out texts of a dictionary trained on the shuffled model's activations."""
    other, why = twin_of(lab)
    if other is None:
        return Twin(None, why)
    found = learn(other, lessons, sites, recipe, feed, "the same on shuffled weights").dictionary()
    rows = read(other, held, sites).values
    return Twin(explained(rows[-1], found(rows[0])))
