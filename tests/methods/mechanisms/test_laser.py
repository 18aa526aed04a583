"""Rank reduction: the best approximation by definition, every cell a really changed model, and a weight with planted noise."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError, UsageError
from exegete.methods.mechanisms.laser import Laser
from exegete.models.bare import bare_gpt2
from exegete.models.capture import run
from exegete.models.family import bind
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.rank_reduction import Matrix, matrices, truncated
from exegete.models.rewrite import edited
from exegete.models.tiny import tiny
from exegete.terrarium.material import known_facts

WORDS = ("truly", "now", "ann", "bob", "lee", "likes", "enjoys", "tea", "milk", "rye", "gin")


def matrix(rows: int, columns: int) -> Matrix:
    value = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    return Matrix(0, "", "", torch.nn.Parameter(value))


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_a_truncated_weight_is_the_best_of_its_rank_and_a_projection_is_one(shape):
    m = matrix(*shape)
    w, s = m.parameter.detach().double(), np.linalg.svd(m.parameter.detach().double().numpy())[1]
    for k in (1, 3, 5):
        best, random = truncated(m.decomposed(), k), m.projected(k, np.random.default_rng(k))
        assert torch.linalg.matrix_rank(best) == torch.linalg.matrix_rank(random) == k
        lost = float((w - best).norm())
        assert lost == pytest.approx(float(np.sqrt((s[k:] ** 2).sum())), abs=1e-9)  # Eckart and Young
        assert lost <= float((w - random).norm()) + 1e-9
        # what a projection keeps stands at right angles to what it drops
        assert float((random * (w - random)).sum()) == pytest.approx(0, abs=1e-9)
    assert (m.rank(0.01), m.rank(0.5), m.rank(1.0)) == (1, 2, 5)


def test_every_matrix_of_a_block_is_there_once():
    assert [m.type for m in matrices(bind(tiny("llama", layers=1)[0]))] == [
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
    ]  # fmt: skip
    assert [m.type for m in matrices(bind(tiny("gpt2", layers=1)[0]))] == [
        "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"
    ]  # fmt: skip
    shared = matrices(bind(tiny("albert")[0]))
    assert {m.layer for m in shared} == {0}


def said(model, fact) -> float:
    """Log-probability of the answer in one whole plain pass."""
    aim = Lab(model).aim([fact.prompt], xg.Target(label=fact.answer, scale="logprob"))
    return float(aim.measure(run(model, aim.inputs).logits)[0])


@pytest.mark.parametrize("family", ["gpt2", "llama", "mixtral", "bert", "albert", "t5"])
def test_every_change_is_that_of_a_really_changed_model(family):
    model = load(tiny(family))
    mask = f" {model.tokenizer.mask_token}" if model.task == "masked" else ""
    facts = [xg.Fact(prompt=p + mask, subject=p[:4], answer="a") for p in ("mary saw", "john went to the")]
    r = Laser(keep=(0.1, 1.0), n_draws=1)(model, facts)
    assert np.nanmax(np.abs(r.chosen_on[..., 1])) < 1e-5  # the whole rank is the weight itself
    before, moved = np.array([said(model, f) for f in facts]), []
    for m in matrices(model.map)[::2]:
        other = load(tiny(family))
        weight = dict(other.module.named_parameters())[m.name]
        u, s, v = np.linalg.svd(weight.detach().numpy().astype(np.float64), full_matrices=False)
        k = m.rank(0.1)
        with torch.no_grad():
            weight.copy_(torch.from_numpy((u[:, :k] * s[:k]) @ v[:k]))
        truth = np.sort([said(other, f) for f in facts] - before)
        at = (r.types.index(m.type), r.layers.index(f"layer {m.layer}"), 0)
        assert np.allclose(np.sort([r.chosen_on[at], r.held_out[at]]), truth, atol=1e-4), m.name
        moved.append(np.abs(truth).max())
    assert max(moved) > 1e-2


# ---- planted noise -------------------------------------------------------------------------------------------------------


def planted(noise: float = 4.5):
    """Units 0 to 2 of layer 1 say what each name likes, through singular values of 5; unit 4, always on, says gin, through
    a smaller one. Rank 3 of that weight is the knowledge without the noise.
    """
    module, tokenizer = bare_gpt2(WORDS, layers=2, heads=1, width=24, inner=6, positions=16)
    at = {w: i for i, w in enumerate(("<s>", "<pad>", *WORDS))}
    gpt, copied = module.transformer, {"ann": 13, "bob": 14, "lee": 15}
    with torch.no_grad():
        gpt.wte.weight[:, : len(at)] = torch.eye(len(at))
        gpt.h[0].attn.c_proj.weight.copy_(torch.eye(24))
        mlp = gpt.h[1].mlp
        for j, (name, answer) in enumerate((("ann", "tea"), ("bob", "milk"), ("lee", "rye"))):
            gpt.h[0].attn.c_attn.weight[at[name], 48 + copied[name]] = 4.0
            mlp.c_fc.weight[copied[name], j] = 1.0
            mlp.c_proj.weight[j, 16 + j] = 5.0
            module.lm_head.weight[at[answer], 16 + j] = 1.0
        mlp.c_fc.bias[4] = 2.0
        mlp.c_proj.weight[4, 19] = noise
        module.lm_head.weight[at["gin"], 19] = 1.0
    return load((module, tokenizer))


def liking() -> list[xg.Fact]:
    likes = (("ann", "tea"), ("bob", "milk"), ("lee", "rye"))
    return [
        xg.Fact(prompt=f"{lead} {s} {verb}", subject=s, answer=a, paraphrases=(f"{s} {verb}",))
        for s, a in likes for lead, verb in (("truly", "likes"), ("now", "enjoys"))
    ]  # fmt: skip


def test_the_planted_weight_and_rank_are_found_and_held_out_facts_gain():
    model = planted()
    r = Laser(keep=(0.2, 0.5, 0.7), n_draws=3)(model, liking())
    assert (r.types[r.place[0]], r.layers[r.place[1]], r.rank) == ("mlp.c_proj", "layer 1", 3)
    gain, right, by_this = r.trust.scores
    assert right.value == 1.0  # none was right before
    for s in (gain, right, by_this):
        assert s.beats_chance
        assert s.beats_control
        assert s.n == 3
    assert "no gain" not in r.lede


def test_where_nothing_is_in_the_way_nothing_is_gained():
    """The companion: the same model without the noise."""
    r = Laser(keep=(0.5,), n_draws=1)(planted(noise=0.0), liking())
    assert not r.trust.scores[1].beats_chance
    assert r.trust.scores[0].value < 0.1


def test_the_finding_is_the_edit(tmp_path):
    model = planted()
    r = xg.open(Laser(keep=(0.5,), n_draws=1)(model, liking()).save(tmp_path / "r.exg"))
    weights = {k: v.clone() for k, v in model.module.state_dict().items()}
    ids = model.tokenizer("truly bob likes", return_tensors="pt")["input_ids"]

    def says() -> str:
        with torch.no_grad():
            return model.tokenizer.decode(model.module(ids).logits[0, -1].argmax())

    assert says() == "gin"
    with edited(model, r):  # type: ignore[arg-type]
        assert says() == "milk"
    assert all(torch.equal(v, weights[k]) for k, v in model.module.state_dict().items())


def test_terrarium_reduction_beats_a_random_projection():
    model, facts = xg.load("terrarium/decoder"), known_facts("causal", 10)
    r = Laser(keep=(0.25,), n_layers=2, types=("mlp",), n_draws=2)(model, facts)
    assert r.types == ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    gain = r.trust.scores[0]
    assert gain.beats_control
    assert gain.beats_chance or "no gain" in r.lede
    assert gain.n == 5
    with pytest.raises(UsageError, match="No matrix of a block is called so"):
        Laser(types=("nothing",))(model, facts)
    with pytest.raises(UsageError, match="above 0"):
        Laser(keep=(1.5,))(model, facts)
    with pytest.raises(InputError, match="It needs at least 2"):
        Laser()(model, facts[:1])
