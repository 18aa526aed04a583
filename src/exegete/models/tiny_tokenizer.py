"""Small fast tokenizers built in memory, one for each way in which real checkpoints cut and wrap text.

kind        cuts                                             wraps
bytes       byte-level BPE (GPT-2 style)                     nothing
bytes_cls   byte-level BPE                                   <s> ... </s>, has <mask>
llama       BPE on `▁` words, bytes as fallback              <s> ...
wordpiece   lower-cased words, `##` continuations, [UNK]     [CLS] ... [SEP], has [MASK]
bytes_bert  byte-level BPE                                   [CLS] ... [SEP], has [MASK]
spm_cls     unigram on `▁` words, bytes as fallback          [CLS] ... [SEP], has [MASK]
t5          unigram on `▁` words, bytes as fallback          ... </s>

Each is a pure function of its kind: the serialised form is cached, and every call returns a fresh object. About 350 pieces.
"""

import json
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

_TEXT = (
    "the food was not good but the staff were wonderful and the old house in paris is on the river "
    "when mary and john went to the store john gave a drink to mary because she was very thirsty "
    "this film is a great and moving story about people who never give up what they love most "
    "The cat sat on the mat. The capital of France is Paris, isn't it? Yes, it is! I think that we can do this."
)
_SPECIALS: dict[str, dict[str, str]] = {
    "bytes": {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|pad|>"},
    "bytes_cls": {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "cls_token": "<s>",
        "sep_token": "</s>",
    },
    "llama": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    "t5": {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
}
_BERT = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
for _kind in ("wordpiece", "bytes_bert", "spm_cls"):
    _SPECIALS[_kind] = _BERT

KINDS = tuple(_SPECIALS)


def tiny_tokenizer(kind: str, segments: bool = False) -> PreTrainedTokenizerBase:
    """A fresh tokenizer of one of `KINDS` (see the module docstring); `segments`: it also returns token_type_ids."""
    backend = Tokenizer.from_str(_serialised(kind))
    names = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=256, model_input_names=names, **_SPECIALS[kind]
    )


@cache
def _serialised(kind: str) -> str:
    specials = list(dict.fromkeys(_SPECIALS[kind].values()))
    build = {"wordpiece": _wordpiece, "llama": _llama, "t5": _unigram, "spm_cls": _unigram}.get(
        kind, _byte_bpe
    )
    tok = build(specials)
    tok.add_special_tokens(specials)
    _wrap(tok, kind)
    return tok.to_str()


def _byte_bpe(specials: list[str]) -> Tokenizer:
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=350,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tok.train_from_iterator([_TEXT], trainer)
    return tok


def _wordpiece(specials: list[str]) -> Tokenizer:
    ascii_ = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    letters = [c for c in ascii_ if c.isalnum()]
    words = sorted({w.strip(".,!?").lower() for w in _TEXT.split()} - {"isn't"})[::2]
    pieces = specials + ascii_ + [f"##{c}" for c in letters] + [w for w in words if len(w) > 1]
    pieces += ["##ing", "##ed", "##er", "##s", "##ly", "##on", "##th"]
    tok.model = models.WordPiece(vocab={p: i for i, p in enumerate(dict.fromkeys(pieces))}, unk_token="[UNK]")
    return tok


def _spm_pieces() -> tuple[list[str], list[tuple[str, str]]]:
    """Learned `▁` pieces and merges, shared by the BPE and unigram forms."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.train_from_iterator([_TEXT], trainers.BpeTrainer(vocab_size=120, show_progress=False))
    model = json.loads(tok.to_str())["model"]
    return list(model["vocab"]), [tuple(m) for m in model["merges"]]


def _fallback_bytes() -> list[str]:
    return [f"<0x{b:02X}>" for b in range(256)]


def _llama(specials: list[str]) -> Tokenizer:
    pieces, merges = _spm_pieces()
    names = specials + _fallback_bytes() + pieces
    vocab = {p: i for i, p in enumerate(dict.fromkeys(names))}
    tok = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    _metaspace(tok)
    return tok


def _unigram(specials: list[str]) -> Tokenizer:
    pieces, _ = _spm_pieces()
    names = list(dict.fromkeys(specials + _fallback_bytes() + pieces))
    # Longer pieces are likelier than the sum of their parts, so that words stay together where they can.
    scored = [(p, 0.0 if p in specials else -10.0 + 0.5 * len(p)) for p in names]
    unk = next(i for i, p in enumerate(names) if p in ("<unk>", "[UNK]"))
    tok = Tokenizer(models.Unigram(scored, unk_id=unk, byte_fallback=True))
    _metaspace(tok)
    return tok


def _metaspace(tok: Tokenizer) -> None:
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    tok.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )


def _wrap(tok: Tokenizer, kind: str) -> None:
    shape = {
        "bytes_cls": ("<s> $A </s>", "<s> $A </s> </s> $B </s>", ("<s>", "</s>")),
        "llama": ("<s> $A", "<s> $A <s> $B", ("<s>",)),
        "t5": ("$A </s>", "$A </s> $B </s>", ("</s>",)),
    }.get(kind, ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ("[CLS]", "[SEP]")))
    if kind == "bytes":
        tok.post_processor = processors.ByteLevel(trim_offsets=False)
        return
    single, pair, names = shape
    tok.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(n, tok.token_to_id(n)) for n in names]
    )
