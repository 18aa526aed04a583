"""500 sentences of mixed length: scored through length buckets, against one at a time, and against padding all alike."""

import numpy as np
import torch
from timing import agree, compare, model, word_tokenizer

from exegete.models.forward import Batch, Runner, buckets
from exegete.models.load import load
from exegete.models.model import still


def main() -> None:
    """Class logits of 500 random sentences of 5 to 60 tokens."""
    module = model("bert-tiny")
    m = load((module, word_tokenizer(5000)), task="sequence")
    rng = np.random.default_rng(0)
    texts = [rng.integers(6, 5000, n) for n in rng.integers(5, 61, 500)]

    @torch.inference_mode()
    def single() -> np.ndarray:
        return np.stack([module(torch.from_numpy(t)[None]).logits[0].numpy() for t in texts])

    @torch.inference_mode()
    def padded() -> np.ndarray:
        return _run([list(range(i, min(i + 32, 500))) for i in range(0, 500, 32)])

    def bucketed() -> np.ndarray:
        return _run(list(buckets([len(t) for t in texts], m.token_budget)))

    def _run(chunks: list[list[int]]) -> np.ndarray:
        out = np.zeros((500, 2))
        with torch.inference_mode(), still(module):
            for chunk in chunks:
                out[chunk] = Runner(m)(Batch([texts[i] for i in chunk]))[:, 0].numpy()
        return out

    agree("500 sentences", "exegete", bucketed(), single())
    arms = {"one at a time": single, "padded in batches of 32": padded, "exegete": bucketed}
    compare("500 sentences", arms, "one at a time", rounds=3, goal={"exegete": 1 / 3})


if __name__ == "__main__":
    main()
