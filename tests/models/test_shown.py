"""Parts of characters are written as bytes; all other tokens as they are."""

from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.shown import shown
from exegete.models.tiny import tiny


def test_bytes_of_byte_level_tokens_are_those_of_the_text():
    lab = Lab(load(tiny("gpt2")))
    for text in ("€", "ä", "中"):
        ids = lab.model.tokenizer(text, add_special_tokens=False)["input_ids"]
        found = shown(lab, ids)
        assert "".join(found) == "".join(f"<0x{b:02X}>" for b in text.encode()) or found == (text,)
        assert not any("\ufffd" in f for f in found)
    ids = lab.model.tokenizer("ab €", add_special_tokens=False)["input_ids"]
    pieces = lab.pieces(ids)
    assert "\ufffd" in pieces  # what would be seen without it
    assert all(a == b for a, b in zip(shown(lab, ids), pieces) if "\ufffd" not in b)
