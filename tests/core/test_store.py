"""Saved, opened, equal; foreign and broken files get a letter; nothing half-written is left behind."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.core import store
from exegete.core.errors import StoreError
from exegete.core.result import Attribution, Listing, UnitInfo
from exegete.core.trust import Check, Score, Trust


def example(text="naïve </script> 你好", scores=(0.5, float("nan"))) -> Attribution:
    values = np.array([scores])
    return Attribution(
        text=text,
        units=tuple(UnitInfo(text=f"u{i}", tokens=(i,)) for i in range(len(scores))),
        level="word",
        outputs=("yes",),
        scores=values,
        total=values[0],
        target="yes",
        scale="logit",
        value=1.25,
        prediction={"yes": 0.75},
        checks=(Check.at_most("gap", 0.1, 0.2),),
        trust=Trust(scores=(Score(name="comprehensiveness", value=0.4, chance=0.1, percentile=97.0),)),
    )


@given(st.text(max_size=20), st.lists(st.floats(width=32), min_size=1, max_size=5))
def test_saved_opened_equal(tmp_path_factory, text, scores):
    path = tmp_path_factory.mktemp("r") / "a.exg"
    r = example(text, tuple(scores))
    assert store.open_result(r.save(path)) == r


def test_different_results_are_not_equal():
    assert example() != example("other")
    assert example(scores=(1.0, 2.0)) != example(scores=(1.0, 2.5))


def test_listing_round_trip(tmp_path):
    r = Listing(title="t", columns=("a",), rows=(("1",), ("2",)))
    assert store.open_result(r.save(tmp_path / "l.exg")) == r


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x00\x00\x00\x00\x00\x00\x00{}", os.urandom(300)])
def test_foreign_bytes_get_a_letter(tmp_path, content):
    path = tmp_path / "x.exg"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="You asked to open"):
        store.open_result(path)


def test_a_file_cut_short_gets_a_letter(tmp_path):
    path = tmp_path / "x.exg"
    example().save(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match="cut short"):
        store.open_result(path)


def test_missing_newer_and_weights(tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(StoreError, match="no such file"):
        store.open_result(tmp_path / "none.exg")
    save_file({"w": np.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(StoreError, match="model weights"):
        store.open_result(tmp_path / "w.safetensors")
    save_file({"w": np.ones(2)}, tmp_path / "n.exg", metadata={"exegete": "{}", "format": "99"})
    with pytest.raises(StoreError, match="Update"):
        store.open_result(tmp_path / "n.exg")


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.exg"
    example().save(path)
    before = path.read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        example("new").save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.exg"]


def test_unwritable_path_is_refused(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        store.check_writable(tmp_path / "no" / "a.exg")
    with pytest.raises(StoreError, match="folder"):
        store.check_writable(tmp_path)


def test_opening_needs_no_torch(tmp_path):
    path = example().save(tmp_path / "a.exg")
    code = (
        "import sys; from exegete.core.store import open_result; "
        f"r = open_result({str(path)!r}); print(r.text); "
        "assert not {'torch', 'transformers', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONIOENCODING": "utf8"})
