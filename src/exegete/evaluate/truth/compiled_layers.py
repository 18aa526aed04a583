"""Models whose layers differ in a known way: sorted heads, units that follow a shift of the text, banded weights.

    sorted_heads   in one layer, every unit of a head carries the same property of a token (where it stands, how long it is,
                   whether it is punctuation); in the other, the properties are dealt to all heads alike
    shifted        the hidden units of one layer say where the last token stands, one a place, so that a text moved to the right
                   by one word permutes them; those of the other layers read places in random mixtures, which no shift permutes
    banded         random weights; in one layer, what attention writes is scaled column by column

Which layer it is, the caller says. Reference: Voss et al. 2021; Olah et al. 2020; Petrov et al. 2021 (all Distill, on vision).
"""

from random import Random

import torch
from torch import Tensor

from exegete.evaluate.truth.blueprint import FREE, Blueprint
from exegete.models.bare import bare_gpt2
from exegete.models.load import load
from exegete.models.model import Model

WORDS = ("a", "so", "the", "fine", "river", "garden", "evening", "mountain", "wonderful")
POINTS = (".", "!")
LAYERS, HEADS, PLACES = 3, 4, 18
LENGTHS = range(3, 15)  # words a text
UNITS = 36  # hidden units a layer that are set


def texts(n: int, seed: int = 0) -> tuple[str, ...]:
    """`n` texts of words and marks, all lengths in turn."""
    random, found = Random(f"layers-{seed}"), []
    for i in range(n):
        length = LENGTHS[i % len(LENGTHS)]
        found.append(" ".join(random.choice((*WORDS, *POINTS)) for _ in range(length)))
    return tuple(found)


def sorted_heads(layer: int, seed: int = 0) -> Model:
    """Two layers; the heads of `layer` are sorted, those of the other are not."""
    b = Blueprint((*WORDS, *POINTS), n_positions=PLACES, spaces={}, heads=HEADS, seed=seed)
    place, random = b.axes("position"), Random(f"sorted {layer} {seed}")
    words, points = b.axes("token", WORDS), b.axes("token", POINTS)
    long = torch.tensor([float(len(w)) for w in WORDS]) @ words + points.sum(0)
    properties = (torch.arange(PLACES) / PLACES @ place, long / 5, points.sum(0))
    junk = b.axes("junk")
    for i in range(2):
        for h in range(HEADS):
            b.match(i, h, place, place, 9.0)
            n = b.head_width
            kinds = [h % 3] * n if i == layer else [random.randrange(3) for _ in range(n)]
            b.move(
                i, h, torch.stack([properties[k] for k in kinds]), junk[[c % len(junk) for c in range(n)]] / n
            )
    return b.build(f"sorted heads in layer {layer}, {seed}")


def shifted(layer: int, seed: int = 0) -> Model:
    """Three layers; the hidden units of `layer` are one a place."""
    b = Blueprint((*WORDS, *POINTS), n_positions=PLACES + 1, spaces={}, layers=LAYERS, seed=seed, leak=0.0)
    place, junk = b.axes("position"), b.axes("junk")
    draw = torch.Generator().manual_seed(seed)
    for i in range(LAYERS):
        for u in range(UNITS):
            mixed = torch.randn(len(place), generator=draw) @ place
            b.unit(
                i, place[LENGTHS[u % len(LENGTHS)]] if i == layer else mixed, 0.0, junk[u % len(junk)] / FREE
            )
    return b.build(f"shifted in layer {layer}, {seed}")


def banded(layer: int, seed: int = 0) -> Model:
    """Four layers of random weights, of which one stands in bands."""
    module, tokenizer = bare_gpt2(WORDS, layers=4, heads=2, width=32, inner=64, positions=PLACES)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=draw) / 32**0.5)
        written: Tensor = module.get_parameter(f"transformer.h.{layer}.attn.c_proj.weight")
        written *= torch.randn(written.shape[1], generator=draw).exp()
    model = load((module, tokenizer), task="causal")
    model.name = f"compiled/banded in layer {layer}, {seed}"
    return model
