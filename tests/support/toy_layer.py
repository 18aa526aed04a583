"""A hand-written transformer layer with the interface of a Hugging Face classifier, and the same relevance rules in numpy.

The numpy side passes messages: every operation shares the relevance of its output among its contributions, written out as
sums over contributions. It uses no gradients, so that it is independent of the trick it checks.
"""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn


class ToyLayer(nn.Module):
    """RMS norm, one attention head, residual, layer norm, gated feed-forward part, residual, mean pooling, classifier."""

    def __init__(self, d=6, hidden=8, vocab=300, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.config = SimpleNamespace(
            num_labels=2, id2label={0: "no", 1: "yes"}, pad_token_id=0, model_type="toy"
        )
        self.embed = nn.Embedding(vocab, d)
        self.q, self.k, self.v = (nn.Linear(d, d, bias=False) for _ in range(3))
        self.o = nn.Linear(d, d)
        self.norm = nn.LayerNorm(d)
        nn.init.normal_(self.norm.weight, 1, 0.3)
        nn.init.normal_(self.norm.bias, 0, 0.3)
        self.gate, self.up, self.down = nn.Linear(d, hidden), nn.Linear(d, hidden), nn.Linear(hidden, d)
        self.head = nn.Linear(d, 2)
        self.fused = False
        self.eval()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask=None):
        x = self.embed(input_ids)
        h = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        q, k, v = self.q(h), self.k(h), self.v(h)
        if self.fused:
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            scores = torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5
            mixed = torch.matmul(nn.functional.softmax(scores, dim=-1), v)
        x = x + self.o(mixed)
        h = self.norm(x)
        x = x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))
        return SimpleNamespace(logits=self.head(x.mean(1)))


def numpy_relevance(m, x, target, rules):
    """Relevance [S, d] of the embeddings `x` for logit `target` of a `ToyLayer`, by messages in float64."""
    p = {n: w.detach().double().numpy() for n, w in m.named_parameters()}
    rms = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    h1 = x * rms
    q, k, v = (h1 @ p[f"{n}.weight"].T for n in "qkv")
    root = q.shape[-1] ** -0.5
    scores = q @ k.T * root
    pattern = np.exp(scores - scores.max(-1, keepdims=True))
    pattern /= pattern.sum(-1, keepdims=True)
    mixed = pattern @ v
    out = mixed @ p["o.weight"].T + p["o.bias"]
    x1 = x + out
    sd = np.sqrt(x1.var(-1, keepdims=True) + 1e-5)
    h2 = (x1 - x1.mean(-1, keepdims=True)) / sd * p["norm.weight"] + p["norm.bias"]
    g, u = h2 @ p["gate.weight"].T + p["gate.bias"], h2 @ p["up.weight"].T + p["up.bias"]
    a = g / (1 + np.exp(-g))
    product = a * u
    down = product @ p["down.weight"].T + p["down.bias"]
    x2 = x1 + down
    pooled = x2.mean(0)
    logits = p["head.weight"] @ pooled + p["head.bias"]

    def linear(z_in, name, r):
        """Relevance r [T, out] of a linear layer handed to its inputs [T, in]."""
        w, b = p[f"{name}.weight"], p.get(f"{name}.bias", np.zeros(len(p[f"{name}.weight"])))
        return np.stack([_shared(zi * w, b, ri, rules, layer=True) for zi, ri in zip(z_in, r)])

    r = np.zeros((1, 2))
    r[0, target] = logits[target]
    r = linear(pooled[None], "head", r)[0]
    r2 = np.stack([_shared(x2[:, [j]].T / len(x2), np.zeros(1), r[[j]], rules) for j in range(len(r))], 1)
    r_x1, r_down = _two(x1, down, r2, rules)
    r_product = linear(product, "down", r_down)
    r_h2 = linear(h2, "gate", r_product / 2) + linear(h2, "up", r_product / 2)
    r_x1 = r_x1 + _layer_norm(x1, sd, p["norm.weight"], p["norm.bias"], h2, r_h2, rules)
    r_x, r_out = _two(x, out, r_x1, rules)
    r_mixed = linear(mixed, "o", r_out)
    r_v, r_scores = np.zeros_like(v), np.zeros_like(scores)
    half = 1.0 if rules.attention == "cp" else 0.5
    for t in range(len(x)):
        for j in range(v.shape[1]):
            contributions = pattern[t] * v[:, j]
            if rules.attention == "cp":
                r_v[:, j] += _shared(contributions[None], np.zeros(1), r_mixed[t, [j]], rules)
            else:
                parts = contributions / mixed[t, j] * r_mixed[t, j] * half
                r_v[:, j] += parts
                r_scores[t] += parts
    r_h1 = linear(h1, "v", r_v)
    if rules.attention == "attnlrp":
        r_scores = scores * (r_scores - pattern * r_scores.sum(-1, keepdims=True))
        share = np.einsum("ti,si,ts->tsi", q, k, r_scores / (scores / root)) / 2
        r_h1 = r_h1 + linear(h1, "q", share.sum(1)) + linear(h1, "k", share.sum(0))
    return r_x + r_h1


def _shared(c, b, r, rules, layer=False):
    """c [out, in] contributions and b [out] constants to sums with relevance r [out]: what each input receives [in]."""
    y = c.sum(1) + b
    same, other = 1.0, 1.0
    if rules.linear == "z_plus":
        other = 0.0
    if rules.linear == "gamma" and layer:
        same = 1 + rules.gamma
    agree = np.sign(c) == np.sign(y)[:, None]
    weight = np.where(agree, same, other)
    whole = (weight * c).sum(1) + np.where(np.sign(b) == np.sign(y), same, other) * b
    if rules.linear == "epsilon" and layer:
        whole = whole + rules.epsilon * np.sign(whole)
    return (weight * c / whole[:, None] * r[:, None]).sum(0)


def _two(a, b, r, rules):
    """The same for a sum of two."""
    c = np.stack([a, b], -1).reshape(-1, 2)
    got = np.stack([_shared(ci[None], np.zeros(1), ri[None], rules) for ci, ri in zip(c, r.reshape(-1))])
    return got[:, 0].reshape(a.shape), got[:, 1].reshape(a.shape)


def _layer_norm(x, sd, w, b, y, r, rules):
    got = np.zeros_like(x)
    for t in range(len(x)):
        if rules.one_sign:
            plain = y[t] - b
            got[t] = _two(plain[None], b[None], r[[t]], rules)[0][0]
            continue
        jacobian = (np.eye(len(w)) - 1 / len(w)) * (w / sd[t])[:, None]
        got[t] = ((jacobian * x[t]) / y[t][:, None] * r[t][:, None]).sum(0)
    return got
