"""Generic material for any registered study: what it asks about, short enough for tiny models."""

from typing import Any

import torch

from exegete.core.material import Choice, Fact, Minimal, Pair, Parsed
from exegete.core.request import Text
from exegete.methods.contracts.study import Study
from exegete.models.family import bind
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.prove import probe_inputs
from exegete.models.tiny import tiny
from exegete.terrarium.labelled import marked

TREE = Parsed(
    words=("the", "cat", "sat", "on", "the", "mat"),
    heads=(1, 2, -1, 5, 5, 2),
    relations=("det", "nsubj", "root", "case", "det", "obl"),
)


# short enough for models whose tokenizers cut words into bytes
CHOICES = tuple(
    Choice(
        question=f"{who} has 3 mats",
        options=("mat", "cat", "river"),
        answer=what,
        steps=(f"{who} sat on the {what}.", f"the {what} is on the {where}."),
        parts=((f"what has {who}?", what), ("where is #1?", where)),
        lead="it is a",
    )
    for who, what, where in (("mary", "mat", "river"), ("john", "cat", "mat"), ("mary", "river", "cat"))
)

# labelled texts of the embedded language, few and short enough for models whose tokenizers cut them into bytes
N_MARKED = {"concept": 65}


def model_of(family: str, task: str | None = None) -> Model:
    return load(tiny(family, task))


def home(cls: type[Study]) -> Model:
    """A tiny model that the study takes: a decoder where it can."""
    for family, task in (("gpt2", "causal"), ("bert", "masked"), ("bert", "sequence"), ("t5", "seq2seq")):
        if task in cls.tasks:
            return model_of(family, task)
    raise LookupError(cls.id)


def texts(model: Model, n: int = 3) -> tuple[Text, ...]:
    """Ordinary ids of equal number, with a mask at the end where the model fills in masks."""
    rows = torch.cat([probe_inputs(bind(model.module), seed)["input_ids"] for seed in range(n)])[:n].tolist()
    end = [model.tokenizer.mask_token_id] if model.task == "masked" else []
    return tuple(Text(ids=tuple(row + end)) for row in rows)


def material(model: Model, cls: type[Study]) -> Any:
    """Generic material of the kind the study asks about; None for nothing."""
    if cls.asks == "nothing":
        return None
    if cls.asks == "texts":
        return texts(model, min(cls.most or 99, max(3, cls.least)))
    if cls.asks == "pairs":
        ids = [list(t.ids or ()) for t in texts(model, 4)]
        answers = (0, 1) if model.task in ("sequence", "token") else ((21,), (22,))
        made = [Pair.of(a, [*b[:2], *a[2:]], *answers) for a, b in zip(ids[:2], ids[2:])]
        return tuple(made[: cls.most])
    if cls.asks == "trees":
        return (TREE,) * max(6, cls.least)
    if cls.asks == "marked":
        return marked(cls.kind, N_MARKED.get(cls.kind, 24))
    if cls.asks == "questions":
        return CHOICES
    if cls.asks == "minimal":
        said = ("the cat sat on the mat", "john gave a book to mary", "we can do this", "it is a great film")
        rows = [
            Minimal(good=t, bad=" ".join(reversed(t.split())), phenomenon=f"order {i % 2}")
            for i, t in enumerate(said)
        ]
        return tuple(rows)
    mask = f" {model.tokenizer.mask_token}" if model.task == "masked" else ""
    prompts = [f"mary went to the{mask}", f"john gave a{mask}"]
    near = (("the cat sat on the" + mask, "mat"),)
    words = [("mary", "river", "mat"), ("john", "drink", "cat")]
    if model.task == "masked":
        words, near = [("mary", "the", "a"), ("john", "a", "the")], ((near[0][0], "the"),)  # one token each
    if model.task in ("sequence", "token"):
        words, near = [("mary", "positive", ""), ("john", "negative", "")], ()
    made = [
        Fact(prompt=p, subject=s, answer=a, new=b, paraphrases=(p,), neighbours=near)
        for p, (s, a, b) in zip(prompts, words)
    ]
    return tuple(made[: cls.most])
