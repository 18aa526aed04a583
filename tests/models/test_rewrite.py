"""Edits are written and taken back to the very bits; what does not fit is refused before anything is touched."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import ModelError, UsageError
from exegete.core.result import Provenance
from exegete.core.results.edits import FactCase, FactEdit, ModelEdit, SiteEdit, WeightDelta
from exegete.core.store import open_result
from exegete.models.capture import run
from exegete.models.edit import Add
from exegete.models.load import load
from exegete.models.rewrite import applied, apply, edited, emphasise, undo
from exegete.models.tiny import tiny

IDS = torch.tensor([[10, 20, 30, 40, 50]])


def model_of(family: str = "gpt2", task: str | None = None):
    return load(tiny(family, task))


def edit_of(model, *deltas: WeightDelta, sites: tuple[SiteEdit, ...] = (), title: str = "mine") -> ModelEdit:
    made = Provenance(fingerprint=model.fingerprint)
    return ModelEdit(title=title, lede="a", claim="c", deltas=deltas, sites=sites, provenance=made)


def low_rank(model, name: str, rank: int = 1, seed: int = 0, size: float = 1.0) -> WeightDelta:
    rows, columns = dict(model.module.named_parameters(remove_duplicate=False))[name].shape
    draw = np.random.default_rng(seed)
    left, right = size * draw.normal(size=(rows, rank)), draw.normal(size=(rank, columns))
    return WeightDelta(parameter=name, left=left, right=right)


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.module(IDS).logits


def bits(model) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.module.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


FAMILIES = {  # Conv1D, Linear, gated, parallel parts, an encoder, bfloat16 below
    "gpt2": "transformer.h.1.mlp.c_proj.weight",
    "llama": "model.layers.0.mlp.down_proj.weight",
    "gemma2": "model.layers.1.mlp.gate_proj.weight",
    "gpt_neox": "gpt_neox.layers.0.attention.dense.weight",
    "bert": "bert.encoder.layer.0.output.dense.weight",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_apply_writes_the_sum_and_undo_the_very_bits(family):
    model, name = model_of(family), FAMILIES[family]
    before, said, mark = bits(model), logits(model), model.fingerprint
    edit = edit_of(model, low_rank(model, name, rank=2))
    assert apply(model, edit) is model
    expected = (before[name].double() + torch.from_numpy(edit.deltas[0].dense())).float()
    assert torch.equal(model.module.state_dict()[name], expected)
    assert not torch.allclose(logits(model), said, atol=1e-3)
    assert applied(model) == (edit,)
    undo(model, edit)
    assert equal(bits(model), before)
    assert torch.equal(logits(model), said)
    assert model.fingerprint == mark
    assert applied(model) == ()


def test_adding_and_subtracting_is_not_undoing():
    """Why originals are kept: in floating point (W + d) - d is another matrix."""
    model = model_of()
    w = model.module.transformer.h[1].mlp.c_proj.weight.detach()
    d = torch.from_numpy(low_rank(model, FAMILIES["gpt2"]).dense()).float()
    assert not torch.equal((w + d) - d, w)


def test_in_bfloat16():
    module, tokenizer = tiny("llama")
    model = load((module.to(torch.bfloat16), tokenizer))
    before, name = bits(model), FAMILIES["llama"]
    edit = edit_of(model, low_rank(model, name))
    with edited(model, edit):
        new = model.module.state_dict()[name]
        assert torch.equal(new, (before[name].double() + torch.from_numpy(edit.deltas[0].dense())).bfloat16())
    assert equal(bits(model), before)


def test_the_context_puts_back_also_after_a_failure_and_nests():
    model = model_of()
    before = bits(model)
    first = edit_of(model, low_rank(model, FAMILIES["gpt2"], seed=1))
    second = edit_of(model, low_rank(model, FAMILIES["gpt2"], seed=2))
    with edited(model, first):
        inner = bits(model)
        with pytest.raises(RuntimeError, match="mine"), edited(model, second):
            assert applied(model) == (first, second)
            raise RuntimeError("mine")
        assert equal(bits(model), inner)
    assert equal(bits(model), before)
    assert applied(model) == ()


def test_undone_in_any_order():
    """Three edits of one matrix; the middle one goes first: what is left is as if it had never been."""
    model = model_of()
    before = bits(model)
    edits = [edit_of(model, low_rank(model, FAMILIES["gpt2"], seed=s), title=f"n{s}") for s in range(3)]
    apply(model, edits[0]), apply(model, edits[2])
    without = bits(model)
    undo(model, edits[2]), undo(model, edits[0])
    for e in edits:
        apply(model, e)
    undo(model, edits[1])
    assert equal(bits(model), without)
    undo(model, edits[0]), undo(model, edits[2])
    assert equal(bits(model), before)


def test_tied_weights_are_one():
    model = model_of("gpt2")
    table, head = model.module.transformer.wte.weight, model.module.lm_head.weight
    assert table is head
    before = bits(model)
    for name in ("transformer.wte.weight", "lm_head.weight"):
        with edited(model, edit_of(model, low_rank(model, name))):
            assert torch.equal(model.module.transformer.wte.weight, model.module.lm_head.weight)
            assert model.module.lm_head.weight is table
            assert not torch.equal(table, before["lm_head.weight"])
    both = edit_of(model, low_rank(model, "transformer.wte.weight"), low_rank(model, "lm_head.weight"))
    with edited(model, both):  # under both names: both are added, once each
        added = both.deltas[0].dense() + both.deltas[1].dense()
        expected = before["lm_head.weight"].double() + torch.from_numpy(added)
        assert torch.allclose(head.double(), expected, atol=1e-5)
    assert equal(bits(model), before)


def test_saved_opened_applied(tmp_path):
    model = model_of("llama")
    before = bits(model)
    edit = edit_of(model, low_rank(model, FAMILIES["llama"], rank=3))
    same = open_result(edit.save(tmp_path / "e.exg"))
    assert same == edit
    apply(model, edit)
    direct = bits(model)
    undo(model, same)  # type: ignore[arg-type]  # an equal value undoes it: it need not be the same object
    assert equal(bits(model), before)
    again = model_of("llama")  # the same weights in another module
    with edited(again, same):  # type: ignore[arg-type]
        assert equal(bits(again), direct)


def test_sites_are_edited_inside_of_the_context_only():
    model = model_of()
    plain = run(model, {"input_ids": IDS}).logits
    vector = np.linspace(-1, 2, 32).astype(np.float32)
    edit = edit_of(model, sites=(SiteEdit(site="0.resid_post", how="add", value=vector),))
    with edited(model, edit):
        inside = logits(model)
    assert torch.allclose(
        inside, run(model, {"input_ids": IDS}, edit={"0.resid_post": Add(torch.from_numpy(vector))}).logits
    )
    assert not torch.allclose(inside, plain, atol=1e-3)
    assert torch.equal(logits(model), plain)
    with pytest.raises(UsageError, match="no weights"):
        apply(model, edit)


# ---- refusals ------------------------------------------------------------------------------------------------------------


def test_another_model_is_refused():
    model, other = model_of(), model_of()
    with torch.no_grad():
        other.module.transformer.h[0].mlp.c_fc.weight[0, 0] += 1
    edit, before = edit_of(model, low_rank(model, FAMILIES["gpt2"])), bits(other)
    with pytest.raises(ModelError, match="It was made for"):
        apply(other, edit)
    nameless = edit.model_copy(update={"provenance": Provenance()})
    with pytest.raises(ModelError, match="no weights it names"):
        apply(model, nameless)
    assert equal(bits(other), before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    model = model_of()
    before = bits(model)
    delta = low_rank(model, FAMILIES["gpt2"])
    assert delta.left is not None
    left = delta.left.copy()
    left[3, 0] = bad
    with pytest.raises(ModelError, match="NaN or infinite"):
        apply(model, edit_of(model, delta.model_copy(update={"left": left})))
    with (
        pytest.raises(ModelError, match="NaN or infinite"),
        edited(
            model, edit_of(model, sites=(SiteEdit(site="0.resid_post", how="scale", value=np.array(bad)),))
        ),
    ):
        pass
    huge = low_rank(
        model, FAMILIES["gpt2"], size=1e300
    )  # finite in float64, infinite in the weight's float32
    with pytest.raises(ModelError, match="NaN or infinite"):
        apply(model, edit_of(model, huge))
    assert equal(bits(model), before)
    assert applied(model) == ()


def test_parameters_that_do_not_fit_are_refused():
    model = model_of()
    fine = low_rank(model, FAMILIES["gpt2"])
    before = bits(model)
    for delta, said in (
        (fine.model_copy(update={"parameter": "nowhere.weight"}), "no such parameter"),
        (WeightDelta(parameter=FAMILIES["gpt2"], whole=np.zeros((2, 3))), "2x3"),
    ):
        with pytest.raises(UsageError, match=said):
            apply(model, edit_of(model, fine, delta))  # the first one fits; nothing of it is left behind
    assert equal(bits(model), before)
    with pytest.raises(UsageError, match="changes nothing"):
        apply(model, edit_of(model))


def test_undoing_what_was_not_done_is_refused():
    model = model_of()
    edit = edit_of(model, low_rank(model, FAMILIES["gpt2"]))
    with pytest.raises(UsageError, match="not applied"):
        undo(model, edit)
    apply(model, edit)
    with torch.no_grad():
        model.module.transformer.h[1].mlp.c_proj.weight[0, 0] += 1
    with pytest.raises(UsageError, match="other means"):
        undo(model, edit)


def test_a_delta_is_two_factors_or_one_tensor():
    with pytest.raises(UsageError, match="neither"):
        WeightDelta(parameter="a")
    with pytest.raises(UsageError, match="neither"):
        WeightDelta(parameter="a", left=np.ones((2, 1)))
    both = {"left": np.ones((2, 1)), "right": np.ones((1, 2)), "whole": np.ones((2, 2))}
    with pytest.raises(UsageError, match="neither"):
        WeightDelta(parameter="a", **both)
    d = WeightDelta(parameter="a", left=np.array([[1.0], [2.0]]), right=np.array([[3.0, 4.0, 5.0]]))
    assert d.norm() == pytest.approx(np.linalg.norm(d.dense()))
    assert d.shape == d.dense().shape == (2, 3)


# ---- emphasis ------------------------------------------------------------------------------------------------------------


def test_emphasis_in_plain_loops():
    draw = torch.Generator().manual_seed(0)
    pattern = torch.rand(2, 3, 5, 5, generator=draw).tril()
    pattern = pattern / pattern.sum(-1, keepdim=True)
    new = emphasise(pattern, (1, 3), 0.1, heads=(0, 2))
    for b in range(2):
        for h in range(3):
            for q in range(5):
                row = pattern[b, h, q].clone()
                if h != 1 and q >= 1:
                    for k in range(5):
                        row[k] *= 1.0 if k in (1, 3) else 0.1
                    row /= row.sum()
                assert torch.allclose(new[b, h, q], row, atol=1e-6)
    assert torch.allclose(new.sum(-1), pattern.sum(-1), atol=1e-6)
    assert torch.equal(emphasise(pattern, (1, 3), 1.0, None), emphasise(pattern, (1, 3), 1.0, None))
    assert torch.allclose(emphasise(pattern, (1, 3), 1.0, None), pattern, atol=1e-6)


def test_emphasis_as_a_saved_edit_is_a_real_intervention(tmp_path):
    model = model_of("llama")
    site = SiteEdit(site="0.pattern", how="emphasise", value=np.array(0.01), positions=(1, 2), heads=(0,))
    edit = open_result(edit_of(model, sites=(site,)).save(tmp_path / "e.exg"))
    assert edit == edit_of(model, sites=(site,))  # a single number stays one
    with edited(model, edit):  # type: ignore[arg-type]
        seen = run(model, {"input_ids": IDS}, read=["0.pattern"])
    plain = run(model, {"input_ids": IDS}, read=["0.pattern"])
    was, now = plain["0.pattern"][0], seen["0.pattern"][0]
    assert (now[0, 3:, 1:3].sum(-1) > 0.9).all()
    assert torch.equal(now[1:], was[1:])
    assert not torch.allclose(seen.logits, plain.logits, atol=1e-4)


# ---- findings ------------------------------------------------------------------------------------------------------------


def fact_edit(together: bool) -> FactEdit:
    def case(i: int) -> FactCase:
        d = WeightDelta(parameter="w", left=np.full((2, 1), i + 1.0), right=np.ones((1, 2)))
        p = np.array([[0.9, 0.1], [0.8, 0.2]])
        return FactCase(
            name=f"{i}", prompt="a b", subject="a", answer="x", new="y", before=p, after=p[:, ::-1].copy(), said=(True, False),
            kept=(5, 4), n_neighbours=6, loss=(1.0, 1.5), deltas=() if together else (d,),
        )  # fmt: skip

    return FactEdit(
        title="t",
        lede="l",
        claim="c",
        layer=0,
        token="last",
        together=together,
        cases=(case(0), case(1)),
    )


def test_one_of_several_facts():
    apart = fact_edit(together=False)
    one = apart.only(1)
    assert one.deltas == apart.cases[1].deltas
    assert "'y'" in one.claim
    with pytest.raises(UsageError, match="one on top of the other"):
        fact_edit(together=True).only(0)
    with pytest.raises(UsageError, match="several edits that were made apart"):
        apply(model_of(), apart)


def test_shown(capsys):
    table = fact_edit(together=False).figures()[0]
    assert table.rows[0][3:] == (0.1, 0.9, "0 of 1", "4 of 5", 0.5, None)  # type: ignore[union-attr]
    xg.show(fact_edit(together=False).only(0))
    assert "rank 1" in capsys.readouterr().out
