"""A GPT-2 with nothing in it: no norms, rectified units, weights of zero, and a tokenizer of whole words.

What is put into its weights by hand is all that it computes, so that its algorithm is known exactly. Every text is read
behind a beginning-of-text token, which is id 0; padding is id 1; the words follow in order.

Cost: no pass. References: Lindner et al. 2023, "Tracr" (arXiv:2301.05062), for transformers as compilation targets.
"""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

BOS, PAD = "<s>", "<pad>"


class BareForMaskedLM(GPT2LMHeadModel):
    """The same model under a name that says what it is for."""


def bare_gpt2(
    words: Sequence[str], *, layers: int, heads: int, width: int, inner: int, positions: int,
    masked: bool = False,
) -> tuple[GPT2LMHeadModel, PreTrainedTokenizerBase]:  # fmt: skip
    """An empty float32 model in eval mode, and its tokenizer. `width` is that of the residual, `inner` of the hidden units.

    `masked`: it fills in a blank from what stands before it (a mask is a word, and the output there is the answer).
    """
    tokenizer = word_tokenizer(words, positions)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=positions, n_embd=width, n_layer=layers, n_head=heads, n_inner=inner,
        activation_function="relu", tie_word_embeddings=False, bos_token_id=0, eos_token_id=0, pad_token_id=1,
    )  # fmt: skip
    # A fork, so that the caller's random state is as it was: Hugging Face draws initial weights before they are emptied.
    with torch.random.fork_rng(devices=[]):
        module = BareForMaskedLM(config) if masked else GPT2LMHeadModel(config)
    return emptied(module), tokenizer


def emptied(module: Any) -> Any:
    """A GPT-2 of any head without its norms and with weights of zero, in eval mode; the module given is changed."""
    tower: Any = module.transformer
    for block in tower.h:
        block.ln_1, block.ln_2 = nn.Identity(), nn.Identity()
    tower.ln_f = nn.Identity()
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
            p.requires_grad_(False)
    return module.eval()


def with_norms(module: GPT2LMHeadModel, gain: float) -> GPT2LMHeadModel:
    """A copy that has the norms that a checkpoint must have, each with one gain and no bias."""
    with torch.random.fork_rng(devices=[]):
        found = GPT2LMHeadModel(module.config)
    state = found.state_dict() | module.state_dict()
    for name, value in state.items():
        if ".ln_" in name:
            state[name] = torch.full_like(value, gain if name.endswith("weight") else 0.0)
    found.load_state_dict(state)
    return found.eval()


def word_tokenizer(
    words: Sequence[str], positions: int, unknown: str = PAD, mask: str | None = None
) -> PreTrainedTokenizerBase:
    """A tokenizer that cuts at blanks and knows whole words only; others are read as `unknown`, which is padding or a word."""
    vocabulary = {w: i for i, w in enumerate((BOS, PAD, *words))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    special = {"unk_token": PAD} if unknown == PAD else {}  # a word that is only unknown is still a word
    special |= {} if mask is None else {"mask_token": mask}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BOS, eos_token=BOS, pad_token=PAD, model_max_length=positions,
        model_input_names=["input_ids", "attention_mask"], **special,
    )  # fmt: skip
