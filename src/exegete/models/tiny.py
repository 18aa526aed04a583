"""`tiny`: a random two-layer model of every family, with a tokenizer, built from its config in milliseconds, offline.

Weights are drawn so that nothing is trivial: matrices keep the variance of their input, biases and norm gains differ from
0 and 1, multipliers and soft caps bite, key-value heads are shared and head widths differ from width/heads where the family
allows it. Every identity that holds on these models holds because the description is right, not because a term vanished.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers as hf
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from exegete.core.errors import UnknownName, UsageError
from exegete.models.tiny_tokenizer import tiny_tokenizer

TASK_CLASSES: dict[str, str] = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "sequence": "AutoModelForSequenceClassification",
    "token": "AutoModelForTokenClassification",
}
SEQUENCE_LABELS = ("negative", "neutral", "positive")
TOKEN_LABELS = ("O", "NAME", "PLACE")
_SEGMENTED = ("bert", "electra", "deberta", "deberta_v2", "albert")
_DECODER = ("causal", "sequence", "token")
_ENCODER = ("masked", "sequence", "token")

# How each config class spells (layers, width, heads, feed-forward width, positions).
_MODERN = (
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)
_GPT = ("n_layer", "n_embd", "n_head", "n_inner", "n_positions")


@dataclass(frozen=True)
class _Recipe:
    config: str
    names: tuple[str, ...] = _MODERN
    tokens: str = "bytes"
    tasks: tuple[str, ...] = _DECODER
    grouped: bool = False  # has key-value heads of its own: half as many as query heads
    extra: Mapping[str, Any] = field(default_factory=dict)


def _llama(config: str, extra: Mapping[str, Any] | None = None, tasks: tuple[str, ...] = _DECODER) -> _Recipe:
    return _Recipe(config, tokens="llama", grouped=True, extra=extra or {}, tasks=tasks)


_WIDE_HEADS = {"head_dim": 16}
_SLIDING = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"], "head_dim": 16}
_RECIPES: dict[str, _Recipe] = {
    "gpt2": _Recipe("GPT2Config", _GPT),
    "gpt_neo": _Recipe(
        "GPTNeoConfig",
        ("num_layers", "hidden_size", "num_heads", "intermediate_size", "max_position_embeddings"),
        extra={"attention_types": [[["global", "local"], 1]], "window_size": 8},
    ),
    "gptj": _Recipe("GPTJConfig", _GPT, extra={"rotary_dim": 4}, tasks=("causal", "sequence")),
    "gpt_neox": _Recipe("GPTNeoXConfig"),
    "opt": _Recipe(
        "OPTConfig",
        ("num_hidden_layers", "hidden_size", "num_attention_heads", "ffn_dim", "max_position_embeddings"),
        tasks=("causal", "sequence"),
    ),
    "bloom": _Recipe("BloomConfig", ("n_layer", "hidden_size", "n_head", "", "")),
    "falcon": _Recipe(
        "FalconConfig",
        (
            "num_hidden_layers",
            "hidden_size",
            "num_attention_heads",
            "ffn_hidden_size",
            "max_position_embeddings",
        ),
        extra={"bias": True},
    ),
    "mpt": _Recipe("MptConfig", ("n_layers", "d_model", "n_heads", "", "max_seq_len")),
    "llama": _llama("LlamaConfig"),
    "mistral": _llama("MistralConfig", {"sliding_window": 8}),
    "mixtral": _llama("MixtralConfig", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2": _llama("Qwen2Config"),
    "qwen3": _llama("Qwen3Config", _WIDE_HEADS),
    "gemma": _llama("GemmaConfig", _WIDE_HEADS),
    "gemma2": _llama(
        "Gemma2Config",
        {
            **_SLIDING,
            "final_logit_softcapping": 8.0,
            "attn_logit_softcapping": 5.0,
            "query_pre_attn_scalar": 9,
        },
    ),
    "gemma3": _llama("Gemma3TextConfig", {**_SLIDING, "query_pre_attn_scalar": 9}, ("causal", "sequence")),
    "phi": _llama("PhiConfig", {"partial_rotary_factor": 0.5}),
    "phi3": _llama("Phi3Config"),
    "olmo": _llama("OlmoConfig", tasks=("causal",)),
    "olmo2": _llama("Olmo2Config", tasks=("causal",)),
    "stablelm": _llama("StableLmConfig", {"partial_rotary_factor": 0.5, "use_qkv_bias": True}),
    "cohere": _llama("CohereConfig", {"logit_scale": 0.4}, tasks=("causal",)),
    "granite": _llama(
        "GraniteConfig",
        {
            "embedding_multiplier": 1.7,
            "residual_multiplier": 0.6,
            "attention_multiplier": 0.3,
            "logits_scaling": 1.6,
            "attention_bias": True,
        },
        tasks=("causal",),
    ),
    "bert": _Recipe("BertConfig", tokens="wordpiece", tasks=_ENCODER),
    "roberta": _Recipe("RobertaConfig", tokens="bytes_cls", tasks=_ENCODER),
    "distilbert": _Recipe(
        "DistilBertConfig",
        ("n_layers", "dim", "n_heads", "hidden_dim", "max_position_embeddings"),
        tokens="wordpiece",
        tasks=_ENCODER,
    ),
    "electra": _Recipe("ElectraConfig", tokens="wordpiece", tasks=_ENCODER, extra={"embedding_size": 24}),
    "deberta": _Recipe(
        "DebertaConfig",
        tokens="bytes_bert",
        tasks=_ENCODER,
        extra={"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 32},
    ),
    "deberta_v2": _Recipe(
        "DebertaV2Config",
        tokens="spm_cls",
        tasks=_ENCODER,
        extra={
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 16,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
        },
    ),
    "albert": _Recipe("AlbertConfig", tokens="spm_cls", tasks=_ENCODER, extra={"embedding_size": 24}),
    "modernbert": _Recipe(
        "ModernBertConfig",
        tokens="bytes_bert",
        tasks=_ENCODER,
        extra={
            "global_attn_every_n_layers": 2,
            "local_attention": 8,
            "attention_bias": True,
            "mlp_bias": True,
            "norm_bias": True,
        },
    ),
    "t5": _Recipe(
        "T5Config",
        ("num_layers", "d_model", "num_heads", "d_ff", ""),
        tokens="t5",
        tasks=("seq2seq", "sequence", "token"),
        extra={"feed_forward_proj": "gated-gelu"},
    ),
    "bart": _Recipe(
        "BartConfig",
        (
            "encoder_layers",
            "d_model",
            "encoder_attention_heads",
            "encoder_ffn_dim",
            "max_position_embeddings",
        ),
        tokens="bytes_cls",
        tasks=("seq2seq", "sequence"),
    ),
}

FAMILIES: tuple[str, ...] = tuple(_RECIPES)


def families() -> tuple[str, ...]:
    """Names of the 33 families that `tiny` builds, the same as those with a table in `models/families/`."""
    return FAMILIES


def tasks(family: str) -> tuple[str, ...]:
    """Tasks of a family, its main one first: among causal, masked, seq2seq, sequence, token."""
    return _recipe(family).tasks


def tiny(
    family: str,
    task: str | None = None,
    seed: int = 0,
    *,
    layers: int = 2,
    width: int = 32,
    heads: int = 4,
    vocab: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A random float32 model of `family` in eval mode, and its tokenizer.

    task       one of `tasks(family)`; the main one when None. Classifiers have three named labels.
    vocab      rows of the embedding; at least (and by default) the size of the tokenizer, about 350.
    overrides  config entries that replace the recipe's (for example {"attn_implementation": "eager"}).
    Raises `UnknownName` or `UsageError` for a family or task that does not exist. Cost: no forward pass, about 20 ms.
    """
    recipe = _recipe(family)
    task = task or recipe.tasks[0]
    if task not in recipe.tasks:
        raise UsageError(
            f"You asked for a tiny {family} model for the task {task!r}.",
            f"This family has the tasks {', '.join(recipe.tasks)}.",
            "Choose one of them.",
        )
    tokenizer = tiny_tokenizer(recipe.tokens, segments=family in _SEGMENTED)
    rows = max(len(tokenizer), vocab or 0)
    values: dict[str, Any] = dict(zip(recipe.names, (layers, width, heads, 2 * width, 256)))
    values.pop("", None)
    values |= _tokens(tokenizer, rows) | _extras(family, recipe, layers, width, heads) | _labels(task)
    values |= dict(overrides or {})
    implementation = values.pop("attn_implementation", None)
    config = getattr(hf, recipe.config)(**values)
    module = _build(task, config, implementation)
    _randomise(module, seed)
    return module.eval(), tokenizer


def _build(task: str, config: Any, implementation: str | None) -> PreTrainedModel:
    # A fork, so that the caller's random state is as it was: Hugging Face draws initial weights before ours replace them.
    with torch.random.fork_rng(devices=[]):
        chosen = {} if implementation is None else {"attn_implementation": implementation}
        return getattr(hf, TASK_CLASSES[task]).from_config(config, dtype=torch.float32, **chosen)


def _recipe(family: str) -> _Recipe:
    if family not in _RECIPES:
        raise UnknownName("model family", family, _RECIPES)
    return _RECIPES[family]


def _tokens(tokenizer: PreTrainedTokenizerBase, rows: int) -> dict[str, Any]:
    ids = {f"{n}_token_id": getattr(tokenizer, f"{n}_token_id") for n in ("pad", "bos", "eos", "cls", "sep")}
    start = tokenizer.eos_token_id if tokenizer.bos_token_id is not None else tokenizer.pad_token_id
    return {**ids, "vocab_size": rows, "decoder_start_token_id": start}


def _labels(task: str) -> dict[str, Any]:
    names = {"sequence": SEQUENCE_LABELS, "token": TOKEN_LABELS}.get(task)
    if names is None:
        return {}
    return {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}


def _extras(family: str, recipe: _Recipe, layers: int, width: int, heads: int) -> dict[str, Any]:
    """Entries that follow from the sizes asked for."""
    extra = dict(recipe.extra)
    if recipe.grouped:
        extra["num_key_value_heads"] = max(1, heads // 2)
    if "layer_types" in extra:
        extra["layer_types"] = [extra["layer_types"][i % 2] for i in range(layers)]
    if family == "gpt_neo":
        extra["attention_types"] = [[["global", "local"], (layers + 1) // 2]]
        if layers % 2:
            extra["attention_types"] = [[["global"], layers]]
    if family == "t5":
        extra |= {"num_decoder_layers": layers, "d_kv": 2 * width // heads}
    if family == "opt":
        extra["word_embed_proj_dim"] = width
    if family == "bart":
        extra |= {"decoder_layers": layers, "decoder_attention_heads": heads, "decoder_ffn_dim": 2 * width}
    return extra


def _randomise(module: torch.nn.Module, seed: int) -> None:
    """Draw every parameter: vectors move by 0.2 around where they are, matrices keep variance, embeddings have deviation 0.5."""
    draw = torch.Generator().manual_seed(seed)
    tables = {id(m.weight) for m in module.modules() if isinstance(m, torch.nn.Embedding)}
    with torch.no_grad():
        for param in module.parameters():
            noise = torch.randn(param.shape, generator=draw)
            if param.ndim < 2:
                param.add_(0.2 * noise)
            else:
                param.copy_(noise * (0.5 if id(param) in tables else _fan_in(module, param) ** -0.5))
        for name, buffer in module.named_buffers():
            if name.endswith("final_logits_bias"):
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=draw))


def _fan_in(module: torch.nn.Module, param: torch.nn.Parameter) -> int:
    """Inputs of a matrix: its first axis in a GPT-2 `Conv1D`, its last one elsewhere."""
    conv = any(type(m).__name__ == "Conv1D" and m.weight is param for m in module.modules())
    return param.shape[0] if conv else param.shape[-1]
