"""The tokenizers of the embedded models: words are tokens, nothing is unknown, offsets and round trips hold."""

import unicodedata
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from exegete.terrarium import corpora, lexicon, path

NATURAL = "The food wasn't good, but the staff were wonderful!"


@pytest.fixture(scope="module", params=["encoder", "decoder"])
def tokenizer(request) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(path(request.param))


ENCODER = AutoTokenizer.from_pretrained(path("encoder"))


def test_nearly_every_word_is_one_token(tokenizer):
    words = lexicon.word_forms()
    assert 1000 < len(words) < 2000
    whole = [word for word in words if len(tokenizer.encode(word, add_special_tokens=False)) == 1]
    assert len(whole) / len(words) >= 0.98


def test_running_text_is_almost_all_whole_words(tokenizer):
    said: Counter[bool] = Counter()
    for example in corpora.sentiment(150, "test", "tokens"):
        pieces = tokenizer.tokenize(example.text)
        said.update({True: len(example.sentence.words)})
        said.update({False: len(pieces) - len(example.sentence.words)})
    assert said[False] / said[True] < 0.005


def test_names_of_the_invented_world_are_whole(tokenizer):
    for word in (*lexicon.ENTITIES, *lexicon.WOMEN, *lexicon.MEN):
        assert len(tokenizer.encode(word, add_special_tokens=False)) == 1, word


def test_size_and_bytes(tokenizer):
    assert 2000 <= len(tokenizer) <= 2500
    assert set(ByteLevel.alphabet()) <= set(tokenizer.get_vocab())


def test_every_piece_can_be_reached(tokenizer):
    """Each piece longer than a byte is what its own spelling is read as."""
    specials = set(tokenizer.all_special_tokens)
    for piece, index in tokenizer.get_vocab().items():
        if len(piece) > 1 and piece not in specials:
            text = tokenizer.backend_tokenizer.decoder.decode([piece])
            context = text if text.startswith(" ") else "." + text
            assert index in tokenizer.encode(context, add_special_tokens=False), piece


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_any_text_comes_back_in_lower_case(text):
    lowered = "".join(character.lower() for character in text)
    if any(token in text for token in ENCODER.all_special_tokens):
        return
    ids = ENCODER.encode(text, add_special_tokens=False)
    back = ENCODER.decode(ids)
    assert unicodedata.normalize("NFC", back.removeprefix(" ")) == unicodedata.normalize(
        "NFC", lowered.removeprefix(" ")
    )


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_offsets_lie_in_the_text_and_go_forward(text):
    spans = ENCODER(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    assert all(0 <= a <= b <= len(text) for a, b in spans)
    assert all(a <= c for (a, _), (c, _) in pairwise(spans))


def test_typed_text_is_read_as_the_world_writes_it():
    coded = ENCODER(NATURAL, return_offsets_mapping=True)
    shown = [NATURAL[a:b] for a, b in coded["offset_mapping"]]
    said = ["The", "food", "was", "n't", "good", ",", "but", "the", "staff", "were", "wonderful", "!"]
    assert shown == ["", *said, ""]


def test_specials_are_where_they_belong():
    ids = ENCODER("the food")["input_ids"]
    assert (ids[0], ids[-1]) == (ENCODER.cls_token_id, ENCODER.sep_token_id)
    decoder = AutoTokenizer.from_pretrained(path("decoder"))
    ids = decoder("the food")["input_ids"]
    assert ids[0] == decoder.bos_token_id
    assert decoder.eos_token_id not in ids


def test_a_mask_takes_the_place_of_one_word():
    """No stray space is left before it: a masked text has as many tokens as the text itself."""
    coded = ENCODER("the [MASK] was big, [MASK]", return_offsets_mapping=True)
    assert len(coded["input_ids"]) == len(ENCODER("the food was big, food")["input_ids"])
    assert [i for i, t in enumerate(coded["input_ids"]) if t == ENCODER.mask_token_id] == [2, 6]
    assert coded["offset_mapping"][2] == (4, 10)
