"""Path patching against paths made by hand: a changed residual before the logits, and compositions of plain patches."""

from typing import Any

import pytest
import torch

import exegete as xg
from exegete.core.errors import ExegeteError, SiteError, UnsupportedModel
from exegete.core.material import Pair
from exegete.core.site import Site
from exegete.methods.mechanisms.path_patching import PathPatching
from exegete.models.edit import Add, Patch, Set
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny

CLEAN, CORRUPT = (12, 20, 30, 40, 50, 33), (12, 20, 31, 40, 50, 33)
PAIR = Pair.of(xg.Text(ids=CLEAN), xg.Text(ids=CORRUPT), (21,), (22,))


class Hand:
    """Both texts of a pair on one model, and the share that a plain edit takes away."""

    def __init__(self, model):
        self.lab, target = Lab(model), xg.Target(label=(21,), against=(22,), scale="logit")
        self.clean, self.corrupt = (self.lab.aim([xg.Text(ids=ids)], target) for ids in (CLEAN, CORRUPT))
        self.full, self.empty = (float(self.lab.measure(a)) for a in (self.clean, self.corrupt))

    def change(self, site, head):
        """What a head writes on the corrupt text, less what it writes on the clean one."""
        there, here = (self.lab.run(a.inputs, read=[site])[site][:, head] for a in (self.corrupt, self.clean))
        return there - here

    def share(self, edit):
        return (self.full - float(self.lab.measure(self.clean, edit=edit))) / (self.full - self.empty)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_straight_into_the_logits(family):
    """The head's change added to what enters the final norm, and to nothing else."""
    model = load(tiny(family))
    hand, r = Hand(model), PathPatching()(model, PAIR)
    for layer, head in ((0, 1), (1, 3)):
        delta = hand.change(Site("head_out", layer=layer), head)
        assert r.grids[0].effect[layer, head] == pytest.approx(
            hand.share({Site("final_in"): Add(delta)}), abs=1e-3
        )
    whole = hand.share(
        {
            Site("head_out", layer=0): Patch(
                hand.lab.run(hand.corrupt.inputs, read=["0.head_out"])["0.head_out"], heads=[1]
            )
        }
    )
    assert (
        abs(r.grids[0].effect[0, 1] - whole) > 1e-3
    )  # patching the head itself takes every path: another number


@pytest.mark.parametrize("kind", ["q", "k", "v", "mlp"])
def test_into_one_input_is_a_composition_of_patches(kind):
    """The receiver's input made in a run of its own, and then patched into the clean run alone."""
    model = load(tiny("gpt2"))
    hand = Hand(model)
    receiver = "1.mlp" if kind == "mlp" else f"1.h2.{kind}"
    r = PathPatching(receiver=receiver)(model, PAIR)
    delta = hand.change(Site("head_out", layer=0), 3)
    enters = Site("resid_mid" if kind == "mlp" else "resid_pre", layer=1)
    block: Any = model.map.block("", 1)
    norm = block.ln_2 if kind == "mlp" else block.ln_1
    resid = hand.lab.run(hand.clean.inputs, read=[enters])[enters]
    with torch.no_grad():
        normed = norm(resid + delta)
    site = Site("mlp_in" if kind == "mlp" else "attn_in", layer=1)
    if kind == "mlp":
        edit = {site: Set(normed)}
    else:
        part = Site(kind, layer=1)
        made = hand.lab.run(hand.clean.inputs, read=[part], edit={site: Set(normed)})[part]
        edit = {part: Patch(made, heads=[2])}
    assert r.grids[0].effect[0, 3] == pytest.approx(hand.share(edit), abs=1e-3)


def test_scores_and_letters():
    model = load(tiny("gpt2"))
    other = Pair.of(
        xg.Text(ids=(13, 20, 30, 41, 50, 34)), xg.Text(ids=(13, 20, 31, 41, 50, 34)), (21,), (22,)
    )
    r = PathPatching()(model, [PAIR, other])
    (score,) = r.trust.scores
    assert score.n == 2
    assert score.interval is not None
    assert score.control is not None
    with pytest.raises(SiteError, match="No part comes before it"):
        PathPatching(receiver="0.h1.q")(model, PAIR)
    with pytest.raises(ExegeteError, match="logit"):
        PathPatching(receiver="logit")(model, PAIR)
    with pytest.raises(UnsupportedModel):
        PathPatching()(load(tiny("bert", "masked")), PAIR)
