"""`repeats`: a two-layer model of attention alone that learns to continue repeated random texts, and its checkpoints.

1. a text is `<s>`, up to 6 words that stay alone, and a segment said again and again until the text is full (`repeats`);
2. the model is an ordinary `LlamaForCausalLM` whose feed-forward part is one unit wide, zero, and stays zero;
3. cross-entropy, plus a penalty on the size of each head's value and output matrices (group lasso), so that few heads do
   the work;
4. the weights are written at fixed steps, around the phase change in which the induction heads form.

Nothing about a segment can be known before it comes back: the loss falls below that of the followers only by looking back.
Cost: about two minutes on one thread. References: Elhage et al. 2021; Olsson et al. 2022 (arXiv:2209.11895).
"""

import math
import time
from collections.abc import Iterator

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from exegete.core.seed import generator
from exegete.terrarium.repeats import SPECIALS, WORDS, text

NAME = "repeats"
WIDTH, LAYERS, HEADS, POSITIONS = 64, 2, 4, 128
SIZE, STEPS, RATE, DECAY, LASSO = 32, 1500, 3e-3, 0.1, 0.02
CHECKPOINTS = (0, 100, 200, 250, 300, 325, 350, 375, 400, 500, 700, 1000, 1500)


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, in lower case; `<s>` in front."""
    vocabulary = {w: i for i, w in enumerate((*SPECIALS.values(), *WORDS))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIALS["unk_token"]))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens = {name: AddedToken(word, special=True) for name, word in SPECIALS.items()}
    inner.add_special_tokens(list(tokens.values()))
    bos = SPECIALS["bos_token"]
    inner.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A $B:1", special_tokens=[(bos, vocabulary[bos])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, model_max_length=POSITIONS, clean_up_tokenization_spaces=False, **tokens
    )


def untrained() -> LlamaForCausalLM:
    """The model before training; its feed-forward part is zero and asks for no gradient."""
    module = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(SPECIALS) + len(WORDS), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            num_key_value_heads=HEADS, intermediate_size=1, max_position_embeddings=POSITIONS, tie_word_embeddings=False,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.05,
        )
    )  # fmt: skip
    for name, p in module.named_parameters():
        if ".mlp." in name:
            p.data.zero_()
            p.requires_grad_(False)
    return module


def train(seed: int) -> Iterator[tuple[int, LlamaForCausalLM]]:
    """Train from a seed; the model at each of the steps `CHECKPOINTS`, the last one trained."""
    torch.manual_seed(seed)
    draw, module = generator(seed, NAME), untrained()
    weights = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=RATE, betas=(0.9, 0.98), weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_cosine)
    started = time.perf_counter()
    for step in range(STEPS + 1):
        if step in CHECKPOINTS:
            yield step, module
        if step == STEPS:
            return
        ids = torch.from_numpy(np.stack([text(draw) for _ in range(SIZE)]))
        loss = module(input_ids=ids, labels=ids).loss
        (loss + LASSO * _size(module)).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        if (step + 1) % 100 == 0:
            spent = time.perf_counter() - started
            print(f"{NAME} step {step + 1}/{STEPS} loss {loss.item():.3f} {spent:.0f}s", flush=True)


def _size(module: LlamaForCausalLM) -> torch.Tensor:
    """The sum over heads of the norms of their value and output matrices."""
    weights = dict(module.named_parameters())
    out = [w.unflatten(1, (HEADS, -1)).square().sum((0, 2)) for n, w in weights.items() if "o_proj" in n]
    value = [w.unflatten(0, (HEADS, -1)).square().sum((1, 2)) for n, w in weights.items() if "v_proj" in n]
    return torch.cat([*out, *value]).add(1e-12).sqrt().sum()


def _warm_cosine(step: int) -> float:
    return min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / STEPS))


def step_name(step: int) -> str:
    """The name of the folder of a checkpoint."""
    return f"step-{step:04d}"
