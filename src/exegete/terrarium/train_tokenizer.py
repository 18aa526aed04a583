"""The world's tokenizer: byte-level pieces, in which nearly every word of the world is one token.

1. Normalise to lower case; put one space in front (as before any other word).
2. Spell the text in the 256 byte letters, then cut it into words with the space before them, digits,
   contraction ends (`n't`, `'s`), single punctuation marks and runs of anything else.
3. A piece that is in the vocabulary is one token as it stands (`ignore_merges`); any other piece is built
   from bytes by merges learned on the words of the world.

The mask token takes the space before it along, as a word does, so *the [MASK]* is two tokens.
The vocabulary is: special tokens, 256 bytes, the merged pieces, the words that occur. No text is unknown.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from exegete.terrarium import corpora
from exegete.terrarium.lexicon import PUNCTUATION, polarity, word_forms

SPACE = "Ġ"
PIECES = (
    rf"{SPACE}?(?:(?!n't)[a-z])+|n't|'(?:s|re|ve|ll|d|m)(?![a-z])|{SPACE}?[0-9]|{SPACE}?[!-/:-@\[-`{{-~]"
    rf"|{SPACE}?[^a-z0-9!-/:-@\[-`{{-~{SPACE}]+|{SPACE}"
)
ENCODER_SPECIALS = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
DECODER_SPECIALS = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
MERGES = 220
RARE = 3


def build(out: Path, specials: dict[str, str], length: int) -> PreTrainedTokenizerFast:
    """Make the tokenizer, write it to `out` in the format of transformers, and return it."""
    tokenizer = _shell(_vocabulary(specials.values()))
    tokens = {
        name: AddedToken(text, lstrip=name == "mask_token", special=True) for name, text in specials.items()
    }
    tokenizer.add_special_tokens(list(tokens.values()))
    tokenizer.post_processor = _template(tokenizer, specials)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=length, clean_up_tokenization_spaces=False, **tokens
    )
    fast.save_pretrained(out)
    return fast


def spoken_words(n: int = 60_000) -> Counter[str]:
    """How often each word occurs in `n` texts of the language."""
    cutter = _cutter()
    counts: Counter[str] = Counter()
    for text in corpora.language(n, "tokenizer"):
        counts.update(piece for piece, _ in cutter.pre_tokenize_str(text))
    return counts


def _cutter() -> pre_tokenizers.PreTokenizer:
    byte = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    return pre_tokenizers.Sequence([byte, pre_tokenizers.Split(Regex(PIECES), "isolated")])


def _shell(model: models.Model) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = _cutter()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _vocabulary(specials: Iterable[str]) -> models.BPE:
    """Special tokens first, then bytes and merges, then whole words, each once."""
    pieces, merges = _merges()
    counts = spoken_words()
    words = [SPACE + w for w in word_forms() if counts[SPACE + w] >= RARE or polarity(w)]
    marks = [SPACE + mark for mark in PUNCTUATION]
    order = dict.fromkeys([*specials, *pieces, "n't", "'s", *marks, *words])
    return models.BPE(vocab={piece: i for i, piece in enumerate(order)}, merges=merges, ignore_merges=True)


def _merges() -> tuple[list[str], list[tuple[str, str]]]:
    """Learn a few hundred merges on the world's words; the pieces in order and the merges."""
    learner = _shell(models.BPE())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=256 + MERGES, initial_alphabet=alphabet, show_progress=False)
    words = list(word_forms())
    learner.train_from_iterator(words, trainer)
    pieces = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    known = dict.fromkeys(piece for piece, _ in pieces)
    return list(known), _read_merges(learner)


def _read_merges(learner: Tokenizer) -> list[tuple[str, str]]:
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in merges]


def _template(tokenizer: Tokenizer, specials: dict[str, str]) -> processors.PostProcessor:
    trim = processors.ByteLevel(trim_offsets=True, add_prefix_space=True)
    if "cls_token" in specials:
        cls, sep = specials["cls_token"], specials["sep_token"]
        single, pair = f"{cls} $A {sep}", f"{cls} $A {sep} $B:1 {sep}:1"
        used = (cls, sep)
    else:
        bos = specials["bos_token"]
        single, pair, used = f"{bos} $A", f"{bos} $A $B:1", (bos,)
    ids = [(token, tokenizer.token_to_id(token)) for token in used]
    return processors.Sequence(
        [trim, processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)]
    )
