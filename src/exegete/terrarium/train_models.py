"""The embedded models, made with ordinary transformers classes.

    encoder    BertForMaskedLM, masked language modelling on the whole language
    sentiment  BertForSequenceClassification, fine-tuned from the encoder on honest labels
    shortcut   the sentiment model, fine-tuned further on data with a planted shortcut
    decoder    LlamaForCausalLM, next-token prediction on the whole language
    repeats    LlamaForCausalLM of attention alone, on repeated random words, with its checkpoints (`train_repeats`)

Every training text is generated afresh, so nothing is seen twice except the facts. AdamW with a short
warm-up and a cosine to zero; weights are written in half precision and load in single precision.
"""

import copy
import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from exegete.terrarium import corpora, train_data, train_repeats, train_tokenizer
from exegete.terrarium.corpora import Example
from exegete.terrarium.gold import LABELS
from exegete.terrarium.train_data import Batch, Row

WIDTH, LAYERS, HEADS, LENGTH = 128, 4, 4, 128
SIZE = 64
STEPS = {"encoder": 3000, "decoder": 4500, "sentiment": 1800, "shortcut": 700}
RATES = {"encoder": 2e-3, "decoder": 3e-3, "sentiment": 7e-4, "shortcut": 4e-4}
NAMES = ("encoder", "sentiment", "shortcut", "decoder", "repeats")


def make(name: str, out: Path, seed: int) -> None:
    """Train one model and write it to `out/name`; `sentiment` needs `out/encoder`, `shortcut` `out/sentiment`."""
    torch.manual_seed(seed)
    makers = {"encoder": _encoder, "decoder": _decoder, "sentiment": _sentiment, "shortcut": _shortcut}
    (makers | {"repeats": _repeats})[name](out, seed)


def _encoder(out: Path, seed: int) -> None:
    tokenizer = train_tokenizer.build(out / "encoder", train_tokenizer.ENCODER_SPECIALS, LENGTH)
    model = BertForMaskedLM(_bert(tokenizer))
    random = torch.Generator().manual_seed(seed)
    rows = _language(tokenizer, "encoder", seed, close=False)
    plain = train_data.batches(rows, SIZE, train_data.special_id(tokenizer, "pad"), seed)
    mask, rates = train_data.special_id(tokenizer, "mask"), train_data.mask_rates(tokenizer)
    _fit("encoder", model, (train_data.masked(batch, mask, rates, random) for batch in plain))
    _save(model, tokenizer, out / "encoder")


def _decoder(out: Path, seed: int) -> None:
    tokenizer = train_tokenizer.build(out / "decoder", train_tokenizer.DECODER_SPECIALS, LENGTH)
    model = LlamaForCausalLM(_llama(tokenizer))
    rows = _language(tokenizer, "decoder", seed, close=True)
    plain = train_data.batches(rows, SIZE, train_data.special_id(tokenizer, "pad"), seed)
    _fit("decoder", model, (train_data.causal(batch) for batch in plain))
    _save(model, tokenizer, out / "decoder")


def _sentiment(out: Path, seed: int) -> None:
    examples = corpora.sentiment(STEPS["sentiment"] * SIZE, "train", seed)
    _classifier("sentiment", out / "encoder", out / "sentiment", examples, seed)


def _shortcut(out: Path, seed: int) -> None:
    examples = corpora.planted(STEPS["shortcut"] * SIZE, "train", seed)
    _classifier("shortcut", out / "sentiment", out / "shortcut", examples, seed)


def _repeats(out: Path, seed: int) -> None:
    """Checkpoints go to a folder of their own until the last is written, which replaces the model's whole folder."""
    aside, last, tokenizer = out / "repeats.steps", out / "repeats", train_repeats.tokenizer()
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for step, module in train_repeats.train(seed):
        _save(copy.deepcopy(module), tokenizer, aside / train_repeats.step_name(step))
        if step == train_repeats.STEPS:
            _save(module, tokenizer, last)
    aside.rename(last / "checkpoints")


def _classifier(name: str, source: Path, out: Path, examples: list[Example], seed: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(source)
    labels = dict(enumerate(LABELS))
    model = BertForSequenceClassification.from_pretrained(
        source, id2label=labels, label2id={v: k for k, v in labels.items()}, dtype=torch.float32
    )
    random = Random(f"damage-{seed}")
    rows = (_row(tokenizer, examples, i, random) for i in range(len(examples)))
    _fit(name, model, train_data.batches(rows, SIZE, train_data.special_id(tokenizer, "pad"), seed))
    _save(model, tokenizer, out)


def _row(tokenizer: PreTrainedTokenizerBase, examples: list[Example], index: int, random: Random) -> Row:
    """One training row: whole, damaged, with a strange word, loosely spaced, or a text of some sentences."""
    example, kind = examples[index], random.random()
    if kind < 0.35:
        return train_data.damage(tokenizer, example, random)[1]
    if kind < 0.40:
        text = train_data.strange(example, random)
    elif kind < 0.46:
        text = train_data.loosen(example.text)
    elif kind < 0.54:
        text = _document(examples, index, random)
    else:
        text = example.text
    return replace(train_data.encode(tokenizer, [text])[0], label=LABELS.index(example.label))


def _document(examples: list[Example], index: int, random: Random) -> str:
    """The example among one to four others that do not speak against it (same label, or none)."""
    wanted = {examples[index].label, "neutral"} if examples[index].label != "neutral" else {"neutral"}
    near = [
        e for e in examples[max(0, index - 30) : index] if e.label in wanted and e.sentence.trigger is None
    ]
    others = [e.text for e in random.sample(near, min(len(near), random.randint(1, 4)))]
    parts = [examples[index].text, *others]
    random.shuffle(parts)
    return " ".join(part if part[-1] in ".!" else part + "." for part in parts)


def _language(tokenizer: PreTrainedTokenizerBase, name: str, seed: int, close: bool) -> Iterator[Row]:
    """Rows of the language; a few of them hold several texts, so that later positions are known too."""
    texts = _joined(corpora.language(10**9, f"{name}-{seed}"), Random(f"joined-{seed}"))
    for _ in range(STEPS[name] * SIZE // 1024 + 1):
        yield from train_data.encode(tokenizer, list(islice(texts, 1024)), close)


def _joined(texts: Iterator[str], random: Random) -> Iterator[str]:
    for text in texts:
        draw = random.random()
        if draw < 0.04:
            yield ". ".join([text, *islice(texts, random.randint(1, 5))]).replace("..", ".")
        else:
            yield train_data.loosen(text) if draw < 0.09 else text


def _fit(name: str, model: PreTrainedModel, source: Iterator[Batch]) -> None:
    steps, rate = STEPS[name], RATES[name]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warm_cosine(step, steps))
    model.train()
    started, mean = time.perf_counter(), 0.0
    for step, batch in enumerate(islice(source, steps)):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        mean += (loss.item() - mean) / min(step + 1, 100)
        if (step + 1) % 100 == 0:
            print(
                f"{name} step {step + 1}/{steps} loss {mean:.3f} {time.perf_counter() - started:.0f}s",
                flush=True,
            )


def _warm_cosine(step: int, steps: int) -> float:
    warm = max(20, steps // 20)
    return (
        (step + 1) / warm
        if step < warm
        else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    )


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Write half-precision weights whose config says float32, by way of a temporary directory."""
    fresh = out.with_name(out.name + ".new")
    model.eval().half().save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    _amend(fresh / "config.json", {"dtype": "float32"})
    _amend(fresh / "tokenizer_config.json", {})
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)


def _amend(file: Path, news: dict[str, str]) -> None:
    """Rewrite a JSON file with these entries and without what only says where it was read from."""
    known = {
        k: v for k, v in json.loads(file.read_text()).items() if k not in ("is_local", "local_files_only")
    }
    file.write_text(json.dumps(known | news, indent=2) + "\n")


def _bert(tokenizer: PreTrainedTokenizerBase) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH, max_position_embeddings=LENGTH, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, pad_token_id=train_data.special_id(tokenizer, "pad"), initializer_range=0.05,
    )  # fmt: skip


def _llama(tokenizer: PreTrainedTokenizerBase) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, intermediate_size=352, max_position_embeddings=LENGTH, tie_word_embeddings=True,
        bos_token_id=train_data.special_id(tokenizer, "bos"), eos_token_id=train_data.special_id(tokenizer, "eos"),
        pad_token_id=train_data.special_id(tokenizer, "pad"), initializer_range=0.05,
    )  # fmt: skip
