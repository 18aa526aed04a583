"""A chat with a causal model on this machine, loaded as any model under study.

1. the conversation is written down by the tokenizer's chat template; a model that has none reads the turns as plain text, one
   after another, which is said in `name`;
2. the model's own `generate` answers, greedily or sampled from the request's seed, and stops at its end token or at a stop
   string;
3. probabilities are those of the steps it made: log-softmax of the logits, before temperature.

Cost: one forward a token said. Random state and mode are left as found.
"""

import hashlib
import json
from typing import Any

import torch

from exegete.core.errors import ModelError
from exegete.models.capture import evaluating
from exegete.models.chat.base import Alternative, Ask, Chat, ChatError, Reply
from exegete.models.chat.kept import Replies
from exegete.models.encode import limit
from exegete.models.model import Model


class LocalChat(Chat):
    """Answers of a local causal model."""

    def __init__(self, model: Model, replies: Replies | None = None) -> None:
        super().__init__(replies)
        if model.task != "causal":
            raise ModelError(
                f"You asked {model.name} to write.",
                f"It is a {model.task} model, which does not continue text.",
                "Use a causal language model.",
            )
        self.model = model
        self.templated = bool(getattr(model.tokenizer, "chat_template", None))
        self.name = model.name if self.templated else f"{model.name} (no chat template: reads plain text)"

    @property
    def identity(self) -> str:
        return f"local {self.model.fingerprint} {self.model.dtype} {self._written}"

    @property
    def _written(self) -> str:
        """How conversations are written down: the hash of the chat template (of all, where there are several), or plain."""
        if not self.templated:
            return "plain"
        found = json.dumps(self.model.tokenizer.chat_template, sort_keys=True)
        return f"template {hashlib.sha256(found.encode()).hexdigest()[:16]}"

    @property
    def probabilities(self) -> bool:
        return True

    def _say(self, ask: Ask) -> Reply:
        ids = self._ids(ask)
        tokenizer, module = self.model.tokenizer, self.model.module
        device = self.model.device
        own = [device] if device.type == "cuda" else []
        with torch.no_grad(), evaluating(module), torch.random.fork_rng(devices=own):
            torch.manual_seed(ask.seed)
            out: Any = module.generate(  # type: ignore[operator]
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=ask.max_tokens,
                do_sample=ask.temperature > 0,
                temperature=ask.temperature or None,
                top_k=0 if ask.temperature else None,
                top_p=1.0 if ask.temperature else None,
                stop_strings=list(ask.stop) or None,
                tokenizer=tokenizer,
                pad_token_id=_pad(tokenizer),
                return_dict_in_generate=True,
                output_logits=bool(ask.top),
            )
        said = out.sequences[0, ids.shape[1] :].tolist()
        ends = _ends(tokenizer, module)
        ended = bool(said) and said[-1] in ends
        kept = said[:-1] if ended else said
        text, stopped = _cut(tokenizer.decode(kept, skip_special_tokens=True), ask.stop)
        finish = "stop" if ended or stopped else "length"
        top = tuple(self._top(x[0], ask.top) for x in out.logits or ()) if ask.top else ()
        return Reply(text=text.strip(), finish=finish, top=top, tokens_in=ids.shape[1], tokens_out=len(said))

    def _ids(self, ask: Ask) -> torch.Tensor:
        """The conversation as ids [1, tok]. Raises `ChatError` where it and the answer are longer than the model reads."""
        tokenizer = self.model.tokenizer
        turns = [m.model_dump() for m in ask.messages]
        if self.templated:
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            found = tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            found = tokenizer("\n".join(m.content for m in ask.messages))["input_ids"]
            end = getattr(tokenizer, "eos_token_id", None)
            found = found[:-1] if len(found) > 1 and found[-1] == end else found
        most = limit(self.model)
        if most is not None and len(found) + ask.max_tokens > most:
            raise ChatError(
                f"You asked {self.model.name} to read {len(found)} tokens and say {ask.max_tokens}.",
                f"It reads at most {most} in all.",
                "Use a model with a longer context, or shorter material.",
            )
        return torch.tensor([found], device=self.model.device)

    def _top(self, logits: torch.Tensor, n: int) -> tuple[Alternative, ...]:
        values, ids = logits.float().log_softmax(-1).topk(min(n, len(logits)))
        words = [self.model.tokenizer.decode([i]) for i in ids.tolist()]
        return tuple(Alternative(token=w, logprob=v) for w, v in zip(words, values.tolist()))


def _cut(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """The text up to the first stop string, and whether there was one."""
    at = [i for s in stops if (i := text.find(s)) >= 0]
    return (text[: min(at)], True) if at else (text, False)


def _pad(tokenizer: Any) -> int | None:
    found = getattr(tokenizer, "pad_token_id", None)
    return found if found is not None else getattr(tokenizer, "eos_token_id", None)


def _ends(tokenizer: Any, module: Any) -> set[int]:
    """Ids that end an answer."""
    named = getattr(getattr(module, "generation_config", None), "eos_token_id", None)
    found = named if isinstance(named, list) else [named]
    return {i for i in [*found, getattr(tokenizer, "eos_token_id", None)] if i is not None}
