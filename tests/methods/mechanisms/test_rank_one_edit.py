"""Rank-one edits: the change is what the search said it would be, on models that are really edited."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError, TargetError, UsageError
from exegete.core.result import Provenance
from exegete.core.results.edits import FactEdit, ModelEdit
from exegete.core.target import Target
from exegete.methods.mechanisms.edit_effects import Said, Texts, generated
from exegete.methods.mechanisms.key_moments import second_moments
from exegete.methods.mechanisms.rank_one_edit import RankOneEdit
from exegete.methods.mechanisms.rank_one_write import Recipe, sheet, write
from exegete.models.feedforward import feed_forward, units_of
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.rewrite import apply, edited, undo
from exegete.models.tiny import tiny
from exegete.terrarium.material import known_facts

QUICK = RankOneEdit(layer=3, token="last", n_corpus=200, n_held_out=4, n_generated=6)
FACT = xg.Fact(prompt="mary went to the", subject="mary", answer="river", new="mat")
PREFIXES = ("the dog slept. ", "one two three four. ")
RECIPE = Recipe(n_steps=8, rate=0.5, kl=0.0625, decay=0.001, clamp=10.0, ridge=0.01)


@pytest.fixture(scope="module")
def decoder():
    return xg.load("terrarium/decoder")


@pytest.fixture(scope="module")
def found(decoder) -> FactEdit:
    return QUICK(decoder, known_facts("causal", 8))  # type: ignore[return-value]


def edit_of(model, *deltas) -> ModelEdit:
    made = Provenance(fingerprint=model.fingerprint)
    return ModelEdit(title="", lede="", claim="", deltas=deltas, provenance=made)


def score(found, start: str):
    return next(s for s in found.trust.scores if s.name.startswith(start))


# ---- the parts -----------------------------------------------------------------------------------------------------------


def test_the_second_moment_of_keys_token_by_token():
    """Against a hook on the down projection and texts read one by one, so without any padding."""
    model = load(tiny("llama"))
    lab, texts = Lab(model), ["the dog saw a bird"] * 3 + ["a", "mary went to the river and slept there"] * 4
    part = feed_forward(model.map, 1)
    texts = texts * (5 * units_of(part) // 40)
    (moment,), n = second_moments(lab, [part], texts)
    keys: list[torch.Tensor] = []
    handle = part.module.register_forward_pre_hook(lambda _, args: keys.append(args[0][0].double()))
    for text in texts:
        with torch.no_grad():
            model.module(**model.tokenizer(text, return_tensors="pt"))
    handle.remove()
    every = torch.cat(keys)
    assert n == len(every)
    assert np.allclose(moment, (every.T @ every / len(every)).numpy(), atol=1e-5)
    with pytest.raises(InputError, match="hidden units need at least"):
        second_moments(lab, [part], texts[:2])


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gpt_neox", "bloom"])
@pytest.mark.parametrize("token", ["subject", "last"])
def test_the_search_speaks_of_the_model_that_is_then_edited(family, token):
    """-log p(new) at the end of the search is that of the really edited model, and what is written for the key is L."""
    model = load(tiny(family))
    lab, part = Lab(model), feed_forward(model.map, 1)
    given = sheet(lab, FACT, PREFIXES, "{subject} is a", token)
    written = write(lab, part, np.eye(units_of(part)), given, RECIPE)
    before = -float(given.aim.measure(lab.run(given.aim.inputs).logits)[:-1].mean())
    rows = torch.arange(len(given.at))
    was = lab.run(given.aim.inputs, read=[part.out])[part.out][rows, given.at][:-1]
    with edited(model, edit_of(model, written.delta)):
        seen = lab.run(given.aim.inputs, read=[part.out])
    after = -float(given.aim.measure(seen.logits)[:-1].mean())
    assert after == pytest.approx(written.loss, abs=1e-4)
    assert after < before - 0.1
    added = (seen[part.out][rows, given.at][:-1] - was).mean(0)
    assert torch.allclose(added.double(), torch.from_numpy(written.value), atol=1e-4)
    size = np.linalg.norm(written.delta.dense())
    assert written.random(lab.rng("x")).norm() == pytest.approx(size)
    assert written.key @ written.along == pytest.approx(1.0)


def test_the_edited_token_is_the_one_meant():
    model = load(tiny("gpt2"))
    for token in ("subject", "last"):
        given = sheet(Lab(model), FACT, PREFIXES, "{subject} is a", token)
        for text, at, tokens in zip(("", *PREFIXES, None), given.at.tolist(), given.aim.encoded):
            prompt = "mary is a" if text is None else text + FACT.prompt
            word = prompt.rindex("mary") + 4 if token == "subject" else len(prompt)
            assert tokens.tokens[at].end == word


def test_questions_by_hand(decoder):
    """Probabilities of the answers and first choices, asked one text at a time."""
    fact = known_facts("causal", 1)[0]
    heard = Said(Lab(decoder), fact).ask()
    for i, prompt in enumerate((fact.prompt, *fact.paraphrases)):
        ids = decoder.tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            p = decoder.module(ids).logits[0, -1].softmax(-1)
        for k, word in enumerate((fact.answer, fact.new)):
            at = decoder.tokenizer(" " + word, add_special_tokens=False)["input_ids"]
            assert heard.probability[i, k] == pytest.approx(float(p[at[0]]), rel=1e-4)
        assert heard.said[i] == (int(p.argmax()) == at[0])
    assert len(heard.right) == len(fact.neighbours)


def test_loss_by_hand_and_generation_is_the_same_twice(decoder):
    lab, texts = Lab(decoder), ["alaric makes saddles.", "the cow is small and old."]
    total, n = 0.0, 0
    for text in texts:
        ids = decoder.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            total += float(decoder.module(ids, labels=ids).loss) * (ids.shape[1] - 1)
        n += ids.shape[1] - 1
    assert Texts(lab, texts).loss() == pytest.approx(total / n, rel=1e-5)
    assert generated(lab, "the cow", 8, "x") == generated(lab, "the cow", 8, "x")
    assert generated(lab, "the cow", 8, "x") != generated(lab, "the cow", 8, "y")


# ---- the study -----------------------------------------------------------------------------------------------------------


def test_facts_are_edited_and_others_stand(found):
    """At least 95 % say the new answer, at most 5 points of neighbours fall; a random change of the size does nothing."""
    told, near = score(found, "facts"), score(found, "neighbours")
    assert told.value >= 0.95
    assert told.control == 0
    assert score(found, "paraphrases").value >= 0.85
    assert near.value >= 0.95
    assert near.control < 0.5
    assert abs(score(found, "loss").value) < 0.02
    assert told.n == near.n == 8


def test_without_the_search_nothing_is_edited(decoder):
    """The companion: a value of one small step is measured as no edit."""
    r = QUICK.build(QUICK.params() | {"n_steps": 1, "rate": 1e-3})(decoder, known_facts("causal", 2))
    assert score(r, "facts").value == 0
    assert "no better than a random change" in r.lede


def test_the_finding_is_the_edit(found, decoder, tmp_path):
    """Saved, opened, applied to the model, the model itself says the new answer; undone, it is the old one bit for bit."""
    again = xg.open(found.save(tmp_path / "facts.exg"))
    assert again == found
    before = {k: v.clone() for k, v in decoder.module.state_dict().items()}
    for i in (0, 5):
        case = found.cases[i]
        ids = decoder.tokenizer(case.prompt, return_tensors="pt")["input_ids"]

        def says() -> str:
            with torch.no_grad():
                return decoder.tokenizer.decode(decoder.module(ids).logits[0, -1].argmax()).strip()  # noqa: B023

        assert says() == case.answer
        edit = again.only(i)  # type: ignore[union-attr]
        apply(decoder, edit)
        assert says() == case.new
        undo(decoder, edit)
        assert says() == case.answer
    assert all(torch.equal(v, before[k]) for k, v in decoder.module.state_dict().items())


def test_together_they_are_one_edit(decoder):
    facts = known_facts("causal", 3)
    r = QUICK.build(QUICK.params() | {"together": True})(decoder, facts)
    assert len(r.deltas) == 3
    with edited(decoder, r):
        lab = Lab(decoder)
        for fact, case in zip(facts, r.cases):
            heard = Said(lab, fact).ask()
            assert heard.said.tolist() == list(case.said)
            assert np.allclose(heard.probability, case.after, atol=1e-6)
    assert score(r, "facts").value >= 0.6


def test_the_place_is_chosen_by_trial(decoder):
    study = RankOneEdit(n_layers=2, n_steps=8, n_corpus=200, n_trial=1, n_generated=0, n_held_out=2)
    facts = known_facts("causal", 3)
    r = study(decoder, facts)
    grid = r.figures()[1]
    assert grid.values.shape == (2, 2)
    (at,) = grid.marked
    assert grid.values[at] == grid.values.max()
    assert (r.token, r.layer) == (("subject", "last")[at[0]], (0, 3)[at[1]])
    assert score(r, "facts").n == 2  # the fact that was tried on is not scored


def test_a_fact_that_cannot_be_edited_is_counted(decoder):
    facts = known_facts("causal", 2)
    r = QUICK(decoder, [facts[0], facts[1].model_copy(update={"new": ""})])
    assert score(r, "facts").n_failed == 1
    assert any("no new answer" in note for note in r.trust.notes)


def test_letters(decoder, tmp_path):
    facts = known_facts("causal", 1)
    with pytest.raises(InputError, match="--new"):
        QUICK(decoder, facts[0].model_copy(update={"new": ""}))
    with pytest.raises(InputError, match="need at least"):
        QUICK.build(QUICK.params() | {"n_corpus": 20})(decoder, facts)
    with pytest.raises(UsageError, match="0 to 3"):
        QUICK.build(QUICK.params() | {"layer": 9})(decoder, facts)
    with pytest.raises(InputError, match=r"none\.txt"):
        QUICK.build(QUICK.params() | {"corpus": str(tmp_path / "none.txt")})(decoder, facts)
    with pytest.raises(UsageError, match="where the subject stands"):
        QUICK.build(QUICK.params() | {"essence": "it is a"})(decoder, facts)
    short = tmp_path / "short.txt"
    short.write_text("the dog slept.\n" * 30)
    with pytest.raises(InputError, match="longer file"):
        QUICK.build(QUICK.params() | {"corpus": str(short)})(decoder, facts)
    with pytest.raises((TargetError, InputError)):
        QUICK(decoder, facts[0].model_copy(update={"new": "☃" * 300}))
    assert Target(label="x")  # nothing was broken on the way
