"""The activation table against a slow twin: one text at a time, the bare module, positions looked up by hand."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, StoreError, UnknownName
from exegete.core.material import Mark, Marked
from exegete.models.encode import encode
from exegete.models.harvest import harvest, layer_sites, pooled, stream
from exegete.models.kept import Kept
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.terrarium.labelled import KINDS, marked

TEXTS = ("the staff were wonderful", "it", "the incomprehensible food was not good but cheap")


def items() -> tuple[Marked, ...]:
    """Every word of the texts, labelled with its number."""
    found = []
    for text in TEXTS:
        at, marks = 0, []
        for i, word in enumerate(text.split()):
            marks.append(Mark(label=str(i), spans=((at, at + len(word)),)))
            at += len(word) + 1
        found.append(Marked(text=text, marks=tuple(marks)))
    return tuple(found)


def hidden(model, text: str, layer: int) -> tuple[np.ndarray, list]:
    """Residual after a layer, from the module itself, with the tokens of the text."""
    tokens = encode(model, _text(text)).tokens
    ids = torch.tensor([[t.id for t in tokens]])
    with torch.no_grad():
        out = model.module(input_ids=ids, output_hidden_states=True)
    states = getattr(out, "hidden_states", None) or out.encoder_hidden_states
    return states[layer + 1][0].numpy(), list(tokens)


def _text(text: str):
    from exegete.core.request import Text

    return Text(text=text)


@pytest.mark.parametrize("family", ["gpt2", "bert", "roberta"])
@pytest.mark.parametrize("pool", ["first", "last", "mean", "max"])
def test_words_are_where_the_slow_twin_finds_them(family, pool):
    model = load(tiny(family))
    table = harvest(Lab(model), items(), ["0.resid_post"], pool)
    got = next(iter(table.values.values()))
    row = 0
    for text in TEXTS:
        states, tokens = hidden(model, text, 0)
        at = 0
        for word in text.split():
            inside = [
                i for i, t in enumerate(tokens) if not t.special and t.start < at + len(word) and at < t.end
            ]
            want = {"first": states[inside[0]], "last": states[inside[-1]]}.get(pool)
            if want is None:
                want = states[inside].mean(0) if pool == "mean" else states[inside].max(0)
            np.testing.assert_allclose(got[row], want, atol=1e-5)
            assert table.words[row] == word
            at, row = at + len(word) + 1, row + 1
    assert len(table) == row
    assert table.n_failed == 0
    # the check can fail: the next word's vector is another
    assert np.abs(got[1] - got[0]).max() > 1e-3


def test_all_tokens_with_offsets_pool_to_the_pooled_table():
    model = load(tiny("gpt2"))
    every = harvest(Lab(model), items(), ["0.resid_post", "1.z"], "all")
    mean = harvest(Lab(model), items(), ["0.resid_post", "1.z"], "mean")
    for site, values in every.values.items():
        lengths = np.diff(every.offsets)
        got = pooled(torch.from_numpy(np.array(values)), lengths.tolist(), "mean")
        np.testing.assert_allclose(got, mean.values[site], atol=1e-6)


def test_pairs_and_whole_texts():
    model = load(tiny("bert"))
    words = harvest(Lab(model), items(), ["0.resid_post"])
    pairs = tuple(
        Marked(text=i.text, marks=(Mark(label="x", spans=(i.marks[0].spans[0], i.marks[-1].spans[0])),))
        for i in items()
    )
    table = harvest(Lab(model), pairs, ["0.resid_post"])
    got, each = next(iter(table.values.values())), next(iter(words.values.values()))
    ends = np.cumsum([len(t.split()) for t in TEXTS])
    np.testing.assert_allclose(got[:, 1], each[ends - 1], atol=1e-6)
    np.testing.assert_allclose(got[:, 0], each[np.r_[0, ends[:-1]]], atol=1e-6)
    whole = harvest(Lab(model), [Marked.of(t, 1.0) for t in TEXTS], ["0.resid_post"], "last")
    np.testing.assert_allclose(next(iter(whole.values.values())), each[ends - 1], atol=1e-6)


def test_one_pass_a_text_for_all_sites_and_the_same_in_any_batch():
    model = load(tiny("llama"))
    lab = Lab(model)
    table = harvest(lab, items(), layer_sites(model))
    assert lab.meter.forwards == len(TEXTS)
    model.token_budget = 1
    alone = harvest(Lab(model), items(), layer_sites(model))
    for site in table.values:
        np.testing.assert_allclose(table.values[site], alone.values[site], atol=1e-5)


def test_what_the_context_cuts_off_is_counted():
    model = load(tiny("gpt2"))
    long = "the " * 600 + "end"
    text = Marked(
        text=long,
        marks=(
            Mark(label="a", spans=((0, 3),)),
            Mark(label="b", spans=((len(long) - 3, len(long)),)),
        ),
    )
    table = harvest(Lab(model), [text], ["0.resid_post"])
    assert table.labels == ("a",)
    assert (table.n_failed, table.n_cut, table.notes) == (1, 0, ())
    whole = harvest(Lab(model), [Marked.of(long, "a"), Marked.of("the end", "b")], ["0.resid_post"])
    assert len(whole) == 2  # what is read of it stands for it
    assert (whole.n_failed, whole.n_cut) == (1, 1)
    assert "1 of 2 texts are longer" in whole.notes[0]


def test_a_stream_is_every_token_once():
    model = load(tiny("bert"))
    model.token_budget = 16
    texts = list(TEXTS) * 5
    chunks = list(stream(Lab(model), texts, ["0.resid_post"]))
    assert len(chunks) > 1
    seen = {(int(t), int(p)) for c in chunks for t, p in zip(c.text, c.position)}
    want = {
        (i, p)
        for i, t in enumerate(texts)
        for p, k in enumerate(encode(model, _text(t)).tokens)
        if not k.special
    }
    assert seen == want
    assert sum(len(c.text) for c in chunks) == len(want)
    for c in chunks:
        for values in c.values.values():
            for text, position, row in zip(c.text, c.position, values):
                np.testing.assert_allclose(row, hidden(model, texts[text], 0)[0][position], atol=1e-5)


def test_kept_tables_are_found_again_and_never_for_another_model(tmp_path, monkeypatch):
    monkeypatch.setenv("EXEGETE_CACHE", str(tmp_path))
    model, site = load(tiny("gpt2")), ["0.resid_post"]
    first, again = Lab(model), Lab(model)
    a, b = harvest(first, items(), site), harvest(again, items(), site)
    assert (first.meter.forwards, again.meter.forwards) == (len(TEXTS), 0)
    for s in a.values:
        np.testing.assert_array_equal(a.values[s], b.values[s])
    for change in ("pool", "site", "text", "weights"):
        lab = Lab(model)
        if change == "pool":
            harvest(lab, items(), site, "mean")
        elif change == "site":
            harvest(lab, items(), ["1.resid_post"])
        elif change == "text":
            harvest(lab, items()[1:], site)
        else:
            with torch.no_grad():
                next(model.module.parameters()).add_(0.5)
            other = harvest(lab, items(), site)
            assert np.abs(next(iter(other.values.values())) - next(iter(a.values.values()))).max() > 1e-3
        assert lab.meter.forwards > 0, change
    assert not [p for p in (tmp_path / "activations").iterdir() if p.name.startswith("making-")]


def test_two_processes_that_keep_the_same_and_a_folder_that_refuses(tmp_path, monkeypatch):
    first, second = (Kept("same", tmp_path) for _ in range(2))
    rows = [k.make(3, 2) for k in (first, second)]
    for array in rows:
        array[:] = 7.0
    found = [k.commit([array]) for k, array in zip((first, second), rows)]
    assert all((f[0] == 7.0).all() for f in found)
    assert [p.name for p in tmp_path.iterdir()] == ["same"]

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    third = Kept("other", tmp_path)
    array = third.make(3, 2)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreError, match="No space left"):
        third.commit([array])


def test_the_folder_stays_under_its_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("EXEGETE_CACHE", str(tmp_path))
    monkeypatch.setenv("EXEGETE_CACHE_GB", "0")
    model = load(tiny("gpt2"))
    for text in TEXTS:
        harvest(Lab(model), [Marked.of(text, "x")], ["0.resid_post"])
    assert len(list((tmp_path / "activations").iterdir())) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_terrariums_labelled_texts_can_be_read(kind):
    model = load("terrarium/encoder")
    table = harvest(Lab(model), marked(kind, 30), ["0.resid_post"])
    assert len(set(table.labels)) > (1 if kind in ("coreference", "subject") else 2)
    assert table.n_failed == 0
    assert marked(kind, 30) == marked(kind, 30)


def test_letters():
    model = load(tiny("gpt2"))
    with pytest.raises(UnknownName):
        harvest(Lab(model), items(), ["0.resid_post"], "median")
    with pytest.raises(InputError, match="whole texts"):
        harvest(Lab(model), [*items(), Marked.of("the food", "x")], ["0.resid_post"])
    with pytest.raises(InputError, match="no texts"):
        harvest(Lab(model), [], ["0.resid_post"])
    with pytest.raises(InputError, match="has 3 characters"):
        Marked(text="the", marks=(Mark(label="x", spans=((0, 9),)),))
    with pytest.raises(InputError, match="same"):
        from exegete.core.material import Minimal

        Minimal(good="a", bad="a")
