"""Quantifier clozes: a scripted model that knows and heeds is found, blind ones are told apart, shares equal brute force."""

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.methods.probing import quantifier_cloze
from exegete.methods.probing.quantifier_cloze import (
    QUANTIFIERS,
    QuantifierCloze,
    _shares,
    prompt,
    usual_words,
)
from exegete.models.load import load
from exegete.models.tiny import tiny

CASES = {"dog": ("loyal", "furry"), "pin": ("sharp",), "sea": ("blue", "deep"), "sun": ("hot",)}
NAMES = [p for several in CASES.values() for p in several]


def rows(path, cases=CASES) -> str:
    path.write_text(
        "noun,property\n" + "".join(f"{n},{p}\n" for n, several in cases.items() for p in several)
    )
    return str(path)


@pytest.fixture
def scripted(monkeypatch):
    """Replaces what the model says by a score of (quantifier, noun, property); the randomised twin says noise."""

    def install(score) -> None:
        rng = np.random.default_rng(0)

        def said(lab, places, candidates):
            found = []
            for place in places:
                quantifier, nouns, _ = place.before.split()
                if "randomised" in lab.model.name:
                    found.append(rng.normal(size=len(NAMES)))
                else:
                    found.append(np.array([score(quantifier, nouns[:-1], p) for p in NAMES]))
            return found

        monkeypatch.setattr(quantifier_cloze, "answers", said)

    return install


def asked(tmp_path, **kw):
    return QuantifierCloze(words=rows(tmp_path / "a.csv"), **kw)(load(tiny("gpt2")))


def test_a_model_that_knows_and_heeds(tmp_path, scripted):
    scripted(lambda q, noun, p: (p in CASES[noun]) * (-1.0 if q == "no" else 1.0))
    r = asked(tmp_path)
    np.testing.assert_array_equal(r.above[:3], 1)
    np.testing.assert_array_equal(r.above[3], 0)
    assert all(s.beats_chance and s.beats_control for s in r.trust.scores)
    assert [s.value for s in r.trust.scores] == [1, 1, 1, 1]
    assert r.first[0][1] == "sharp"
    np.testing.assert_allclose(r.ranks[0], [1.5, 1, 1.5, 1])  # two that tie share
    assert "NOT" not in r.lede
    assert "100.0 points lower" in r.lede


def test_a_model_that_knows_and_heeds_no_quantifier(tmp_path, scripted):
    scripted(lambda q, noun, p: float(p in CASES[noun]))
    r = asked(tmp_path)
    assert all(s.beats_control for s in r.trust.scores[:2])
    assert not any(s.beats_chance for s in r.trust.scores[2:])
    assert "not shown to heed" in r.lede
    assert "no knowledge" not in r.lede


def test_a_model_that_likes_some_words_knows_nothing(tmp_path, scripted):
    """An order of words that no noun changes: the prompts about other nouns do as well."""
    scripted(lambda q, noun, p: float(len(p)))
    r = asked(tmp_path)
    np.testing.assert_allclose(r.above, r.other)
    assert not r.trust.scores[0].beats_control
    assert "no knowledge" in r.lede


TYPICAL = (
    "noun,property,typical\ndog,loyal,yes\ndog,furry,no\npin,sharp,yes\nsea,blue,yes\nsea,deep,no\nsun,hot,\n"
)


def test_typical_properties(tmp_path, scripted):
    """Typical ones likelier after all and most, not after some; and a model that likes those words whatever the noun."""
    (tmp_path / "t.csv").write_text(TYPICAL)
    study = QuantifierCloze(words=str(tmp_path / "t.csv"))
    best = ("loyal", "blue")
    scripted(lambda q, noun, p: (p in CASES[noun]) * (2.0 if p in best and q in ("all", "most") else 1.0))
    r = study(load(tiny("gpt2")))
    np.testing.assert_array_equal(r.typical[:, 0], [1, 1, 0.5, 0.5])
    assert np.isnan(r.typical[:, 1]).all()
    scores = r.trust.scores[4:]
    assert [s.control for s in scores[:2]] == [0.5, 0.5]
    assert all(s.value == 1 and s.beats_chance and s.beats_control for s in scores[:2])
    scripted(lambda q, noun, p: float(p in best))
    scores = study(load(tiny("gpt2"))).trust.scores[4:]
    assert all(s.value == 1 and not s.beats_control for s in scores[:2])
    (tmp_path / "t.csv").write_text(TYPICAL.replace("furry,no", "furry,"))
    r = study(load(tiny("gpt2")))  # what the file does not judge is neither, and one noun alone says nothing
    assert np.isnan(r.typical).all()
    assert len(r.trust.scores) == 4


def test_shares_equal_brute_force():
    rng = np.random.default_rng(3)
    logs = rng.integers(0, 4, (4, 5, 6)).astype(float)  # with ties
    own = np.zeros((5, 6), dtype=bool)
    own[0, :2] = own[1, 1:3] = own[2, 3] = own[3, 4:] = own[4, 5] = True
    apart = np.array([[not (a & b).any() for b in own] for a in own])
    mine, other = _shares(logs, own, ~own, apart)

    def share(q, asked, i):
        pairs = [(x, y) for x in range(6) if own[i, x] for y in range(6) if not own[i, y]]
        gaps = [logs[q, asked, x] - logs[q, asked, y] for x, y in pairs]
        return np.mean([1.0 if g > 0 else 0.5 if g == 0 else 0.0 for g in gaps])

    for q in range(4):
        for i in range(5):
            assert mine[q, i] == pytest.approx(share(q, i, i))
            assert other[q, i] == pytest.approx(np.mean([share(q, j, i) for j in range(5) if apart[i, j]]))


def test_the_model_is_asked_what_it_says():
    """Without a script: shapes, and ranks that are those of the shares."""
    r = QuantifierCloze(n_nouns=4)(load(tiny("gpt2")))
    assert r.above.shape == r.other.shape == r.twin.shape == r.ranks.shape == (len(QUANTIFIERS), 4)
    assert ((r.above >= 0) & (r.above <= 1)).all()
    assert (r.ranks >= 1).all()
    assert all(f in r.candidates for row in r.first for f in row)
    assert prompt("mouse", "most") == "most mice are [MASK]."


def test_the_terrariums_properties_suit_one_topic_each():
    words = usual_words()
    assert len(words) >= 20
    several = set(words.values())
    assert len({p for s in several for p in s}) == sum(map(len, several))


def test_files_that_do_not_fit(tmp_path):
    model = load(tiny("gpt2"))
    (tmp_path / "a.csv").write_text("noun,property\ndog,loyal\ncat,\n")
    with pytest.raises(InputError, match="Line 3"):
        QuantifierCloze(words=str(tmp_path / "a.csv"))(model)
    (tmp_path / "c.csv").write_text("noun,property,typical\ndog,loyal,maybe\n")
    with pytest.raises(InputError, match="maybe"):
        QuantifierCloze(words=str(tmp_path / "c.csv"))(model)
    same = rows(tmp_path / "b.csv", {"dog": ("loyal",), "cat": ("loyal", "soft")})
    with pytest.raises(InputError, match="nothing to compare"):
        QuantifierCloze(words=same)(model)
