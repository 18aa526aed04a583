"""Edits on plain tensors against indexing written out by hand."""

import pytest
import torch

from exegete.core.errors import UsageError
from exegete.core.site import Site
from exegete.models.edit import Ablate, Add, Moment, Patch, ProjectOut, Scale, Set, apply_edit, slice_site

NOW = Moment()
Z = Site("z", 0)  # batch head tok dh
RESID = Site("resid_post", 0)  # batch tok d


@pytest.fixture
def z():
    return torch.randn(3, 4, 5, 6)


@pytest.fixture
def resid():
    return torch.randn(3, 5, 6)


def test_one_head_one_position_of_the_site(z):
    site = Site("z", 0, head=1, position=-1)
    value = torch.randn(3, 6)
    want = z.clone()
    want[:, 1, -1] = value
    assert torch.equal(apply_edit(z, site, Set(value), NOW), want)
    assert torch.equal(slice_site(z, site, NOW), z[:, 1, -1])
    assert torch.equal(slice_site(want, site, NOW), value)


def test_lists_of_heads_and_positions_cross(z):
    want = z.clone()
    for h in (0, 3):
        for p in (1, 4):
            want[:, h, p] = want[:, h, p] * 2 + 0
    assert torch.equal(apply_edit(z, Z, Scale(2.0, heads=(0, 3), positions=(1, -1)), NOW), want)


def test_rows_and_units(resid):
    want = resid.clone()
    want[1:3, :, 2] += 1.5
    assert torch.equal(apply_edit(resid, RESID, Add(1.5, rows=(1, 2), units=2), NOW), want)


def test_unit_of_a_pattern_is_its_key():
    pattern = torch.rand(2, 3, 4, 4)
    site = Site("pattern", 0, head=2, position=3, unit=1)
    assert torch.equal(slice_site(pattern, site, NOW), pattern[:, 2, 3, 1])


def test_a_mask_over_tokens(resid):
    mask = torch.rand(3, 5) > 0.5
    want = torch.where(mask[:, :, None], torch.zeros(()), resid)
    assert torch.equal(apply_edit(resid, RESID, Ablate("zero", positions=mask), NOW), want)


def test_a_mask_over_tokens_of_one_head(z):
    mask = torch.rand(3, 5) > 0.5
    want = z.clone()
    want[:, 2] = torch.where(mask[:, :, None], want[:, 2] + 1, want[:, 2])
    assert torch.equal(apply_edit(z, Site("z", 0, head=2), Add(1.0, positions=mask), NOW), want)


def test_mean_skips_padding(resid):
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()
    mean = resid[mask].mean(0)
    got = apply_edit(resid, RESID, Ablate("mean"), Moment(mask=mask))
    torch.testing.assert_close(got, mean.expand_as(resid))


def test_mean_of_a_pattern_keeps_queries_apart():
    pattern = torch.rand(3, 2, 4, 4).softmax(-1)
    got = apply_edit(pattern, Site("pattern", 0), Ablate("mean"), NOW)
    torch.testing.assert_close(got, pattern.mean(0, keepdim=True).expand_as(pattern))


def test_mean_of_a_reference_and_of_one_head(z):
    source = torch.randn(7, 4, 9, 6)
    got = apply_edit(z, Site("z", 0, head=1), Ablate("mean", source=source), NOW)
    torch.testing.assert_close(got[:, 1], source.mean((0, 2))[1].expand(3, 5, 6))
    assert torch.equal(got[:, 0], z[:, 0])


def test_resample_takes_another_row_and_repeats(resid):
    one, two = (apply_edit(resid, RESID, Ablate("resample", seed=5), NOW) for _ in range(2))
    assert torch.equal(one, two)
    assert all(not torch.equal(one[i], resid[i]) for i in range(3))
    source = torch.randn(10, 5, 6)
    drawn = apply_edit(resid, RESID, Ablate("resample", source=source), NOW)
    assert all(any(torch.equal(row, s) for s in source) for row in drawn)


def test_patch_takes_the_same_place_of_the_source(z):
    source = torch.randn_like(z)
    want = z.clone()
    want[:, 3, 2] = source[:, 3, 2]
    assert torch.equal(apply_edit(z, Site("z", 0, head=3, position=2), Patch(source), NOW), want)
    assert torch.equal(apply_edit(z, Site("z", 0, head=3, position=2), Patch(source[:, 3, 2]), NOW), want)


def test_project_out_leaves_nothing_along_the_directions_and_all_else(resid):
    directions = torch.randn(2, 6)
    got = apply_edit(resid, RESID, ProjectOut(directions), NOW)
    torch.testing.assert_close(got @ directions.T, torch.zeros(3, 5, 2), atol=1e-5, rtol=0)
    across = torch.linalg.qr(directions.T, mode="complete").Q[:, 2:]
    torch.testing.assert_close(got @ across, resid @ across, atol=1e-5, rtol=1e-5)


def test_a_callable_gets_the_place_and_the_tensor_is_not_touched(z):
    before = z.clone()
    got = apply_edit(z, Site("z", 0, head=0), lambda x: x.mul_(0) if x.is_leaf else x * 0, NOW)
    assert (got[:, 0] == 0).all() and torch.equal(got[:, 1:], before[:, 1:])


def test_positions_while_decoding_count_from_the_start_of_the_text():
    step = torch.randn(2, 1, 6)
    later = Moment(offset=4)
    assert torch.equal(
        apply_edit(step, Site("resid_post", 0, position=4), Set(0.0), later), torch.zeros(2, 1, 6)
    )
    assert apply_edit(step, Site("resid_post", 0, position=2), Set(0.0), later) is step
    keys = torch.randn(2, 3, 5, 6)  # keys hold the whole text
    assert torch.equal(slice_site(keys, Site("k", 0, position=2), later), keys[:, :, 2])


@pytest.mark.parametrize(
    ("site", "edit", "words"),
    [
        (Z, Set(torch.randn(7)), r"(?s)shape \(7,\).*broadcast"),
        (Z, Scale(1.0, heads=4), r"(?s)head 4 of 0.z.*4 of them.*0 to 3"),
        (Site("z", 0, head=1), Scale(1.0, heads=0), "given twice"),
        (RESID, Scale(1.0, heads=0), "no head axis"),
        (RESID, Ablate("resample", source=None), "rows|row"),
        (RESID, ProjectOut(torch.randn(5)), "width of the site"),
        (RESID, Scale(1.0, positions=torch.ones(2, 2).bool()), "position"),
    ],
)
def test_what_does_not_fit_gets_a_letter(site, edit, words):
    x = torch.randn(1, 4, 5, 6) if site.kind == "z" else torch.randn(1, 5, 6)
    with pytest.raises(UsageError, match=words):
        apply_edit(x, site, edit, NOW)


def test_gradients_pass_through_an_edit(z):
    leaf = z.clone().requires_grad_(True)
    apply_edit(leaf, Site("z", 0, head=1), Scale(3.0), NOW).sum().backward()
    want = torch.ones_like(z)
    want[:, 1] = 3
    assert torch.equal(leaf.grad, want)
