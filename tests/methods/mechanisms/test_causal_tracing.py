"""Causal tracing: every cell against a plain edited pass, a fact whose way through the model is planted, and the terrarium."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError, ModelError, SiteError
from exegete.core.site import Site
from exegete.methods.mechanisms import tracing_verdict
from exegete.methods.mechanisms.causal_tracing import CausalTracing
from exegete.methods.mechanisms.traced_fact import Places, roles_of
from exegete.models.bare import bare_gpt2
from exegete.models.capture import run
from exegete.models.edit import Add, Set
from exegete.models.family import ModelMap
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.terrarium.material import known_facts

TWIN = CausalTracing(n_samples=2, window=2, known_only=False)
WORDS = ("truly", "now", "ann", "bob", "lee", "likes", "really", "tea", "milk", "rye", "gin")


def facts_of(model) -> list[xg.Fact]:
    mask = f" {model.tokenizer.mask_token}" if model.task == "masked" else ""
    asked = [("the dog saw", "dog"), ("mary went to the", "mary")]
    return [xg.Fact(prompt=p + mask, subject=s, answer="a") for p, s in asked]


def by_hand(model, fact, case, sigma, shift=0) -> np.ndarray:
    """Effects [kind, layer, tok]: every cell and sample a forward of its own, from the beginning, with plain edits."""
    lab = Lab(model)
    places = Places(lab, TWIN.kinds, TWIN.window)
    aim = lab.aim([fact.prompt], xg.Target(label=fact.answer, scale="prob"))
    clean = run(model, aim.inputs, read=[places.embed, *places.every])
    subject = [i for i, r in enumerate(case.roles) if "subject" in r]
    draw = lab.rng("noise", fact.prompt).standard_normal((2, len(subject), clean[places.embed].shape[-1]))
    noises = [
        {places.embed: Add(torch.tensor(x * sigma, dtype=torch.float32), positions=subject)} for x in draw
    ]

    def said(edit) -> float:
        return float(aim.measure(run(model, aim.inputs, edit=edit).logits)[0])

    noisy = [said(n) for n in noises]
    assert case.noisy == pytest.approx(np.mean(noisy), rel=1e-4)
    found = np.zeros(case.effect.shape)
    for k, i, t in np.ndindex(found.shape):
        at = (t + shift) % found.shape[2]
        put = {s: Set(clean[s][:, at], positions=at) for s in places.sites(TWIN.kinds[k], i)}
        found[k, i, t] = np.mean([said({**n, **put}) - before for n, before in zip(noises, noisy)])
    return found


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "gpt_neox", "bloom", "albert", "t5"])
def test_every_place_is_a_plain_edited_pass(family):
    model = load(tiny(family))
    facts = facts_of(model)
    r = TWIN(model, facts)
    truth = by_hand(model, facts[0], r.cases[0], r.noise)
    size = np.abs(truth).max()  # the probabilities of untrained models are small
    assert np.abs(r.cases[0].effect - truth).max() < 2e-3 * size
    if family == "gpt2":
        wrong = by_hand(model, facts[0], r.cases[0], r.noise, shift=1)
        assert np.abs(r.cases[0].effect - wrong).max() > 0.2 * size


def test_the_noise_is_three_standard_deviations_of_the_subjects_embeddings():
    model = load(tiny("gpt2"))
    r = TWIN(model, facts_of(model))
    ids = [i for w in (" dog", "mary") for i in model.tokenizer(w)["input_ids"]]
    table = model.module.transformer.wte.weight.detach()[ids].double()
    assert r.noise == pytest.approx(3 * float(table.std(correction=0)), rel=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "t5"])
def test_the_noise_may_be_scaled_by_the_vocabulary(family):
    """Whatever the facts; read where the noise goes, so that a factor of the embeddings is in it."""
    model = load(tiny(family))
    study = TWIN.model_copy(update={"noise_from": "vocabulary"})
    one, other = (study(model, f).noise for f in facts_of(model))
    site, ids = Places(Lab(model), ("mlp",), 1).embed, torch.arange(model.vocabulary)[:, None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    more = {"decoder_input_ids": torch.zeros_like(ids)} if model.task == "seq2seq" else {}
    seen = run(model, inputs | more, read=[site])[site]
    spread = float(seen[:, 0].double().std(correction=0))
    assert one == other == pytest.approx(3 * spread, rel=1e-6)


def test_controls_are_made_at_the_judged_layers_of_all_facts_and_everywhere_for_a_few(
    decoder, facts, monkeypatch
):
    """A score does not depend on which facts the curves are of, nor is it about these alone."""
    study = CausalTracing(n_samples=2)
    whole = study(decoder, facts[:5])
    monkeypatch.setattr(tracing_verdict, "CURVES", 2)
    few = study(decoder, facts[:5])
    assert [s.control for s in few.trust.scores] == pytest.approx([s.control for s in whole.trust.scores])
    assert few.trust.scores[0].control != pytest.approx(study(decoder, facts[:2]).trust.scores[0].control)
    assert np.abs(few.other - whole.other).max() > 1e-3
    assert few.cost.forwards < whole.cost.forwards
    assert any("those of 2 facts" in n for n in few.trust.notes)
    assert not any("evenly spread" in n for n in whole.trust.notes)


def test_averages_are_those_of_the_facts():
    model = load(tiny("llama"))
    r = TWIN(model, facts_of(model))
    assert r.roles == (
        "before",
        "first subject",
        "middle subject",
        "last subject",
        "first after",
        "further",
        "last",
    )
    for j, role in enumerate(r.roles):
        rows = [c.effect[..., np.array(c.roles) == role].mean(-1) for c in r.cases if role in c.roles]
        assert r.n_role[j] == len(rows)
        assert np.allclose(r.effect[..., j], np.mean(rows, axis=0))


def test_roles():
    assert roles_of(8, (2, 3, 4), 7) == (
        "before", "before", "first subject", "middle subject", "last subject", "first after", "further", "last",
    )  # fmt: skip
    assert roles_of(2, (0,), 1) == ("last subject", "last")
    assert roles_of(3, (1, 2), 2) == ("before", "first subject", "last subject")
    assert roles_of(4, (0,), 2) == ("last subject", "first after", "last", "further")


# ---- a fact whose way is known -------------------------------------------------------------------------------------------


def planted(lookup: int = 0, carry: int = 1):
    """ "ann likes" -> "tea": the feed-forward part of layer `lookup` writes what a name likes, at the name; attention of
    layer `carry` takes it to every later token; nothing else happens. Names and likes: ann tea, bob milk, lee rye.
    """
    module, tokenizer = bare_gpt2(WORDS, layers=3, heads=1, width=24, inner=3, positions=16)
    at = {w: i for i, w in enumerate(("<s>", "<pad>", *WORDS))}
    liked = range(20, 23)
    gpt = module.transformer
    with torch.no_grad():
        gpt.wte.weight[:, : len(at)] = torch.eye(len(at))
        mlp, attn = gpt.h[lookup].mlp, gpt.h[carry].attn
        attn.c_proj.weight.copy_(torch.eye(24))
        for j, (name, answer, dim) in enumerate(zip(("ann", "bob", "lee"), ("tea", "milk", "rye"), liked)):
            mlp.c_fc.weight[at[name], j] = 1.0
            mlp.c_proj.weight[j, dim] = 1000.0
            attn.c_attn.weight[dim, 48 + dim] = 1.0
            module.lm_head.weight[at[answer], dim] = 0.1
    # what the name's own noise writes into the likes is 1000 times smaller than what is looked up
    return load((module, tokenizer))


def liking() -> list[xg.Fact]:
    said = [
        ("truly ann really likes", "ann", "tea"),
        ("now bob really likes", "bob", "milk"),
        ("truly lee likes", "lee", "rye"),
    ]
    return [xg.Fact(prompt=p, subject=s, answer=a) for p, s, a in said]


@pytest.mark.parametrize(("lookup", "carry"), [(0, 1), (1, 2)])
def test_the_planted_way_is_found(lookup, carry):
    r = CausalTracing(window=1, n_samples=20, noise=20)(planted(lookup, carry), liking())
    total = np.mean([c.clean - c.noisy for c in r.cases])
    assert total > 0.3
    subject, last = r.roles.index("last subject"), r.roles.index("last")
    truth = np.zeros(r.effect.shape)
    residual, attention, mlp = (r.kinds.index(k) for k in ("residual", "attention", "mlp"))
    truth[mlp, lookup, subject] = truth[attention, carry, last] = total
    truth[residual, :carry, subject] = total
    truth[residual, carry:, last] = total
    assert np.allclose(r.effect, truth, atol=0.02)
    (score,) = (s for s in r.trust.scores if s.name.startswith("feed-forward parts put back at the subject"))
    assert f"layer {lookup}" in score.name
    assert score.beats_chance
    assert score.beats_control
    assert score.control < 0.05
    at_last = next(s for s in r.trust.scores if s.name.startswith("feed-forward parts put back at the last"))
    assert not at_last.beats_chance  # nothing is written there
    assert r.trust.scores[-1].value == 1.0


def test_another_place_is_found_when_the_way_is_another():
    """The companion: the truth of one planted model is not that of the other."""
    one, other = (CausalTracing(window=1, noise=20)(planted(*w), liking()).effect for w in ((0, 1), (1, 2)))
    assert np.abs(one - other).max() > 0.3


# ---- the terrarium -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def decoder():
    return xg.load("terrarium/decoder")


@pytest.fixture(scope="module")
def facts():
    return known_facts("causal", 12)


def test_terrarium_facts_are_localised_better_than_chance(decoder, facts):
    r = CausalTracing(n_samples=3)(decoder, facts)
    named = {s.name.rsplit(",", 1)[0]: s for s in r.trust.scores}
    for where in ("attention put back at the last token", "feed-forward parts put back at the last token"):
        score = named[where]
        assert score.beats_chance, where
        assert score.beats_control, where
        assert score.interval[0] > 2 * score.chance
        assert score.n + score.n_failed == 12
    assert not r.effect[:, :, r.roles.index("before")].any()
    assert all(c.clean > 5 * c.noisy or c.noisy < 0.7 for c in r.cases)


def test_one_fact_has_no_interval_and_no_other_subject(decoder, facts):
    r = CausalTracing(n_samples=3)(decoder, facts[0])
    assert all(s.interval is None and s.skipped and s.percentile is not None for s in r.trust.scores)
    assert np.isnan(r.low).all()
    assert [f.kind for f in r.figures()] == ["grid"] * 3 + ["curves"] * 2


def test_the_best_layer_of_one_fact_is_held_against_the_best_layer_of_every_token(decoder, facts):
    """The mean over all places would be beaten by any token, once it may choose its layer."""
    r = CausalTracing(n_samples=3, kinds=("mlp",))(decoder, facts[0])
    score, case = r.trust.scores[-1], r.cases[0]
    start = next(i for i, role in enumerate(case.roles) if "subject" in role)
    best = case.effect[0][:, start:].max(0)
    assert score.value == pytest.approx(case.effect[0][:, case.roles.index("last")].max())
    assert score.chance == pytest.approx(best.mean())
    assert score.percentile == pytest.approx(
        100 * ((best < score.value - 1e-9).mean() + 0.5 / len(best)), abs=1e-6
    )
    assert case.effect[0][:, start:].mean() < best.mean()


def test_another_seed_is_other_noise():
    model = load(tiny("gpt2"))
    one, other = (
        CausalTracing(n_samples=2, known_only=False, seed=i)(model, facts_of(model)[1]) for i in range(2)
    )
    assert one.noise == other.noise
    assert np.abs(one.effect - other.effect).max() > 0.1 * np.abs(one.effect).max()


# ---- letters -------------------------------------------------------------------------------------------------------------


def test_letters(decoder, facts, monkeypatch):
    with pytest.raises(InputError, match="does not name the subject"):
        xg.Fact(prompt="verity keeps a", subject="mabel", answer="cat")
    wrong = [f.model_copy(update={"answer": "lamps"}) for f in facts[:2]]
    with pytest.raises(InputError, match="prefers another answer"):
        CausalTracing(n_samples=1)(decoder, wrong)
    some = CausalTracing(n_samples=1, kinds=("mlp",))(decoder, [*wrong[:1], *facts[1:3]])
    assert {s.n_failed for s in some.trust.scores} == {1}
    assert any("was not traced" in n for n in some.trust.notes)
    with pytest.raises(ModelError, match="the study works on"):
        CausalTracing()(load(tiny("bert", "sequence")), facts[0])

    plain = ModelMap.port

    def without(self, site, *more):
        if Site.parse(site).kind == "attn_add":
            raise SiteError("You asked for 0.attn_add.", "This model has no such place.", "Choose another.")
        return plain(self, site, *more)

    monkeypatch.setattr(ModelMap, "port", without)
    with pytest.raises(SiteError, match="no such place"):
        CausalTracing()(decoder, facts[0])
