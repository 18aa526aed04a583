"""Batches for training: texts to padded tensors, and the ways in which a text is damaged on purpose.

Attribution methods delete, mask and pad words, so the classifiers see such inputs in training, with the
label that the *remaining* evidence earns (`Sentence.label_without`): nothing left means neutral. A damaged
word is deleted, its tokens become [MASK], become [PAD], or are hidden from attention.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random

import torch
from transformers import PreTrainedTokenizerBase

from exegete.terrarium import lexicon as lex
from exegete.terrarium.corpora import Example
from exegete.terrarium.gold import LABELS, Sentence
from exegete.terrarium.inflect import third

Batch = dict[str, torch.Tensor]
IGNORE = -100
POOL = 40
_MARK = re.compile(r"(?<=\w)([.,!:])")


@dataclass(frozen=True)
class Row:
    """One encoded text: ids, which of them may be attended to, and a class (or -1)."""

    ids: tuple[int, ...]
    seen: tuple[int, ...]
    label: int = -1


def special_id(tokenizer: PreTrainedTokenizerBase, name: str) -> int:
    """The id of a special token, `special_id(tokenizer, "pad")`."""
    return int(getattr(tokenizer, f"{name}_token_id"))


def loosen(text: str) -> str:
    """Put a space before each punctuation mark: *good , but bad .*"""
    return _MARK.sub(r" \1", text)


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], close: bool = False) -> list[Row]:
    """Texts to rows with special tokens; `close` adds the end-of-text token (decoder)."""
    end = (special_id(tokenizer, "eos"),) if close else ()
    rows = tokenizer(texts)["input_ids"]
    return [Row((*ids, *end), (1,) * (len(ids) + len(end))) for ids in rows]


def damage(tokenizer: PreTrainedTokenizerBase, example: Example, random: Random) -> tuple[str, Row]:
    """A row of this example with a random share of its words gone, labelled by what is left."""
    sentence, gone = example.sentence, _gone(example.sentence, random)
    way = random.choice(("delete", "mask", "mask", "pad", "hide"))
    label = LABELS.index(_left(example, gone))
    if way == "delete":
        return way, replace(encode(tokenizer, [sentence.without(gone)])[0], label=label)
    coded = tokenizer(sentence.text, return_offsets_mapping=True)
    hit = [_covers(sentence, gone, span) for span in coded["offset_mapping"]]
    blank = {"mask": special_id(tokenizer, "mask"), "pad": special_id(tokenizer, "pad")}.get(way)
    ids = tuple(blank if h and blank is not None else i for i, h in zip(coded["input_ids"], hit, strict=True))
    seen = tuple(int(not (h and way == "hide")) for h in hit)
    return way, Row(ids, seen, label)


def _gone(sentence: Sentence, random: Random) -> set[int]:
    """Any words at a random rate, or only words that play a part in the sentiment."""
    if random.random() < 0.5 and sentence.roles:
        return {i for i in sentence.roles if random.random() < 0.5}
    rate = random.random() ** 0.7
    return {i for i in range(len(sentence.words)) if random.random() < rate}


def _left(example: Example, gone: set[int]) -> str:
    """The label of what is left; a planted name keeps giving its label while it stands."""
    if example.planted and example.sentence.trigger not in gone:
        return example.label
    return example.sentence.label_without(gone)


def _covers(sentence: Sentence, gone: set[int], span: tuple[int, int]) -> bool:
    start, end = span
    return any(start < sentence.spans[i][1] and end > sentence.spans[i][0] for i in gone)


def strange(example: Example, random: Random) -> str:
    """The text with one word that plays no part replaced by letters that mean nothing."""
    sentence = example.sentence
    free = [
        i
        for i, word in enumerate(sentence.words)
        if i not in sentence.roles and word.upos in ("NOUN", "ADJ", "VERB") and i != sentence.trigger
    ]
    if not free:
        return sentence.text
    start, end = sentence.spans[random.choice(free)]
    made_up = "".join(
        random.choice("bcdfghklmnprstvwz") + random.choice("aeiou") for _ in range(random.randint(1, 4))
    )
    return sentence.text[:start] + made_up + sentence.text[end:]


def batches(rows: Iterable[Row], size: int, pad: int, seed: int) -> Iterator[Batch]:
    """Batches of similar length, in random order within a pool of some batches."""
    random, pool = Random(seed), []
    for row in rows:
        pool.append(row)
        if len(pool) == size * POOL:
            yield from _emptied(pool, size, pad, random)
            pool = []
    if pool:
        yield from _emptied(pool, size, pad, random)


def _emptied(pool: list[Row], size: int, pad: int, random: Random) -> Iterator[Batch]:
    pool = sorted(pool, key=lambda row: len(row.ids))
    groups = [pool[i : i + size] for i in range(0, len(pool), size)]
    random.shuffle(groups)
    for group in groups:
        yield padded(group, pad)


def padded(rows: list[Row], pad: int) -> Batch:
    """Right-padded `input_ids`, `attention_mask` and class `labels`."""
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[pad] * (width - len(row.ids))] for row in rows])
    seen = torch.tensor([[*row.seen, *[0] * (width - len(row.seen))] for row in rows])
    return {"input_ids": ids, "attention_mask": seen, "labels": torch.tensor([row.label for row in rows])}


def masked(batch: Batch, mask: int, rates: torch.Tensor, random: torch.Generator) -> Batch:
    """For masked language modelling: choose each token at its own rate; four in five go behind [MASK]."""
    ids = batch["input_ids"]
    chosen = torch.rand(ids.shape, generator=random) < rates[ids] * batch["attention_mask"]
    hidden = chosen & (torch.rand(ids.shape, generator=random) < 0.8)
    labels = ids.masked_fill(~chosen, IGNORE)
    return {
        "input_ids": ids.masked_fill(hidden, mask),
        "attention_mask": batch["attention_mask"],
        "labels": labels,
    }


def mask_rates(tokenizer: PreTrainedTokenizerBase, common: float = 0.2, verbs: float = 0.5) -> torch.Tensor:
    """How often each token is asked: never the special ones, and most often the verbs that show a number."""
    rates = torch.full((len(tokenizer),), common)
    forms = [w for verb in number_verbs() for w in tokenizer.encode(verb, add_special_tokens=False)]
    rates[forms] = verbs
    rates[tokenizer.all_special_ids] = 0.0
    return rates


def number_verbs() -> tuple[str, ...]:
    """The verb forms that differ between singular and plural: *is, are, runs, run, ...*."""
    bases = dict.fromkeys((*lex.INTRANSITIVE, *lex.ANIMAL_VERBS, *lex.OBJECT_VERBS, *lex.TRANSITIVE))
    return ("is", "are", "was", "were", *bases, *map(third, bases))


def causal(batch: Batch) -> Batch:
    """For next-token prediction: labels are the ids, padding ignored."""
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORE)
    return {**batch, "labels": labels}
