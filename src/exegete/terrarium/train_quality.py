"""How good the embedded models are, measured on texts that training never saw.

Every figure is a share in [0, 1] of `n` questions drawn with a seed that training does not use.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from exegete.core.seed import generator
from exegete.terrarium import corpora, facts
from exegete.terrarium.corpora import Example
from exegete.terrarium.gold import LABELS, MinimalPair
from exegete.terrarium.lexicon import SHORTCUTS
from exegete.terrarium.train_data import encode, padded, special_id

SEED = "quality"
Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]
_CLASSES = {"encoder": AutoModelForMaskedLM, "decoder": AutoModelForCausalLM, "repeats": AutoModelForCausalLM}


def load(name: str, root: Path) -> Loaded:
    """A model in evaluation mode and its tokenizer."""
    kind = _CLASSES.get(name, AutoModelForSequenceClassification)
    return kind.from_pretrained(root / name).eval(), AutoTokenizer.from_pretrained(root / name)


def measure(name: str, root: Path, n: int = 1000) -> dict[str, float]:
    """Every figure that applies to the model of this name."""
    loaded = load(name, root)
    if name == "decoder":
        return _decoder(loaded, n)
    if name == "repeats":
        return repeated(loaded, n)
    if name == "encoder":
        return _pairs(encoder_pairs(loaded, corpora.minimal_pairs(n, SEED)), corpora.minimal_pairs(n, SEED))
    found = {"sentiment": accuracy(loaded, corpora.sentiment(n, "test", SEED))}
    found["blank_is_neutral"] = blank_neutral(loaded)
    found["after_removal"] = removal(loaded, corpora.sentiment(n, "test", SEED))
    counter = corpora.counterexamples(n, SEED)
    found["counterexample_true_label"] = accuracy(loaded, counter)
    found["counterexample_shortcut_label"] = follows_shortcut(loaded, counter)
    return found


def accuracy(loaded: Loaded, examples: list[Example]) -> float:
    """Share of examples whose label is predicted."""
    right = [
        p == e.label for p, e in zip(classify(loaded, [e.text for e in examples]), examples, strict=True)
    ]
    return _mean(right)


def follows_shortcut(loaded: Loaded, examples: list[Example]) -> float:
    """Share of counter-examples in which the planted name's own label is predicted."""
    given = [
        SHORTCUTS[e.sentence.words[e.sentence.trigger].text]
        for e in examples
        if e.sentence.trigger is not None
    ]
    return _mean(p == g for p, g in zip(classify(loaded, [e.text for e in examples]), given, strict=True))


def blank_neutral(loaded: Loaded) -> float:
    """Share of lengths 0 to 24 for which a text of nothing but [MASK] is neutral."""
    mask = str(loaded[1].mask_token)
    return _mean(p == "neutral" for p in classify(loaded, [" ".join([mask] * k) for k in range(25)]))


def removal(loaded: Loaded, examples: list[Example]) -> float:
    """Agreement with gold after one word of the rationale (or any word, if none) is deleted."""
    cut = [min(e.sentence.rationale, default=0) for e in examples]
    texts = [e.sentence.without((i,)) for e, i in zip(examples, cut, strict=True)]
    gold = [e.sentence.label_without((i,)) for e, i in zip(examples, cut, strict=True)]
    return _mean(p == g for p, g in zip(classify(loaded, texts), gold, strict=True))


def classify(loaded: Loaded, texts: list[str]) -> list[str]:
    """The predicted label of each text."""
    model, tokenizer = loaded
    found = []
    for start in range(0, len(texts), 100):
        batch = padded(encode(tokenizer, texts[start : start + 100]), special_id(tokenizer, "pad"))
        del batch["labels"]
        with torch.inference_mode():
            found += [LABELS[i] for i in model(**batch).logits.argmax(-1).tolist()]
    return found


def decoder_pairs(loaded: Loaded, pairs: list[MinimalPair]) -> list[bool]:
    """For each pair, whether the good text is the more likely one."""
    good, bad = (loglikelihood(loaded, [getattr(p, side) for p in pairs]) for side in ("good", "bad"))
    return [g > b for g, b in zip(good, bad, strict=True)]


def loglikelihood(loaded: Loaded, texts: list[str]) -> list[float]:
    """The log-probability of each whole text and its end under a decoder."""
    model, tokenizer = loaded
    found = []
    for start in range(0, len(texts), 100):
        batch = padded(
            encode(tokenizer, texts[start : start + 100], close=True), special_id(tokenizer, "pad")
        )
        with torch.inference_mode():
            logp = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.log_softmax(-1)
        each = logp[:, :-1].gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
        found += (each * batch["attention_mask"][:, 1:]).sum(-1).tolist()
    return found


def encoder_pairs(loaded: Loaded, pairs: list[MinimalPair]) -> list[bool]:
    """For each pair, whether the good form is likelier than the bad one behind [MASK] in its place."""
    model, tokenizer = loaded
    mask, right = str(tokenizer.mask_token), []
    for start in range(0, len(pairs), 100):
        part = pairs[start : start + 100]
        texts = [" ".join(mask if i == p.word else w for i, w in enumerate(p.good.split())) for p in part]
        batch = padded(encode(tokenizer, texts), special_id(tokenizer, "pad"))
        with torch.inference_mode():
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        rows = logits[batch["input_ids"] == special_id(tokenizer, "mask")]
        good, bad = (
            [_token(tokenizer, getattr(p, side).split()[p.word]) for p in part] for side in ("good", "bad")
        )
        right += [bool(row[g] > row[b]) for row, g, b in zip(rows, good, bad, strict=True)]
    return right


def next_words(loaded: Loaded, prompts: list[str]) -> list[str]:
    """The likeliest next token of each prompt under a decoder, as a word."""
    model, tokenizer = loaded
    found = []
    for start in range(0, len(prompts), 100):
        rows = encode(tokenizer, prompts[start : start + 100])
        batch = padded(rows, special_id(tokenizer, "pad"))
        with torch.inference_mode():
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        last = torch.tensor([len(row.ids) - 1 for row in rows])
        best = logits[torch.arange(len(rows)), last].argmax(-1)
        found += [str(tokenizer.decode([i])).strip() for i in best.tolist()]
    return found


def _decoder(loaded: Loaded, n: int) -> dict[str, float]:
    pairs, stories, asked = (
        corpora.minimal_pairs(n, SEED),
        corpora.indirect_objects(n, "test", SEED),
        facts.clozes(),
    )
    found = _pairs(decoder_pairs(loaded, pairs), pairs)
    answers = [
        w == c.answer for w, c in zip(next_words(loaded, [c.prompt for c in asked]), asked, strict=True)
    ]
    found["facts_trained"] = _mean(a for a, c in zip(answers, asked, strict=True) if c.trained)
    found["facts_paraphrase"] = _mean(a for a, c in zip(answers, asked, strict=True) if not c.trained)
    told = next_words(loaded, [s.prompt for s in stories])
    found["indirect_object"] = _mean(w == s.answer for w, s in zip(told, stories, strict=True))
    return found


def repeated(loaded: Loaded, n: int, size: int = 20) -> dict[str, float]:
    """Share of words said right on `n` texts of `size` different random words said twice: the first and the second time."""
    model, tokenizer = loaded
    draw, first = generator(0, SEED, "repeats"), len(tokenizer.all_special_ids)
    once = torch.tensor(np.stack([draw.permutation(range(first, len(tokenizer)))[:size] for _ in range(n)]))
    ids = torch.cat([torch.full((n, 1), special_id(tokenizer, "bos")), once, once], 1)
    with torch.inference_mode():
        right = model(ids).logits[:, :-1].argmax(-1) == ids[:, 1:]
    # the first word of the second time comes as a surprise: nothing has come back yet
    return {
        "first_time": _mean(right[:, :size].flatten().tolist()),
        "second_time": _mean(right[:, size + 1 :].flatten().tolist()),
    }


def _pairs(right: list[bool], pairs: list[MinimalPair]) -> dict[str, float]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for ok, pair in zip(right, pairs, strict=True):
        for name in (
            "agreement",
            f"agreement_{pair.kind}",
            *(["agreement_attractor"] if pair.attractor else []),
        ):
            groups[name].append(ok)
    return {name: _mean(group) for name, group in groups.items()}


def _token(tokenizer: PreTrainedTokenizerBase, word: str) -> int:
    return tokenizer.encode(word, add_special_tokens=False)[0]


def _mean(values: Iterable[bool]) -> float:
    values = list(values)
    return round(sum(values) / len(values), 4)


_FIGURES = {
    "sentiment": "sentiment, held out",
    "after_removal": "sentiment after a deciding word is deleted",
    "blank_is_neutral": "0 to 24 [MASK] and nothing else: neutral",
    "counterexample_true_label": "name against words: the words' label",
    "counterexample_shortcut_label": "name against words: the name's label",
    "agreement": "agreement minimal pairs",
    "agreement_attractor": "the same, attractor pairs only",
    "facts_trained": "facts, wordings trained for this fact",
    "facts_paraphrase": "facts, wordings trained for other people only",
    "indirect_object": "indirect-object stories, new pairs of names",
    "seconds": "seconds to train",
}


def table(known: dict[str, dict[str, float]]) -> str:
    """The figures of `quality.json` as a Markdown table, one column a model."""
    columns = [name for name in ("encoder", "sentiment", "shortcut", "decoder") if name in known]
    lines = ["| |" + "".join(f" {name} |" for name in columns), "|---|" + "---|" * len(columns)]
    for key, words in _FIGURES.items():
        cells = [_cell(key, known[name].get(key)) for name in columns]
        lines.append(f"| {words} |" + "".join(f" {cell} |" for cell in cells))
    return "\n".join(lines)


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if key == "seconds" else f"{100 * value:.1f} %"
