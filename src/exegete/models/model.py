"""`Model`: a Hugging Face module, its tokenizer, and what is known about both.

The module is never changed. `still` is the one context in which it is run here: evaluation mode, no parameter
gradients, everything put back afterwards, also after an exception.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from exegete.models.placement import computes_on, is_spread, laid_off, weights

TASKS = ("causal", "masked", "seq2seq", "sequence", "token")
FULL_HASH_BYTES = 1 << 28  # weights up to 256 MB are hashed whole, larger ones by sums and samples
_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes an entry
# tokens in one pass; on a CPU larger batches fall out of the cache and get slower
TOKEN_BUDGET = {"cpu": 1024}
TOKEN_BUDGET_ELSEWHERE = 16384


class Model:
    """A model under study. Made by `load`; holds no state of any explanation.

    `task` is one of `TASKS`; `token_budget` bounds the tokens of one pass, and with them the memory of every method.
    """

    def __init__(
        self, module: nn.Module, tokenizer: Any, task: str, *, name: str = "", revision: str = ""
    ) -> None:
        self.module, self.tokenizer, self.task = module, tokenizer, task
        self.name = name or type(module).__name__
        self.revision = revision
        self.token_budget = TOKEN_BUDGET.get(self.device.type, TOKEN_BUDGET_ELSEWHERE)
        self._stamped: tuple[object, str] | None = None
        self._settled = ""

    def __repr__(self) -> str:
        size = sum(p.numel() for p in self.module.parameters())
        return f"Model({self.name!r}, {type(self.module).__name__}, {self.task}, {size:,} parameters)"

    @property
    def config(self) -> Any:
        """The module's configuration."""
        return self.module.config

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device on which the input embedding computes. What is read of a model on several devices lies there."""
        return computes_on(self.embedding(""), self._table)

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the embedding."""
        return self._table.dtype

    @property
    def _table(self) -> torch.Tensor:
        return cast(torch.Tensor, self.embedding("").weight)

    @property
    def causal(self) -> bool:
        """Whether a position is read only by later positions of the main stack."""
        return self.task == "causal"

    @cached_property
    def family(self) -> str:
        """The architecture's own name (`config.model_type`)."""
        return str(getattr(self.config, "model_type", "") or type(self.module).__name__)

    @cached_property
    def map(self) -> Any:
        """Where the parts are: the bound family table, or what discovery found. See `models.family`."""
        from exegete.models.family import bind

        return bind(self.module)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Class names in index order; empty for language models."""
        if self.task not in ("sequence", "token"):
            return ()
        names = getattr(self.config, "id2label", None) or {}
        return tuple(str(names.get(i, names.get(str(i), i))) for i in range(int(self.config.num_labels)))

    @cached_property
    def vocabulary(self) -> int:
        """Rows of the input embedding."""
        return int(self._table.shape[0])

    @property
    def offers(self) -> frozenset[str]:
        """What methods may ask of this model (`core.method.Need`)."""
        extra = {"generate"} if self.task in ("causal", "seq2seq") else set()
        extra |= set() if is_spread(self.module) and laid_off(self.module) else {"weights"}
        return frozenset({"text", "logprobs", "gradients", "sites"} | extra)

    def embedding(self, stack: str) -> nn.Module:
        """The module that turns token ids into vectors, of the main stack ("") or the decoder ("dec")."""
        if self.task == "seq2seq" or self.rereads:
            part = self.module.get_decoder() if stack == "dec" else self.module.get_encoder()  # type: ignore[operator]
            return part.get_input_embeddings()
        if hasattr(
            getattr(self.module, "base_model", None), "shared"
        ):  # an encoder with a table it never calls (T5)
            return self.module.get_encoder().get_input_embeddings()  # type: ignore[operator]
        return self.module.get_input_embeddings()  # type: ignore[operator]

    @property
    def rereads(self) -> bool:
        """Whether a classifier has a decoder that reads the text again, one place to the right (T5, BART)."""
        return self.task == "sequence" and bool(getattr(self.config, "is_encoder_decoder", False))

    def unembedding(self) -> nn.Module | None:
        """The module whose output are the logits of a language model; None for classifiers."""
        if self.task in ("sequence", "token"):
            return None
        return self.module.get_output_embeddings()  # type: ignore[operator]

    @property
    def fingerprint(self) -> str:
        """Hash of architecture and weights: equal models have equal fingerprints, an edited weight changes it.

        Hashed anew when the configuration changed, or a weight was replaced or written to since the last time (a few entries
        written through `.data`, of which PyTorch keeps no count, can go unseen until then).
        """
        if self._settled:
            return self._settled
        stamp = (_told(self.config), *map(_stamp, self.module.state_dict().values()))
        if self._stamped is None or self._stamped[0] != stamp:
            self._stamped = stamp, self._hash()
        return self._stamped[1]

    @contextmanager
    def settled(self) -> Iterator[None]:
        """While many texts are explained nobody writes to the weights: the fingerprint is taken once, at the start."""
        before, self._settled = self._settled, self.fingerprint
        try:
            yield
        finally:
            self._settled = before

    def _hash(self) -> str:
        state = self.module.state_dict()
        whole = sum(t.numel() * t.element_size() for t in state.values()) <= FULL_HASH_BYTES
        h = hashlib.blake2b(digest_size=12)
        h.update(_told(self.config).encode())
        for name, t in weights(self.module):
            h.update(f"{name}{tuple(t.shape)}{t.dtype}".encode())
            h.update(_bytes(t, True) if whole else _summary(t))
        return h.hexdigest()


def lighter(model: Model, least: int = 64) -> bool:
    """Halve the tokens of one pass, for a device that has less memory than was thought; False at `least` tokens."""
    if model.token_budget <= least:
        return False
    model.token_budget = max(least, model.token_budget // 2)
    return True


@contextmanager
def still(module: nn.Module) -> Iterator[None]:
    """Run `module` in evaluation mode without parameter gradients; modes, flags and gradients are put back."""
    training = [m for m in module.modules() if m.training]
    wanted = [p for p in module.parameters() if p.requires_grad]
    try:
        for m in training:
            m.training = False
        for p in wanted:
            p.requires_grad_(False)
        yield
    finally:
        for m in training:
            m.training = True
        for p in wanted:
            p.requires_grad_(True)


def _identity(config: Any) -> dict[str, Any]:
    drop = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "use_cache"}
    data = config.to_dict() if hasattr(config, "to_dict") else {}
    return {k: v for k, v in data.items() if k not in drop}


def _told(config: Any) -> str:
    return json.dumps(_identity(config), sort_keys=True, default=str)


def _summary(t: torch.Tensor) -> bytes:
    """Sum of the bit patterns (the same on every device, in whatever order they are added) and 4096 evenly spread entries."""
    flat = t.detach().reshape(-1)
    total = int(flat.view(_WHOLE[flat.element_size()]).sum()) if flat.is_floating_point() else int(flat.sum())
    return repr(total).encode() + _bytes(flat[:: max(1, flat.numel() // 4096)], True)


def _stamp(t: torch.Tensor) -> tuple[int, int, bytes]:
    """What tells that a weight was written to, cheaply; a weight that was laid off cannot be."""
    return (0, 0, b"") if t.device.type == "meta" else (t.data_ptr(), _version(t), _bytes(t, False))


def _version(t: torch.Tensor) -> int:
    """How often the tensor was written to; tensors made in inference mode do not count."""
    return -1 if t.is_inference() else t._version


def _bytes(t: torch.Tensor, whole: bool) -> bytes:
    """The tensor's bytes, or those of up to 64 of its entries spread evenly."""
    flat = t.detach().reshape(-1)
    if not whole:
        return _bytes(flat[:: max(1, flat.numel() // 64)], True)
    plain = flat.cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        plain = plain.view(torch.int16)
    return np.ascontiguousarray(plain.numpy()).tobytes()
