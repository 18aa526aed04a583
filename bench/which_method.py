"""Which method should I trust? Every method judged on models and texts with and without known answers. Not a speed bench.

Printed for each model: mean comprehensiveness, sufficiency and their chance and control over a set of texts, the mean
passes of one explanation, and, on the terrarium, how well the gold words (polarity, negation, intensity, contrast) stand
at the top by magnitude (average precision; chance is that of random orders). Real models are read from the folder named by
EXEGETE_DATA, or `shared/data` beside the checkout, and left out with a line when it is absent.

    python bench/which_method.py [n_texts] [terrarium|minilm|stories]
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

import exegete as xg
from exegete.core.errors import ExegeteError
from exegete.terrarium import corpora

METHODS = (
    "saliency", "input_x_gradient", "smoothgrad", "integrated_gradients", "sequential_ig", "discretized_ig", "occlusion",
    "lime", "kernel_shap", "permutation_shapley", "partition_shapley", "lrp", "deep_taylor", "chefer",
)  # fmt: skip
DATA = Path(os.environ.get("EXEGETE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def row(model: xg.Model, texts: list[str], method: str) -> dict:
    """One line of the board; texts that fail are counted."""
    try:
        table = xg.evaluate(model, texts, [method], ["comprehensiveness", "sufficiency"])
    except ExegeteError as e:
        return {"method": method, "refused": str(e)}
    mine = next(t for m, t in zip(table.methods, table.trusts) if m == method)
    out: dict = {"method": method}
    for s in mine.scores:
        out[s.name] = [s.value, s.interval, s.chance, s.control, s.n, s.n_failed]
    out["passes"] = (mine.cost.forwards + mine.cost.backwards) / len(texts)
    return out


def gold(model: xg.Model, sentences: list, method: str, rng: np.random.Generator) -> dict:
    """Average precision of the gold words among all words, ordered by the size of their scores; chance by shuffling."""
    found, chance = [], []
    for s, r in zip(sentences, xg.explain(model, [s.text for s in sentences], method, trust="none")):
        words = _places(s)
        truth = np.array([any(a < u.end and u.start < b for a, b in words) for u in r.units])
        if truth.all() or not truth.any():
            continue
        found.append(average_precision_score(truth, np.abs(r.total)))
        chance.append(np.mean([average_precision_score(truth, rng.random(len(truth))) for _ in range(20)]))
    return {"gold_ap": float(np.mean(found)), "gold_chance": float(np.mean(chance)), "gold_n": len(found)}


def _places(sentence) -> list[tuple[int, int]]:
    """Character ranges of the gold words."""
    at, places = 0, []
    for i, word in enumerate(sentence.words):
        start = sentence.text.index(word.text, at)
        at = start + len(word.text)
        if i in sentence.rationale:
            places.append((start, at))
    return places


def board(name: str, n: int) -> None:
    """All methods on one model."""
    sentences: list = []
    if name == "terrarium":
        model = xg.load("terrarium/sentiment")
        examples = corpora.sentiment(4 * n, split="test", seed=11)
        sentences = [e.sentence for e in examples if e.sentence.rationale][:n]
        texts = [s.text for s in sentences]
    elif name == "minilm":
        model = xg.load(DATA / "models" / "minilm_sst2")
        lines = (DATA / "sst" / "stsa.binary.dev.txt").read_text().splitlines()
        texts = [t for t in (line.split(maxsplit=1)[1] for line in lines) if 5 < len(t.split()) < 25][:n]
    else:
        model = xg.load(DATA / "models" / "stories260K")
        stories = json.loads((DATA / "text" / "tinystories_clean.json").read_text())
        texts = [" ".join(s.split()[:16]) for s in stories if len(s.split()) > 20][:n]
    rng = np.random.default_rng(0)
    for method in METHODS:
        found = row(model, texts, method)
        if sentences and "refused" not in found:
            found |= gold(model, sentences, method, rng)
        print(json.dumps({"kind": "board", "model": name, "n": len(texts), **found}), flush=True)


def main() -> None:
    """The boards asked for."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    for name in sys.argv[2:] or ["terrarium", "minilm", "stories"]:
        if name != "terrarium" and not DATA.is_dir():
            print(
                json.dumps(
                    {"kind": "skipped", "model": name, "why": f"no {DATA.name} folder; set EXEGETE_DATA"}
                )
            )
            continue
        board(name, n)


if __name__ == "__main__":
    main()
