"""Studies of dictionaries: what is spliced is what is said, controls stand where they must, saved ones open and are refused."""

import json

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, ModelError, StoreError, UsageError
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.sparse import HOOKS, SparseDictionary, hook_name, read_dictionary
from exegete.methods.contracts.dictionaries import opened, packed, place, spliced, unpacked
from exegete.methods.features import activations
from exegete.methods.features.activations import Texts, batches, blocks, read
from exegete.methods.features.learning import components, divided
from exegete.methods.features.sparse_autoencoder import SparseAutoencoder
from exegete.methods.features.splicing import losses, recovered
from exegete.methods.features.transcoder import Transcoder
from exegete.models.capture import run
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.dictionary import KINDS, Dictionary
from exegete.ops.ratio import kept
from exegete.terrarium.material import material

SAYS = [
    Text(text=t) for t in ("the cat sat on the mat", "mary went home", "john gave mary a book .", "a dog")
]


def perfect(d, width=None):
    """A dictionary that says everything: every number by its positive and its negative part."""
    one = torch.eye(d)
    return Dictionary(
        "relu", torch.cat([one, -one], 1), torch.cat([one, -one]), torch.zeros(2 * d), torch.zeros(d)
    )


@pytest.mark.parametrize("kind", ["resid_post", "z", "mlp_act", "mlp_add"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_a_perfect_dictionary_leaves_the_logits_equal(family, kind):
    model = load(tiny(family))
    lab = Lab(model)
    site = place(model, f"0.{kind}")
    reading = lab.read(SAYS)
    width = read(lab, SAYS, [site]).values[0].shape[1]
    plain = run(model, reading.inputs).logits[reading.mask]
    edit = spliced(site, site, perfect(width), reading.mask)
    same = run(model, reading.inputs, edit=edit).logits[reading.mask]
    assert torch.allclose(plain, same, atol=1e-5)
    gone = spliced(site, site, torch.zeros_like, reading.mask)
    assert not torch.allclose(plain, run(model, reading.inputs, edit=gone).logits[reading.mask], atol=1e-3)


def test_what_is_replaced_is_what_the_dictionary_says():
    """Against a hook of one's own, in a place of the residual."""
    model = load(tiny("gpt2"))
    lab, site = Lab(model), Site("resid_post", layer=0)
    reading = lab.read(SAYS[:1])
    through = components(read(lab, SAYS, [site]).values, 2)
    ours = run(model, reading.inputs, edit=spliced(site, site, through, reading.mask)).logits
    block = model.module.transformer.h[0]

    def hook(_, __, out):
        x = out[0] if isinstance(out, tuple) else out
        new = (x - through.mean) @ through.map + through.mean_out
        return (new, *out[1:]) if isinstance(out, tuple) else new

    handle = block.register_forward_hook(hook)
    with torch.no_grad():
        theirs = model.module(**reading.inputs).logits
    handle.remove()
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_losses_by_hand():
    model = load(tiny("gpt2"))
    lab, site = Lab(model), Site("resid_post", layer=0)
    found = losses(lab, SAYS, site, site, {"zero": torch.zeros_like, "same": lambda x: x})
    for i, text in enumerate(SAYS):
        reading = lab.read([text])
        ids = reading.inputs["input_ids"][0]
        with torch.no_grad():
            logs = model.module(**reading.inputs).logits[0].double().log_softmax(-1)
        surprise = [-float(logs[t, ids[t + 1]]) for t in range(len(ids) - 1)]
        assert found[""][i] == pytest.approx(np.mean(surprise), rel=1e-5)
    assert np.allclose(found["same"], found[""])


def test_loss_recovered_is_a_ratio_of_sums():
    told = {"": np.array([1.0, 2.0]), "zero": np.array([5.0, 4.0]), "d": np.array([1.5, 2.5])}
    values = recovered(told, "d")
    assert values.mean() == pytest.approx(1 - 1.0 / 6.0)
    assert kept(np.ones(3), np.full(3, -1.0)) is None
    assert kept(np.array([np.nan, 1.0]), np.array([1.0, 4.0])).mean() == pytest.approx(0.75)


def test_the_best_of_rank_k_for_two_places():
    """Reduced-rank regression is no worse than any map of its rank that is tried, and exact at full rank."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(400, 6, generator=g)
    y = x @ torch.randn(6, 5, generator=g) + 0.3 * torch.randn(400, 5, generator=g) + 2

    def error(m):
        return float((m(x) - y).square().sum())

    whole = components((x, y), 5)
    design = torch.cat([x, torch.ones(400, 1)], 1)
    best = (design @ torch.linalg.lstsq(design, y).solution - y).square().sum()
    assert error(whole) == pytest.approx(float(best), rel=1e-4)
    two = error(components((x, y), 2))
    assert two > float(best)
    for seed in range(20):
        u = torch.linalg.qr(torch.randn(5, 2, generator=torch.Generator().manual_seed(seed))).Q
        other = design @ torch.linalg.lstsq(design, y).solution
        mean = y.mean(0)
        assert two <= float(((other - mean) @ u @ u.T + mean - y).square().sum()) + 1e-3


def test_rolling_buffer_gives_every_row_and_stays_small():
    model = load(tiny("gpt2"))
    lab, site = Lab(model), Site("resid_post", layer=0)
    texts = [Text(ids=(5 + i % 50, 7 + i % 40, 9 + i % 30)) for i in range(60)]
    every = {tuple(r) for r in read(lab, texts, [site]).values[0].numpy().round(5).tolist()}
    seen = set()
    source = batches(lab, Texts(texts), (site,), 16, 1, "0")
    for _ in range(60):
        (rows,) = next(source)
        assert len(rows) == 16
        seen |= {tuple(r) for r in rows.numpy().round(5).tolist()}
    assert seen == every
    assert sum(len(b) for b in blocks(texts)) == 60


def test_a_corpus_larger_than_the_buffer(monkeypatch):
    """The rolling buffer never holds more than its size and one block, and mixes texts that are far apart."""
    monkeypatch.setattr(activations, "CHARACTERS", 40)
    model = load(tiny("gpt2"))
    lab, site = Lab(model), Site("resid_post", layer=0)
    texts = [Text(ids=(5 + i, 7, 9, 11)) for i in range(200)]
    width = 2**20 // 4 // read(lab, texts[:1], [site]).values[0].shape[1]
    source = batches(lab, Texts(texts), (site,), max(2, width // 400), 1, "0")
    for _ in range(30):
        assert len(next(source)[0]) == max(2, width // 400)


@pytest.fixture(scope="module")
def trained():
    model = load("terrarium/decoder")
    study = SparseAutoencoder(n_steps=80, width=2.0, n_held_out=30, batch=128)
    texts = material("texts", "causal", n=200)
    return model, texts, study(model, texts)


def test_it_beats_its_controls_on_a_trained_model(trained):
    _, _, r = trained
    loss, share = r.trust.scores
    assert loss.beats_chance
    assert loss.beats_control
    assert loss.value > 0.8
    assert share.beats_chance
    assert share.beats_control
    assert r.density.sum() == pytest.approx(16, abs=1e-6)
    model_loss = next(c.loss for c in r.compared if c.name == "the model as it is")
    assert all(c.loss >= model_loss - 1e-3 for c in r.compared if np.isfinite(c.loss))


def test_a_dictionary_that_did_not_learn_says_so():
    """One step of training is no training: it does not beat its controls, and the lede says it."""
    model = load("terrarium/decoder")
    r = SparseAutoencoder(n_steps=1, width=0.05, k=1, n_held_out=40)(model, material("texts", "causal", n=80))
    assert not (r.trust.scores[0].beats_chance and r.trust.scores[0].beats_control)
    assert "not worth their name" in r.lede


def test_saved_and_opened_again(trained, tmp_path):
    model, texts, r = trained
    path = r.save(tmp_path / "d.exg")
    again = SparseAutoencoder(saved=str(path), n_held_out=30)(model, texts)
    assert again.dictionary == r.dictionary
    assert again.trust.scores[0].value == pytest.approx(r.trust.scores[0].value, abs=1e-6)
    assert again.n_tokens == r.n_tokens
    with pytest.raises(InputError, match="trained on them"):
        learned = [t for t in texts if t not in _held(model, texts)]
        SparseAutoencoder(saved=str(path))(model, learned)


def test_controls_of_an_opened_dictionary_are_fitted_on_other_texts_than_they_are_judged_on(
    trained, tmp_path
):
    from exegete.methods.features.dictionaries import _unseen

    model, texts, r = trained
    path = str(r.save(tmp_path / "d.exg"))
    more = (*texts, *(Text(text=f"john saw the river and {i} cats") for i in range(40)))
    corpus, notes, _ = _unseen(divided(Lab(model, 0), more, 30), path)
    assert not notes
    assert len(corpus.held) == 30
    assert not {t.text for t in corpus.held} & {t.text for t in corpus.train}


def _held(model, texts):
    return set(divided(Lab(model, 0), texts, 30).held)


def test_another_model_place_or_width_is_refused(trained, tmp_path):
    model, texts, r = trained
    path = str(r.save(tmp_path / "d.exg"))
    with pytest.raises(ModelError, match="weights differ"):
        SparseAutoencoder(saved=path)(load(tiny("gpt2")), SAYS)
    with pytest.raises(UsageError, match=r"reads 1\.resid_post"):
        SparseAutoencoder(saved=path, site="0.resid_post")(model, texts)
    folder = tmp_path / "narrow"
    narrow = packed(perfect(5), model, Site("resid_post", layer=1), Site("resid_post", layer=1))
    narrow.write(folder)
    with pytest.raises(ModelError, match="5 numbers a token"):
        opened(str(folder), model)
    nothing = tmp_path / "x"
    with pytest.raises(StoreError):
        opened(str(nothing), model)
    with pytest.raises(UsageError, match="whole activations"):
        SparseAutoencoder(site="0.pattern")(model, texts)


@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_goes_out_and_comes_back(kind, tmp_path):
    g = torch.Generator().manual_seed(0)

    def r(*shape):
        return torch.randn(*shape, generator=g).numpy()

    more = {"threshold": np.abs(r(7))} if kind == "jumprelu" else {}
    more |= {"gain": r(7), "level": r(7)} if kind == "gated" else {}
    d = SparseDictionary(
        kind=kind, k=2 if kind == "topk" else 0, encoder=r(5, 7), decoder=r(7, 5), bias=r(7), offset=r(5),
        site="1.resid_post", site_out="1.resid_post", model="m", fingerprint="f", **more,
    )  # fmt: skip
    d.write(tmp_path / "sae")
    assert read_dictionary(tmp_path / "sae") == d
    said = json.loads((tmp_path / "sae" / "cfg.json").read_text())
    assert said["metadata"]["hook_name"] == "blocks.1.hook_resid_post"
    assert said["d_sae"] == 7


def test_lengths_of_decoder_rows_are_folded_in(tmp_path):
    """SAELens keeps topk with features weighed by the length of their decoder row; here it is part of the weights."""
    g = torch.Generator().manual_seed(1)
    x, e, w, b, o = (torch.randn(*s, generator=g) for s in ((9, 5), (5, 7), (7, 5), (7,), (5,)))
    d = packed(Dictionary("topk", e, w, b, o, k=3), load(tiny("gpt2")), Site("embed"), Site("embed"))
    d.write(tmp_path)
    said = json.loads((tmp_path / "cfg.json").read_text()) | {"rescale_acts_by_decoder_norm": True}
    (tmp_path / "cfg.json").write_text(json.dumps(said))
    length = w.norm(dim=1)
    pre = ((x - o) @ e + b) * length
    values, at = pre.topk(3)
    f = torch.zeros_like(pre).scatter(1, at, values.relu())
    found = unpacked(read_dictionary(tmp_path), torch.device("cpu"))
    assert torch.allclose(found.encode(x), f, atol=1e-5)
    assert torch.allclose(found(x), (f / length) @ w + o, atol=1e-5)


def test_factors_of_a_finetuned_dictionary_are_folded_in(tmp_path):
    """SAELens multiplies features by scaling_factor before it decodes them."""
    from safetensors.torch import load_file, save_file

    d = perfect(4)
    packed(d, load(tiny("gpt2")), Site("embed"), Site("embed")).write(tmp_path)
    factor = torch.linspace(0.5, 2.0, d.n_features)
    weights = load_file(tmp_path / "sae_weights.safetensors") | {"scaling_factor": factor}
    save_file(weights, tmp_path / "sae_weights.safetensors")
    found = unpacked(read_dictionary(tmp_path), torch.device("cpu"))
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found.encode(x), d.encode(x))
    assert torch.allclose(found(x), (d.encode(x) * factor) @ d.decoder + d.offset, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "matryoshka"}, "architecture"),
        ({"normalize_activations": "layer_norm"}, "normalises"),
        ({"architecture": "gated"}, "lacks"),
    ],
)
def test_a_layout_that_cannot_be_read_gets_a_letter(tmp_path, change, words):
    packed(perfect(4), load(tiny("gpt2")), Site("embed"), Site("embed")).write(tmp_path)
    said = json.loads((tmp_path / "cfg.json").read_text()) | change
    (tmp_path / "cfg.json").write_text(json.dumps(said))
    with pytest.raises(StoreError, match=words):
        read_dictionary(tmp_path)


def test_names_of_places_are_those_of_transformer_lens():
    for kind in HOOKS:
        assert Site.parse(hook_name(Site(kind, layer=3))) == Site(kind, layer=3)


def test_a_transcoder_learns_what_the_part_does():
    model = load("terrarium/decoder")
    study = Transcoder(n_steps=80, width=2.0, n_held_out=30, batch=128)
    r = study(model, material("texts", "causal", n=200))
    assert r.dictionary.site == "1.mlp_in"
    assert r.dictionary.site_out == "1.mlp_add"
    assert r.trust.scores[1].beats_chance
    assert r.trust.scores[1].value > 0.4
