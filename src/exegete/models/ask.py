"""From a request and a target to a `Question`: which tokens are read, which outputs are scored.

    classifier        one row: the class named, or the one predicted
    masked model      one row at a mask: the token named, or the one filled in
    language model    rows at the last prompt token and, for a continuation, at each of its tokens but the last
    encoder-decoder   the same in the decoder, which starts with its own start token

A target that the model must choose itself (predicted class, next token, generated text) costs one forward, or one a
generated token; it is then explained by its ids, never decoded and read again.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from exegete.core.errors import TargetError, near, suggest
from exegete.core.request import Text
from exegete.core.target import Label, Target
from exegete.core.text import Token
from exegete.models.encode import Encoded, encode, encode_target, limit
from exegete.models.forward import Batch, Meter, Runner
from exegete.models.model import Model, still
from exegete.models.question import Branch, Question
from exegete.models.scale import Row


def ask(
    model: Model, request: Text | str | Sequence[int], target: Target | str | int | None = None
) -> Question:
    """The question about `request` and `target`. Raises `TargetError` for a target that does not fit."""
    request, target = Text.of(request), Target.of(target)
    encoded = encode(model, request)
    make = {
        "sequence": _for_class,
        "token": _for_token_class,
        "masked": _for_mask,
        "causal": _for_language,
        "seq2seq": _for_language,
    }[model.task]
    question = make(model, encoded, target)
    question.spans = request.spans
    _fits(question)
    return question


def _fits(question: Question) -> None:
    """Refuse a target that does not fit into the model's context after the text."""
    most = limit(question.model)
    stack = _stack(question.tokens)
    length = len(stack) + max(len(b.tail) for b in question.branches)
    if most is not None and length > most:
        raise TargetError(
            "You asked to explain a continuation.",
            f"With the text it has {length} tokens, and {question.model.name} reads at most {most}.",
            "Shorten the text or the target.",
        )


def _room(model: Model, tokens: Sequence[Token]) -> int:
    """How many tokens can be generated after `tokens`: the last one is not read again."""
    most = limit(model)
    return 4096 if most is None else most - len(_stack(tokens)) + 1


def distribution(question: Question, logits: torch.Tensor, k: int = 5) -> tuple[str, dict[str, float]]:
    """The model's own answer at the first output and its `k` most probable answers, from reference logits [row, vocab]."""
    p = logits[0].double().softmax(-1).cpu().numpy()
    order = np.argsort(-p, kind="stable")[:k]
    names = [_name(question.model, int(i)) for i in order]
    own = [f"{n} [{i}]" if n in names[:j] else n for j, (n, i) in enumerate(zip(names, order))]
    return names[0], {n: float(p[i]) for n, i in zip(own, order)}


# ---- classifiers -----------------------------------------------------------------------------------------------------


def _for_class(model: Model, encoded: Encoded, target: Target) -> Question:
    _only(model, target, ("auto", "class"))
    meter = Meter()
    label, seen = target.label, None
    if label is None:
        seen = _logits(model, encoded.tokens, None, meter)
        label = int(seen.argmax())
    row = Row(None, class_index(model, label), _foil_class(model, target.against))
    return _seen(_single(model, encoded, target, row, meter, ()), seen)


def _for_token_class(model: Model, encoded: Encoded, target: Target) -> Question:
    _only(model, target, ("auto", "class"))
    meter = Meter()
    at = target.position
    if at is None:
        at = _surest(model, encoded, meter)
    if not 0 <= at < len(encoded.tokens):
        raise TargetError(
            f"You asked for token {at}.",
            f"The text has {len(encoded.tokens)} tokens.",
            "Give a smaller position.",
        )
    label = target.label
    if label is None:
        label = int(_logits(model, encoded.tokens, at, meter).argmax())
    row = Row(at, class_index(model, label), _foil_class(model, target.against))
    note = (f"Explained at token {at} ({encoded.tokens[at].text!r}).",)
    return _single(model, encoded, target, row, meter, note)


def _surest(model: Model, encoded: Encoded, meter: Meter) -> int:
    """The token whose label, other than the most common one, the model is surest of."""
    ids = np.array([t.id for t in encoded.tokens], dtype=np.int64)
    rows = np.arange(len(ids))[None]
    with torch.inference_mode(), still(model.module):
        p = (
            Runner(model, meter)(Batch([ids], rows, types=_types(encoded.tokens)))[0]
            .softmax(-1)
            .cpu()
            .numpy()
        )
    usable = np.array([not t.special for t in encoded.tokens])
    common = int(np.bincount(p[usable].argmax(1)).argmax())
    p[:, common] = 0
    p[~usable] = 0
    return int(p.max(1).argmax())


def class_index(model: Model, label: Label) -> int:
    """Index of a class given by name (case does not matter) or index. Raises `TargetError` listing near names."""
    names = model.labels
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    folded = {n.lower(): i for i, n in enumerate(names)}
    if isinstance(label, str) and label.lower() in folded:
        return folded[label.lower()]
    if isinstance(label, str) and label.isdigit() and int(label) < len(names):
        return int(label)
    raise TargetError(
        f"You asked for the class {label!r}.",
        f"{model.name} has {len(names)} classes: {', '.join(names[:20])}{' ...' if names[20:] else '.'}",
        suggest(str(label), near(str(label), names) or [f"0 to {len(names) - 1}, or one of these names"]),
    )


def _foil_class(model: Model, against: Label) -> int | None:
    return None if against is None else class_index(model, against)


# ---- masked models ---------------------------------------------------------------------------------------------------


def _for_mask(model: Model, encoded: Encoded, target: Target) -> Question:
    _only(model, target, ("auto", "mask"))
    mask = getattr(model.tokenizer, "mask_token_id", None)
    places = [i for i, t in enumerate(encoded.tokens) if t.id == mask]
    if mask is None or not places:
        raise TargetError(
            "You asked a masked language model to explain what it fills in.",
            "The text holds no mask." if mask is not None else "Its tokenizer has no mask token.",
            f"Put {getattr(model.tokenizer, 'mask_token', '[MASK]')} where the word should be.",
        )
    which = target.position or 0
    if not 0 <= which < len(places):
        raise TargetError(f"You asked for mask {which}.", f"The text holds {len(places)}.", "Count from 0.")
    at = places[which]
    meter = Meter()
    tokens = tuple(replace(t, role="special" if t.id == mask else t.role) for t in encoded.tokens)
    encoded = Encoded(encoded.text, tokens, encoded.segments, encoded.segment_roles, encoded.notes)
    seen = None
    if target.label is None:
        seen = _logits(model, tokens, at, meter)
        chosen = int(seen.argmax())
    else:
        chosen = one_token(model, target.label, "")
    foil = None if target.against is None else one_token(model, target.against, "")
    return _seen(_single(model, encoded, target, Row(at, chosen, foil), meter, ()), seen)


def one_token(model: Model, label: Label, prompt: str) -> int:
    """The id of a target that must be a single token. Raises `TargetError` showing its pieces when it is not."""
    ids = _label_ids(model, label, prompt)
    if len(ids) != 1 and isinstance(label, str) and model.task == "masked":
        spaced = list(model.tokenizer(" " + label, add_special_tokens=False)["input_ids"])
        ids = spaced if len(spaced) == 1 else ids
    if len(ids) != 1:
        pieces = [_name(model, i) for i in ids]
        raise TargetError(
            f"You asked for the single token {label!r}.",
            f"The tokenizer reads it as {len(ids)} tokens: {pieces}.",
            "Choose a word that is one token"
            + (
                ", or explain it as a continuation: Target(kind='continuation', label=...)."
                if model.task == "causal"
                else "."
            ),
        )
    return ids[0]


# ---- language models -------------------------------------------------------------------------------------------------


def _for_language(model: Model, encoded: Encoded, target: Target) -> Question:
    _only(model, target, ("auto", "next", "continuation", "generated"))
    meter = Meter()
    tokens = encoded.tokens + _decoder_start(model)
    notes: tuple[str, ...] = ()
    seen = None
    if target.kind == "generated":
        room = _room(model, tokens)
        goal = generate(model, tokens, min(target.max_new_tokens, room), meter)
        if len(goal) == room < target.max_new_tokens:
            notes = (f"Generation stopped after {room} tokens: {model.name} reads no more.",)
    elif target.label is None:
        seen = _logits(model, tokens, len(_stack(tokens)) - 1, meter)
        goal = [int(seen.argmax())]
    elif target.kind == "next":
        goal = [one_token(model, target.label, encoded.text)]
    else:
        goal = _label_ids(model, target.label, encoded.text)
    shown = _text_of(model, goal)
    if target.against is None:
        return _seen(_continuation(model, encoded, tokens, goal, target, shown, meter, notes), seen)
    foil = _label_ids(model, target.against, encoded.text)
    return _contrast(model, replace(encoded, notes=encoded.notes + notes), tokens, goal, foil, target, meter)


def _continuation(model, encoded, tokens, goal, target, shown, meter, notes) -> Question:  # type: ignore[no-untyped-def]
    stack = "dec" if model.task == "seq2seq" else ""
    prefix = tuple(Token(i, _name(model, i), stack=stack, role="prefix") for i in goal[:-1])
    first = len(_stack(tokens)) - 1
    rows = tuple(Row(first + r, i, None, _name(model, i)) for r, i in enumerate(goal))
    scale = _scale(target, several=len(goal) > 1)
    return Question(
        model,
        encoded,
        tokens + prefix,
        (Branch(rows),),
        scale,
        shown,
        notes=encoded.notes + notes,
        meter=meter,
    )


def _contrast(model, encoded, tokens, goal, foil, target, meter) -> Question:  # type: ignore[no-untyped-def]
    """One token against one: two logits of one row. Otherwise two branches, each with its own continuation."""
    first = len(_stack(tokens)) - 1
    this, that = _text_of(model, goal), _text_of(model, foil)
    scale = _scale(target, several=max(len(goal), len(foil)) > 1)
    if len(goal) == len(foil) == 1:
        branches: tuple[Branch, ...] = (Branch((Row(first, goal[0], foil[0], this),)),)
    else:
        branches = tuple(
            Branch(tuple(Row(first + r, i) for r, i in enumerate(ids)), tuple(ids[:-1]), sign)
            for ids, sign in ((goal, 1.0), (foil, -1.0))
        )
    return Question(model, encoded, tokens, branches, scale, this, that, notes=encoded.notes, meter=meter)


def generate(model: Model, tokens: Sequence[Token], most: int, meter: Meter) -> list[int]:
    """Greedy continuation of the tokens, by the model's own `generate`; the end token is left out unless it stands alone."""
    ids = torch.tensor([[t.id for t in _stack(tokens, "")]], device=model.device)
    extra = {}
    if model.task == "seq2seq":
        extra["decoder_input_ids"] = torch.tensor(
            [[t.id for t in _stack(tokens, "dec")]], device=model.device
        )
    with torch.inference_mode(), still(model.module):
        out = model.module.generate(  # type: ignore[operator]
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            num_beams=1,
            max_new_tokens=most,
            pad_token_id=_eos(model)[0] if _eos(model) else 0,
            **extra,
        )[0]
    start = len(_stack(tokens, "dec" if model.task == "seq2seq" else ""))
    goal = [int(i) for i in out[start:]]
    meter.forwards += len(goal)
    meter.tokens += len(goal) + ids.shape[1]
    while len(goal) > 1 and goal[-1] in _eos(model):
        goal.pop()
    if not goal:
        raise TargetError(
            "You asked to explain what the model generates.", "It generates nothing.", "Change the prompt."
        )
    return goal


def _eos(model: Model) -> list[int]:
    found = getattr(getattr(model.module, "generation_config", None), "eos_token_id", None)
    found = found if found is not None else getattr(model.tokenizer, "eos_token_id", None)
    return [] if found is None else list(found) if isinstance(found, (list, tuple)) else [int(found)]


def _decoder_start(model: Model) -> tuple[Token, ...]:
    if model.task != "seq2seq":
        return ()
    for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
        found = getattr(model.config, name, None)
        if isinstance(found, int):
            return (Token(found, _name(model, found), stack="dec", role="special"),)
    raise TargetError(
        "You asked an encoder-decoder model.",
        "Its configuration names no token that the decoder starts with.",
        "Set config.decoder_start_token_id.",
    )


# ---- shared ----------------------------------------------------------------------------------------------------------


def _single(
    model: Model, encoded: Encoded, target: Target, row: Row, meter: Meter, notes: tuple[str, ...]
) -> Question:
    name = _name(model, row.id)
    row = Row(row.position, row.id, row.foil, name)
    against = "" if row.foil is None else _name(model, row.foil)
    scale = _scale(target, several=False)
    notes = encoded.notes + notes
    return Question(
        model, encoded, encoded.tokens, (Branch((row,)),), scale, name, against, notes=notes, meter=meter
    )


def _seen(question: Question, logits: torch.Tensor | None) -> Question:
    """Hand over the logits [vocab] in which the model chose its target, so that the untouched input is not run again."""
    question.untouched = None if logits is None else [logits[None, None]]
    return question


def _scale(target: Target, several: bool) -> str:
    if target.scale == "entropy" and target.against is not None:
        raise TargetError(
            "You asked for a contrast of entropies.", "An entropy has no foil.", "Drop `against`."
        )
    return ("logprob" if several else "logit") if target.scale == "auto" else target.scale


def _only(model: Model, target: Target, kinds: tuple[str, ...]) -> None:
    if target.kind not in kinds:
        raise TargetError(
            f"You asked for a target of kind {target.kind!r}.",
            f"{model.name} is a {model.task} model, whose targets are {', '.join(kinds)}.",
            "Choose one of these, or load the model for another task (task=...).",
        )


def _logits(model: Model, tokens: Sequence[Token], position: int | None, meter: Meter) -> torch.Tensor:
    """Logits [vocab] at one position (None: pooled) of the untouched input."""
    dec = _stack(tokens, "dec")
    with torch.inference_mode(), still(model.module):
        batch = Batch(
            [np.array([t.id for t in _stack(tokens, "")], dtype=np.int64)],
            None if position is None else np.array([[position]]),
            [np.array([t.id for t in dec], dtype=np.int64)] if dec else None,
            types=_types(tokens),
        )
        return Runner(model, meter)(batch)[0, 0]


def _types(tokens: Sequence[Token]) -> list[np.ndarray] | None:
    """`Batch.types` of one text; None where the model is told nothing."""
    parts = np.array([t.part for t in _stack(tokens, "")], dtype=np.int64)
    return [parts] if parts.any() else None


def _stack(tokens: Sequence[Token], stack: str | None = None) -> list[Token]:
    """The tokens of one stack; by default of the one whose outputs are read."""
    if stack is None:
        stack = "dec" if any(t.stack == "dec" for t in tokens) else ""
    return [t for t in tokens if t.stack == stack]


def _label_ids(model: Model, label: Label, prompt: str) -> list[int]:
    if isinstance(label, int):
        label = (label,)
    if isinstance(label, (tuple, list)):
        size = int(getattr(model.config, "vocab_size", 0) or model.vocabulary)
        wrong = [i for i in label if not 0 <= i < size]
        if wrong or not label:
            raise TargetError(
                f"You gave the token ids {list(label)}.",
                f"The vocabulary has {size} tokens.",
                "Give ids below that.",
            )
        return list(label)
    return encode_target(model, prompt, str(label))


def _name(model: Model, index: int) -> str:
    if model.labels:
        return model.labels[index]
    return model.tokenizer.decode([index], clean_up_tokenization_spaces=False)


def _text_of(model: Model, ids: Sequence[int]) -> str:
    return model.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
