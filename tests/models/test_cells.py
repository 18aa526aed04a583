"""Patched passes made in batches equal one whole pass a cell, on every kind of model, whether they read on or not."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.models import cells as under_test
from exegete.models.cells import Cell, Spot, base_run, run_cells, sites_of
from exegete.models.edit import Add, Patch
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny

KINDS = ["gpt2", "llama", "gemma2", "gpt_neox", "bloom", "bert", "albert", "t5", "bart"]
LENGTH = 12
BLIND = 3  # tokens at the start that both texts share


@cache
def lab_of(family):
    return Lab(load(tiny(family, layers=3)))


def some_text(lab, seed, shared=BLIND):
    draw = np.random.default_rng
    ids = [*draw(0).integers(10, 60, shared), *draw(seed).integers(10, 60, LENGTH - shared)]
    tail = [lab.model.tokenizer.mask_token_id] if lab.model.task == "masked" else []
    return Text(ids=tuple(int(i) for i in [*ids, *tail]))


def two_texts(family):
    """The lab, the aim at the base text, and the inputs of the source text."""
    lab = lab_of(family)
    target = Target(label=(21,), against=(22,), scale="logit")
    if lab.model.task == "seq2seq":
        target = Target(kind="continuation", label=(21, 22, 23, 24), scale="logit")
    base, source = (lab.aim([some_text(lab, s)], target) for s in (1, 2))
    return lab, base, source.inputs


def every_kind(lab, stack):
    """A cell of each kind of spot, and some of several spots."""
    kv = lab.model.map.n_kv_heads
    found = []
    for layer in (0, 2):
        resid, z, mlp, attn, v = (
            Site(k, layer=layer, stack=stack) for k in ("resid_post", "z", "mlp_out", "attn_out", "v")
        )
        a, b, c = (0, 1, 2) if stack == "dec" else (0, 5, 9)
        found += [(Spot(resid, positions=(p,)),) for p in (a, b, c)]
        found += [(Spot(z, head=1),), (Spot(z, head=3, positions=(b, c)),), (Spot(mlp, positions=(b,)),)]
        found += [(Spot(attn),), (Spot(v, head=kv - 1),), (Spot(mlp, positions=(a,)), Spot(z, head=0))]
    return found


def one_by_one(lab, aim, cells: list[Cell], sources):
    """The slow twin: a whole pass a cell, with plain edits."""
    found = []
    for cell in cells:
        edit = {}
        for s in cell:
            heads = None if s.head is None else [s.head]
            at = None if s.positions is None else list(s.positions)
            edit.setdefault(s.site, []).append(Patch(sources[s.site], heads=heads, positions=at))
        found.append(lab.measure(aim, edit=edit).double().numpy())
    return np.stack(found)


@pytest.mark.parametrize("family", KINDS)
def test_cells_equal_one_pass_each(family):
    lab, aim, source = two_texts(family)
    stack = lab.model.map.stacks[-1]
    cells = every_kind(lab, stack)
    sources = lab.run(source, read=sites_of(cells))
    sources = {s: sources[s] for s in sites_of(cells)}
    slow = one_by_one(lab, aim, cells, sources)
    base = base_run(lab, aim, stack)
    assert np.abs(run_cells(base, cells, sources) - slow).max() <= 1e-5
    assert np.ptp(slow) > 1e-3  # the cells do something
    plain = base_run(lab, aim, stack)
    plain.suffix = None
    assert np.abs(run_cells(plain, cells, sources) - slow).max() <= 1e-5


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_cells_of_an_encoder(family):
    """The decoder reads what the changed encoder hands on."""
    lab, aim, source = two_texts(family)
    cells = every_kind(lab, "enc")
    trace = lab.run(source, read=sites_of(cells))
    sources = {s: trace[s] for s in sites_of(cells)}
    found = run_cells(base_run(lab, aim, "enc"), cells, sources)
    slow = one_by_one(lab, aim, cells, sources)
    assert np.abs(found - slow).max() <= 1e-5
    assert np.ptp(slow) > 1e-3


@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom"])
def test_reading_on_is_used_and_saves_tokens(family):
    """Decoders read behind the prefix, and a whole sweep costs much less than a pass a cell."""
    lab, aim, source = two_texts(family)
    cells = [(Spot(Site("resid_pre", layer=i), positions=(p,)),) for i in range(3) for p in range(LENGTH)]
    sources = {s: lab.run(source, read=[s])[s] for s in sites_of(cells)}
    base = base_run(lab, aim, "", same=BLIND)
    before = lab.meter.tokens
    found = run_cells(base, cells, sources)
    spent = lab.meter.tokens - before
    assert base.suffix is not None
    assert [c.passed for c in base.checks] == [True]
    assert spent < 0.75 * len(cells) * LENGTH  # layers that are not run come on top
    assert np.abs(found - one_by_one(lab, aim, cells, sources)).max() <= 1e-5


def test_what_cannot_matter_is_not_run():
    """Same tokens at the start, tokens behind the one that is measured, and cells that come twice."""
    lab, aim, source = two_texts("gpt2")
    site = Site("resid_pre", layer=1)
    sources = {site: lab.run(source, read=[site])[site]}
    base = base_run(lab, aim, "", same=BLIND)
    before = lab.meter.forwards
    idle = run_cells(base, [(Spot(site, positions=(p,)),) for p in range(BLIND)], sources)
    assert lab.meter.forwards == before
    assert (idle == float(base.values)).all()
    twice = run_cells(base, [(Spot(site, positions=(5,)),), (Spot(site, positions=(1, 5)),)], sources)
    assert twice[0] == twice[1]


def test_several_rows_of_noise_are_patched_row_by_row():
    lab, aim, _ = two_texts("llama")
    embed, site = Site("embed"), Site("resid_post", layer=0)
    noise = torch.randn(4, LENGTH, 32, generator=torch.Generator().manual_seed(0))
    noise[:, :BLIND] = 0
    clean = {site: lab.run(aim.inputs, read=[site])[site]}
    base = base_run(lab, aim, "", edit={embed: Add(noise)}, rows=4, same=BLIND)
    cells = [(Spot(site, positions=(p,)),) for p in range(BLIND, LENGTH)]
    found = run_cells(base, cells, clean)
    for row, one in enumerate(noise):
        for cell, value in zip(cells, found[:, row]):
            edit = {embed: Add(one[None]), site: Patch(clean[site], positions=cell[0].positions)}
            assert abs(float(lab.measure(aim, edit=edit)) - value) <= 1e-5


def test_the_token_budget_changes_nothing(monkeypatch):
    lab, aim, source = two_texts("gpt2")
    cells = every_kind(lab, "")
    sources = {s: lab.run(source, read=[s])[s] for s in sites_of(cells)}
    wide = run_cells(base_run(lab, aim, ""), cells, sources)
    monkeypatch.setattr(lab.model, "token_budget", LENGTH)
    assert np.abs(run_cells(base_run(lab, aim, ""), cells, sources) - wide).max() <= 1e-5


def test_a_wrong_suffix_is_noticed_and_left_out(monkeypatch):
    """Keys and values of another text: the probe sees it, says so, and everything is read instead."""
    lab, aim, source = two_texts("gpt2")
    cells = [(Spot(Site("resid_pre", layer=i), positions=(p,)),) for i in range(3) for p in range(4, LENGTH)]
    sources = {s: lab.run(source, read=[s])[s] for s in sites_of(cells)}
    slow = one_by_one(lab, aim, cells, sources)

    def broken():
        base = base_run(lab, aim, "", same=4)
        assert base.suffix is not None
        wrong = tuple((k + 1.0, -v) for k, v in base.suffix.layers)
        base.suffix = replace(base.suffix, layers=wrong)
        return base

    base = broken()
    assert np.abs(run_cells(base, cells, sources) - slow).max() <= 1e-5
    assert base.suffix is None
    assert "everything was read" in base.checks[0].words
    monkeypatch.setattr(under_test, "TOLERANCE", float("inf"))
    assert np.abs(run_cells(broken(), cells, sources) - slow).max() > 1e-3  # the comparison above can fail
