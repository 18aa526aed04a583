"""Antecedents by similarity: a planted direction resolves words never seen, noise resolves nothing."""

import numpy as np
import pytest
import torch

from exegete.ops.antecedents import Training, cosines, hits, train

WIDTH, N_WORDS, SIZE = 24, 40, 160


def planted(strength: float, seed: int):
    """Stories of two words of different kinds, eight words a fold; kind shifts word and pronoun along two unlike directions."""
    rng = np.random.default_rng(seed)
    words, kind = rng.normal(size=(N_WORDS, WIDTH)), np.arange(N_WORDS) % 2
    words[:, 0] += strength * (2 * kind - 1)
    fold = np.arange(SIZE) % 5
    first = np.array([rng.choice(np.flatnonzero((np.arange(N_WORDS) // 8 == f) & (kind == 0))) for f in fold])
    second = np.array(
        [rng.choice(np.flatnonzero((np.arange(N_WORDS) // 8 == f) & (kind == 1))) for f in fold]
    )
    right = rng.integers(0, 2, SIZE)
    pronouns = 0.3 * rng.normal(size=(SIZE, WIDTH))
    pronouns[:, 1] += 2.0 * right - 1
    candidates = np.stack([words[first], words[second]], 1)
    asked = fold[None] == np.arange(5)[:, None]
    tensors = (torch.tensor(a, dtype=torch.float32) for a in (pronouns, candidates))
    yes = torch.tensor(right[:, None] == np.arange(2))
    return (*tensors, torch.ones_like(yes), yes, torch.tensor(~asked)), asked


def accuracy(strength: float, seed: int = 0, similarity: str = "bilinear") -> float:
    given, asked = planted(strength, seed)
    scores = train(*given, Training(n_steps=60, seed=seed, similarity=similarity))
    return float(hits(scores, given[3][None])[asked].mean())


@pytest.mark.parametrize("similarity", ["bilinear", "cosine"])
def test_a_planted_direction_is_found_in_words_never_seen(similarity):
    assert accuracy(3.0, similarity=similarity) > 0.95


def test_words_learned_by_heart_tell_nothing_of_others():
    """Training alone could resolve every story; held-out words come out at chance, on neither side of it."""
    found = [accuracy(0.0, seed) for seed in range(6)]
    assert abs(np.mean(found) - 0.5) < 3 * np.std(found) / np.sqrt(6) + 0.02
    given, asked = planted(0.0, 0)
    scores = train(*given, Training(n_steps=100))
    assert hits(scores, given[3][None])[~asked].mean() > 0.95


def test_hits_of_ties_and_cosines():
    right = torch.tensor([[True, False, False]])
    there = torch.tensor([[True, True, False]])
    assert hits(torch.tensor([[1.0, 1.0, -torch.inf]]), right) == [0.5]
    c = cosines(torch.tensor([[1.0, 0.0]]), torch.tensor([[[2.0, 0.0], [0.0, 1.0], [9.0, 0.0]]]), there)
    np.testing.assert_allclose(c.numpy(), [[1.0, 0.0, -np.inf]])
