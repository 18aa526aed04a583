"""500 sentences of mixed length: scored or explained together, against one at a time.

1. class logits of random sentences of 5 to 60 tokens (BERT 4 x 256) through length buckets, in batches of 32 padded alike,
   and one at a time by plain torch;
2. the same on the embedded sentiment model with sentences of the terrarium, 4 to 25 words;
3. `explain` of the whole list, which shares passes between texts, against a call a text (saliency, self-checks included).
"""

import numpy as np
import torch

import exegete as xg
from exegete.models.forward import Batch, Runner, buckets
from exegete.models.load import load
from exegete.models.model import Model, still
from exegete.terrarium.corpora import sentiment
from timing import agree, compare, model, word_tokenizer

COUNT = 500


def scored(name: str, m: Model, texts: list[np.ndarray], goal: float | None = None) -> None:
    """Class logits of all texts, three ways."""

    @torch.inference_mode()
    def single() -> np.ndarray:
        return np.stack([m.module(torch.from_numpy(t)[None]).logits[0].numpy() for t in texts])

    def run(chunks: list[list[int]]) -> np.ndarray:
        out = np.zeros((len(texts), m.module.config.num_labels))
        with torch.inference_mode(), still(m.module):
            for chunk in chunks:
                out[chunk] = Runner(m)(Batch([texts[i] for i in chunk]))[:, 0].numpy()
        return out

    def padded() -> np.ndarray:
        return run([list(range(i, min(i + 32, len(texts)))) for i in range(0, len(texts), 32)])

    def bucketed() -> np.ndarray:
        return run(list(buckets([len(t) for t in texts], m.token_budget)))

    agree(name, "exegete", bucketed(), single())
    arms = {"one at a time": single, "padded in batches of 32": padded, "exegete": bucketed}
    compare(name, arms, "one at a time", rounds=5, goal={"exegete": goal} if goal else None)


def explained(m: Model, texts: list[str]) -> None:
    """Saliency of all texts: a list, and one call a text."""

    def together() -> list[xg.Attribution]:
        return xg.explain(m, texts, "saliency", trust="none")

    def single() -> list[xg.Attribution]:
        return [xg.explain(m, text, "saliency", trust="none") for text in texts]

    def scores(found: list[xg.Attribution]) -> np.ndarray:
        return np.concatenate([a.total for a in found])

    agree("500 explained", "exegete, a list", scores(together()), scores(single()))
    arms = {"exegete, one at a time": single, "exegete, a list": together}
    compare(
        "500 explained", arms, "exegete, one at a time", rounds=3, goal={"exegete, a list": 1 / 3}, warm=False
    )


def main() -> None:
    """All three."""
    m = load((model("bert-tiny"), word_tokenizer(5000)), task="sequence")
    rng = np.random.default_rng(0)
    scored("500 sentences", m, [rng.integers(6, 5000, n) for n in rng.integers(5, 61, COUNT)], 1 / 3)
    own = load("terrarium/sentiment")
    drawn = [e.text for e in sentiment(4 * COUNT, "test", seed="bench")]
    texts = [t for t in drawn if 4 <= len(t.split()) <= 25][:COUNT]
    scored("500 sentences, terrarium", own, [np.array(own.tokenizer(t).input_ids) for t in texts], 1 / 3)
    explained(own, texts)


if __name__ == "__main__":
    main()
