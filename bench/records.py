"""Records of all neurons of a 6-layer model against the bare forward pass, and their memory on corpora of two sizes.

6 x 768 (GPT-2-small width, 18,432 neurons), texts of 16 to 64 tokens. Limit: the module's own forward without its head, on the
same batches. Values first: the top k of one layer against sorting everything. Goals: 1.15 x the bare pass; memory that does not
grow with the corpus.
"""

from typing import Any, cast

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.models.encode import encode
from exegete.models.forward import buckets
from exegete.models.harvest import stream
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.ops.topk_stream import UnitStream
from timing import agree, compare, emit, peak_mb, word_tokenizer

K, LAYERS, WIDTH = 20, 6, 3072
torch.manual_seed(0)
config = GPT2Config(n_layer=LAYERS, n_embd=768, n_head=12, vocab_size=5000, n_positions=128)
model = load((AutoModelForCausalLM.from_config(config).eval(), word_tokenizer(5000)))
rng = np.random.default_rng(0)


def corpus(n: int) -> list[Text]:
    """`n` texts of random words."""
    return [
        Text(ids=tuple(int(i) for i in rng.integers(6, 5000, int(rng.integers(16, 65))))) for _ in range(n)
    ]


def records(texts: list[Text]) -> dict[Site, UnitStream]:
    """What `neuron_records` holds of every neuron."""
    sites = [Site("mlp_act", layer=i) for i in range(LAYERS)]
    held = {s: UnitStream(WIDTH, K) for s in sites}
    for chunk in stream(Lab(model), texts, sites):
        for site, record in held.items():
            record.add(chunk.values[site], chunk.text, chunk.position)
    return held


def bare(texts: list[Text]) -> None:
    """The same batches through the bare module, its head left out."""
    lab, base = Lab(model), cast(Any, model.module.base_model)
    read = [encode(model, t) for t in texts]
    for members in buckets([len(e.tokens) for e in read], model.token_budget):
        with torch.no_grad():
            base(**lab.batch_of([read[m] for m in members]).inputs, use_cache=False)


few = corpus(60)
kept: list[np.ndarray] = []
for chunk in stream(Lab(model), few, ["2.mlp_act"]):
    values = chunk.values[Site("mlp_act", layer=2)].numpy()
    starts = np.flatnonzero(np.r_[True, chunk.text[1:] != chunk.text[:-1]])
    kept.append(np.maximum.reduceat(values, starts))
slow = -np.sort(-np.concatenate(kept), axis=0)[:K].T
agree("records", "top k of layer 2", records(few)[Site("mlp_act", layer=2)].value, slow, 1e-5)
del kept, slow

for n in (100, 400):
    texts = corpus(n)
    before = peak_mb()
    records(texts)
    emit("memory", bench="records", texts=n, peak_mb=peak_mb(), grown_mb=peak_mb() - before)

texts = corpus(200)
compare(
    "records",
    {"bare": lambda: bare(texts), "records": lambda: records(texts)},
    "bare",
    rounds=3,
    goal={"records": 1.15},
    warm=False,
)
