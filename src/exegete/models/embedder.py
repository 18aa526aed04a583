"""Vectors of whole texts, for comparing them by cosine: a model's own states, or those of an encoder that is named.

    own      mean over tokens of what the middle layer of the model holds, every token's state scaled to length 1 first: a few
             states (the first token's, as a rule) are a hundred times as long as the others, and would be all that a mean shows
    encoder  mean over tokens of the last states of any Hugging Face checkpoint, its head left out, as sentence encoders do

Shapes: [text, width]; NaN for a text without a token. Cost: one forward a different text, of either; counted in the lab's meter.
Reference: Reimers & Gurevych 2019 (mean pooling); Paulo et al. 2024 (embedding score).
"""

from collections.abc import Sequence

import numpy as np
import torch

from exegete.models.forward import buckets
from exegete.models.harvest import layer_sites, stream
from exegete.models.lab import Lab
from exegete.models.load import load_encoder

LONGEST = 512  # tokens of a text that a named encoder reads at most


def embedded(lab: Lab, texts: Sequence[str], encoder: str = "") -> np.ndarray:
    """Vectors [text, width] by the lab's own model, or by `encoder`. Raises what loading it raises."""
    distinct = [t for t in dict.fromkeys(texts) if t.strip()]
    found = (
        (_by(lab, distinct, encoder) if encoder else _own(lab, distinct)) if distinct else np.zeros((0, 1))
    )
    row = {t: i for i, t in enumerate(distinct)}
    out = np.full((len(texts), found.shape[1]), np.nan)
    for i, t in enumerate(texts):
        if t in row:
            out[i] = found[row[t]]
    return out


def _own(lab: Lab, texts: Sequence[str]) -> np.ndarray:
    sites = layer_sites(lab.model, first=False)
    site = sites[(len(sites) - 1) // 2]
    total, count = np.zeros((len(texts), 1)), np.zeros(len(texts))
    with lab.working(len(texts), "embedding texts and descriptions") as done:
        for chunk in stream(lab, texts, [site]):
            states = chunk.values[site].double()
            states = (states / states.norm(dim=1, keepdim=True).clamp_min(1e-12)).cpu().numpy()
            if total.shape[1] != states.shape[1]:
                total = np.zeros((len(texts), states.shape[1]))
            np.add.at(total, chunk.text, states)
            np.add.at(count, chunk.text, 1)
            done(len(set(chunk.text.tolist())))
    return np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.nan)


def _by(lab: Lab, texts: Sequence[str], encoder: str) -> np.ndarray:
    module, tokenizer = load_encoder(encoder, lab.model.device)
    room = getattr(module.config, "max_position_embeddings", None) or LONGEST
    most = max(1, min(LONGEST, room - 2, int(tokenizer.model_max_length)))  # RoBERTa counts its places from 2
    ids = [tokenizer(t, truncation=True, max_length=most)["input_ids"] for t in texts]
    out = None
    with lab.working(len(texts), f"embedding texts and descriptions by {encoder}") as done:
        for members in buckets([len(i) for i in ids], lab.model.token_budget):
            width = max(1, *(len(ids[m]) for m in members))
            given = torch.zeros(len(members), width, dtype=torch.int64)
            mask = torch.zeros_like(given)
            for r, m in enumerate(members):
                given[r, : len(ids[m])] = torch.tensor(ids[m])
                mask[r, : len(ids[m])] = 1
            given, mask = given.to(lab.model.device), mask.to(lab.model.device)
            with torch.no_grad():
                states = module(input_ids=given, attention_mask=mask).last_hidden_state.double()
            shown = mask[..., None].double()
            vectors = (states * shown).sum(1) / shown.sum(1).clamp_min(1)
            out = np.full((len(texts), vectors.shape[1]), np.nan) if out is None else out
            out[list(members)] = vectors.cpu().numpy()
            lab.meter.forwards += len(members)
            lab.meter.tokens += given.numel()
            done(len(members))
    return np.zeros((0, 1)) if out is None else out
