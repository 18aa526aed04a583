"""Removal by infill: draws against a slow twin, their distribution, what they cost, and a model that deletion leads astray."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedConfig

from exegete.core.errors import ModelError
from exegete.core.seed import generator
from exegete.evaluate.contract import Ranking, decision, judging, outcome
from exegete.evaluate.faithfulness.comprehensiveness import Comprehensiveness
from exegete.evaluate.faithfulness.decision_flip_fraction import DecisionFlipFraction
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.remove import Game, most_frequent
from exegete.models.tiny import tiny
from support.planted_bigram import Table, bigram, one

TEXT = "the food was good"
DRAWS = 3


def t5() -> Model:
    """With sentinels, which the tiny tokenizer lacks."""
    module, tokenizer = tiny("t5", "seq2seq")
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<extra_id_{i}>" for i in range(9)]})
    module.resize_token_embeddings(len(tokenizer))
    return load((module.eval(), tokenizer))


MODELS = {
    "masked": (lambda: load(tiny("bert", "masked")), "the food was [MASK]"),
    "causal": (lambda: load(tiny("gpt2", "causal")), TEXT),
    "behind sentinels": (t5, TEXT),
    "beside a source": (lambda: load(tiny("bart", "seq2seq")), TEXT),
}


def twin(q, keep, d, kind):
    """One text filled in anew, slot by slot, with the bare model, by the words of the docstring."""
    model, ids = q.model, q.ids.copy()
    u = generator(0, "infill", d).random(len(ids))
    source = [i for i in range(len(ids)) if not q.dec[i]]
    gone = [i for i in source if not keep[i]]
    stand_in = model.tokenizer.mask_token_id

    def draw(at, logits):
        p = logits.double().softmax(-1)
        for i in range(len(p)):
            if i in model.tokenizer.all_special_ids or i >= len(model.tokenizer):
                p[i] = 0
        at_most, seen = u[at] * float(p.sum()), 0.0
        for i, x in enumerate(p.tolist()):
            seen += x
            if seen > at_most:
                return i
        raise AssertionError

    def run(main, dec=None):
        more = {} if dec is None else {"decoder_input_ids": torch.tensor([dec])}
        with torch.no_grad():
            return model.module(input_ids=torch.tensor([main]), **more).logits[0]

    if kind == "masked":
        for r in range(4):
            now, open_still = gone[r::4], [g for k, g in enumerate(gone) if k % 4 >= r]
            if now:
                logits = run([stand_in if i in open_still else int(ids[i]) for i in source])
                drawn = [draw(at, logits[at]) for at in now]
                ids[now] = drawn
        return ids
    for at in gone:
        before = ids[[i for i in source if i < at]].tolist()
        if kind == "causal":
            ids[at] = draw(at, run(before or [model.tokenizer.bos_token_id])[-1])
            continue
        start = [model.config.decoder_start_token_id]
        if kind == "beside a source":
            main = [stand_in if i in gone else int(q.ids[i]) for i in source]
            ids[at] = draw(at, run(main, start + before)[-1])
            continue
        main, dec, n = [], list(start), 0
        for i in source:
            if i in gone and i - 1 not in gone:
                mark = model.tokenizer.convert_tokens_to_ids(f"<extra_id_{n}>")
                n += 1
                main.append(mark)
                dec += [mark] if i <= at else []
            if i in gone and i < at:
                dec.append(int(ids[i]))
            if i not in gone:
                main.append(int(ids[i]))
        ids[at] = draw(at, run(main, dec)[-1])
    return ids


@pytest.mark.parametrize("kind", MODELS)
def test_values_and_decisions_are_those_of_every_draw_made_by_hand(kind):
    make, text = MODELS[kind]
    q = judging(ask(make(), text))
    units = q.units("word")[:4]
    game = Game(q, units, "infill", draws=DRAWS)
    keep = np.array([[1, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)[
        :, : len(units)
    ]
    slots = game.slots(keep)
    texts = [[twin(q, s, d, kind) for d in range(DRAWS)] for s in slots]
    assert game.texts(slots).tolist() == [[t.tolist() for t in row] for row in texts]
    assert len({t.tobytes() for t in texts[3]}) > 1  # draws do differ
    fresh = judging(ask(q.model, text))
    by_hand = [[float(fresh.total(fresh.ask(t[None]))[0]) for t in row] for row in texts]
    assert outcome(game, keep) == pytest.approx(np.mean(by_hand, axis=1), abs=1e-6)
    answers = np.array([[int(fresh.argmax(t[None])[0]) for t in row] for row in texts])
    assert decision(game, keep).tolist() == most_frequent(answers).tolist()


def test_the_decoder_of_a_pair_fills_in_its_own_slots():
    """The prefix of a target that is removed is drawn from what the decoder would say there."""
    q = judging(ask(load(tiny("bart", "seq2seq")), "the food", " was fine"))
    units = q.units("word", prefix=True)
    game = Game(q, units, "infill", draws=1)
    late = [i for i, u in enumerate(units) if u.role == "prefix"]
    keep = np.ones((1, len(units)), dtype=bool)
    keep[0, late[0]] = False
    drawn = game.texts(game.slots(keep))[0, 0]
    (at,) = np.flatnonzero(drawn != q.ids) if (drawn != q.ids).any() else [units[late[0]].tokens[0]]
    assert at in units[late[0]].tokens
    with torch.no_grad():
        source, dec = q.ids[~q.dec], q.ids[q.dec]
        place = int(at - (~q.dec).sum())
        logits = q.model.module(
            input_ids=torch.tensor(source[None]), decoder_input_ids=torch.tensor(dec[None, :place])
        ).logits[0, -1]
    p = logits.double().softmax(-1)
    p[q.model.tokenizer.all_special_ids] = 0
    u = generator(0, "infill", 0).random(len(q.ids))[at]
    assert int(np.searchsorted(np.cumsum(p.numpy()), u * float(p.sum()), side="right")) == drawn[at]


def test_words_come_as_often_as_they_are_likely():
    model = bigram({"the": {"mary": 0.6, "john": 0.3}})
    q = ask(model, "the was")
    units = q.units("word")
    game = Game(q, units, "infill", draws=256)
    drawn = game.texts(game.slots(np.array([[True, False]])))[0][:, units[1].tokens[0]]
    for word, p in (("mary", 0.6), ("john", 0.3)):
        share = float((drawn == one(model.tokenizer, word)).mean())
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / 256)


def test_draws_depend_on_the_seed_alone_and_on_no_batch():
    def drawn(budget, seed, masks):
        model = load(tiny("gpt2", "causal"))
        model.token_budget = budget
        q = ask(model, TEXT)
        game = Game(q, q.units("word"), "infill", seed=seed)
        return game.texts(game.slots(np.array(masks, dtype=bool)))

    masks = [[1, 0, 0, 1], [0, 1, 0, 0]]
    many, alone = drawn(4096, 0, masks), drawn(8, 0, masks)
    assert (many == alone).all()
    assert (many[1:] == drawn(4096, 0, masks[1:])).all()
    assert not (many == drawn(4096, 1, masks)).all()


@pytest.mark.parametrize("kind", MODELS)
def test_every_pass_is_counted_and_none_is_made_twice(kind):
    make, text = MODELS[kind]
    model = make()
    q = judging(ask(model, text))
    units, rows = q.units("word"), []
    stack = model.module.get_decoder() if model.task == "seq2seq" else model.module
    handle = stack.register_forward_hook(lambda _m, _a, out: rows.append(len(next(iter(out.values())))))
    try:
        ranking = Ranking.of(np.random.default_rng(0).normal(size=(2, len(units))))
        for metric in (Comprehensiveness(removal="infill"), DecisionFlipFraction(removal="infill")):
            metric.score_orders(metric.game(q, units), ranking)
        assert sum(rows) == q.meter.forwards
        before = q.meter.forwards
        for metric in (Comprehensiveness(removal="infill"), DecisionFlipFraction(removal="infill")):
            metric.score_orders(metric.game(q, units), ranking)
        assert q.meter.forwards == before == sum(rows)
        once = DecisionFlipFraction(removal="infill", draw_seed=1)
        once.score_orders(once.game(q, units), ranking)
        assert q.meter.forwards == sum(rows) > before
    finally:
        handle.remove()


def test_the_majority_decides_and_the_first_drawn_of_two():
    found = most_frequent(np.array([[5, 2, 2, 7], [3, 1, 1, 3], [4, 4, 4, 4], [9, 8, 7, 6]]))
    assert found.tolist() == [2, 3, 4, 9]


class Reader(nn.Module):
    """Says yes by the weight of a key word, in texts in which no two words of a kind stand side by side; in all others it says no."""

    def __init__(self, kinds: torch.Tensor, key: int) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(kinds[:, None].float())
        self.key = key
        self.config = PreTrainedConfig(num_labels=2, id2label={0: "no", 1: "yes"}, vocab_size=len(kinds))

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids, attention_mask):
        kinds = self.table(input_ids)[..., 0] * attention_mask
        strange = ((kinds[:, 1:] == kinds[:, :-1]) & (kinds[:, 1:] > 0)).any(1)
        strange |= ((kinds == 0) & (attention_mask > 0))[:, 1:-1].any(1)
        yes = 4.0 * (input_ids == self.key).any(1) - 2.0
        return SimpleNamespace(
            logits=torch.stack([torch.zeros_like(yes), torch.where(strange, -4.0, yes)], 1)
        )


def test_deletion_leads_a_model_astray_and_an_infill_does_not():
    """Whatever is deleted or masked, the text is strange and the answer falls; only the key word matters in texts as they are."""
    tokenizer = tiny("bert", "sequence")[1]
    words = (("the", "great", "this", "never"), ("film", "story", "people", "staff"))
    words = tuple([w for w in row if len(tokenizer.tokenize(w)) == 1] for row in words)
    assert all(len(row) >= 2 for row in words)
    ids = [[tokenizer.convert_tokens_to_ids(w) for w in row] for row in words]
    kinds = torch.zeros(len(tokenizer), dtype=torch.long)
    kinds[ids[0]], kinds[ids[1]] = 1, 2
    key = ids[1][1]
    model = load((Reader(kinds, key).eval(), tokenizer), task="sequence")
    p = torch.full((len(tokenizer),) * 2, 1e-9)
    for i in range(len(tokenizer)):
        # a word of one kind is followed by any of the other kind, but for the key
        p[i, [x for x in ids[1 if kinds[i] == 1 else 0] if x != key]] = 1.0
    filling = Model(Table(p.log()), tokenizer, "causal", name="kinds")
    text = " ".join([words[0][0], words[1][0], words[0][1], words[1][1]])
    q = judging(ask(model, text, "yes"))
    right, wrong = np.eye(4)[3], np.eye(4)[2]
    metric = Comprehensiveness(bins=(0.25,))
    for how in ("delete", "mask", "pad"):
        chosen = metric.model_copy(update={"removal": how})
        a, b = chosen.score_orders(chosen.game(q, q.units("word")), Ranking.of(np.stack([right, wrong])))
        assert b >= a > 0.5, how  # a word that does not count seems to count most
    game = Game(q, q.units("word"), "infill", infiller=filling)
    a, b = metric.score_orders(game, Ranking.of(np.stack([right, wrong])))
    assert a > 0.5 and b == pytest.approx(0, abs=1e-6)


def test_a_classifier_that_nobody_fills_in_for_is_a_letter(tmp_path):
    q = ask(load(tiny("bert", "sequence")), TEXT)
    keep = np.array([[True, False, True, True]])
    with pytest.raises(ModelError, match="no language model was named"):
        Game(q, q.units("word"), "infill")(keep)
    with pytest.raises(ModelError, match="tokenizers differ"):
        Game(q, q.units("word"), "infill", infiller=load(tiny("gpt2", "causal")))(keep)
    with pytest.raises(ModelError, match="sequence model, which does not predict words"):
        Game(q, q.units("word"), "infill", infiller="self")(keep)
    module, tokenizer = tiny("bert", "masked")
    module.save_pretrained(tmp_path), tokenizer.save_pretrained(tmp_path)
    named = Comprehensiveness(removal="infill", infiller=str(tmp_path))
    a, b = (named.score(named.game(q, q.units("word")), np.arange(4.0)) for _ in range(2))
    assert np.isfinite(a) and a == b


def test_an_encoder_decoder_without_sentinels_or_mask_is_a_letter():
    q = ask(load(tiny("t5", "seq2seq")), TEXT)
    with pytest.raises(ModelError, match="no mask token"):
        Game(q, q.units("word"), "infill")(np.zeros((1, 4), dtype=bool))


@pytest.mark.parametrize("how", ["mean", "zero", "resample"])
def test_decisions_of_every_other_removal(how):
    """What the model decides on embeddings and on random replacements is its own argmax there."""
    model = load(tiny("gpt2", "causal"))
    q = judging(ask(model, TEXT))
    game, keep = Game(q, q.units("word"), how), np.array([[1, 0, 1, 1], [0, 0, 0, 1]], dtype=bool)
    found = decision(game, keep)
    for row, answer in zip(game.slots(keep), found):
        if how == "resample":
            drawn = [
                int(model.module(torch.tensor(t[None])).logits[0, -1].argmax())
                for t in game.texts(row[None])[0]
            ]
            assert answer == max(drawn, key=drawn.count)
            continue
        with torch.no_grad():
            points = q.embeddings().clone()
            points[~row] = 0 if how == "zero" else model.embedding("").weight.mean(0)
            assert answer == int(model.module(inputs_embeds=points[None]).logits[0, -1].argmax())
