"""A slow GPT-2 at the level of edges: every reader adds up, by name, what every writer wrote. The truth that edge runs are held to."""

import torch


def naive(module, graph, ids, cut=frozenset(), given=None):
    """Logits [batch, tok, vocab] and writes {name: [batch, tok, d]}; edges in `cut` (writer, reader) carry given[writer]."""
    gpt, consts = module.transformer, 0.0
    h = graph.n_heads
    writes = {"embed": gpt.wte(ids) + gpt.wpe(torch.arange(ids.shape[1]))}

    def read(reader, norm):
        told = [given[w] if (w, reader) in cut else x for w, x in writes.items()]
        return norm(sum(told) + consts)

    for i, block in enumerate(gpt.h):
        wide, bias = block.attn.c_attn.weight, block.attn.c_attn.bias
        dh, d = wide.shape[0] // h, wide.shape[0]
        late = torch.ones(ids.shape[1], ids.shape[1]).triu(1).bool()
        new = {}
        for j in range(h):
            q, k, v = (
                read(f"{i}.h{j}.{kind}", block.ln_1) @ wide[:, s : s + dh] + bias[s : s + dh]
                for kind, s in (("q", j * dh), ("k", d + j * dh), ("v", 2 * d + j * dh))
            )
            scores = (q @ k.transpose(-1, -2) / dh**0.5).masked_fill(late, -torch.inf)
            new[f"{i}.h{j}"] = scores.softmax(-1) @ v @ block.attn.c_proj.weight[j * dh : (j + 1) * dh]
        writes |= new  # heads of one layer do not hear each other
        consts = consts + block.attn.c_proj.bias
        writes[f"{i}.mlp"] = block.mlp(read(f"{i}.mlp", block.ln_2))
    return module.lm_head(read("logits", gpt.ln_f)), writes


def named_edges(graph):
    """Every edge of a graph as (writer, reader) names."""
    return [(graph.writers[w].name, graph.readers[r].name) for w, r in graph.edges]
