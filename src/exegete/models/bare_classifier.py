"""A classifier with nothing in it: an empty GPT-2 that is read at a closing token, and a tokenizer of whole words with a mask.

"good film" is read as <s> good film </s>. Both ends are special tokens, which no method explains or removes, so that the
place where the class is read is never taken away. Ids: <s> 0, <pad> 1, </s> 2, <mask> 3, and the words in order.

Cost: no pass. Reference: Lindner et al. 2023, "Tracr" (arXiv:2301.05062), for transformers as compilation targets.
"""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from exegete.models.bare import BOS, PAD, emptied

EOS, MASK = "</s>", "<mask>"


def bare_classifier(
    words: Sequence[str],
    labels: Sequence[str],
    *,
    layers: int,
    heads: int,
    width: int,
    inner: int,
    positions: int,
) -> tuple[GPT2ForSequenceClassification, PreTrainedTokenizerBase]:
    """An empty float32 classifier in eval mode, and its tokenizer. `width` is that of the residual, `inner` of the hidden units."""
    vocabulary = {w: i for i, w in enumerate((BOS, PAD, EOS, MASK, *words))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", special_tokens=[(BOS, 0), (EOS, 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BOS, eos_token=EOS, pad_token=PAD, unk_token=PAD, mask_token=MASK,
        model_max_length=positions, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    config = GPT2Config(
        vocab_size=len(vocabulary), n_positions=positions, n_embd=width, n_layer=layers, n_head=heads, n_inner=inner,
        activation_function="relu", bos_token_id=0, eos_token_id=2, pad_token_id=1,
        id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)},
    )  # fmt: skip
    # A fork, so that the caller's random state is as it was: Hugging Face draws initial weights before they are emptied.
    with torch.random.fork_rng(devices=[]):
        module = GPT2ForSequenceClassification(config)
    return emptied(module), tokenizer
