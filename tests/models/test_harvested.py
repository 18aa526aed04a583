"""Tables put together from parts against tables read at once, for every kind of mark and pooling, whatever stood beside a text."""

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.material import Mark, Marked
from exegete.core.store import pack, unpack
from exegete.models.harvest import layer_sites
from exegete.models.harvested import Gathered, Here, Vectors, vectors
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.randomise import Randomiser
from exegete.models.tiny import tiny

TEXTS = (
    "the staff were wonderful",
    "it was",
    "the food was not good but cheap",
    "the staff were wonderful",
    "of " * 600,
)


def spans_of(text: str) -> list[tuple[int, int]]:
    ends = np.cumsum([len(w) + 1 for w in text.split()])
    return [(int(e) - len(w) - 1, int(e) - 1) for w, e in zip(text.split(), ends)]


def items(kind: str) -> tuple[Marked, ...]:
    """Texts of which the last is longer than the model's context."""
    found = []
    for t in TEXTS:
        t = t.strip()
        at = spans_of(t)
        if kind == "word":
            marks = tuple(Mark(label=str(i), spans=(s,)) for i, s in enumerate(at))
        elif kind == "pair":
            marks = tuple(Mark(label=str(i), spans=(s, at[0])) for i, s in enumerate(at))
        else:
            marks = (Mark(label=t[:2]),)
        found.append(Marked(text=t, marks=marks))
    return tuple(found)


@pytest.fixture(scope="module")
def here() -> Here:
    model = load(tiny("gpt2"))
    return Here(Lab(model), Lab(Randomiser(0)(model)))


def parts(here: Here, some: tuple[Marked, ...], pool: str, cut: int) -> list[Vectors]:
    """Parts of stretches, written down and read again; the last stretch first."""
    sites = layer_sites(here.lab.model)
    found = [*vectors(here, some[cut:], sites, pool), *vectors(here, some[:cut], sites, pool)]
    return [unpack(pack(p), Vectors) for p in found]


@pytest.mark.parametrize("kind", ["word", "pair", "text"])
@pytest.mark.parametrize("pool", ["last", "mean", "all"])
def test_a_table_from_parts_is_the_table(here, kind, pool):
    some, sites = items(kind), layer_sites(here.lab.model)
    gathered = Gathered(parts(here, some, pool, 2))
    assert gathered.twinned
    for read, made in ((here.own, gathered.own), (here.other, gathered.other)):
        want, got = read(some, sites, pool), made(some, sites, pool)
        assert want.n_failed == got.n_failed > 0  # by the text that is too long
        assert (want.n_cut, want.labels, want.words) == (got.n_cut, got.labels, got.words)
        for f in ("item", "mark", "cut", "offsets"):
            np.testing.assert_array_equal(getattr(want, f), getattr(got, f))
        for s in sites:
            np.testing.assert_allclose(want.values[s], got.values[s], atol=1e-5)


def test_the_twin_is_not_the_model(here):
    """What the comparison above would see."""
    gathered, sites = Gathered(parts(here, items("word"), "last", 1)), layer_sites(here.lab.model)
    own, other = (t(items("word"), sites, "last").values[sites[-1]] for t in (gathered.own, gathered.other))
    assert np.abs(own - other).max() > 0.1


def test_of_parts_only_what_is_asked_for_is_taken(here):
    some, sites = items("word"), layer_sites(here.lab.model)
    fewer = tuple(i.model_copy(update={"marks": i.marks[1:2]}) for i in some[2:0:-1])
    gathered = Gathered(parts(here, some, "last", 3))
    for s in sites:
        want = here.own(fewer, sites, "last").values[s]
        np.testing.assert_allclose(gathered.own(fewer, sites, "last").values[s], want, atol=1e-5)


def test_what_cannot_be_read_is_an_empty_part_and_a_failed_mark(here):
    sites = layer_sites(here.lab.model)
    good, long = items("word")[0], items("word")[-1]
    lost = long.model_copy(update={"marks": long.marks[-1:]})
    made = [*vectors(here, [lost, None], sites, "last"), *vectors(here, [good], sites, "last")]
    assert [len(p.spans) for p in made] == [0, 0, 4]
    assert Gathered(made).own([lost, good], sites, "last").n_failed == 1
    with pytest.raises(InputError, match="No token"):
        Gathered(made[:2]).own([lost], sites, "last")
