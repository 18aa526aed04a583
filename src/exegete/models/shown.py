"""Tokens in a list of their own, as a reader sees them: pieces of characters, which decode to nothing that can be shown, as bytes.

A token that is a part of a character ("\ufffd" when it is decoded alone) is written byte by byte, "<0xE2>". Cost: no pass.
"""

from collections.abc import Iterable

from exegete.models.lab import Lab

_BROKEN = "\ufffd"
_PRINTED = [
    *range(33, 127),
    *range(161, 173),
    *range(174, 256),
]  # bytes that byte-level BPE writes as they are
_BYTE = {chr(b): b for b in _PRINTED} | {
    chr(256 + n): b for n, b in enumerate(b for b in range(256) if b not in _PRINTED)
}


def shown(lab: Lab, ids: Iterable[int]) -> tuple[str, ...]:
    """The words of `ids`, as `Lab.pieces`; parts of characters as their bytes."""
    listed = list(ids)
    return tuple(_bytes(lab, i) if _BROKEN in p else p for i, p in zip(listed, lab.pieces(listed)))


def _bytes(lab: Lab, i: int) -> str:
    raw = str(lab.model.tokenizer.convert_ids_to_tokens(i))
    if raw.startswith("<0x") or not all(c in _BYTE for c in raw):
        return raw
    return "".join(f"<0x{_BYTE[c]:02X}>" for c in raw)
