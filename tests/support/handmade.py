"""Real interventions on models that were set by hand: answers, heads and hidden units taken out, states of another text put in."""

from contextlib import contextmanager

import torch


def ids_of(model, texts):
    return torch.tensor([model.tokenizer(t)["input_ids"] for t in texts])


def logits_of(model, texts):
    """Logits at the last token [text, word]; texts of equal length."""
    with torch.no_grad():
        return model.module(input_ids=ids_of(model, texts)).logits[:, -1]


def said(model, texts):
    """What the model says next, a word a text."""
    return [model.tokenizer.decode([int(logits_of(model, [t])[0].argmax())]) for t in texts]


@contextmanager
def changed(parameter, rows=slice(None), value=0.0):
    """Rows of a parameter set to a value, and back."""
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter[rows] = value
    try:
        yield
    finally:
        with torch.no_grad():
            parameter.copy_(before)


def without_head(model, layer, head):
    """The model with one head saying nothing."""
    attn = model.module.transformer.h[layer].attn
    return changed(attn.c_proj.weight, slice(head * attn.head_dim, (head + 1) * attn.head_dim))


def without_unit(model, layer, unit):
    """The model with one hidden unit writing nothing."""
    return changed(model.module.transformer.h[layer].mlp.c_proj.weight, unit)


def patterns(model, text):
    """Attention [layer, head, query, key]."""
    model.module.set_attn_implementation("eager")
    with torch.no_grad():
        found = model.module(input_ids=ids_of(model, [text]), output_attentions=True).attentions
    return torch.stack([a[0] for a in found])


@contextmanager
def put(model, layer, place, state):
    """The residual after a layer, at one place, is `state` [width]."""

    def swap(_module, _inputs, out):
        x = out[0] if isinstance(out, tuple) else out
        x = x.clone()
        x[:, place] = state
        return (x, *out[1:]) if isinstance(out, tuple) else x

    hook = model.module.transformer.h[layer].register_forward_hook(swap)
    try:
        yield
    finally:
        hook.remove()


def states(model, text):
    """The residual before the first layer and after each [layer + 1, token, width]."""
    with torch.no_grad():
        found = model.module(input_ids=ids_of(model, [text]), output_hidden_states=True).hidden_states
    return torch.stack([h[0] for h in found])
