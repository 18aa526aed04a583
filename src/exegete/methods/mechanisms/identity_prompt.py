"""A prompt in which words are said twice, from the model's own tokens: "x x ; y y ; ?", with a place for another state at its end.

1. words: random ids that read as a word (with a blank before them where the tokenizer has such), among the common ones;
2. marks: the first of a few separators and place holders that the tokenizer reads as one known token; what it does not
   know is left out;
3. special tokens that the tokenizer puts before a text come first.

Cost: no pass. Reference: Ghandeharioun et al. 2024, "Patchscopes" (arXiv:2401.06102), sec. 3.1 ("token identity"; there with an arrow between the two, left out here so that what should come next is the word itself).
"""

import numpy as np

from exegete.core.request import Text
from exegete.models.encode import encode
from exegete.models.model import Model

SEPARATORS = (";", "\n", ",", ".")
PLACES = ("?", "x", ".")
COMMON = 20_000  # tokenizers number common pieces first
LOOKED_AT = 5_000


def identity_prompt(model: Model, n: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Ids of a prompt of n words said twice; the last id only holds the place."""
    words = _words(model, n, rng)
    separator, place = _mark(model, SEPARATORS), _mark(model, PLACES)
    said = [i for w in words for i in (w, w, *separator)]
    return (*_lead(model, words[0]), *said, *(place or words[:1]))


def _words(model: Model, n: int, rng: np.random.Generator) -> list[int]:
    """n ids, those that read as whole words before those that read as letters before others."""
    special = set(model.tokenizer.all_special_ids)
    size = min(model.vocabulary, len(model.tokenizer), COMMON)
    ranks: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for i in rng.permutation(size)[:LOOKED_AT].tolist():
        if i not in special:
            ranks[_rank(str(model.tokenizer.convert_ids_to_tokens(i)), model.tokenizer.decode([i]))].append(i)
        if len(ranks[0]) == n:
            break
    return [*ranks[0], *ranks[1], *ranks[2]][:n]


def _rank(piece: str, text: str) -> int:
    word = text.strip()
    if not (word.isalpha() and len(word) > 1):
        return 2
    return 0 if piece[:1] in ("Ġ", "▁") else 1


def _mark(model: Model, marks: tuple[str, ...]) -> tuple[int, ...]:
    """The first mark that is one known token; nothing where none is."""
    unknown = getattr(model.tokenizer, "unk_token_id", None)
    for m in marks:
        ids = list(model.tokenizer(m, add_special_tokens=False)["input_ids"])
        if len(ids) == 1 and ids[0] != unknown:
            return (int(ids[0]),)
    return ()


def _lead(model: Model, word: int) -> tuple[int, ...]:
    """Special tokens that stand before a text."""
    tokens = encode(model, Text(text=str(model.tokenizer.decode([word])).strip() or "a")).tokens
    first = next((i for i, t in enumerate(tokens) if not t.special), len(tokens))
    return tuple(t.id for t in tokens[:first])
