"""Bad input to studies of mechanisms gets a letter that says what was found and what to do, and the model stays as it was."""

import numpy as np
import pytest

import exegete as xg
from exegete.core.errors import ExegeteError
from exegete.core.result import Provenance
from exegete.core.results.edits import ModelEdit, WeightDelta
from exegete.models.load import load
from exegete.models.tiny import tiny

FACT = xg.Fact(prompt="verity keeps a", subject="verity", answer="hamster", new="fox")
PAIR = xg.Pair.of(
    "mary saw john and mary gave it to", "mary saw john and john gave it to", answer="john", against="mary"
)


@pytest.fixture(scope="module")
def decoder():
    return xg.load("terrarium/decoder")


def letter(ask):
    """The letter that a question gets, as one text."""
    with pytest.raises(ExegeteError) as caught:
        ask()
    text = str(caught.value)
    assert len([line for line in text.splitlines() if line.strip()]) >= 3, text
    return text


def test_texts_of_different_length_are_shown_where_they_part(decoder):
    other = xg.Pair.of(
        "mary saw john", "the old man and mary saw the cat of john", answer="john", against="mary"
    )
    for study in ("edge_attribution_patching", "path_patching"):
        text = letter(lambda s=study: xg.study(decoder, s, other))
        assert "length" in text or "tokens" in text, text


def test_a_subject_that_is_not_in_the_prompt():
    assert "quentin" in letter(lambda: xg.Fact(prompt="verity keeps a", subject="quentin", answer="hamster"))


def test_a_layer_or_head_that_does_not_exist(decoder):
    asked = (
        lambda: xg.study(decoder, xg.ActivationPatching(head=9), PAIR),
        lambda: xg.study(decoder, xg.RankOneEdit(layer=17), FACT),
        lambda: xg.study(decoder, xg.PathPatching(receiver="17.h0.q"), PAIR),
    )
    for ask in asked:
        text = letter(ask)
        assert "9" in text or "17" in text, text


def test_a_model_without_the_needed_site():
    mixed = load(tiny("mixtral"))  # its hidden units are inside fused experts
    text = letter(lambda: xg.study(mixed, "ffn_values", "the small dog"))
    assert "mixtral" in text.lower() or "hidden units" in text


def test_an_edit_that_is_not_finite_or_was_made_for_another_model(decoder):
    name = next(n for n, p in decoder.module.named_parameters() if p.ndim == 2)
    shape = dict(decoder.module.named_parameters())[name].shape
    bad = np.full(shape, np.nan, dtype=np.float32)
    mine = Provenance(model=decoder.name, fingerprint=decoder.fingerprint)
    edit = ModelEdit(
        title="t", lede="l", claim="c", deltas=(WeightDelta(parameter=name, whole=bad),), provenance=mine
    )
    before = decoder.fingerprint
    assert "finite" in letter(lambda: xg.apply(decoder, edit))
    other = edit.model_copy(
        update={
            "provenance": Provenance(model="another", fingerprint="0" * 64),
            "deltas": (WeightDelta(parameter=name, whole=np.zeros(shape, dtype=np.float32)),),
        }
    )
    assert "made for the weights 000" in letter(lambda: xg.apply(decoder, other))
    assert decoder.fingerprint == before


def test_a_text_file_too_small_for_a_covariance(decoder, tmp_path):
    small = tmp_path / "small.txt"
    small.write_text("one line\n")
    text = letter(lambda: xg.study(decoder, xg.RankOneEdit(corpus=str(small)), FACT))
    assert "small.txt" in text or "text" in text


def test_a_missing_tuned_lens(decoder, tmp_path):
    assert "no such file" in letter(
        lambda: xg.study(decoder, xg.TunedLens(lens=str(tmp_path / "no.exg")), "the dog")
    )
