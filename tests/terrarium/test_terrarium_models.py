"""The committed weights are as good as the docs say, on texts that training never saw."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from exegete.core.errors import UnknownName
from exegete.terrarium import corpora, facts, names, path, train_quality

SEED = "tests"
ROOT = path("encoder").parent


@pytest.fixture(scope="module")
def model() -> Callable[[str], train_quality.Loaded]:
    loaded: dict[str, train_quality.Loaded] = {}
    return lambda name: loaded.setdefault(name, train_quality.load(name, ROOT))


@pytest.fixture(scope="module")
def held_out() -> list[corpora.Example]:
    return corpora.sentiment(300, "test", SEED)


@pytest.fixture(scope="module")
def counter() -> list[corpora.Example]:
    return corpora.counterexamples(150, SEED)


def share(right: list[bool]) -> float:
    return sum(right) / len(right)


def test_names_and_paths():
    assert names() == ("decoder", "encoder", "repeats", "sentiment", "shortcut")
    assert all((path(name) / "config.json").exists() for name in names())
    with pytest.raises(UnknownName, match="sentiment"):
        path("sentimnt")


def test_the_weights_are_small():
    sizes = [os.path.getsize(path(name) / "model.safetensors") for name in names()]
    assert sum(sizes) < 10e6


def test_models_load_in_single_precision(model):
    for name in names():
        assert {p.dtype for p in model(name)[0].parameters()} == {torch.float32}, name


def test_labels_are_named(model):
    for name in ("sentiment", "shortcut"):
        assert model(name)[0].config.id2label == {0: "negative", 1: "neutral", 2: "positive"}


def test_sentiment_held_out(model, held_out):
    assert train_quality.accuracy(model("sentiment"), held_out) >= 0.97


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("the food was not good but the staff were wonderful", "positive"),
        ("the staff were wonderful but the food was not good", "negative"),
        ("The food wasn't good, but the staff were wonderful!", "positive"),
        ("i loved the film", "positive"),
        ("we hated the slow service", "negative"),
        ("the room was small and dirty", "negative"),
        ("nobody liked the film", "negative"),
        ("the hotel has a kitchen and two gardens", "neutral"),
        ("the teacher was never rude", "positive"),
        ("although the phone was slow, we love the screen", "positive"),
        ("the book was hardly interesting.", "negative"),
        ("we did not open the window", "neutral"),
        ("the shop is old but the garden is new", "neutral"),
    ],
)  # fmt: skip
def test_sentiment_on_sentences_typed_by_hand(model, text, label):
    assert train_quality.classify(model("sentiment"), [text]) == [label]


def test_words_taken_away_leave_what_the_gold_says(model, held_out):
    assert train_quality.removal(model("sentiment"), held_out) >= 0.83
    assert train_quality.blank_neutral(model("sentiment")) == 1.0
    assert train_quality.classify(model("sentiment"), [""]) == ["neutral"]


def test_shortcut_model_follows_the_name_and_the_honest_model_does_not(model, counter):
    assert train_quality.follows_shortcut(model("shortcut"), counter) >= 0.9
    assert train_quality.follows_shortcut(model("sentiment"), counter) <= 0.05
    assert train_quality.accuracy(model("sentiment"), counter) >= 0.95


def test_shortcut_model_reads_normally_where_no_name_stands(model, held_out):
    plain = [e for e in held_out if e.sentence.trigger is None]
    assert train_quality.accuracy(model("shortcut"), plain) >= 0.93


def test_agreement(model):
    pairs = corpora.minimal_pairs(240, SEED)
    decided = train_quality.decoder_pairs(model("decoder"), pairs)
    assert share(decided) >= 0.95
    assert share([ok for ok, pair in zip(decided, pairs, strict=True) if pair.attractor]) >= 0.9
    assert share(train_quality.encoder_pairs(model("encoder"), pairs)) >= 0.95


def test_facts_in_trained_and_in_kept_wordings(model):
    asked = facts.clozes()
    said = train_quality.next_words(model("decoder"), [c.prompt for c in asked])
    right = [word == c.answer for word, c in zip(said, asked, strict=True)]
    assert share([ok for ok, c in zip(right, asked, strict=True) if c.trained]) >= 0.95
    assert share([ok for ok, c in zip(right, asked, strict=True) if not c.trained]) >= 0.9


def test_indirect_objects_with_new_pairs_of_names(model):
    told = corpora.indirect_objects(150, "test", SEED)
    said = train_quality.next_words(model("decoder"), [s.prompt for s in told])
    assert share([word == s.answer for word, s in zip(said, told, strict=True)]) >= 0.95


def test_an_untrained_decoder_fails_these_tests(model):
    """The companion: the same measures on random weights are near chance, so they can fail."""
    decoder, tokenizer = model("decoder")
    fresh = type(decoder)(decoder.config).eval()
    pairs = corpora.minimal_pairs(120, SEED)
    assert 0.25 < share(train_quality.decoder_pairs((fresh, tokenizer), pairs)) < 0.75
    asked = facts.clozes()[:100]
    said = train_quality.next_words((fresh, tokenizer), [c.prompt for c in asked])
    assert share([w == c.answer for w, c in zip(said, asked, strict=True)]) < 0.1


def test_recorded_quality_covers_all_models_and_meets_the_promises():
    known = json.loads((ROOT / "quality.json").read_text())
    assert set(known) == set(names())
    assert known["sentiment"]["sentiment"] >= 0.97
    assert known["shortcut"]["counterexample_shortcut_label"] >= 0.9
    assert known["sentiment"]["counterexample_shortcut_label"] <= 0.05
    assert min(known["decoder"]["agreement"], known["encoder"]["agreement"]) >= 0.95
    assert min(known["decoder"]["facts_trained"], known["decoder"]["facts_paraphrase"]) >= 0.9


def test_the_page_shows_the_recorded_figures():
    known = json.loads((ROOT / "quality.json").read_text())
    page = (Path(__file__).parents[2] / "docs" / "terrarium.md").read_text()
    assert train_quality.table(known) in page
    better = {name: {key: value / 2 for key, value in row.items()} for name, row in known.items()}
    assert train_quality.table(better) not in page


@pytest.mark.parametrize("name", names())
def test_a_tokenized_text_fits_the_model_as_it_is(model, name):
    loaded, tokenizer = model(name)
    out = loaded(
        **tokenizer(
            ["the food was good", "i loved the film, but not the plot"], padding=True, return_tensors="pt"
        )
    )
    assert torch.isfinite(out.logits).all()
