"""A harvest teaches what its activations would in memory, never a held-out text, in bounded memory, and only if it is what is asked for."""

import json
import shutil
from itertools import islice

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.cli.main import dispatch
from exegete.core.errors import InputError, ModelError, StoreError, UsageError
from exegete.core.material import Mark, Marked
from exegete.core.request import Text
from exegete.core.results.features import SparseFeatures
from exegete.core.seed import generator
from exegete.core.site import Site
from exegete.core.store import open_result
from exegete.methods.contracts.harvesting import Harvesting
from exegete.methods.features import activations, harvests
from exegete.methods.features.activations import Lessons, batches, read
from exegete.methods.features.harvests import drawn, lessons
from exegete.methods.features.sparse_autoencoder import SparseAutoencoder
from exegete.methods.features.transcoder import Transcoder
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.terrarium.material import material

SITE = Site("resid_post", layer=1)
SITES = ("1.resid_post", "1.mlp_in", "1.mlp_add")


@pytest.fixture(scope="module")
def model():
    return load("terrarium/decoder")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """150 texts in many shards; one of them stands there three times, once with blanks round it, and one has no token."""
    path = tmp_path_factory.mktemp("harvest") / "acts"
    texts = [t.text for t in material("texts", "causal", n=150)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Harvesting, "shard_tokens", 250)
        xg.run("harvest", model, [*texts, texts[3], f"  {texts[3]} "], str(path), sites=SITES)
    return path


@pytest.fixture
def lab(model):
    return Lab(model)


def texts_of(folder):
    """The texts in the order of the folder."""
    return tuple(Text(text=row["text"]) for _, row in xg.open(folder).inputs())


def rows_of(found, sites):
    """Every piece, one after another."""
    total = range(int(found.pieces[-1]))
    return [torch.cat(v) for v in zip(*(found.piece(i, sites) for i in total))]


def one_round(source):
    """The rows of the first place, to the end of the round."""
    parts = []
    for rows, last in source:
        parts.append(rows[0])
        if last:
            break
    return torch.cat(parts)


def test_batches_are_those_of_the_same_activations_in_memory(folder, lab):
    run = xg.open(folder)
    assert run.plan.n_shards > 5
    whole = np.concatenate([a for _, rows in run.arrays(str(SITE)) for a in rows])
    found = batches(lab, lessons(str(folder), lab, (SITE,), (), 1), (SITE,), 64, 100, "s")
    draw = generator(lab.seed, "rows", "s")
    for _ in range(3):  # rounds
        order = draw.permutation(len(whole))
        for start in range(0, len(whole) - 63, 64):
            assert torch.equal(next(found)[0], torch.from_numpy(whole[order[start : start + 64]]))


def test_training_is_that_in_memory_where_the_order_is_the_same(folder, model):
    """Read by another code, in other passes: the same to rounding, and so are the held-out figures and both controls."""
    texts = texts_of(folder)
    for kind, more in ((SparseAutoencoder, {}), (Transcoder, {})):
        how = {"n_steps": 30, "width": 1.0, "batch": 128, "n_held_out": 20, "seed": 3, **more}
        ours = kind(harvest=str(folder), **how)(model, texts)
        theirs = kind(**how)(model, texts)
        np.testing.assert_allclose(ours.history, theirs.history, rtol=2e-3, atol=2e-4)
        for a, b in zip(ours.trust.scores, theirs.trust.scores):
            assert (a.value, a.chance, a.control) == pytest.approx((b.value, b.chance, b.control), abs=2e-3)
            assert (a.n, a.n_failed) == (b.n, b.n_failed)
        assert sorted(ours.learned.tolist()) != []
        assert set(ours.learned.tolist()) <= set(theirs.learned.tolist()) | set(_blanked(folder))
        assert ours.n_tokens == theirs.n_tokens
        assert any("harvest acts" in words for _, words in ours.context)


def _blanked(folder):
    return activations.hashes([t for t in texts_of(folder) if t.text != t.text.strip()]).tolist()


def test_nothing_is_learned_from_a_held_out_text(folder, lab):
    """However often it stands there, and with whatever blanks: what is left are the activations of all other texts."""
    texts = texts_of(folder)
    thrice = next(t for t in texts if t.text != t.text.strip())
    held = (texts[0], Text(text=thrice.text.strip()), texts[40])
    found = lessons(str(folder), lab, (SITE,), held, 1)
    others = [t for t in texts if t.text.strip() not in {h.text.strip() for h in held}]
    assert len(others) == len(texts) - 5 == len(found)
    want = read(lab, others, [SITE]).values[0]
    (have,) = rows_of(found, (SITE,))
    torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-4)
    assert found.tokens == len(want)
    assert found.hashes().tolist() == activations.hashes(others).tolist()


def test_another_model_reads_the_same_texts(folder, lab, model):
    """The model with shuffled weights is given the texts, never the activations of the model that was harvested."""
    held = texts_of(folder)[:10]
    found = lessons(str(folder), lab, (SITE,), held, 1)
    other = Lab(load("terrarium/decoder"))
    with torch.no_grad():
        next(other.model.module.parameters()).mul_(0.5)
    rows = one_round(found.rounds(other, (SITE,), 100, "s"))
    rest = [t for t in texts_of(folder) if t.text.strip() not in {h.text.strip() for h in held}]
    torch.testing.assert_close(rows, read(other, rest, [SITE]).values[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(rows, rows_of(found, (SITE,))[0], atol=1e-2)


def test_what_does_not_fit_comes_in_a_seeded_order(folder, monkeypatch, lab):
    """Every round all rows once, in an order of its own; the same for the same seed, another for another."""
    monkeypatch.setattr(harvests, "PIECE", 64)
    found = lessons(str(folder), lab, (SITE,), texts_of(folder)[:7], 1)
    whole = rows_of(found, (SITE,))[0]

    def two(seed):
        source = found.rounds(lab, (SITE,), 0, seed)
        return one_round(source), one_round(source)

    first, second = two("a")
    assert all(torch.equal(*pair) for pair in zip((first, second), two("a")))
    assert not torch.equal(first, second)
    assert not torch.equal(first, two("b")[0])
    for rows in (first, second):
        assert torch.equal(rows.sort(0).values, whole.sort(0).values)  # column by column
        assert not torch.equal(rows, whole)


class Counting(Lessons):
    """Rows that say their number, in uneven blocks; `most` of them a round, or without end."""

    def __init__(self, most=None):
        self.most, self.told = most, 0

    def __len__(self):
        return self.most or 1

    @property
    def words(self):
        return "numbers"

    def rounds(self, lab, sites, megabytes, seed):
        size = 0
        while True:
            size = size % 7 + 1
            at = torch.arange(self.told, self.told + size, dtype=torch.float32)[:, None]
            self.told += size
            yield (at, -at), self.most is not None and self.told >= self.most

    def some(self, lab, sites, n):
        return ()

    def hashes(self):
        return np.zeros(0)


def test_the_buffer_is_no_larger_than_it_says_and_gives_no_row_twice(monkeypatch, lab):
    monkeypatch.setattr(activations, "capacity", lambda widths, megabytes: 100)
    source = Counting()
    given = []
    for n, (a, b) in enumerate(islice(batches(lab, source, (), 8, 1, "s"), 200), 1):
        assert torch.equal(a, -b)  # rows of two places stay together
        given += a[:, 0].tolist()
        assert source.told <= 8 * n + 100 + 7  # what was read: what was given, the buffer, and one block
    assert len(set(given)) == len(given) == 1600
    late = [g - i for i, g in enumerate(given)]
    assert max(late) > 50  # they are mixed
    assert min(set(range(1000)) - set(given), default=1000) > 300  # and none waits for long


def test_controls_are_of_many_texts(folder, monkeypatch, lab):
    monkeypatch.setattr(harvests, "LEAST", 16)
    found = lessons(str(folder), lab, (SITE,), (), 1)
    (few,) = found.some(lab, (SITE,), 100)
    assert len(few) == 100
    spots = [int((rows_of(found, (SITE,))[0] == r).all(1).nonzero()[0]) for r in few]
    assert max(spots) - min(spots) > 500  # of more than one shard
    (every,) = found.some(lab, (SITE,), 10**6)
    assert len(every) == found.tokens


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def changed(folder, **job):
    plan = json.loads((folder / "plan.json").read_text())
    plan["job"] |= job
    (folder / "plan.json").write_text(json.dumps(plan))


def refused(folder, model, error, words, texts=None, **more):
    study = SparseAutoencoder(**{"harvest": str(folder), "site": "1.resid_post", "n_held_out": 5, **more})
    with pytest.raises(error, match=words) as e:
        study(model, texts or texts_of(folder))
    assert all((e.value.asked, e.value.found, e.value.do))


SAYS = [Text(text=t) for t in ("the cat sat on the mat .", "mary went home .", "a dog saw a fox .")]


def test_folders_that_are_no_finished_harvest(folder, model, tmp_path):
    refused(tmp_path / "nothing", model, StoreError, "no plan.json", SAYS)
    runs = tmp_path / "runs"
    xg.run("saliency", "terrarium/sentiment", ["a good room"], str(runs), trust="none")
    refused(runs, model, StoreError, r"another kind \(attributing\)", SAYS)
    half = copied(folder, tmp_path)
    (half / "manifest.json").rename(half / "m")
    (half / "shards" / "000001.parquet").rename(half / "p")
    refused(half, model, StoreError, "not finished: [0-9]+ of [0-9]+ shards")
    (half / "m").rename(half / "manifest.json")
    refused(half, model, StoreError, "000001.parquet is missing")
    (half / "p").rename(half / "shards" / "000001.parquet")
    dense = half / "shards" / "000002.safetensors"
    dense.write_bytes(dense.read_bytes()[:-100])
    refused(half, model, StoreError, "bytes, and its manifest says")


def test_a_broken_shard_gets_a_letter(folder, lab, tmp_path):
    """The size is right and the bytes are not: found where it is read."""
    bad = copied(folder, tmp_path)
    dense = bad / "shards" / "000002.safetensors"
    dense.write_bytes(b"\xff" * len(dense.read_bytes()))
    found = lessons(str(bad), lab, (SITE,), (), 1)
    with pytest.raises(StoreError, match=r"000002\.safetensors"):
        rows_of(found, (SITE,))


def test_a_harvest_of_another_model_place_or_pooling(folder, model, tmp_path):
    narrow = load("terrarium/decoder", dtype="bfloat16")
    refused(folder, narrow, ModelError, r"not those of .*dtype bfloat16")
    edited = load("terrarium/decoder")
    with torch.no_grad():
        next(iter(edited.module.parameters()))[0, 0] += 1
    refused(folder, edited, ModelError, "fingerprint")
    refused(folder, load(tiny("gpt2")), ModelError, r"terrarium/decoder .*, whose weights", SAYS)
    refused(folder, model, UsageError, r"0\.resid_post is not among them", site="0.resid_post")
    other = copied(folder, tmp_path)
    changed(other, model={"source": "m", "revision": "r1", "dtype": "float16"})
    with pytest.raises(StoreError, match="Shard 0 belongs to another run"):  # the plan is signed by its hash
        lessons(str(other), Lab(model), (SITE,), (), 1)
    refused(other, narrow, ModelError, r"made with m \(revision r1, dtype float16\)")
    changed(other, pool="mean")
    refused(other, model, UsageError, "one vector a text")


def test_too_few_tokens_and_what_cannot_be_kept_apart(folder, model, tmp_path):
    refused(folder, model, InputError, "left to learn from", batch=100_000)
    refused(folder, model, InputError, "^.*\n0 of its tokens", n_held_out=1000)
    refused(folder, model, UsageError, "tokens alone", [Text(ids=(5, 6, 7))] * 3)
    refused(folder, model, UsageError, "not trained", saved="d.exg")
    marked = tmp_path / "marked"
    item = Marked(text="the cat sat", marks=(Mark(label="x", spans=((0, 3),)),))
    xg.run("harvest", model, [item] * 4, str(marked), sites=SITES)
    refused(marked, model, UsageError, "marked stretches", SAYS)


def test_rows_that_failed_are_passed_over(model, tmp_path, monkeypatch):
    """A shard of failed rows alone has no arrays and no columns to say so."""
    monkeypatch.setattr(Harvesting, "shard_rows", 2)
    rows = [*SAYS, *SAYS]
    run = xg.run("harvest", model, [*(r.text for r in rows), " ", " ", " "], str(tmp_path / "h"), sites=SITES, max_error_rate=1.0)  # fmt: skip
    assert run.n_failed == 3
    found = lessons(str(tmp_path / "h"), Lab(model), (SITE,), SAYS[:1], 1)
    want = read(Lab(model), [r for r in rows if r != SAYS[0]], [SITE]).values[0]
    assert len(found) == 4 and found.tokens == len(want)
    other = Lab(load("terrarium/decoder"))
    again = one_round(found.rounds(other, (SITE,), 100, "s"))
    torch.testing.assert_close(again.sort(0).values, want.sort(0).values, rtol=1e-4, atol=1e-4)


def test_a_harvest_counts_the_marks_that_failed(model, tmp_path):
    """Two marks of a text much longer than the context, of which the second is cut off; two of a short one."""
    long = "the cat sat on the mat . " * 100
    items = [
        Marked(text=text, marks=tuple(Mark(label="", spans=(s,)) for s in spans))
        for text, spans in ((long, ((4, 7), (len(long) - 7, len(long) - 4))), ("the cat", ((0, 3), (4, 7))))
    ]
    run = xg.run("harvest", model, items, str(tmp_path / "h"), sites=SITES[:1], pool="last")
    assert run.table(("marks", "failed_marks")).to_pylist() == [
        {"marks": 1, "failed_marks": 1},
        {"marks": 2, "failed_marks": 0},
    ]
    assert run.result.rows == (("1.resid_post", "last", "2", "3", "0", "1"),)


def test_from_the_command_line_with_nothing_but_the_harvest(tmp_path, model):
    """Some of its own texts are held out, and its only place is taken."""
    corpus, acts, made = tmp_path / "corpus.txt", str(tmp_path / "acts"), str(tmp_path / "f.exg")
    texts = [str(t.text) for t in material("texts", "causal", n=120)]
    corpus.write_text("\n".join(texts))
    flags = ["--model", "terrarium/decoder", "--data", str(corpus), "--out", acts]
    assert dispatch(["run", "harvest", "--sites", "2.resid_post", *flags]) == 0
    few = ["--n-steps", "5", "--width", "0.5", "--k", "4", "--batch", "32", "--n-held-out", "15"]
    assert dispatch(["features", "train", "--harvest", acts, *few, "--out", made]) == 0
    found = open_result(made)
    assert isinstance(found, SparseFeatures)
    assert found.dictionary.site == "2.resid_post"
    assert found.trust.scores[0].n + found.trust.scores[0].n_failed == 15
    held = drawn(acts, 15, 0)
    assert len({t.text for t in held}) == 15 and {t.text for t in held} <= set(texts)
    assert {t.text for t in drawn(acts, 15, 1)} != {t.text for t in held}
    known = set(found.learned.tolist())
    assert not known & set(activations.hashes([Text(text=t.text) for t in held]).tolist())
    assert len(found.learned) == sum(t not in {h.text for h in held} for t in texts)
