"""The study of `which-method.md`, from files to boards, in one command.

    python docs/studies/which_method.py --data DATA --body BODY --out OUT [-n 30] [--only terrarium sst]

1. `BODY`, a folder with a small BERT-like encoder (the page used all-MiniLM-L6-v2), gets a head and is fine-tuned, all weights,
   on the sentences of SST with three classes (`DATA/sst/trees/train.txt`). The weights land in OUT and are used again by the
   next run;
2. every method explains `n` held-out sentences, and as many of the embedded terrarium, and is judged by every metric of
   faithfulness and plausibility. What each text scored is kept, so that a run that was stopped goes on;
3. boards are written to OUT/<task>: Parquet, Markdown, LaTeX, HTML.

Cost, on one core: fine-tuning 8 minutes, a text with all methods and metrics 1 minute on MiniLM, 5 seconds on the terrarium.
"""

import argparse
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import exegete as xg
from exegete.evaluate.board import write_board
from exegete.evaluate.contract import faithfulness_metrics, plausibility_metrics
from exegete.evaluate.tasks import task_of

METHODS = (
    "saliency", "input_x_gradient", "smoothgrad", "integrated_gradients", "discretized_ig", "occlusion", "lime", "kernel_shap",
    "partition_shapley", "lrp", "deep_taylor", "chefer", "grad_sam", "attention_rollout", "raw_attention",
)  # fmt: skip
EPOCHS, BATCH, RATE, LONGEST = 1, 32, 5e-5, 64
Rows = list[tuple[str, str]]


def sst(data: Path, split: str) -> Rows:
    """Whole sentences with one of three labels."""
    names, found = ("negative", "negative", "neutral", "positive", "positive"), []
    for line in (data / "sst" / "trees" / f"{split}.txt").read_text().splitlines():
        words = re.findall(r"\([0-4] ([^()\s]+)\)", line)
        found.append((" ".join(words), names[int(line[1])]))
    return found


def fine_tuned(body: str, rows: Rows, test: Rows, out: Path, seed: int = 0) -> xg.Model:
    """A classifier on `body`, trained on `rows`; its accuracy on `test` beside that of always the commonest label."""
    if not (out / "config.json").exists():
        torch.manual_seed(seed)
        labels = sorted({label for _, label in rows})
        tokenizer = AutoTokenizer.from_pretrained(body)
        model = AutoModelForSequenceClassification.from_pretrained(
            body, num_labels=len(labels), id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)}
        )
        train(model, tokenizer, rows, EPOCHS, np.random.default_rng(seed))
        model.eval().save_pretrained(out)
        tokenizer.save_pretrained(out)
    model = xg.load(str(out))
    right = np.array([said(model, text) == label for text, label in test])
    common = Counter(label for _, label in test).most_common(1)[0][1] / len(test)
    half = 1.96 * right.std() / np.sqrt(len(right))
    print(f"{out.name}: accuracy {right.mean():.3f} ± {half:.3f} (n = {len(test)}; always the commonest label: {common:.3f})")
    return model


def train(model, tokenizer, rows: Rows, epochs: int, rng: np.random.Generator) -> None:
    """AdamW with a linear fall of the rate; sentences of like length share a batch."""
    steps = epochs * -(-len(rows) // BATCH)
    best = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    falling = torch.optim.lr_scheduler.LambdaLR(best, lambda i: min(1.0, (i + 1) / 50) * (1 - i / steps))
    model.train()
    for epoch in range(epochs):
        near = sorted(range(len(rows)), key=lambda i: len(rows[i][0].split()) + rng.uniform(0, 4))
        batches = [near[i : i + BATCH] for i in range(0, len(near), BATCH)]
        total = 0.0
        for k in rng.permutation(len(batches)):
            texts, labels = zip(*(rows[i] for i in batches[k]))
            given = tokenizer(list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
            loss = model(**given, labels=torch.tensor([model.config.label2id[n] for n in labels])).loss
            loss.backward()
            best.step()
            falling.step()
            best.zero_grad()
            total += float(loss.detach())
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(batches):.3f}", flush=True)


@torch.inference_mode()
def said(model: xg.Model, text: str) -> str:
    """The predicted label."""
    given = model.tokenizer(text, truncation=True, max_length=LONGEST, return_tensors="pt")
    return model.module.config.id2label[int(model.module(**given).logits.argmax())]


def judged(name: str, model: xg.Model, items: list, out: Path, methods: tuple[str, ...]) -> None:
    """The board of a task, and where it is."""
    home = out / name
    metrics = (*faithfulness_metrics(), *plausibility_metrics())
    table = xg.evaluate(model, items, methods, metrics, folder=str(home))
    write_board(table, str(home))
    print(f"{name}: {len(items)} texts, {table.cost.seconds / 60:.0f} minutes, {home / 'board.html'}", flush=True)


def drawn(items: list, n: int, seed: int = 0) -> list:
    """`n` of the items at random."""
    return [items[i] for i in sorted(np.random.default_rng(seed).choice(len(items), min(n, len(items)), replace=False))]


def main() -> None:
    """All tasks."""
    ask = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ask.add_argument("--data", type=Path, help="a folder with sst/trees/train.txt and dev.txt")
    ask.add_argument("--body", help="a folder with a small encoder")
    ask.add_argument("--out", type=Path, default=Path("which-method"))
    ask.add_argument("-n", type=int, default=30)
    ask.add_argument("--only", nargs="*", default=["terrarium", "sst"], choices=["terrarium", "sst"])
    ask.add_argument("--methods", nargs="*", default=METHODS)
    told = ask.parse_args()
    methods = tuple(told.methods)
    if "terrarium" in told.only:
        judged("terrarium", xg.load("terrarium/sentiment"), list(task_of("terrarium", told.n).items), told.out, methods)
    if "sst" in told.only:
        model = fine_tuned(told.body, sst(told.data, "train"), sst(told.data, "dev"), told.out / "model-sst")
        items = task_of(str(told.data / "sst" / "trees" / "dev.txt")).items
        short = [r for r in items if len(str(r.text.text).split()) <= 24]
        judged("sst", model, drawn(short, told.n), told.out, methods)


if __name__ == "__main__":
    main()
