"""From text to tokens: places in the text, special tokens, slow tokenizers, chats, segments, pairs, limits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.core.errors import InputError
from exegete.core.request import Segment, Text
from exegete.core.text import units
from exegete.models.ask import ask
from exegete.models.encode import align, encode, encode_target, limit
from exegete.models.load import load
from exegete.models.tiny import families, tiny
from support.data import shared_data

TEXT = "The small dog didn't bark, did it? Yes — naïve 你好."


def model(family="gpt2", task=None):
    return load(tiny(family, task))


@pytest.mark.parametrize("family", families())
def test_places_are_right_and_ids_are_the_tokenizers_own(family):
    m = model(family)
    e = encode(m, Text(text=TEXT))
    assert [t.id for t in e.tokens] == m.tokenizer(TEXT)["input_ids"]
    placed = [t for t in e.tokens if t.start >= 0]
    assert all(t.text == TEXT[t.start : t.end] for t in placed)
    covered = {i for t in placed for i in range(t.start, t.end)}
    assert {i for i, c in enumerate(TEXT) if not c.isspace()} <= covered
    assert all(t.special for t in e.tokens if t.start < 0)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert", "t5", "roberta"])
@settings(max_examples=25, deadline=None)
@given(text=st.text(min_size=1, max_size=40))
def test_any_text_is_read_and_every_token_is_in_one_unit(family, text):
    m = model(family)
    try:
        e = encode(m, Text(text=text))
    except InputError:
        out = m.tokenizer(text, return_special_tokens_mask=True)
        assert all(out["special_tokens_mask"]), "only a text without tokens is refused"
        return
    for level in ("token", "word", "sentence"):
        found = [i for u in units(e.tokens, e.text, level) for i in u.tokens]
        assert found == [i for i, t in enumerate(e.tokens) if t.role == "prompt"]


def test_slow_tokenizers_are_aligned_by_their_pieces():
    text = "Unbelievable, isn't it"
    pieces = ["[CLS]", "un", "##believ", "##able", ",", "isn", "'", "t", "[UNK]", "[SEP]"]
    places = align(text, pieces, [1, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    assert [text[a:b].strip() for a, b in places] == [
        "",
        "Un",
        "believ",
        "able",
        ",",
        "isn",
        "'",
        "t",
        "it",
        "",
    ]


def test_the_slow_way_agrees_with_the_fast_one():
    m = model("bert")
    out = m.tokenizer(TEXT, return_special_tokens_mask=True, return_offsets_mapping=True)
    pieces = m.tokenizer.convert_ids_to_tokens(out["input_ids"])
    ascii_only = "the small dog did not bark at the house"
    out = m.tokenizer(ascii_only, return_special_tokens_mask=True, return_offsets_mapping=True)
    pieces = m.tokenizer.convert_ids_to_tokens(out["input_ids"])
    assert align(ascii_only, pieces, out["special_tokens_mask"]) == [tuple(o) for o in out["offset_mapping"]]


def test_segments_become_units():
    request = Text.of_segments(
        Segment(text="be kind. ", role="system"), Segment(text="hello there", role="user")
    )
    q = ask(model(), request)
    assert [u.text for u in q.units("segment")] == ["be kind.", "hello there"]
    assert q.encoded.segment_roles == ("system", "user")


def test_a_chat_is_rendered_by_the_tokenizers_template():
    m = model()
    with pytest.raises(InputError, match="chat template"):
        encode(m, Text.of([{"role": "user", "content": "hi"}]))
    import copy

    m.tokenizer = copy.deepcopy(m.tokenizer)
    m.tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    q = ask(m, Text.of([{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]))
    assert q.encoded.text == "<system>be kind\n<user>hello\n<assistant>"
    assert [u.text for u in q.units("segment")] == ["be kind", "hello"]
    assert "".join(u.text for u in q.units("token")).replace(" ", "") == "bekindhello"


def test_a_pair_is_read_as_the_tokenizer_reads_pairs():
    m = model("bert", "sequence")
    e = encode(m, Text(text="one two", pair="three four"))
    assert [t.id for t in e.tokens] == m.tokenizer("one two", "three four")["input_ids"]
    assert all(t.text == e.text[t.start : t.end] for t in e.tokens if t.start >= 0)
    assert [u.text for u in units(e.tokens, e.text, "word")] == ["one", "two", "three", "four"]


@pytest.mark.parametrize("text", ["", "   "])
def test_empty_text_gets_a_letter(text):
    m = model("bert", "sequence")
    with pytest.raises(InputError, match="empty"):
        encode(m, Text(text=text))


def test_too_long_is_refused_or_cut_when_asked():
    m = model("gpt2")
    long = "dog " * (limit(m) + 5)
    with pytest.raises(InputError, match="at most"):
        encode(m, Text(text=long))
    cut = encode(m, Text(text=long, truncate=True))
    assert len(cut.tokens) == limit(m)
    assert any("cut" in n for n in cut.notes)
    bert = model("bert", "sequence")
    short = encode(bert, Text(text="dog " * 600, truncate=True))
    assert short.tokens[-1].special, "the closing token stays"


def test_a_target_continues_the_prompt_without_changing_it():
    stories = load(shared_data("models/stories260K"))
    for prompt, target, full in [
        ("Once upon a", "time", "Once upon a time"),
        ("Lily saw a", "big dog", "Lily saw a big dog"),
    ]:
        ids = encode_target(stories, prompt, target)
        both = stories.tokenizer(full, add_special_tokens=False)["input_ids"]
        assert both[-len(ids) :] == ids


def test_a_token_of_white_space_has_its_place_also_where_offsets_are_trimmed():
    """Byte-level tokenizers that trim offsets give such a token an empty range; it must not become a word of its own."""
    from tokenizers import processors

    module, tokenizer = tiny("gpt2")
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    model = load((module, tokenizer))
    text = "the food [x]  is"
    encoded = encode(model, Text(text=text))
    blank = [t for t in encoded.tokens if not t.text.strip()]
    assert blank
    assert all(text[t.start : t.end].isspace() for t in blank)
    assert [u.text for u in units(encoded.tokens, text, "word")] == ["the", "food", "[", "x", "]", "is"]


@pytest.mark.parametrize("trim", ["", " | trim"])
def test_a_message_is_found_where_it_stands_also_when_the_template_says_the_same(trim):
    import copy

    m = model()
    m.tokenizer = copy.deepcopy(m.tokenizer)
    m.tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content" + trim + " }}\n{% endfor %}<assistant>"
    )
    e = encode(m, Text.of([{"role": "system", "content": " be kind "}, {"role": "user", "content": "user"}]))
    assert [e.text[a:b] for a, b in e.segments] == ["be kind", "user"]
    assert e.text[: e.segments[1][0]].endswith("<user>")


@pytest.mark.parametrize("family", ["llama", "bert", "gpt2", "t5"])
def test_ids_have_the_words_of_their_text(family):
    m = model(family, "sequence" if family == "bert" else None)
    ids = m.tokenizer("the food was not good")["input_ids"]
    e = encode(m, Text(ids=tuple(ids)))
    assert [t.id for t in e.tokens] == ids
    assert [u.text for u in units(e.tokens, e.text, "word")] == ["the", "food", "was", "not", "good"]
