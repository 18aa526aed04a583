"""Records of all neurons of a 6-layer model against the bare forward pass, and their memory on corpora of two sizes.

6 x 768 (GPT-2-small width, 18,432 neurons), texts of 16 to 64 tokens. Limit: the module's own forward without its head, on the
same batches. Values first: the top k of one layer against sorting everything. Goals: 1.15 x the bare pass; memory that does not
grow with the corpus (a small model over 600 texts, then over ten times as many).
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.models.encode import encode
from exegete.models.forward import buckets
from exegete.models.harvest import layer_sites, stream
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model
from exegete.ops.topk_stream import UnitStream
from timing import agree, compare, emit, peak_mb, word_tokenizer

K = 20
rng = np.random.default_rng(0)


def corpus(n: int) -> list[Text]:
    """`n` texts of random words."""
    return [
        Text(ids=tuple(int(i) for i in rng.integers(6, 5000, int(rng.integers(16, 65))))) for _ in range(n)
    ]


class Made(Sequence[Text]):
    """`n` short texts of random words that are made when they are read, so that the corpus itself takes no memory."""

    def __init__(self, n: int, first: int = 0) -> None:
        self.n, self.first = n, first

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            low, high, _ = i.indices(self.n)
            return Made(high - low, self.first + low)
        if not 0 <= i < self.n:
            raise IndexError(i)
        draw = np.random.default_rng(self.first + i)
        return Text(ids=tuple(int(j) for j in draw.integers(6, 5000, int(draw.integers(4, 13)))))


def records(texts: Sequence[Text], of: Model) -> dict[Site, UnitStream]:
    """What `neuron_records` holds of every neuron."""
    held: dict[Site, UnitStream] = {}
    for chunk in stream(Lab(of), texts, layer_sites(of, "mlp_act", first=False)):
        for site, values in chunk.values.items():
            held.setdefault(site, UnitStream(values.shape[1], K)).add(values, chunk.text, chunk.position)
    return held


def bare(texts: list[Text]) -> None:
    """The same batches through the bare module, its head left out."""
    lab, base = Lab(model), cast(Any, model.module.base_model)
    read = [encode(model, t) for t in texts]
    for members in buckets([len(e.tokens) for e in read], model.token_budget):
        with torch.no_grad():
            base(**lab.batch_of([read[m] for m in members]).inputs, use_cache=False)


small = GPT2Config(n_layer=2, n_embd=64, n_head=2, vocab_size=5000, n_positions=128)
light = load((AutoModelForCausalLM.from_config(small).eval(), word_tokenizer(5000)))
# Both fill the samples of 512, so that only what grows with the texts can differ; before the large model, whose peak would hide it.
for n in (600, 6000):
    before = peak_mb()
    records(Made(n), light)
    grown = peak_mb() - before
    goal = {} if n == 600 else {"goal_mb": 5.0, "reached": grown <= 5.0}
    emit("memory", bench="records", texts=n, peak_mb=peak_mb(), grown_mb=grown, **goal)

torch.manual_seed(0)
config = GPT2Config(n_layer=6, n_embd=768, n_head=12, vocab_size=5000, n_positions=128)
model = load((AutoModelForCausalLM.from_config(config).eval(), word_tokenizer(5000)))

few = corpus(60)
kept: list[np.ndarray] = []
for chunk in stream(Lab(model), few, ["2.mlp_act"]):
    values = chunk.values[Site("mlp_act", layer=2)].numpy()
    starts = np.flatnonzero(np.r_[True, chunk.text[1:] != chunk.text[:-1]])
    kept.append(np.maximum.reduceat(values, starts))
slow = -np.sort(-np.concatenate(kept), axis=0)[:K].T
agree("records", "top k of layer 2", records(few, model)[Site("mlp_act", layer=2)].value, slow, 1e-5)
del kept, slow

texts = corpus(200)
compare(
    "records",
    {"bare": lambda: bare(texts), "records": lambda: records(texts, model)},
    "bare",
    rounds=3,
    goal={"records": 1.15},
    warm=False,
)
