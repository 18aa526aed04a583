"""The vocabulary of a family table: where the parts of an architecture are, as paths of modules.

A table says nothing about numbers; what it claims is proved on the live model (`prove`). Paths of a `Part` are relative to
its block, those of a `Stack` to the base model, those of a `Head` to the whole model. An empty path means "there is none".

One layer, in the order in which the residual meets it:

    resid_pre -> [norm] -> attention -> (attn_add) + -> [after] -> resid_mid -> [norm] -> mlp -> (mlp_add) + -> [after] -> resid_post

`norm` stands before a part (pre-norm), `after` on the sum (post-norm). `out` is the module whose return is `*_out`; `add` is
the module whose return, times `scale`, is what the residual receives (`*_add`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from exegete.core.site import Stack as StackName


@dataclass(frozen=True)
class Part:
    """A part of a block that writes to the residual: self-attention, cross-attention or the feed-forward part."""

    out: str  # its return is attn_out / mlp_out
    add: str = ""  # its return is what is added; `out` when empty
    reads: str = ""  # its input is attn_in / mlp_in; `out` when empty
    proj: str = ""  # the last matrix: its input is z (attention) or mlp_act (feed-forward)
    norm: str = ""  # norm in front of the part
    after: str = ""  # norm on the sum of residual and part: its return is the new residual
    sum: str = ""  # module that adds the residual itself: its return is the new residual
    scale: str = ""  # attribute of the block that multiplies what is added
    qkv: tuple[
        str, ...
    ] = ()  # projections to read q, k and v from, where the products hide them (relative to `reads`)


@dataclass(frozen=True)
class Block:
    """One layer. `parallel`: both parts read and write the same residual, there is no resid_mid.

    tail    entries that follow the residual in the tuple a block returns; -1 when it returns a bare tensor
    carry   positional arguments that a block hands on in its tail (T5's position biases, made by the first block)
    flat    the feed-forward part works on [batch * tok, d]
    """

    attn: Part
    mlp: Part
    cross: Part | None = None
    parallel: bool = False
    tail: int = -1
    carry: tuple[int, ...] = ()
    flat: bool = False


@dataclass(frozen=True)
class Stack:
    """A tower of blocks. `name` is "" for the only one, "enc" or "dec" in an encoder-decoder.

    blocks  path of the list of blocks; `paths` replaces it where layers share modules (layer i -> path)
    root    module whose forward runs the stack
    embed   token embedding; the model's own input embedding when empty
    norm    final norm
    heads   config entry with the number of heads, where it differs between stacks
    """

    blocks: str
    block: Block
    name: StackName = ""
    root: str = ""
    embed: str = ""
    norm: str = ""
    heads: str = ""
    paths: Callable[[Any], list[str]] | None = None


@dataclass(frozen=True)
class Head:
    """The way from the last (normed) residual to the logits of a language model.

    steps     modules applied in order; one with a trailing "?" is skipped when absent
    times     config entry that multiplies the logits
    over      config entry that divides them
    softcap   config entry c of the cap c * tanh(logits / c)
    shift     buffer added to the logits
    before    factor on the residual, from the config
    """

    steps: tuple[str, ...] = ("lm_head",)
    times: str = ""
    over: str = ""
    softcap: str = ""
    shift: str = ""
    before: Callable[[Any], float] | None = None


@dataclass(frozen=True)
class Family:
    """An architecture: its stacks and the heads it may carry.

    `vary` gives the table for a particular config; `q_heads` and `kv_heads` count heads where no usual config entry does.
    """

    name: str
    model_types: tuple[str, ...]
    stacks: tuple[Stack, ...]
    heads: tuple[Head, ...] = (Head(),)
    vary: Callable[[Any], "Family"] | None = None
    kv_heads: Callable[[Any], int] | None = None
    q_heads: Callable[[Any], int] | None = None


def gated(norm: str = "post_attention_layernorm") -> Part:
    """The feed-forward part of Llama and its kin."""
    return Part(out="mlp", proj="mlp.down_proj", norm=norm)


def llama_block(attn: Part | None = None, mlp: Part | None = None, parallel: bool = False) -> Block:
    """The block of Llama and its kin, with other parts where given."""
    plain = Part(out="self_attn", proj="self_attn.o_proj", norm="input_layernorm")
    return Block(attn or plain, mlp or gated(), parallel=parallel)


def llama_stack(block: Block | None = None, norm: str = "norm") -> Stack:
    """The stack of Llama and its kin."""
    return Stack(blocks="layers", block=block or llama_block(), norm=norm)


def bert_block(tail: int = -1) -> Block:
    """The post-norm block of BERT and its kin; `tail` as in `Block`."""
    attn = Part(
        out="attention",
        add="attention.output.dense",
        reads="attention.self",
        proj="attention.output.dense",
        after="attention.output.LayerNorm",
    )
    mlp = Part(
        out="output", add="output.dense", reads="intermediate", proj="output.dense", after="output.LayerNorm"
    )
    return Block(attn, mlp, tail=tail)


def bert_stack(block: Block | None = None) -> Stack:
    """The stack of BERT and its kin."""
    return Stack(blocks="encoder.layer", block=block or bert_block())
