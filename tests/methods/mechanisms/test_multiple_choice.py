"""Multiple choice on a transformer built by hand that does it with known heads, and on one that cannot."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import exegete as xg
from exegete.core.errors import InputError
from exegete.methods.mechanisms.multiple_choice import MultipleChoiceStudy
from exegete.models.load import load

CONTENTS = ("red", "blue", "green", "white", "black", "brown", "pink", "grey")
LETTERS = ("A", "B", "C", "D")
WORDS = ("<s>", "Q", "=", *LETTERS, *CONTENTS)
V, N = len(WORDS), 16
STUDY = MultipleChoiceStudy(
    question="Q {prompt} ", option="{letter} {content} ", end="=", n_top=1, ranks=(1, 8), n_draws=5
)
SHARP = 120.0


def built(letter_head: bool = True):
    """Layer 0: head 0 looks one back and notes the word there; head 1, at "=", notes the word after Q (place 1). Layer 1: head 0,
    at "=", looks for the place whose word is the noted one, and says the word noted before it: its letter.

    The residual: word (V) | place (N) | word before (V) | wanted (V) | said (V).
    """
    word, place, before, wanted, said = 0, V, V + N, 2 * V + N, 3 * V + N
    width = 4 * V + N
    width += width % 2
    dh = width // 2
    config = GPT2Config(
        vocab_size=V, n_positions=N, n_embd=width, n_layer=2, n_head=2, n_inner=1, tie_word_embeddings=False,
        attn_pdrop=0, embd_pdrop=0, resid_pdrop=0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    module = GPT2LMHeadModel(config).eval()
    for p in module.parameters():
        p.data.zero_()
    for part in (*module.transformer.h, module.transformer):
        for name in ("ln_1", "ln_2", "ln_f"):
            if hasattr(part, name):
                setattr(part, name, torch.nn.Identity())
    module.transformer.wte.weight.data[:, word : word + V] = torch.eye(V)
    module.transformer.wpe.weight.data[:, place : place + N] = torch.eye(N)
    module.lm_head.weight.data[:, said : said + V] = torch.eye(V)
    q, k, v = (lambda head, i=i: slice(i * width + head * dh, i * width + (head + 1) * dh) for i in range(3))

    def attend(layer, head, queries, keys, values, writes):
        """queries, keys: (residual dimension, entry of the head) pairs; values: residual start read; writes: start written."""
        attn = module.transformer.h[layer].attn
        for d, e in queries:
            attn.c_attn.weight.data[d, q(head)][e] = SHARP
        for d, e in keys:
            attn.c_attn.weight.data[d, k(head)][e] = 1.0
        if letter_head or (layer, head) != (1, 0):
            attn.c_attn.weight.data[values : values + V, v(head)][:, :V] = torch.eye(V)
            attn.c_proj.weight.data[head * dh : head * dh + V, writes : writes + V] = torch.eye(V)

    previous = [(place + i, i - 1) for i in range(1, N)]
    attend(0, 0, previous, [(place + i, i) for i in range(N)], word, before)
    attend(0, 1, [(word + WORDS.index("="), 0)], [(place + 1, 0)], word, wanted)
    # the asked word itself stands at place 1: it is not to be found there
    found = [(word + i, i) for i in range(V)]
    attend(1, 0, [(wanted + i, i) for i in range(V)], found, before, said)
    module.transformer.h[1].attn.c_attn.weight.data[place + 1, k(0)][:V] = -2.0
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<s>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="<s>", unk_token="<s>"
    )
    return load((module, tokenizer), task="causal")


def facts() -> list[xg.Fact]:
    near = tuple(("x", c) for c in CONTENTS)
    return [xg.Fact(prompt=c, subject=c, answer=c, neighbours=near) for c in CONTENTS]


def test_the_letter_head_is_found_and_what_it_reads():
    r = STUDY(built(), facts())
    assert r.accuracy == 1.0
    assert r.accuracy_blind < 0.7
    assert r.top == ((1, 0),)
    assert r.looks[0, 0] > 0.99  # all attention on the right option, none on the wrong ones
    assert r.looks[0, 1] < 0.01
    assert r.effect[1, 0] == pytest.approx(2.0, abs=1e-3)  # from one letter's logit of 1 to the other's
    assert abs(r.effect[1, 1]) < 1e-6
    assert all(s.beats_chance and s.beats_control for s in r.trust.scores)
    assert "1.h0" in r.lede


def test_the_rank_of_the_keys_is_seen():
    """The options' keys are words: 12 different ones need 11 directions; all of them keep everything, one does not."""
    study = STUDY.model_copy(update={"ranks": (1, 12)})
    r = study(built(), facts())
    assert r.kept[1] == pytest.approx(1.0, abs=1e-3)
    assert r.kept[0] < 0.9


def test_without_the_letter_head_the_study_says_so():
    r = STUDY(built(letter_head=False), facts())
    assert not r.trust.scores[0].beats_chance
    assert "cannot do the task" in r.lede
    assert np.abs(r.effect).max() < 1e-6


def test_the_turned_question_moves_every_option_by_one():
    from exegete.models.lab import Lab

    lab = Lab(built())
    sheet = STUDY.sheet(lab, tuple(facts()), 0)
    turned = STUDY._turned(sheet)
    assert turned.right == (sheet.right + 1) % 4
    a, b = sheet.spans[sheet.right], turned.spans[turned.right]
    assert sheet.text[a[0] : a[1]].split()[1] == turned.text[b[0] : b[1]].split()[1] == "red"


def test_too_few_wrong_answers_are_refused():
    with pytest.raises(InputError, match="wrong answers"):
        STUDY(built(), [xg.Fact(prompt="red", subject="red", answer="red", neighbours=(("x", "blue"),))])
