"""Modules whose truth is planted are explained by it; modules of noise are not; texts to explain and to test never meet."""

import zlib

import numpy as np
import pytest

from exegete.ops import summarize_score
from exegete.ops.ngram_summary import Effects, candidates, standard
from exegete.ops.phrases import Index, ngrams, spots, words
from exegete.ops.summarize_score import (
    EmbeddedWriter,
    Explained,
    difference_interval,
    explain,
    random_like,
    score_ngrams,
)

FOOD = ("bread", "soup", "cheese", "rice", "apple")
TRAVEL = ("train", "ship", "bus", "plane", "car")
OTHER = ("stone", "king", "river", "letter", "window", "garden", "music", "winter")
FRAMES = (
    "the {} is near the {}",
    "we saw a {} and a {} today",
    "she talks of {} , not of {}",
    "my {} was old but the {} new",
)


def sentences(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    pool = (*FOOD, *TRAVEL, *OTHER)
    made = [str(rng.choice(FRAMES)).format(*rng.choice(pool, 2, replace=False)) for _ in range(4 * n)]
    return list(dict.fromkeys(made))[:n]


CORPUS = sentences(240, 0)
EXPLAIN, TEST = CORPUS[:120], CORPUS[120:]


def counts(topic: tuple[str, ...]):
    return lambda texts: np.array([sum(w in topic for w in words(t)) for t in texts], dtype=float)


def noise(salt: int):
    """A value a text that nothing in the text explains."""
    return lambda texts: np.array([zlib.crc32(f"{salt} {t}".encode()) % 1000 / 1000 for t in texts])


def several(*boxes):
    return lambda texts: np.stack([b(texts) for b in boxes], 1)


def explained(f, n_random: int = 5) -> tuple[Explained, ...]:
    scored = score_ngrams(f, EXPLAIN)
    return explain(f, scored, TEST, EmbeddedWriter(TEST, np.random.default_rng(0)), n_random=n_random)


@pytest.fixture(scope="module")
def unexplained() -> tuple[Explained, ...]:
    """Forty modules of noise."""
    return explained(several(*(noise(i) for i in range(40))), n_random=1)


def test_planted_topics_are_recovered_and_beat_both_controls():
    found = explained(several(counts(FOOD), counts(TRAVEL)))
    for e, topic in zip(found, (FOOD, TRAVEL)):
        phrases = e.judged[e.best].candidate.phrases
        assert set(phrases) == set(topic)
        assert e.interval is not None
        assert e.interval[0] > max(e.random, e.swapped, 0.5)
        assert e.swapped < 0.2


def test_a_planted_phrase_is_told_from_its_words():
    """Texts with either word are low, texts with both in turn are high."""
    rng = np.random.default_rng(0)
    said = ("a hot dog", "a hot stone", "a big dog", "a big stone")
    made = [f"{rng.choice(said)} by the {x} and the {y}" for x in OTHER for y in OTHER for _ in range(3)]
    made = [made[i] for i in rng.permutation(len(made))]
    made = list(dict.fromkeys(made))
    texts, test = made[::2], made[1::2]
    f = lambda ts: np.array([float("hot dog" in t) for t in ts])  # noqa: E731
    e = explain(f, score_ngrams(f, texts), test, EmbeddedWriter(test, rng))[0]
    assert all("hot dog" in p for p in e.judged[e.best].candidate.phrases)
    single = [j.score for j in e.judged if j.candidate.phrases == ("dog",)]
    assert single and e.score > single[0] + 0.5


def test_modules_of_noise_are_not_explained(unexplained):
    """The choice among candidates alone makes no score: over many such modules the mean is 0, like that of random candidates."""
    scores = np.array([e.score for e in unexplained])
    error = np.nanstd(scores) / np.sqrt(len(scores))
    assert abs(np.nanmean(scores)) < 3 * error
    assert abs(np.nanmean([e.random for e in unexplained])) < 3 * error
    won = [e.interval is not None and e.interval[0] > 0 for e in unexplained]
    assert np.mean(won) < 0.15


def test_scores_on_the_half_they_were_chosen_on_would_flatter(unexplained):
    """So the two halves are needed: the same noise looks explained where it was chosen."""
    assert np.nanmean([e.judged[e.best].chosen_by for e in unexplained]) > 0.6


def test_the_score_is_the_difference_of_means_in_sigma():
    f = counts(FOOD)
    e = explained(f)[0]
    best = e.judged[e.best].candidate
    sides = EmbeddedWriter(TEST, np.random.default_rng(0)).sides(best)
    assert sides is not None
    plus, minus = sides[1]
    by_hand = (f(plus).mean() - f(minus).mean()) / f(TEST).std()
    assert e.score == pytest.approx(by_hand)
    assert all(set(words(t)) & set(best.phrases) for t in plus)
    assert not any(set(words(t)) & set(best.phrases) for t in minus)


def test_no_text_is_in_two_places():
    """The black box notes what it is asked for: no n-gram twice, and no text to explain among the texts it is judged on."""
    asked: list[list[str]] = []

    def f(texts):
        asked.append(list(texts))
        return counts(FOOD)(texts)

    explained(f)
    grams, texts = asked
    assert len(grams) == len(set(grams))
    assert len(texts) == len(set(texts))
    assert not set(texts) & set(EXPLAIN)
    sides = EmbeddedWriter(TEST, np.random.default_rng(0)).sides(candidates_of(counts(FOOD))[0])
    assert sides is not None
    assert not {t for s in sides[0] for t in s} & {t for s in sides[1] for t in s}


def candidates_of(f):
    found = score_ngrams(f, EXPLAIN)
    return candidates(found.ngrams, found.z, 0, found.effects, 30, 8)


def test_words_that_stand_beside_the_right_one_have_no_effect():
    found = score_ngrams(counts(FOOD), EXPLAIN)
    bread, the = (found.effects.of(w, 0) for w in ("bread", "the"))
    assert bread > 1
    assert abs(the) < 0.3
    by_hand = [found.z[i, 0] for i, g in enumerate(found.ngrams) if "bread" in g.split()]
    assert bread == pytest.approx(sum(by_hand) / (len(by_hand) + 2), abs=1e-3)


def test_random_candidates_are_like_the_real_ones_and_can_be_tested():
    """As many phrases each, none of the real ones, in about as many texts."""
    found = score_ngrams(counts(FOOD), EXPLAIN)
    writer = EmbeddedWriter(TEST, np.random.default_rng(0))
    made = writer.candidates(found, 0, 30, 6)
    other = random_like(made, found, np.random.default_rng(0), writer)
    assert [len(c.phrases) for c in other] == [len(c.phrases) for c in made]
    assert not {p for c in made for p in c.phrases} & {p for c in other for p in c.phrases}
    assert all(writer.sides(c) is not None for c in (*made, *other))
    often = [[found.count[found.at[p]] for c in group for p in c.phrases] for group in (made, other)]
    assert abs(np.mean(often[0]) - np.mean(often[1])) < 0.5 * np.mean(often[0])


def test_random_candidates_are_as_many_as_the_real_ones(monkeypatch):
    """Of more candidates the best is better by chance alone: where two random ones can be judged, two real ones are."""
    whole = explained(counts(FOOD))[0]
    monkeypatch.setattr(summarize_score, "random_like", lambda *args: random_like(*args)[:2])
    cut = explained(counts(FOOD))[0]
    assert len(whole.judged) > 2
    assert cut.judged == whole.judged[:2]
    assert cut.best == int(np.argmax([j.chosen_by for j in cut.judged]))
    monkeypatch.setattr(summarize_score, "random_like", lambda *_: ())
    assert (
        explained(counts(FOOD))[0].judged == whole.judged
    )  # no control at all: it is told, and nothing is cut


def test_a_constant_module_has_no_candidates_and_no_score():
    e = explained(lambda texts: np.ones(len(texts)))[0]
    assert (e.best, e.judged) == (-1, ())
    assert np.isnan(e.score)


def test_ngrams_are_counted_by_texts_and_found_in_them():
    texts = ["A b, a b!", "b c", "c"]
    assert ngrams(texts, 2) == {"b": 2, "c": 2, "a": 1, "a b": 1, "b a": 1, "b c": 1}
    assert list(ngrams(texts, 2, limit=3)) == ["b", "c", "a"]
    assert Index(texts).holds(("a b", "b c")).tolist() == [True, True, False]
    assert spots("A b, a c!", ("a b",))[1].tolist() == [1, 1, 0, 0]


def test_near_words_are_grouped_by_their_vectors():
    """Words of one topic have vectors that are near; the groups of the candidates follow them."""
    near = {
        **{w: (1.0, 0.1 * i) for i, w in enumerate(FOOD)},
        **{w: (-1.0, 0.1 * i) for i, w in enumerate(TRAVEL)},
    }
    f = lambda texts: counts(FOOD)(texts) + 0.3 * counts(TRAVEL)(texts)  # noqa: E731
    found = score_ngrams(f, EXPLAIN)
    made = candidates(
        found.ngrams,
        found.z,
        0,
        found.effects,
        60,
        12,
        lambda ws: np.array([near.get(w, (0, 5.0)) for w in ws]),
    )
    groups = [set(c.phrases) for c in made[1:] if len(c.phrases) > 1 and " " not in "".join(c.phrases)]
    assert any(g <= set(FOOD) for g in groups)
    assert not any(g & set(FOOD) and g & set(TRAVEL) for g in groups)


def test_effects_and_standard_values_do_not_move_with_rounding_noise():
    rng = np.random.default_rng(0)
    names = ("a", "b", "a b")
    x = rng.random((3, 2))
    same = standard(x), standard(x + 1e-9)
    assert np.array_equal(*same)
    assert np.array_equal(*(Effects(names, z).values for z in same))


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    for i in range(100):
        found = difference_interval(rng.normal(1, 1, 40), rng.normal(0, 2, 60), i, 400)
        hits += found is not None and found[0] <= 1 <= found[1]
    assert 88 <= hits <= 100
    assert difference_interval(np.ones(1), np.ones(5), 0) is None
