"""Records of units against reading everything by hand, and a planted unit that fires on one word."""

from typing import Any

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, ModelError, StoreError, UsageError
from exegete.core.request import Text
from exegete.core.results.concept_direction import ConceptDirections
from exegete.core.results.neuron_records import UnitRecord, strongest
from exegete.core.sparse import SparseDictionary
from exegete.methods.concepts.concept_direction import ConceptDirection
from exegete.methods.neurons.neuron_records import RecordedNeurons
from exegete.models.capture import run
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny import tiny
from exegete.terrarium import material

WORD = 9


def texts(n: int = 12) -> list[Text]:
    rng = np.random.default_rng(0)
    return [Text(ids=tuple(int(i) for i in rng.integers(6, 30, int(rng.integers(4, 9))))) for _ in range(n)]


def planted() -> Model:
    """Unit 3 of layer 0 fires on one word: its key is what that word's embedding is after the norm."""
    model = load(tiny("gpt2"))
    module: Any = model.module
    block = module.transformer.h[0]
    with torch.no_grad():
        for p in (*block.attn.parameters(), module.transformer.wpe.weight):
            p.zero_()
        key = block.ln_2(module.transformer.wte.weight[WORD])
        block.mlp.c_fc.weight[:, 3] = key
        block.mlp.c_fc.bias[3] = -0.9 * key @ key
    return model


def test_as_reading_everything_by_hand():
    model = load(tiny("gpt2"))
    found = RecordedNeurons(layers=(1,), units=(5,), k=3, n_quantiles=0)(model, texts())
    most = [
        float(run(model, {"input_ids": torch.tensor([t.ids])}, ["1.mlp_act"])["1.mlp_act"][0, :, 5].max())
        for t in texts()
    ]
    unit = found.units[0]
    np.testing.assert_allclose([e.values.max() for e in unit.excerpts], sorted(most)[::-1][:3], rtol=1e-4)
    assert unit.excerpts[0].tokens == tuple(
        model.tokenizer.decode([i]) for i in texts()[int(np.argmax(most))].ids or ()
    )
    assert unit.histogram.sum() == pytest.approx(1)


def test_a_planted_unit_is_found_and_reads_words_alone():
    found = RecordedNeurons(layers=(0,), k=2, n_shown=1)(planted(), texts(24))
    unit = found.units[0]
    assert unit.name == "0.mlp_act[u3]"
    assert strongest(unit) == (load(tiny("gpt2")).tokenizer.decode([WORD]),)
    assert unit.peak_shuffled == pytest.approx(unit.peak, rel=0.05)
    everything = [i for t in texts(24) for i in t.ids or ()]
    assert unit.rate == pytest.approx(np.mean([i == WORD for i in everything]), abs=1e-6)


def test_without_the_planted_key_it_is_not_found():
    found = RecordedNeurons(layers=(0,), k=2, n_shown=1)(load(tiny("gpt2")), texts(24))
    assert found.units[0].name != "0.mlp_act[u3]"


PLACE, N = "0.resid_post", 3
ROWS = torch.randn(N, tiny("gpt2")[0].config.n_embd, generator=torch.Generator().manual_seed(1)).numpy()
BIAS = np.array([-0.5, 0.0, 0.3], np.float32)


def saved(folder: Any, model: Model, out: str = PLACE) -> str:
    """A dictionary whose features are known: relu of the product with `ROWS`, plus `BIAS`."""
    width = ROWS.shape[1]
    return SparseDictionary(
        kind="relu", encoder=ROWS.T.copy(), decoder=ROWS.copy(), bias=BIAS, offset=np.zeros(width, np.float32),
        centred=False, site=PLACE, site_out=out, model=model.name, fingerprint=model.fingerprint,
    ).write(folder)  # fmt: skip


def by_hand(model: Model, site: str, rows: np.ndarray, bias: np.ndarray | float = 0.0) -> list[np.ndarray]:
    """Of every text, the product of what is at a place with `rows` [token, unit]."""
    read = [run(model, {"input_ids": torch.tensor([t.ids])}, [site])[site][0].numpy() for t in texts()]
    return [x @ rows.T + bias for x in read]


def alike(a: UnitRecord, b: UnitRecord) -> bool:
    """Whether two records say the same: words exactly, numbers to the last bits (sums run in another order)."""
    words = [(u.up, u.down, [(e.tokens, e.at, e.why) for e in u.excerpts]) for u in (a, b)]
    one, two = (
        [*(e.values for e in u.excerpts), u.histogram, u.edges, np.array([u.rate, u.mean, u.spread, u.peak, u.peak_shuffled])]
        for u in (a, b)
    )  # fmt: skip
    return words[0] == words[1] and all(np.allclose(x, y, rtol=1e-5, atol=1e-6) for x, y in zip(one, two))


def test_features_of_a_known_dictionary_are_as_read_by_hand(tmp_path):
    model = load(tiny("gpt2"))
    every = [np.maximum(v, 0) for v in by_hand(model, PLACE, ROWS, BIAS)]
    path = saved(tmp_path, model)
    found = RecordedNeurons(units_from=path, units=(0, 1, 2), k=4, n_quantiles=0)(model, texts())
    most, tokens = np.stack([v.max(0) for v in every]), np.concatenate(every)
    for i, u in enumerate(found.units):
        assert u.name == f"0.resid_post[f{i}]"
        best = -np.sort(-most[:, i])[:4]
        np.testing.assert_allclose([e.values.max() for e in u.excerpts], best[best > 0], rtol=1e-4)
        assert u.rate == pytest.approx((tokens[:, i] > 0).mean())
        assert u.mean == pytest.approx(tokens[:, i].mean(), rel=1e-4)
        assert u.spread == pytest.approx(tokens[:, i].std(), rel=1e-3)
        assert u.peak == pytest.approx((best.mean() - tokens[:, i].mean()) / tokens[:, i].std(), rel=1e-3)
        assert len(u.up) == 5
    assert found.random_name == found.trust.scores[1].control_name == "as many random directions on"
    assert not np.allclose(every[0], np.maximum(by_hand(model, PLACE, ROWS)[0], 0))  # the bias is seen


def test_a_transcoder_is_read_where_it_reads(tmp_path):
    model = load(tiny("gpt2"))
    ways = [saved(tmp_path / "a", model), saved(tmp_path / "b", model, out="1.mlp_add")]
    auto, trans = (RecordedNeurons(units_from=p, units=(0, 1), k=4)(model, texts()) for p in ways)
    assert all(alike(a, b) for a, b in zip(auto.units, trans.units, strict=True))
    assert dict(trans.context)["writes"] == "1.mlp_add"


def test_axis_directions_are_exactly_the_neurons(tmp_path):
    model = load(tiny("gpt2"))
    width = run(model, {"input_ids": torch.tensor([[7]])}, ["1.mlp_act"])["1.mlp_act"].shape[-1]
    np.save(tmp_path / "axes.npy", np.eye(width)[[5, 9]])
    neurons = RecordedNeurons(layers=(1,), units=(5, 9), k=3)(model, texts())
    for given in ({"site": "1.mlp_act"}, {"layers": (1,)}):
        axes = RecordedNeurons(units_from=str(tmp_path / "axes.npy"), units=(0, 1), k=3, **given)(
            model, texts()
        )
        assert all(alike(a, b) for a, b in zip(axes.units, neurons.units, strict=True))
    np.save(tmp_path / "axes.npy", np.eye(width)[[5, 10]])
    other = RecordedNeurons(units_from=str(tmp_path / "axes.npy"), units=(0, 1), k=3, layers=(1,))(
        model, texts()
    )
    assert [alike(a, b) for a, b in zip(other.units, neurons.units)] == [True, False]


def test_a_planted_direction_beats_random_ones(tmp_path):
    from safetensors.numpy import save_file

    model = planted()
    width = run(model, {"input_ids": torch.tensor([[7]])}, ["0.mlp_act"])["0.mlp_act"].shape[-1]
    save_file({"v": np.eye(width, dtype=np.float32)[3]}, tmp_path / "v.safetensors")
    found = RecordedNeurons(units_from=str(tmp_path / "v.safetensors"), site="0.mlp_act", k=2)(
        model, texts(24)
    )
    assert strongest(found.units[0]) == (load(tiny("gpt2")).tokenizer.decode([WORD]),)
    assert found.trust.scores[1].beats_control is not False
    assert found.trust.scores[1].value > 1.2 * (found.trust.scores[1].control or np.inf)


def test_head_outputs_are_units():
    model = load(tiny("gpt2"))
    found = RecordedNeurons(site="z", layers=(0,), units=(6,), k=3, n_quantiles=0)(model, texts())
    flat = [run(model, {"input_ids": torch.tensor([t.ids])}, ["0.z"])["0.z"][0] for t in texts()]
    most = [float(z.transpose(0, 1).flatten(1)[:, 6].max()) for z in flat]  # heads side by side
    np.testing.assert_allclose(
        [e.values.max() for e in found.units[0].excerpts], sorted(most)[::-1][:3], rtol=1e-4
    )


def test_a_saved_concept_direction_is_read_where_it_was_chosen(tmp_path):
    model = load(tiny("gpt2"))
    made = ConceptDirection(methods=("mean difference",))(
        model, material.material("marked", "causal", n=60, kind="concept")
    )
    assert isinstance(made, ConceptDirections)
    path = str(tmp_path / "d.exg")
    made.save(path)
    found = RecordedNeurons(units_from=path, k=3, n_quantiles=0)(model, texts())
    site = made.sites[made.chosen[1]]
    most = [v.max() for v in by_hand(model, site, made.direction()[None].astype(np.float32))]
    np.testing.assert_allclose(
        [e.values.max() for e in found.units[0].excerpts], sorted(most)[::-1][:3], rtol=1e-3
    )
    assert found.units[0].name == f"{site}[d0]"


def test_what_was_made_for_something_else_is_refused(tmp_path):
    model = load(tiny("gpt2"))
    path = saved(tmp_path / "sae", model)
    with pytest.raises(ModelError, match="weights differ"):
        RecordedNeurons(units_from=path)(planted(), texts())
    with pytest.raises(UsageError, match=r"reads 0\.resid_post"):
        RecordedNeurons(units_from=path, site="1.resid_post")(model, texts())
    with pytest.raises(UsageError, match="one place"):
        RecordedNeurons(units_from=path, layers=(0, 1))(model, texts())
    with pytest.raises(UsageError, match="unit 3"):
        RecordedNeurons(units_from=path, units=(3,))(model, texts())
    np.save(tmp_path / "v.npy", np.ones(5))
    with pytest.raises(ModelError, match="5 numbers"):
        RecordedNeurons(units_from=str(tmp_path / "v.npy"), site=PLACE)(model, texts())
    with pytest.raises(UsageError, match="which place"):
        RecordedNeurons(units_from=str(tmp_path / "v.npy"))(model, texts())
    np.save(tmp_path / "v.npy", np.full(5, np.nan))
    with pytest.raises(StoreError, match="not finite"):
        RecordedNeurons(units_from=str(tmp_path / "v.npy"), site=PLACE)(model, texts())


def test_letters():
    model = load(tiny("gpt2"))
    with pytest.raises(InputError, match="needs at least 2"):
        RecordedNeurons()(model, texts(1))
    with pytest.raises(UsageError, match="unit 999"):
        RecordedNeurons(units=(999,))(model, texts())
    with pytest.raises(UsageError, match="layer 9"):
        RecordedNeurons(layers=(9,))(model, texts())
