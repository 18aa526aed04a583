"""Truths on facts, heads, attention and structure: what was planted is found, and a method that knows nothing does not find it."""

import pytest

from exegete.core.registry import METHODS
from exegete.evaluate.truth import (
    attention_truths,
    circuit_truths,
    fact_truths,
    head_truths,
    structure_truths,
)
from exegete.evaluate.truth.board import usual_methods
from exegete.evaluate.truth.study_truths import NO_TRUTH, STUDY_TRUTHS
from exegete.methods.contracts.study import Study
from support.spoilt import Kept, blind

VERBS = {"attend", "lens", "trace", "patch", "circuit", "heads", "edit"}
# findings that are arrays, which can be spoilt
ARRAYS = (
    (fact_truths, ("causal_tracing", "layer_removal")),
    (head_truths, ("head_redundancy", "attention_steering")),
    (attention_truths, ("hidden_token_attribution", "effective_attention")),
    (structure_truths, ("weight_banding",)),
)
# findings that are names, held against the names of another model
NAMES = (
    "logit_lens", "patchscope", "ffn_values", "induction_heads", "head_types", "head_syntax", "self_repair",
    "attention_erasure", "polarity_violation", "branch_specialisation", "circuit_overlap",
)  # fmt: skip


def test_every_method_of_these_verbs_is_scored_or_says_why_not():
    circuits = {m.id for m in usual_methods().values()}
    ids = {i for i, c in METHODS if issubclass(c, Study) and c.verb in VERBS}
    assert ids - circuits - set(NO_TRUTH) <= set(STUDY_TRUTHS)


@pytest.mark.parametrize(("file", "name"), [(f, n) for f, names in ARRAYS for n in names])
def test_what_was_planted_is_found_and_a_method_that_knows_nothing_does_not_find_it(file, name, monkeypatch):
    kept = Kept()
    monkeypatch.setattr(file, "told", kept)
    row, other = blind(STUDY_TRUTHS[name].ask, kept)
    assert row.method == name
    assert row.truth == STUDY_TRUTHS[name].name
    assert row.score.value > 0.8
    assert row.score.beats_chance
    assert row.score.control is not None and row.score.control < row.score.value
    assert other < row.score.value - 0.2


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_right_here_are_wrong_of_another_model(name):
    (row,) = STUDY_TRUTHS[name].ask(0)
    assert row.method == name and row.passes > 0
    assert row.score.value > 0.95
    assert row.score.beats_chance and row.score.beats_control
    assert row.score.control is not None and row.score.control < 0.7


def test_lookups_are_where_they_are_said_to_be():
    assert fact_truths.carries(2, 0, "subject", "residual")
    assert not fact_truths.carries(2, 3, "subject", "residual")
    assert fact_truths.carries(2, 3, "end", "residual")
    assert not fact_truths.carries(2, 2, "end", "residual")
    assert fact_truths.carries(2, 2, "subject", "mlp") and fact_truths.carries(2, 4, "end", "mlp")
    assert circuit_truths.models()
